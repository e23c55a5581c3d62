use std::io::Write;
use std::process::{Command, Stdio};

use crate::cpio::{Entry, Tree};

fn tree() -> Tree {
    let mut tree = Tree::default();
    tree.program("init", b"#!/bin/sh\n".to_vec());
    tree.file("etc/deep/name", b"12345".to_vec());
    tree.link("bin/sh", "busybox");
    tree.put("dev/console", Entry::Device { major: 5, minor: 1 });
    tree
}

#[test]
fn the_same_tree_gives_the_same_bytes_whatever_the_order() {
    let mut other = Tree::default();
    other.put("dev/console", Entry::Device { major: 5, minor: 1 });
    other.link("bin/sh", "busybox");
    other.file("etc/deep/name", b"12345".to_vec());
    other.program("/init", b"#!/bin/sh\n".to_vec());
    let archive = tree().archive();
    assert_eq!(archive, other.archive());
    assert!(archive.starts_with(b"070701") && archive.len().is_multiple_of(4));
}

/// Another implementation reads the same, where there is one.
#[test]
fn cpio_agrees() {
    let Ok(mut cpio) =
        Command::new("cpio").args(["-tv", "--quiet"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    else {
        eprintln!("cpio is not installed: not compared");
        return;
    };
    cpio.stdin.take().expect("its input").write_all(&tree().archive()).expect("written");
    let output = cpio.wait_with_output().expect("ended");
    let text = String::from_utf8(output.stdout).expect("text");
    let modes: Vec<&str> = text.lines().map(|line| &line[..10]).collect();
    let expected = [
        "drwxr-xr-x",
        "lrwxrwxrwx",
        "drwxr-xr-x",
        "crw-------",
        "drwxr-xr-x",
        "drwxr-xr-x",
        "-rw-r--r--",
        "-rwxr-xr-x",
    ];
    assert_eq!(modes, expected);
    assert!(text.contains("bin/sh -> busybox") && text.contains("etc/deep/name"));
}
