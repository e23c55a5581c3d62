//! The folder of a demo: its drives, and its keys in a file, so that a later run takes both up again.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sys::{Clock, Random};

use crate::command::Failure;
use crate::founding::{Founding, found};

/// Name of the file in the demo's folder. Holds secrets: mode 0600.
const KEYS_FILE: &str = "shoal-demo.json";

/// What a demo remembers.
#[derive(Serialize, Deserialize)]
pub struct DemoKeys {
    /// Folders of its drives, relative to the demo's folder.
    pub drives: Vec<PathBuf>,
    /// The first access key.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// The operator key.
    pub operator_key: String,
}

/// A demo on disk.
pub struct DemoStore {
    /// Founded just now?
    pub new: bool,
    /// Folders of its drives, absolute.
    pub drives: Vec<PathBuf>,
    /// Its keys.
    pub keys: DemoKeys,
}

impl DemoStore {
    /// Takes up the demo in this folder, or founds one with so many drives. A drive folder that is gone stays gone.
    pub async fn open_or_found(
        dir: &Path,
        drives: u32,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, Failure> {
        let file = dir.join(KEYS_FILE);
        if file.exists() {
            let keys: DemoKeys = serde_json::from_slice(&std::fs::read(&file)?)
                .map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
            let drives = keys.drives.iter().map(|drive| dir.join(drive)).collect();
            return Ok(Self { new: false, drives, keys });
        }
        if std::fs::read_dir(dir)?.next().is_some() {
            let message = "holds files and no demo; name an empty or a new folder";
            return Err(format!("{} {message}", dir.display()).into());
        }
        let names: Vec<PathBuf> = (1..=drives).map(|number| format!("drive-{number}").into()).collect();
        let folders: Vec<PathBuf> = names.iter().map(|name| dir.join(name)).collect();
        for folder in &folders {
            std::fs::create_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let order = Founding {
            drives: folders.clone(),
            key_file: None,
            allow_not_empty: false,
            same_file_system_ok: true,
        };
        let founded = found(&order, clock, random).await?;
        let keys = DemoKeys {
            drives: names,
            access_key: founded.access_key,
            secret_key: founded.secret_key,
            operator_key: founded.operator_key,
        };
        // Under another name first: a demo cut short while founding must not look like one that is whole.
        let temporary = dir.join(format!("{KEYS_FILE}.new"));
        let mut written = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        written.write_all(&serde_json::to_vec_pretty(&keys)?)?;
        written.sync_all()?;
        std::fs::rename(&temporary, &file)?;
        std::fs::File::open(dir)?.sync_all()?;
        Ok(Self { new: true, drives: folders, keys })
    }
}
