//! Looks at the folders of a node and sorts out which of them are its drives.
//!
//! Invariant: reads only. A folder without a label, with a foreign one, or with the label of another folder's drive is
//! told with its reason and left alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chunk_store::DriveLabel;
use grid_types::{DriveId, DriveState, GridId, NodeId};
use sys::{Disk, RealDisk};

use super::WatchedDrive;
use crate::identity::{DriveFailure, NodeFile};

/// Folders that a node may have: what its configuration names and what its node file remembers.
const FOLDERS_MAX: usize = 1_024;

/// A drive of this node, not opened yet.
#[derive(Clone)]
pub struct OurDrive {
    /// The folder.
    pub path: PathBuf,
    /// The folder, opened.
    pub disk: Arc<dyn Disk>,
    /// Its label.
    pub label: DriveLabel,
    /// Not to be taken into service without an order.
    pub failure: Option<DriveFailure>,
}

/// A folder that cannot serve as a drive now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProblemFolder {
    /// The folder.
    pub path: PathBuf,
    /// The drive that is or ought to be there, if known, and unless another folder holds it.
    pub id: Option<DriveId>,
    /// `Foreign` or `Suspect`.
    pub state: DriveState,
    /// What is wrong, in words.
    pub reason: String,
    /// The drive failed just now, and that is to be remembered.
    pub failed: bool,
}

/// What was found.
pub struct Discovered {
    /// Who this node is: the newest node file of the identity that most of its drives carry.
    pub identity: NodeFile,
    /// Its drives.
    pub drives: Vec<OurDrive>,
    /// Everything else.
    pub problems: Vec<ProblemFolder>,
    /// What the operator should know, in words.
    pub warnings: Vec<String>,
}

/// Why there is no node to start.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// No folder carries a label.
    #[error(
        "no drive of a grid was found:\n{}\n`shoal init --drive PATH...` founds a grid on this host; if these folders held \
         one before, check that their file systems are mounted",
        list(.0)
    )]
    NotFounded(Vec<ProblemFolder>),
    /// Labels, but no node file: `init` did not come to its end.
    #[error(
        "the drives carry labels but no readable node file: `shoal init` was cut short, or the files were lost:\n{}\nIf this \
         grid never stored anything, empty the folders and run `shoal init` again",
        list(.0)
    )]
    NoIdentity(Vec<ProblemFolder>),
}

fn list(problems: &[ProblemFolder]) -> String {
    let lines: Vec<String> =
        problems.iter().map(|problem| format!("  {}: {}", problem.path.display(), problem.reason)).collect();
    lines.join("\n")
}

/// One folder as it is.
struct Looked {
    path: PathBuf,
    disk: Arc<dyn Disk>,
    label: DriveLabel,
    node_file: Result<Option<NodeFile>, String>,
    file_system: String,
}

/// Looks at the configured folders, and at those that the node file of the winner remembers. Blocks.
pub fn discover(folders: &[PathBuf]) -> Result<Discovered, DiscoveryError> {
    let mut problems = Vec::new();
    let mut looked = Vec::new();
    for folder in folders.iter().take(FOLDERS_MAX) {
        look_into(folder, &mut looked, &mut problems);
    }
    if looked.is_empty() {
        return Err(DiscoveryError::NotFounded(problems));
    }
    let Some(identity) = winner(&looked) else {
        let told = looked.iter().map(|one| {
            let reason = match &one.node_file {
                Err(error) => error.clone(),
                Ok(_) => "has a label and no node file".to_owned(),
            };
            problem(&one.path, Some(one.label.drive), DriveState::Suspect, reason)
        });
        return Err(DiscoveryError::NoIdentity(told.chain(problems).collect()));
    };
    for known in identity.drives.iter().take(FOLDERS_MAX) {
        if !folders.iter().any(|folder| same_path(folder, &known.path)) {
            look_into(&known.path, &mut looked, &mut problems);
        }
    }
    Ok(sort_out(identity, looked, problems))
}

fn same_path(left: &Path, right: &Path) -> bool {
    left == right
        || left.canonicalize().is_ok_and(|left| right.canonicalize().is_ok_and(|right| left == right))
}

fn look_into(path: &Path, looked: &mut Vec<Looked>, problems: &mut Vec<ProblemFolder>) {
    let unlabelled = |reason: String| problem(path, None, DriveState::Suspect, reason);
    let disk = match RealDisk::open(path) {
        Ok(disk) => Arc::new(disk),
        Err(error) => {
            problems.push(unlabelled(format!("cannot be opened: {error}")));
            return;
        }
    };
    match chunk_store::label::read(&*disk) {
        Ok(Some(label)) => looked.push(Looked {
            path: path.to_owned(),
            label,
            node_file: NodeFile::read(&*disk).map_err(|error| error.to_string()),
            file_system: disk.file_system().unwrap_or_default(),
            disk,
        }),
        Ok(None) => problems.push(unlabelled(
            "has no drive label: its file system is not mounted, or another drive was put there; it is left alone \
             (`shoal drive add` would make it a drive)"
                .to_owned(),
        )),
        Err(error) => problems.push(unlabelled(format!("its drive label cannot be read: {error}"))),
    }
}

/// The newest node file of the identity that most drives carry; the higher incarnation decides a tie.
fn winner(looked: &[Looked]) -> Option<NodeFile> {
    let mut votes: BTreeMap<(GridId, NodeId), (usize, u64, u64)> = BTreeMap::new();
    for one in looked {
        if let Ok(Some(file)) = &one.node_file
            && (one.label.grid, one.label.node) == (file.grid, file.node)
        {
            let vote = votes.entry((file.grid, file.node)).or_default();
            vote.0 += 1;
            (vote.1, vote.2) = (vote.1, vote.2).max((file.incarnation, file.generation));
        }
    }
    let ((grid, node), _) = votes.into_iter().max_by_key(|(_, vote)| *vote)?;
    looked
        .iter()
        .filter_map(|one| one.node_file.as_ref().ok()?.as_ref())
        .filter(|file| (file.grid, file.node) == (grid, node))
        .max_by_key(|file| (file.incarnation, file.generation))
        .cloned()
}

fn sort_out(identity: NodeFile, looked: Vec<Looked>, mut problems: Vec<ProblemFolder>) -> Discovered {
    let mut ours: Vec<Looked> = Vec::new();
    for one in looked {
        if let Some(foreign) = foreign(&one.path, &one.label, &identity) {
            problems.push(foreign);
        } else if let Some(twin) = ours.iter().position(|known| known.label.drive == one.label.drive) {
            // The copy that was last in service is the drive; of two alike either is, and the first one stays.
            let newer = age(&one) > age(&ours[twin]);
            let clone = if newer { std::mem::replace(&mut ours[twin], one) } else { one };
            let reason = format!(
                "is a copy of drive {} at {}; the copy that served last counts, this one is left alone",
                clone.label.drive,
                ours[twin].path.display()
            );
            problems.push(problem(&clone.path, None, DriveState::Foreign, reason));
        } else {
            ours.push(one);
        }
    }
    for known in &identity.drives {
        let here = ours.iter().any(|one| one.label.drive == known.id);
        let told =
            problems.iter_mut().find(|problem| problem.id.is_none() && same_path(&problem.path, &known.path));
        match told {
            _ if here => {}
            // A foreign label or a clone has its own entry; what ought to be there gets one of its own below.
            Some(problem) if problem.state == DriveState::Suspect => problem.id = Some(known.id),
            _ => problems.push(problem(
                &known.path,
                Some(known.id),
                DriveState::Suspect,
                "is gone: another drive lies in its folder".to_owned(),
            )),
        }
    }
    let warnings = shared_file_systems(&ours);
    let failure_of = |id| identity.drives.iter().find(|known| known.id == id)?.failed.clone();
    let drives = ours
        .into_iter()
        .map(|one| OurDrive {
            failure: failure_of(one.label.drive),
            path: one.path,
            disk: one.disk,
            label: one.label,
        })
        .collect();
    Discovered { identity, drives, problems, warnings }
}

/// The entry of a drive that belongs to somebody else.
fn foreign(path: &Path, label: &DriveLabel, identity: &NodeFile) -> Option<ProblemFolder> {
    if (label.grid, label.node) == (identity.grid, identity.node) {
        return None;
    }
    let whose = if label.grid == identity.grid { "another node of this grid" } else { "another grid" };
    let reason = format!("belongs to {whose} (node {}, grid {}); it is left alone", label.node, label.grid);
    Some(problem(path, Some(label.drive), DriveState::Foreign, reason))
}

/// Looks at run time for drives in our folders that are not the ones in service: foreign, copies, come by another way.
/// Blocks.
pub fn strangers(folders: &[PathBuf], identity: &NodeFile, drives: &[WatchedDrive]) -> Vec<ProblemFolder> {
    let mut seen: Vec<PathBuf> = Vec::new();
    let mut found = Vec::new();
    for folder in folders.iter().chain(drives.iter().map(|drive| &drive.path)).take(FOLDERS_MAX) {
        if seen.iter().any(|known| same_path(known, folder)) {
            continue;
        }
        seen.push(folder.clone());
        // A folder that is missing or has no label is its drive's own entry.
        let label = RealDisk::open(folder).and_then(|disk| chunk_store::label::read(&disk));
        if let Ok(Some(label)) = label {
            found.extend(stranger(folder, &label, identity, drives));
        }
    }
    found
}

fn stranger(
    path: &Path,
    label: &DriveLabel,
    identity: &NodeFile,
    drives: &[WatchedDrive],
) -> Option<ProblemFolder> {
    if let Some(foreign) = foreign(path, label, identity) {
        return Some(foreign);
    }
    let id = label.drive;
    let (state, reason) = match drives.iter().find(|drive| drive.id == id) {
        Some(known) if same_path(&known.path, path) => return None,
        Some(known) if known.in_service() => (
            DriveState::Foreign,
            format!(
                "is a copy of drive {id} at {}, which is in service; this one is left alone",
                known.path.display()
            ),
        ),
        Some(known) => (
            DriveState::Waiting,
            format!(
                "is drive {id}, known at {} and not there now; `shoal drive add {}` takes it here",
                known.path.display(),
                path.display()
            ),
        ),
        None => (
            DriveState::Foreign,
            format!(
                "is drive {id}, which this node does not have any more; `shoal drive add {}` takes it back",
                path.display()
            ),
        ),
    };
    Some(problem(path, None, state, reason))
}

fn age(one: &Looked) -> (u64, u64) {
    match &one.node_file {
        Ok(Some(file)) => (file.incarnation, file.generation),
        _ => (0, 0),
    }
}

fn shared_file_systems(ours: &[Looked]) -> Vec<String> {
    let mut by_file_system: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for one in ours {
        by_file_system.entry(&one.file_system).or_default().push(one.path.display().to_string());
    }
    by_file_system
        .values()
        .filter(|paths| paths.len() > 1)
        .map(|paths| {
            format!("{} lie on one file system: one failure domain, lost together", paths.join(", "))
        })
        .collect()
}

fn problem(path: &Path, id: Option<DriveId>, state: DriveState, reason: String) -> ProblemFolder {
    ProblemFolder { path: path.to_owned(), id, state, reason, failed: false }
}
