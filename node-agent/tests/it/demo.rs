//! `shoal demo` as a user would run it.

use crate::shoal::{Demo, names, run, shoal, text};

#[test]
fn serves_tests_itself_survives_a_kill_and_keeps_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("grid");
    let demo = Demo::start(&["--dir", dir.to_str().unwrap()]);
    assert_eq!(demo.text("self_test"), "ok");
    assert_eq!(demo.text("region"), "us-east-1");
    let keys = [demo.text("access_key").to_owned(), demo.text("secret_key").to_owned()];
    let status = demo.command(&["status"]);
    assert_eq!(status["readiness"]["ready"], true, "{status}");
    assert_eq!(status["incarnation"], 1);
    assert_eq!(status["drives_in_service"], 4);
    demo.kill();

    let demo = Demo::start(&["--dir", dir.to_str().unwrap()]);
    assert_eq!(demo.text("self_test"), "ok");
    assert_eq!([demo.text("access_key"), demo.text("secret_key")], [&keys[0], &keys[1]]);
    assert_eq!(demo.command(&["status"])["incarnation"], 2);
    demo.stop();
    assert!(dir.join("drive-1/shoal-drive").exists());
}

#[test]
fn an_ephemeral_demo_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("grid");
    let demo = Demo::start(&[
        "--ephemeral",
        "--drives",
        "2",
        "--profile",
        "copies:1",
        "--dir",
        dir.to_str().unwrap(),
    ]);
    assert_eq!(demo.text("self_test"), "ok");
    assert_eq!(names(&dir), ["drive-1", "drive-2", "shoal-demo.json"]);
    demo.stop();
    assert!(!dir.exists());
}

#[test]
fn tls_serves_with_the_certificate_that_it_names() {
    let demo = Demo::start(&["--ephemeral", "--drives", "1", "--tls"]);
    assert_eq!(demo.text("self_test"), "ok");
    assert!(demo.text("endpoint").starts_with("https://"));
    assert!(std::fs::read_to_string(demo.text("ca")).unwrap().contains("BEGIN CERTIFICATE"));
    demo.stop();
}

#[test]
fn a_folder_that_holds_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.txt"), b"dear").unwrap();
    let output = run(["demo", "--dir", folder.path().to_str().unwrap()]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("no demo"), "{}", text(&output.stderr));
    assert_eq!(names(folder.path()), ["thesis.txt"]);
}

#[test]
fn keys_and_locks_are_steered_from_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("grid");
    let demo = Demo::start(&["--dir", dir.to_str().unwrap()]);

    let made = demo.command(&["key", "create", "--user", "backup"]);
    let id = made["id"].as_str().expect("an id").to_owned();
    demo.command(&["key", "disable", &id]);
    let keys = demo.command(&["key", "list"])["keys"].clone();
    let own = keys.as_array().unwrap().iter().find(|key| key["id"] == id.as_str()).expect("the new key");
    assert_eq!((own["state"].as_str(), own["user"].as_str()), (Some("disabled"), Some("backup")));
    assert!(own.get("secret").is_none());
    demo.command(&["key", "delete", &id]);
    assert_eq!(demo.command(&["key", "list"])["keys"].as_array().unwrap().len(), 1);

    let drive = dir.join("drive-2");
    let locked = demo.command(&["drive", "lock", drive.to_str().unwrap()]);
    assert_eq!((&locked["locked"], &locked["path"]), (&true.into(), &drive.to_str().unwrap().into()));
    demo.kill();

    // Locks live in the metadata, not in the process.
    let demo = Demo::start(&["--dir", dir.to_str().unwrap()]);
    let drives = demo.command(&["drive", "list"])["drives"].clone();
    let locked: Vec<bool> =
        drives.as_array().unwrap().iter().map(|drive| drive["locked"].as_bool().unwrap()).collect();
    assert_eq!(locked, [false, true, false, false]);

    // The socket needs no key; the port does, and an old operator key ends.
    let socket = drive.with_file_name("drive-1").join("shoal-admin.sock");
    let over_socket = shoal(["status", "--json", "--socket", socket.to_str().unwrap()]).output().unwrap();
    assert!(over_socket.status.success(), "{}", text(&over_socket.stderr));
    let refused = run(["status", "--admin", demo.text("admin"), "--operator-key", "wrong"]);
    assert!(text(&refused.stderr).contains("InvalidOperatorKey"), "{}", text(&refused.stderr));
    demo.command(&["key", "operator"]);
    let refused = demo.command_output(&["status"]);
    assert!(text(&refused.stderr).contains("InvalidOperatorKey"), "{}", text(&refused.stderr));
}

#[test]
fn a_drive_is_added_and_an_empty_folder_in_the_place_of_another_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("grid");
    let demo = Demo::start(&["--dir", dir.to_str().unwrap(), "--drives", "3"]);
    let extra = dir.join("extra");
    std::fs::create_dir(&extra).unwrap();
    let added = demo.command(&["drive", "add", extra.to_str().unwrap()]);
    assert_eq!(added["state"], "active", "{added}");
    let again = demo.command_output(&["drive", "add", extra.to_str().unwrap()]);
    assert!(text(&again.stderr).contains("in service"), "{}", text(&again.stderr));
    demo.stop();

    std::fs::remove_dir_all(dir.join("drive-2")).unwrap();
    std::fs::create_dir(dir.join("drive-2")).unwrap();
    let demo = Demo::start(&["--dir", dir.to_str().unwrap()]);
    let drives = demo.command(&["drive", "list"])["drives"].clone();
    let in_service: Vec<(&str, bool)> = drives
        .as_array()
        .unwrap()
        .iter()
        .map(|drive| {
            (drive["path"].as_str().unwrap().rsplit('/').next().unwrap(), drive["state"] == "active")
        })
        .collect();
    // The added drive is found although no configuration names it.
    assert_eq!(in_service, [("drive-1", true), ("drive-2", false), ("drive-3", true), ("extra", true)]);
    assert_eq!(names(&dir.join("drive-2")), Vec::<String>::new());
}

#[test]
fn a_second_process_on_the_same_drives_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("grid");
    let demo = Demo::start(&["--dir", dir.to_str().unwrap(), "--drives", "1"]);
    let second =
        run(["demo", "--json", "--s3-port", "0", "--admin-port", "0", "--dir", dir.to_str().unwrap()]);
    assert!(!second.status.success());
    assert!(text(&second.stderr).contains("another process"), "{}", text(&second.stderr));
    assert_eq!(demo.command(&["status"])["readiness"]["ready"], true);
    demo.stop();
}

#[test]
fn lost_metadata_is_made_anew_by_order() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("grid");
    let demo = Demo::start(&["--dir", dir.to_str().unwrap()]);
    let key = demo.command(&["key", "create"])["id"].as_str().expect("an id").to_owned();
    let job = demo.command(&["job", "run", "backup-metadata"]);
    assert!(job["detail"].as_str().unwrap().contains("the last backup"), "{job}");
    demo.stop();

    let drives: Vec<String> =
        (1..=4).map(|number| dir.join(format!("drive-{number}")).display().to_string()).collect();
    let removed = drives.iter().filter(|drive| std::fs::remove_dir_all(format!("{drive}/meta")).is_ok());
    assert_eq!(removed.count(), 3, "the log has three mirrors");
    let broken =
        run(["demo", "--json", "--s3-port", "0", "--admin-port", "0", "--dir", dir.to_str().unwrap()]);
    assert!(!broken.status.success(), "a node without its metadata started");
    let mut order = vec!["rebuild-metadata", "--json"];
    drives.iter().for_each(|drive| order.extend(["--drive", drive.as_str()]));
    let rebuilt = run(order);
    assert!(rebuilt.status.success(), "{}", text(&rebuilt.stderr));
    let report: serde_json::Value = serde_json::from_slice(&rebuilt.stdout).unwrap();
    assert_eq!((&report["drives"], &report["root_bag"]), (&4.into(), &true.into()), "{report}");

    let demo = Demo::start(&["--dir", dir.to_str().unwrap()]);
    assert_eq!(demo.text("self_test"), "ok");
    assert!(demo.command(&["key", "list"]).to_string().contains(&key), "the access key came back");
    demo.stop();
}
