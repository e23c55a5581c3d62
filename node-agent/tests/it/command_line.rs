//! What the command line refuses, and with which words.

use crate::shoal::{names, run, text};

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
fn several_nodes_come_with_the_grid() {
    let output = run(["demo", "--nodes", "3"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("grid"), "{}", text(&output.stderr));
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
