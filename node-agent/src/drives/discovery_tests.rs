//! Which folders are drives: majority of identities, foreign, cloned, empty, missing.

use std::path::{Path, PathBuf};

use chunk_store::{DriveLabel, label};
use grid_types::{DriveId, DriveState, GridId, Timestamp};
use sys::RealDisk;

use super::discovery::strangers;
use super::{Discovered, DiscoveryError, WatchedDrive, discover};
use crate::identity::{KnownDrive, NodeFile};

struct Folders {
    root: tempfile::TempDir,
}

impl Folders {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A node with drives in these folders; drive n of grid g has the id [g, n, …].
    fn node(&self, grid: u8, names: &[&str]) -> NodeFile {
        let id = |number: usize| {
            let mut bytes = [grid; 16];
            bytes[1] = u8::try_from(number).unwrap();
            DriveId::from_bytes(bytes)
        };
        let known: Vec<KnownDrive> = names
            .iter()
            .enumerate()
            .map(|(n, name)| KnownDrive { id: id(n), path: self.path(name), failed: None })
            .collect();
        let file = NodeFile::generate(GridId::from_bytes([grid; 16]), known.clone()).unwrap();
        for drive in &known {
            std::fs::create_dir(&drive.path).unwrap();
            let disk = RealDisk::open(&drive.path).unwrap();
            let label = DriveLabel {
                grid: file.grid,
                node: file.node,
                drive: drive.id,
                generation: 1,
                created: Timestamp::from_secs(1),
            };
            label::create(&disk, &label, false).unwrap();
            file.write(&disk).unwrap();
        }
        file
    }

    fn discover(&self, names: &[&str]) -> Result<Discovered, DiscoveryError> {
        discover(&names.iter().map(|name| self.path(name)).collect::<Vec<_>>())
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn entries(path: &Path) -> usize {
    std::fs::read_dir(path).unwrap().count()
}

fn names_of(found: &Discovered) -> Vec<String> {
    found.drives.iter().map(|drive| drive.path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn all_drives_are_found_and_one_file_system_is_told() {
    let folders = Folders::new();
    let file = folders.node(1, &["a", "b"]);
    let found = folders.discover(&["a", "b"]).unwrap();
    assert_eq!(found.identity, file);
    assert_eq!(names_of(&found), ["a", "b"]);
    assert_eq!(found.problems, []);
    assert_eq!(found.warnings.len(), 1, "{:?}", found.warnings);
    assert!(found.warnings[0].contains("one failure domain"));
}

#[test]
fn a_drive_that_the_configuration_forgot_is_found_by_the_node_file() {
    let folders = Folders::new();
    folders.node(1, &["a", "b"]);
    assert_eq!(names_of(&folders.discover(&["a"]).unwrap()), ["a", "b"]);
}

#[test]
fn a_vanished_mount_and_an_empty_drive_are_told_and_left_alone() {
    let folders = Folders::new();
    let file = folders.node(1, &["a", "b", "c"]);
    std::fs::remove_dir_all(folders.path("b")).unwrap();
    std::fs::create_dir(folders.path("b")).unwrap();
    std::fs::remove_dir_all(folders.path("c")).unwrap();
    let found = folders.discover(&["a", "b", "c"]).unwrap();
    assert_eq!(names_of(&found), ["a"]);
    let told: Vec<_> = found.problems.iter().map(|problem| (problem.id, problem.state)).collect();
    assert_eq!(
        told,
        [(Some(file.drives[1].id), DriveState::Suspect), (Some(file.drives[2].id), DriveState::Suspect)]
    );
    assert_eq!(entries(&folders.path("b")), 0, "something was written into an unlabelled folder");
    assert!(!folders.path("c").exists(), "a missing folder was made");
}

#[test]
fn the_identity_of_most_drives_wins_and_the_other_is_foreign() {
    let folders = Folders::new();
    let ours = folders.node(1, &["a", "b"]);
    folders.node(2, &["x"]);
    let before = entries(&folders.path("x"));
    let found = folders.discover(&["x", "a", "b"]).unwrap();
    assert_eq!(found.identity, ours);
    assert_eq!(names_of(&found), ["a", "b"]);
    assert_eq!(found.problems.len(), 1);
    assert_eq!(found.problems[0].state, DriveState::Foreign);
    assert_eq!(entries(&folders.path("x")), before);
}

#[test]
fn of_two_copies_the_one_that_served_last_counts() {
    let folders = Folders::new();
    let file = folders.node(1, &["a", "b"]);
    copy(&folders.path("a"), &folders.path("copy"));
    // Alike: the first one named stays.
    let found = folders.discover(&["a", "b", "copy"]).unwrap();
    assert_eq!(names_of(&found), ["a", "b"]);
    assert_eq!(found.problems.len(), 1);
    assert_eq!((found.problems[0].id, found.problems[0].state), (None, DriveState::Foreign));
    // After a start that only `copy` saw, `copy` is the drive.
    let mut served = file;
    served.incarnation += 1;
    served.write(&RealDisk::open(&folders.path("copy")).unwrap()).unwrap();
    let found = folders.discover(&["a", "b", "copy"]).unwrap();
    assert_eq!(names_of(&found), ["copy", "b"]);
    assert_eq!(found.problems[0].path, folders.path("a"));
}

#[test]
fn a_clone_in_the_place_of_another_drive_leaves_that_one_missing() {
    let folders = Folders::new();
    let file = folders.node(1, &["a", "b"]);
    std::fs::remove_dir_all(folders.path("b")).unwrap();
    copy(&folders.path("a"), &folders.path("b"));
    let found = folders.discover(&["a", "b"]).unwrap();
    assert_eq!(names_of(&found), ["a"]);
    let told: Vec<_> = found.problems.iter().map(|problem| (problem.id, problem.state)).collect();
    assert_eq!(told, [(None, DriveState::Foreign), (Some(file.drives[1].id), DriveState::Suspect)]);
}

#[test]
fn no_grid_says_what_to_do() {
    let folders = Folders::new();
    std::fs::create_dir(folders.path("empty")).unwrap();
    let error = folders.discover(&["empty", "missing"]).err().expect("no grid").to_string();
    assert!(error.contains("shoal init --drive"), "{error}");
    assert!(error.contains("mounted"), "{error}");
    assert_eq!(entries(&folders.path("empty")), 0);
}

#[test]
fn a_founding_cut_short_is_told() {
    let folders = Folders::new();
    folders.node(1, &["a"]);
    std::fs::remove_file(folders.path("a").join(crate::identity::NODE_FILE)).unwrap();
    let error = folders.discover(&["a"]).err().expect("no identity").to_string();
    assert!(error.contains("cut short"), "{error}");
}

#[test]
fn a_damaged_node_file_costs_nothing_where_another_drive_has_it() {
    let folders = Folders::new();
    let file = folders.node(1, &["a", "b"]);
    std::fs::write(folders.path("a").join(crate::identity::NODE_FILE), b"rot").unwrap();
    let found = folders.discover(&["a", "b"]).unwrap();
    assert_eq!(found.identity, file);
    assert_eq!(names_of(&found), ["a", "b"]);
}

#[test]
fn at_run_time_each_stranger_is_told_by_what_it_is() {
    let folders = Folders::new();
    let file = folders.node(1, &["a", "b", "gone", "left"]);
    folders.node(2, &["x"]);
    copy(&folders.path("a"), &folders.path("copy"));
    std::fs::rename(folders.path("gone"), folders.path("moved")).unwrap();
    std::fs::create_dir(folders.path("empty")).unwrap();
    let known = |at: usize, state| WatchedDrive::new(file.drives[at].id, file.drives[at].path.clone(), state);
    let drives = [
        known(0, DriveState::Active),
        known(1, DriveState::Active),
        WatchedDrive { problem: Some("gone".to_owned()), ..known(2, DriveState::Suspect) },
    ];
    let names = ["a", "b", "x", "copy", "moved", "left", "empty", "missing"];
    let found = strangers(&names.map(|name| folders.path(name)), &file, &drives);
    let told: Vec<_> = found
        .iter()
        .map(|one| (one.path.file_name().unwrap().to_str().unwrap(), one.state, one.reason.as_str()))
        .collect();
    let expected = [
        ("x", DriveState::Foreign, "another grid"),
        ("copy", DriveState::Foreign, "is a copy of drive"),
        ("moved", DriveState::Waiting, "shoal drive add"),
        ("left", DriveState::Foreign, "does not have any more"),
    ];
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((path, state, reason), (name, kind, words)) in told.iter().zip(expected) {
        assert_eq!((*path, *state), (name, kind));
        assert!(reason.contains(words), "{reason}");
    }
}
