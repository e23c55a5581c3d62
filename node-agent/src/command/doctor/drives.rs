//! The drive folders: there, labelled, writable, with room, on file systems of their own.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use chunk_store::{DriveConfig, label::LABEL_FILE};
use rustix::fs::StatVfsMountFlags;

use super::Findings;
use crate::command::human_bytes;
use crate::config::Config;
use crate::drives::{Discovered, DiscoveryError, OurDrive};

const CHECK: &str = "drives";
/// What does not answer for so long hangs.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// Below this share of a drive, in per cent, room is worth a word.
const ROOM_NOTE_PERCENT: u64 = 5;

/// Looks at every configured folder. A node that runs has told of those that are not in service.
pub fn look(
    config: &Config,
    found: &Result<Discovered, DiscoveryError>,
    runs: bool,
    findings: &mut Findings,
) {
    let found = match found {
        Ok(found) => found,
        Err(error) => return findings.trouble(CHECK, error.to_string()),
    };
    let mut good = 0;
    for drive in &found.drives {
        let before = findings.troubles();
        look_at(drive, findings);
        good += usize::from(findings.troubles() == before);
    }
    if !runs {
        for problem in &found.problems {
            findings.trouble(CHECK, format!("{}: {}", problem.path.display(), problem.reason));
        }
    }
    if !config.drives_are_domains {
        for warning in &found.warnings {
            findings.note(CHECK, warning.clone());
        }
    }
    let known = found.drives.len();
    if good == known {
        findings.ok(CHECK, format!("{known} labelled, writable, with room"));
    }
}

fn look_at(drive: &OurDrive, findings: &mut Findings) {
    let path = drive.path.display();
    if let Some(failure) = &drive.failure {
        findings.trouble(CHECK, format!("{path}: {}", failure.advice(&drive.path)));
    }
    if let Some(reason) = unwritable(&drive.path) {
        findings.trouble(CHECK, format!("{path}: is not writable: {reason}"));
    }
    match drive.disk.space() {
        Ok(space) => {
            let config = DriveConfig::default();
            let reserve = (space.total / 1_000 * config.reserve_per_mille).max(config.reserve_bytes_min);
            if space.free <= reserve {
                findings.trouble(
                    CHECK,
                    format!(
                        "{path}: is full: {} are free and {} are kept back; delete objects, add a drive, or remove what else lies \
                         on this file system",
                        human_bytes(space.free),
                        human_bytes(reserve)
                    ),
                );
            } else if space.free < space.total / 100 * ROOM_NOTE_PERCENT {
                findings.note(
                    CHECK,
                    format!("{path}: {} of {} are free", human_bytes(space.free), human_bytes(space.total)),
                );
            }
        }
        Err(error) => {
            findings.trouble(CHECK, format!("{path}: its room cannot be asked: {error}; see `dmesg`"))
        }
    }
}

/// Asked without writing.
fn unwritable(path: &Path) -> Option<String> {
    match rustix::fs::statvfs(path) {
        Ok(system) if system.f_flag.contains(StatVfsMountFlags::RDONLY) => {
            return Some(
                "its file system is mounted read-only, as the kernel does after an error: see `dmesg`, check the disk, then \
                 `mount -o remount,rw`"
                    .to_owned(),
            );
        }
        Ok(_) => {}
        Err(error) => return Some(error.to_string()),
    }
    let folder = match std::fs::metadata(path) {
        Ok(folder) => folder,
        Err(error) => return Some(error.to_string()),
    };
    let mode = folder.permissions().mode() & 0o7777;
    // Root may write all the same, but a node need not run as root.
    if mode & 0o200 == 0 {
        return Some(format!("its mode is {mode:04o}: `chmod u+w` lets its owner write"));
    }
    if let Ok(label) = std::fs::metadata(path.join(LABEL_FILE))
        && label.uid() != folder.uid()
    {
        return Some(format!(
            "the folder belongs to user {} and its label to user {}: `chown -R` it to the user that the node runs as",
            folder.uid(),
            label.uid()
        ));
    }
    if rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err() {
        return Some(
            "this user may not write there: run `shoal doctor` as the node's user, or `chown -R` the folder"
                .to_owned(),
        );
    }
    None
}
