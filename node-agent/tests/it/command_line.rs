//! What the command line refuses, and with which words.

use crate::shoal::{Served, names, run, shoal, text, wait_until};

#[test]
fn config_check_explains_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shoal.toml");
    std::fs::write(&path, "drives = [\"/a\"]\n\n[s3]\nlisten = \"0.0.0.0:9000\"\nregoin = \"x\"\n").unwrap();
    let output = run(["config", "check", "--config", path.to_str().unwrap()]);
    assert!(!output.status.success());
    let told = text(&output.stderr);
    assert!(
        told.contains("shoal.toml: line 5, column 1: unknown key `regoin`; did you mean `region`?"),
        "{told}"
    );
}

#[test]
fn serve_without_a_grid_says_what_to_do_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let drive = folder.path().join("drive");
    std::fs::create_dir(&drive).unwrap();
    let path = folder.path().join("shoal.toml");
    std::fs::write(&path, format!("drives = [{:?}]\n", drive.to_str().unwrap())).unwrap();
    let output = run(["serve", "--config", path.to_str().unwrap()]);
    assert!(!output.status.success());
    let told = text(&output.stderr);
    assert!(told.contains("shoal init --drive"), "{told}");
    assert_eq!(names(&drive), Vec::<String>::new());
}

#[test]
fn serve_without_a_configuration_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.toml");
    let output = run(["serve", "--config", missing.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("shoal init"), "{}", text(&output.stderr));
}

#[test]
fn init_refuses_a_folder_that_is_not_empty_and_leaves_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let drive = folder.path().join("photos");
    std::fs::create_dir(&drive).unwrap();
    std::fs::write(drive.join("a.jpg"), b"dear").unwrap();
    let config = folder.path().join("shoal.toml");
    let output = run(["init", "--drive", drive.to_str().unwrap(), "--config", config.to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("--allow-not-empty"), "{}", text(&output.stderr));
    assert_eq!(names(&drive), ["a.jpg"]);
    assert!(!config.exists());
}

#[test]
fn a_demo_has_a_number_of_nodes_that_one_machine_carries() {
    let output = run(["demo", "--nodes", "17"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("1..=16"), "{}", text(&output.stderr));
}

#[test]
fn commands_say_how_to_reach_a_node() {
    let output = run(["drive", "list", "--admin", "ftp://x"]);
    assert!(text(&output.stderr).contains("http://HOST:PORT"), "{}", text(&output.stderr));
    let output = run(["drive", "list", "--admin", "https://127.0.0.1:1"]);
    assert!(text(&output.stderr).contains("--ca FILE"), "{}", text(&output.stderr));
    let output = run(["drive", "list", "--socket", "/nonexistent/socket"]);
    assert!(text(&output.stderr).contains("cannot be reached"), "{}", text(&output.stderr));
}

#[test]
fn init_then_serve_then_commands_over_the_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (config, key_file, access) = (path("shoal.toml"), path("root.key"), path("access.log"));
    let drives = [path("a"), path("b")];
    drives.iter().for_each(|drive| std::fs::create_dir(drive).unwrap());
    let init = run([
        "init",
        "--json",
        "--same-file-system-ok",
        "--drive",
        &drives[0],
        "--drive",
        &drives[1],
        "--config",
        &config,
        "--key-file",
        &key_file,
    ]);
    assert!(init.status.success(), "{}", text(&init.stderr));
    let founded: serde_json::Value = serde_json::from_slice(&init.stdout).unwrap();
    assert_eq!(founded["key_files"], serde_json::json!([key_file]));
    assert!(!folder.path().join("a/shoal-root.key").exists(), "--key-file moves the key off the drives");
    let again = run(["init", "--drive", &drives[0], "--config", &path("other.toml")]);
    assert!(text(&again.stderr).contains("already"), "{}", text(&again.stderr));

    let mut settings = std::fs::read_to_string(&config).unwrap();
    settings = settings.replace("# access = \"off\"", &format!("access = {access:?} #"));
    settings = settings.replace("# profile = \"auto\"", "profile = \"copies:1\"");
    std::fs::write(&config, settings).unwrap();
    let serving = || {
        let listen =
            ["--s3-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--rpc-listen", "127.0.0.1:0"];
        let mut serve = shoal(["serve", "--config", &config].into_iter().chain(listen));
        Served(serve.stderr(std::process::Stdio::null()).spawn().unwrap())
    };
    let server = serving();
    let socket = folder.path().join("a/shoal-admin.sock");
    wait_until(|| socket.exists());
    let status = run(["status", "--json", "--config", &config]);
    assert!(status.status.success(), "{}", text(&status.stderr));
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["readiness"]["ready"], true, "{status}");
    assert_eq!(status["profile"], "copies:1");
    assert!(status["admin"][0].as_str().unwrap().starts_with("https://"), "{status}");
    let warned =
        status["warnings"].as_array().unwrap().iter().any(|w| w.as_str().unwrap().contains("failure domain"));
    assert!(warned, "{status}");

    // Over HTTPS, with the operator key and the authority that the node made.
    let (url, authority) = (status["admin"][0].as_str().unwrap(), path("a/shoal-tls/ca.pem"));
    let key = founded["admin_key"].as_str().unwrap();
    let keys = run(["key", "list", "--json", "--admin", url, "--operator-key", key, "--ca", &authority]);
    assert!(keys.status.success(), "{}", text(&keys.stderr));
    assert!(text(&keys.stdout).contains(founded["access_key"].as_str().unwrap()));

    wait_until(|| {
        std::fs::read_to_string(&access).is_ok_and(|log| log.contains("\"operation\":\"ListKeys\""))
    });
    drop(server);

    // Without its key nothing is read, and the words say so.
    std::fs::rename(&key_file, path("elsewhere")).unwrap();
    let refused = run(["serve", "--config", &config]);
    assert!(!refused.status.success());
    assert!(text(&refused.stderr).contains("root.key"), "{}", text(&refused.stderr));
}
