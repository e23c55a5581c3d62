//! Rules of the repository itself: licences and bans of deny.toml hold for the lockfile; nothing lies forgotten.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cargo_metadata::MetadataCommand;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn names(table: &toml::Table, path: [&str; 2]) -> Vec<toml::Value> {
    table[path[0]][path[1]].as_array().expect("a list in deny.toml").clone()
}

/// True where one alternative of an SPDX expression consists of allowed licences alone.
fn allowed(expression: &str, allow: &BTreeSet<String>) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    let holds = |alternative: &str| alternative.split(" AND ").all(|licence| allow.contains(licence.trim()));
    // `A AND (B OR C)` reads here as `A AND B` or `C`: every part is then checked somewhere.
    plain.split(" OR ").any(holds)
}

#[test]
fn licences_and_bans_of_the_lockfile() {
    let deny: toml::Table =
        std::fs::read_to_string(root().join("deny.toml")).expect("deny.toml").parse().expect("TOML");
    let allow: BTreeSet<String> = names(&deny, ["licenses", "allow"])
        .iter()
        .map(|name| name.as_str().expect("a licence's name").to_owned())
        .collect();
    let banned: Vec<String> = names(&deny, ["bans", "deny"])
        .iter()
        .map(|ban| ban["crate"].as_str().expect("a crate's name").to_owned())
        .collect();
    let metadata = MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--offline".to_owned(), "--locked".to_owned()])
        .other_options(vec!["--filter-platform".to_owned(), "x86_64-unknown-linux-gnu".to_owned()])
        .exec()
        .expect("cargo metadata of the lockfile");
    assert!(metadata.packages.len() > 100, "the lockfile was not read");
    for package in &metadata.packages {
        let licence = package.license.as_deref().unwrap_or("none");
        assert!(allowed(licence, &allow), "{} {} is licensed `{licence}`", package.name, package.version);
        assert!(!banned.iter().any(|name| *name == *package.name), "{} is banned by deny.toml", package.name);
    }
}

#[test]
fn expressions_are_judged() {
    let allow: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0"].map(str::to_owned).into();
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("MIT OR GPL-3.0", true),
        ("Apache-2.0 AND ISC", true),
        ("ISC AND GPL-3.0", false),
        ("MIT/Apache-2.0", true),
        ("none", false),
    ] {
        assert_eq!(allowed(expression, &allow), expected, "{expression}");
    }
}

/// Every `*_tests.rs` and `tests.rs` is named by a `mod` of a file beside or above it.
#[test]
fn no_test_file_is_forgotten() {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a readable folder") {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for part in ["src", "crates", "tests/it"] {
        walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(part), &mut files);
    }
    let tests: Vec<&PathBuf> = files
        .iter()
        .filter(|path| path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests")))
        .collect();
    assert!(tests.len() > 40, "only {} test files were found", tests.len());
    for test in tests {
        let name = test.file_stem().expect("a file name").to_string_lossy();
        let folder = test.parent().expect("a folder");
        let beside = files.iter().filter(|path| {
            path.parent() == Some(folder)
                || path.with_extension("") == folder
                || path.parent() == folder.parent()
        });
        let mut named = beside.map(|path| std::fs::read_to_string(path).expect("a readable source"));
        assert!(
            named.any(|text| text.contains(&format!("mod {name};")) || text.contains(&format!("{name}.rs\"]"))),
            "{} is in no module: its tests never run",
            test.display()
        );
    }
}
