//! Metadata lost from every drive, and made anew by the command line.

use crate::shoal::{Demo, run, text};

#[test]
fn a_grid_that_lost_its_metadata_is_taken_up_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let grid = dir.path().join("grid");
    let path = grid.to_str().expect("UTF-8").to_owned();
    let options = ["--dir", &path, "--drives", "2"];
    let demo = Demo::start(&options);
    let access_key = demo.text("access_key").to_owned();
    let drives: Vec<_> = (1..=2).map(|n| grid.join(format!("drive-{n}"))).collect();
    let bags = || drives.iter().all(|drive| drive.join("rebuild/root-bag").exists());
    while !bags() {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let config = dir.path().join("shoal.toml");
    let list: Vec<String> = drives.iter().map(|drive| format!("{:?}", drive.display().to_string())).collect();
    std::fs::write(&config, format!("drives = [{}]\n", list.join(", "))).expect("written");
    let rebuild = ["rebuild-metadata", "--json", "--config", config.to_str().expect("UTF-8")];
    let refused = run(rebuild);
    assert!(!refused.status.success(), "the node runs");
    demo.stop();

    for drive in &drives {
        std::fs::remove_dir_all(drive.join("meta")).expect("removed");
    }
    let without = run(["demo", "--json", "--s3-port", "0", "--admin-port", "0", "--dir", &path]);
    assert!(!without.status.success());
    assert!(text(&without.stderr).contains("rebuild-metadata"), "{}", text(&without.stderr));

    let rebuilt = run(rebuild);
    assert!(rebuilt.status.success(), "{}", text(&rebuilt.stderr));
    let report: serde_json::Value = serde_json::from_slice(&rebuilt.stdout).expect("JSON");
    assert_eq!(report["drives"], 2, "{report}");
    let demo = Demo::start(&options);
    assert_eq!((demo.text("self_test"), demo.text("access_key")), ("ok", access_key.as_str()));
    demo.stop();
}
