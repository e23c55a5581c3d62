use std::process::{Command, Stdio};

use crate::tarball::{Tree, pack};

fn listed(archive: &[u8]) -> String {
    let listed = pack("tar", &["-tvf", "-", "--numeric-owner", "--utc"], archive).expect("tar reads it");
    String::from_utf8(listed).expect("names are UTF-8")
}

#[test]
fn real_tar_reads_it() {
    let mut tree = Tree::new("./");
    tree.file("usr/bin/x", 0o755, *b"content");
    tree.folder("data", 0o700, 500);
    let archive = tree.archive(86_400).expect("an archive");
    let lines: Vec<String> =
        listed(&archive).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        lines,
        [
            "drwxr-xr-x 0/0 0 1970-01-02 00:00 ./",
            "drwx------ 500/500 0 1970-01-02 00:00 ./data/",
            "drwxr-xr-x 0/0 0 1970-01-02 00:00 ./usr/",
            "drwxr-xr-x 0/0 0 1970-01-02 00:00 ./usr/bin/",
            "-rwxr-xr-x 0/0 7 1970-01-02 00:00 ./usr/bin/x",
        ]
    );
    assert_eq!(archive, tree.archive(86_400).expect("an archive"), "the same tree gives the same bytes");
}

#[test]
fn names_that_do_not_fit_are_refused() {
    let mut tree = Tree::new("");
    tree.file(&"x".repeat(100), 0o644, *b"");
    assert!(tree.archive(0).is_err());
}

#[test]
fn a_failing_packer_is_told() {
    let there = Command::new("gzip").arg("--version").stdout(Stdio::null()).status();
    assert!(there.is_ok_and(|status| status.success()), "gzip is needed");
    assert!(pack("gzip", &["-d"], b"this is not packed").is_err());
}
