use std::path::Path;

use crate::board::{Board, Support};
use crate::documents;

fn boards() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../board-configs"))
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    folder
}

const WHOLE: &str = r#"
title = "Base"
support = "build-only"
architecture = "arm64"
ram_mib = 512
[kernel]
package = "linux-image-arm64"
command_line = "panic=5"
modules = ["ext4"]
[boot]
method = "u-boot-script"
[init]
consoles = ["tty0"]
watchdog = false
real_time_clock = false
"#;

#[test]
fn every_board_of_the_repository_loads() {
    let names = Board::names(boards()).expect("the folder");
    assert!(names.contains(&"qemu-virt-arm64".to_owned()));
    for name in names {
        let board = Board::load(boards(), &name).expect("loads");
        assert!(board.support == Support::BuildOnly || board.emulator.is_some(), "{name}: tested by what?");
    }
}

#[test]
fn the_table_of_the_documents_is_the_one_of_the_configurations() {
    let document = std::fs::read_to_string(boards().join("../docs/boards.md")).expect("docs/boards.md");
    let table = documents::lines(boards(), true).expect("a table").join("\n");
    assert!(document.contains(&table), "put the output of `shoal-image list --markdown` into docs/boards.md");
}

#[test]
fn what_is_inherited_is_laid_under() {
    let files = [
        ("_base.toml", WHOLE),
        ("mine.toml", "inherit = \"_base\"\ntitle = \"Mine\"\n[kernel]\n\"modules+\" = [\"vfat\"]\n"),
    ];
    let folder = folder(&files);
    let board = Board::load(folder.path(), "mine").expect("loads");
    assert_eq!((board.title.as_str(), board.ram_mib), ("Mine", 512));
    assert_eq!(board.kernel.modules, ["ext4", "vfat"]);
    assert_eq!(board.kernel.command_line, "panic=5");
    assert_eq!(Board::names(folder.path()).expect("names"), ["mine"]);
}

#[test]
fn of_several_each_is_laid_over_those_before_it() {
    let files = [
        ("_base.toml", WHOLE),
        ("_disks.toml", "ram_mib = 256\n[kernel]\n\"modules+\" = [\"vfat\"]\n"),
        ("mine.toml", "inherit = [\"_base\", \"_disks\"]\n[kernel]\n\"modules+\" = [\"nvme\"]\n"),
        ("none.toml", "inherit = [1]\n"),
    ];
    let folder = folder(&files);
    let board = Board::load(folder.path(), "mine").expect("loads");
    assert_eq!(board.ram_mib, 256);
    assert_eq!(board.kernel.modules, ["ext4", "vfat", "nvme"]);
    assert!(Board::load(folder.path(), "none").expect_err("refused").to_string().contains("names of boards"));
}

#[test]
fn mistakes_are_told() {
    let unknown = format!("{WHOLE}colour = \"red\"\n");
    let files = [
        ("unknown.toml", unknown.as_str()),
        ("circle.toml", "inherit = \"circle\"\n"),
        ("orphan.toml", "inherit = \"nobody\"\n"),
        ("append.toml", "inherit = \"unknown\"\n\"title+\" = [\"x\"]\n"),
    ];
    let folder = folder(&files);
    for (name, expected) in
        [("unknown", "colour"), ("circle", "circle"), ("orphan", "nobody"), ("append", "no list")]
    {
        let error = Board::load(folder.path(), name).expect_err("refused").to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}
