//! The label that makes a directory a drive: grid, node and drive id, in a file at its root.
//!
//! Text, so that an operator who finds a drive in a drawer can read whose it is; docs/formats/drive-label.md.

use std::io;

use grid_types::{DriveId, GridId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use sys::Disk;

use crate::core::site;

/// The file's name at the root of the drive.
pub const LABEL_FILE: &str = "shoal-drive";
/// Entries of a directory that count as empty: the file system's own, and a label that a power cut left unfinished.
const IGNORED_ENTRIES: [&str; 2] = ["lost+found", "shoal-drive.new"];
/// No sound label is longer.
const LABEL_BYTES_MAX: u64 = 4_096;

/// Who a drive is and whom it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveLabel {
    /// The grid.
    pub grid: GridId,
    /// The node.
    pub node: NodeId,
    /// The drive.
    pub drive: DriveId,
    /// Grows with each rewrite.
    pub generation: u64,
    /// When the label was first made.
    pub created: Timestamp,
}

/// Reads a label; `Ok(None)` where the directory has none; an error where it has one that is damaged
/// (`InvalidData`) or of a newer version (`Unsupported`).
pub fn read(disk: &dyn Disk) -> io::Result<Option<DriveLabel>> {
    let file = match disk.open_read(LABEL_FILE) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.len()? > LABEL_BYTES_MAX {
        return Err(damaged("it is too long"));
    }
    let text = String::from_utf8(disk.read(LABEL_FILE)?).map_err(|_| damaged("it is not text"))?;
    decode(&text).map(Some)
}

/// Makes a directory a drive. Refuses (`AlreadyExists`) one that has a label or, unless `allow_not_empty`, any entry
/// other than `lost+found`.
pub fn create(disk: &dyn Disk, label: &DriveLabel, allow_not_empty: bool) -> io::Result<()> {
    for entry in disk.list("")? {
        let ignored = IGNORED_ENTRIES.contains(&entry.name.as_str());
        if entry.name == LABEL_FILE || !(allow_not_empty || ignored) {
            let why = format!("the directory holds `{}`: it is not made a drive", entry.name);
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
    }
    disk.write_atomic(LABEL_FILE, encode(label).as_bytes(), site::LABEL)
}

/// Rewrites a label by order (a drive moved to another node or grid): `label` with the next generation. Refuses
/// (`InvalidInput`) when the directory does not carry the label `expected`. Returns the label written.
pub fn replace(disk: &dyn Disk, expected: &DriveLabel, label: &DriveLabel) -> io::Result<DriveLabel> {
    if read(disk)?.as_ref() != Some(expected) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the drive carries another label by now"));
    }
    let label = DriveLabel { generation: expected.generation + 1, ..label.clone() };
    disk.write_atomic(LABEL_FILE, encode(&label).as_bytes(), site::LABEL)?;
    Ok(label)
}

fn encode(label: &DriveLabel) -> String {
    let DriveLabel { grid, node, drive, generation, created } = label;
    let body = format!(
        "shoal-drive 1\ngrid {grid}\nnode {node}\ndrive {drive}\ngeneration {generation}\ncreated {}\n",
        created.0
    );
    let check = crc32c::crc32c(body.as_bytes());
    format!("{body}check {check:08x}\n")
}

fn decode(text: &str) -> io::Result<DriveLabel> {
    let version = text.lines().next().and_then(|line| line.strip_prefix("shoal-drive "));
    let version = version.ok_or_else(|| damaged("its first line is not `shoal-drive 1`"))?;
    let at = text.rfind("check ").ok_or_else(|| damaged("its checksum is missing"))?;
    if text[at..] != format!("check {:08x}\n", crc32c::crc32c(&text.as_bytes()[..at])) {
        return Err(damaged("it does not match its checksum"));
    }
    if version != "1" {
        let why = format!("drive label of version {version}: a newer release wrote it");
        return Err(io::Error::new(io::ErrorKind::Unsupported, why));
    }
    let field = |name: &str| {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.ok_or_else(|| damaged(&format!("`{name}` is missing")))
    };
    let bad = |name: &str| damaged(&format!("`{name}` makes no sense"));
    Ok(DriveLabel {
        grid: field("grid")?.parse().map_err(|_| bad("grid"))?,
        node: field("node")?.parse().map_err(|_| bad("node"))?,
        drive: field("drive")?.parse().map_err(|_| bad("drive"))?,
        generation: field("generation")?.parse().map_err(|_| bad("generation"))?,
        created: Timestamp(field("created")?.parse().map_err(|_| bad("created"))?),
    })
}

fn damaged(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("drive label is damaged: {what}"))
}
