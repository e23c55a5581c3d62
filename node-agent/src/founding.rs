//! Founds a grid on this host: labels, identity, root key, metadata, first access key.
//!
//! Invariant: everything is looked at before anything is written, and nothing is overwritten. The node file is written
//! last: a folder with a label and no node file is a founding that was cut short.

#[cfg(test)]
mod founding_tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use admin_api::{OperatorKey, OperatorKeyHash};
use chunk_store::DriveLabel;
use chunk_store::label::{self, LABEL_FILE};
use data_encoding::HEXLOWER;
use grid_types::{DriveId, GridId, NodeId};
use iam::Iam;
use keyring::{RootKey, RootKeys};
use meta_store::home::HomeDrive;
use meta_store::root::{Expect, RecordKind, RecordWrite};
use meta_store::{MetaConfig, MetaStore};
use sys::{Clock, Disk, Random, RealDisk};

use crate::identity::{KnownDrive, NodeFile, PREPARED_KEY_FILE};
use crate::records::{self, DriveRecord, NodeRecord, OPERATOR_KEY_SETTING};
use crate::root_keys::put_beside;

/// Name of the root key file beside the data.
pub const ROOT_KEY_FILE: &str = "shoal-root.key";
/// The user that the first access key acts for.
pub const FIRST_USER: &str = "admin";

/// What to found.
#[derive(Debug, Clone)]
pub struct Founding {
    /// Existing folders, absolute.
    pub drives: Vec<PathBuf>,
    /// Where the root key goes; `None` = beside the data, a copy on every drive.
    pub key_file: Option<PathBuf>,
    /// Folders may hold other files.
    pub allow_not_empty: bool,
    /// Folders may share a file system.
    pub same_file_system_ok: bool,
}

/// What was founded. Holds secrets that are shown once.
pub struct Founded {
    /// The grid.
    pub grid: GridId,
    /// Its first node.
    pub node: NodeId,
    /// Where the root key lies.
    pub key_files: Vec<PathBuf>,
    /// The first access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The operator key.
    pub operator_key: String,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Why nothing was founded.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// The order cannot be carried out; nothing was written.
    #[error("{0}")]
    Refused(String),
    /// A file could not be written; what was written is named.
    #[error("{operation}: {source}")]
    Io {
        /// What was tried.
        operation: String,
        /// The cause.
        source: io::Error,
    },
    /// The root key could not be written.
    #[error(transparent)]
    Keyring(#[from] keyring::KeyringError),
    /// The key pair of the node.
    #[error(transparent)]
    KeyPair(#[from] crate::identity::KeyPairError),
    /// The metadata.
    #[error("founding the metadata: {0}")]
    Meta(#[from] meta_store::MetaError),
    /// The first access key.
    #[error("making the first access key: {0}")]
    Iam(#[from] iam::IamError),
    /// A record could not be written as JSON: a path that is not UTF-8.
    #[error("writing a record: {0}")]
    Record(#[from] serde_json::Error),
}

/// A folder that passed every look.
pub struct Checked {
    /// Resolved.
    pub path: PathBuf,
    /// Opened.
    pub disk: Arc<dyn Disk>,
    file_system: String,
}

/// Founds a grid. Runs to completion; a crash in between leaves folders that the next `init` names.
pub async fn found(
    order: &Founding,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<Founded, FoundingError> {
    let checked = check(order)?;
    let warnings = warnings_of(&checked);
    let grid = GridId::from(random.id());
    let known: Vec<KnownDrive> = checked
        .iter()
        .map(|drive| KnownDrive { id: DriveId::from(random.id()), path: drive.path.clone(), failed: None })
        .collect();
    let identity = NodeFile::generate(grid, known.clone())?;
    let root_key = RootKeys::from(RootKey::generate(&*random));
    let mut key_files = Vec::new();
    match &order.key_file {
        Some(path) => {
            root_key.save(path)?;
            key_files.push(path.clone());
        }
        None => {
            for drive in &checked {
                key_files.push(put_beside(&root_key, &drive.path)?);
            }
        }
    }
    for (drive, known) in checked.iter().zip(&known) {
        let label =
            DriveLabel { grid, node: identity.node, drive: known.id, generation: 1, created: clock.now() };
        // Emptiness was checked above; by now the key file lies there.
        label::create(&*drive.disk, &label, true)
            .map_err(|source| io_error("labelling", &drive.path, source))?;
    }
    let home = checked
        .iter()
        .zip(&known)
        .map(|(drive, known)| HomeDrive { id: known.id, disk: drive.disk.clone() })
        .collect();
    let meta = MetaStore::found(home, MetaConfig::default(), clock.clone(), random.clone()).await?;
    let filled = fill(&meta, &identity, root_key, clock, random).await;
    meta.shutdown().await;
    let (access_key, secret_key, operator_key) = filled?;
    for drive in &checked {
        identity
            .write(&*drive.disk)
            .map_err(|source| io_error("writing the node file into", &drive.path, source))?;
    }
    Ok(Founded { grid, node: identity.node, key_files, access_key, secret_key, operator_key, warnings })
}

/// First records and keys; also their secrets: access key, secret key, operator key.
async fn fill(
    meta: &MetaStore,
    identity: &NodeFile,
    root_key: RootKeys,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<(String, String, String), FoundingError> {
    let added = clock.now();
    let node = NodeRecord {
        public_key: HEXLOWER.encode(&identity.public_key()),
        incarnation: 0,
        nonce: String::new(),
        added,
        restored: false,
    };
    let mut writes = vec![RecordWrite {
        kind: RecordKind::Node,
        key: identity.node.as_bytes().to_vec(),
        expect: Expect::Absent,
        value: Some(records::encode(&node)?),
    }];
    for drive in &identity.drives {
        let path = drive.path.clone();
        let record = DriveRecord { node: identity.node, path, locked: false, leaving: false, added };
        writes.push(RecordWrite {
            kind: RecordKind::Drive,
            key: drive.id.as_bytes().to_vec(),
            expect: Expect::Absent,
            value: Some(records::encode(&record)?),
        });
    }
    let mut fresh = [0; 32];
    random.fill(&mut fresh);
    let operator_key = OperatorKey::from_random(fresh);
    writes.push(operator_key_write(operator_key.hash()));
    meta.write_records(writes).await?;
    let iam = Iam::new(meta.clone(), root_key, clock, random);
    let (key, secret) = iam.create(FIRST_USER, None).await?;
    Ok((key.id, secret.to_string(), operator_key.reveal().to_owned()))
}

/// Stores the hash of an operator key: a version byte, then 32 bytes.
pub fn operator_key_write(hash: OperatorKeyHash) -> RecordWrite {
    let mut value = vec![1];
    value.extend_from_slice(&hash.0);
    RecordWrite {
        kind: RecordKind::Setting,
        key: OPERATOR_KEY_SETTING.to_vec(),
        expect: Expect::Any,
        value: Some(value),
    }
}

/// Reads what `operator_key_write` stored.
pub fn operator_key_hash(value: &[u8]) -> Option<OperatorKeyHash> {
    match value.split_first() {
        Some((1, hash)) => hash.try_into().ok().map(OperatorKeyHash),
        _ => None,
    }
}

/// Looks at every folder before anything is written.
pub fn check(order: &Founding) -> Result<Vec<Checked>, FoundingError> {
    let refuse = |message: String| Err(FoundingError::Refused(message));
    if order.drives.is_empty() {
        return refuse("name at least one folder: `shoal init --drive PATH`".to_owned());
    }
    if let Some(path) = &order.key_file
        && path.exists()
    {
        return refuse(format!("{} exists already; a root key is never overwritten", path.display()));
    }
    let mut checked: Vec<Checked> = Vec::new();
    for folder in &order.drives {
        let shown = folder.display();
        let disk = RealDisk::open(folder)
            .map_err(|source| FoundingError::Refused(format!("{shown}: {source}; make the folder first")))?;
        // One folder under two names would become two drives.
        let path = folder.canonicalize().map_err(|source| io_error("resolving", folder, source))?;
        if checked.iter().any(|other| other.path == path) {
            return refuse(format!("{shown} is named twice"));
        }
        if path.to_str().is_none() {
            return refuse(format!("{shown}: the name of a drive's folder must be UTF-8"));
        }
        match label::read(&disk) {
            Ok(None) => {}
            Ok(Some(found)) => {
                let cut_short = matches!(NodeFile::read(&disk), Ok(None));
                let hint = if cut_short {
                    "; its founding was cut short: if nothing was ever stored there, empty it and run `init` again"
                } else {
                    "; `shoal serve` takes it up, nothing here erases it"
                };
                return refuse(format!("{shown} is a drive of grid {} already{hint}", found.grid));
            }
            Err(error) => return refuse(format!("{shown} has a damaged {LABEL_FILE}: {error}")),
        }
        let entries = disk.list("").map_err(|source| io_error("listing", folder, source))?;
        if entries.iter().any(|entry| entry.name == ROOT_KEY_FILE) && order.key_file.is_none() {
            return refuse(format!(
                "{shown} holds a {ROOT_KEY_FILE} already; a root key is never overwritten"
            ));
        }
        let others: Vec<&str> = entries
            .iter()
            .map(|entry| entry.name.as_str())
            .filter(|name| !["lost+found", PREPARED_KEY_FILE].contains(name))
            .collect();
        if !others.is_empty() && !order.allow_not_empty {
            return refuse(format!(
                "{shown} is not empty (it holds {}{}); say --allow-not-empty to keep that and use the folder all the same",
                others[0],
                if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() }
            ));
        }
        let file_system = disk.file_system().map_err(|source| io_error("looking at", folder, source))?;
        if let Some(other) = checked.iter().find(|other| other.file_system == file_system)
            && !order.same_file_system_ok
        {
            return refuse(format!(
                "{shown} and {} lie on one file system: both would be lost together and count as one failure domain; say \
                 --same-file-system-ok to use them all the same",
                other.path.display()
            ));
        }
        checked.push(Checked { path, disk: Arc::new(disk), file_system });
    }
    Ok(checked)
}

/// What the operator should know of these folders.
pub fn warnings_of(checked: &[Checked]) -> Vec<String> {
    let mut file_systems: Vec<&str> = checked.iter().map(|drive| drive.file_system.as_str()).collect();
    file_systems.sort_unstable();
    file_systems.dedup();
    if file_systems.len() == checked.len() {
        return Vec::new();
    }
    vec![format!(
        "{} drives lie on {} file systems: drives on one file system are one failure domain",
        checked.len(),
        file_systems.len()
    )]
}

fn io_error(operation: &str, path: &Path, source: io::Error) -> FoundingError {
    FoundingError::Io { operation: format!("{operation} {}", path.display()), source }
}
