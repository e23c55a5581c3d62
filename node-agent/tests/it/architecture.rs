//! docs/ARCHITECTURE.md says which crates there are, in which row, and who owns which dependency; the tree must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

struct Row {
    row: u32,
    owns: BTreeSet<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn document() -> String {
    std::fs::read_to_string(root().join("docs/ARCHITECTURE.md")).expect("docs/ARCHITECTURE.md")
}

/// The cells of the table whose heading begins with these columns.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    document
        .lines()
        .skip_while(|line| !line.starts_with(heading))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect()
}

fn rows(document: &str) -> BTreeMap<String, Row> {
    let rows: BTreeMap<String, Row> = table(document, "| row | crate |")
        .into_iter()
        .map(|cells| {
            let owns = cells[3].split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
            (cells[1].clone(), Row { row: cells[0].parse().expect("a row number"), owns: owns.collect() })
        })
        .collect();
    assert!(rows.len() > 10, "the table of crates was not found");
    rows
}

fn borrowed(document: &str) -> BTreeSet<(String, String)> {
    let borrowed = table(document, "| crate | borrows |");
    for cells in &borrowed {
        assert!(cells[2].len() > 5, "{} borrows {} without a reason", cells[0], cells[1]);
    }
    borrowed.into_iter().map(|cells| (cells[0].clone(), cells[1].clone())).collect()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".to_owned()])
        .exec()
        .expect("cargo metadata")
}

/// Dependencies of each member, those of tests not counted.
fn dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    metadata
        .workspace_packages()
        .into_iter()
        .map(|package| {
            let own = package.dependencies.iter().filter(|one| one.kind != DependencyKind::Development);
            (package.name.to_string(), own.map(|one| one.name.clone()).collect())
        })
        .collect()
}

#[test]
fn the_table_names_every_crate_and_no_other() {
    let rows = rows(&document());
    let (in_document, in_tree): (BTreeSet<_>, BTreeSet<_>) =
        (rows.into_keys().collect(), dependencies(&metadata()).into_keys().collect());
    assert_eq!(in_document, in_tree);
}

#[test]
fn imports_go_down() {
    let rows = rows(&document());
    let mut wrong = Vec::new();
    for (name, dependencies) in dependencies(&metadata()) {
        for dependency in dependencies.iter().filter(|dependency| rows.contains_key(*dependency)) {
            if rows[dependency].row >= rows[&name].row {
                wrong.push(format!(
                    "{name} (row {}) imports {dependency} (row {})",
                    rows[&name].row, rows[dependency].row
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn repair_knows_neither_objects_nor_keys() {
    let dependencies = dependencies(&metadata());
    for absent in ["object-engine", "keyring"] {
        assert!(!dependencies["repair"].contains(absent), "repair imports {absent}");
    }
    for absent in ["keyring", "segment-store", "meta-store"] {
        assert!(!dependencies["chunk-store"].contains(absent), "chunk-store imports {absent}");
    }
    assert!(!dependencies["grid-types"].contains("tokio"), "grid-types imports tokio");
}

#[test]
fn owned_dependencies_have_one_owner_and_told_exceptions() {
    let document = document();
    let (rows, borrowed) = (rows(&document), borrowed(&document));
    let dependencies = dependencies(&metadata());
    let mut wrong = Vec::new();
    for (owner, row) in &rows {
        for owned in &row.owns {
            if !dependencies[owner].contains(owned) {
                wrong.push(format!("{owner} owns {owned} and does not import it"));
            }
            for (name, imports) in &dependencies {
                let told = borrowed.contains(&(name.clone(), owned.clone()));
                if name != owner && imports.contains(owned) != told {
                    let what = if told {
                        "is said to borrow and does not import"
                    } else {
                        "imports without a reason"
                    };
                    wrong.push(format!("{name} {what} {owned}, which {owner} owns"));
                }
            }
        }
    }
    for (name, dependency) in &borrowed {
        if !rows.values().any(|row| row.owns.contains(dependency)) {
            wrong.push(format!("{name} borrows {dependency}, which nobody owns"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn versions_and_features_are_declared_in_one_place() {
    let mut wrong = Vec::new();
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).expect("a manifest");
        let in_dependencies = manifest.lines().scan(false, |inside, line| {
            if line.starts_with('[') {
                *inside = line.contains("dependencies");
            }
            Some((*inside, line))
        });
        for (_, line) in
            in_dependencies.filter(|(inside, line)| *inside && line.contains('=') && !line.starts_with('['))
        {
            if !line.contains("workspace = true") || line.contains("features") {
                wrong.push(format!("{}: {line}", package.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
