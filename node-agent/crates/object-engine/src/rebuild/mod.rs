//! Lost metadata made anew from the drives: `shoal rebuild-metadata`.
//!
//! First, what is left of the old metadata is set aside, never removed. The newest backup that can be read whole founds
//! the new metadata; without one it is founded empty. The root bag adds buckets, keys, members and settings that came
//! later. Then all chunks of all drives are walked in the order of their segments: rows are told where their chunks
//! really are; segments without a row are read for their object record. Plain objects written after the backup come
//! back. What no record explains is quarantined: an object of the internal bucket refers to it, so that nothing collects
//! it.
//!
//! Lost, and told in the report: inline objects, deletes, uploads completed and settings changed after the backup.
//!
//! Memory: one segment's chunks, and the segments of objects larger than one segment of which not all were seen yet (at
//! most one entry for each 64 MiB on the drives).

mod apply;
mod located;
mod report;
mod restore;
mod walk;

pub use report::{Quarantined, RebuildReport};

use std::sync::Arc;

use chunk_store::ChunkStore;
use keyring::RootKey;
use meta_store::home::HomeDrive;
use meta_store::{MetaConfig, MetaStore};
use segment_store::SegmentStore;
use sys::{Clock, Random};

use crate::backup::{BACKUP_LIST_FILE, BackupList, ROOT_BAG_FILE, RootBag};
use crate::{EngineConfig, EngineError, ObjectEngine};

/// What a rebuild works on. The node must not run.
pub struct Rebuild {
    /// All drives that could be opened.
    pub chunks: ChunkStore,
    /// Reads backups; its `GridView` must know the drives.
    pub segments: SegmentStore,
    /// The same drives, as homes of the new metadata.
    pub home: Vec<HomeDrive>,
    /// The grid's root key.
    pub root_key: RootKey,
    /// Limits of the new metadata.
    pub meta_config: MetaConfig,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// Makes the metadata anew; returns it running, with what was found and what is lost. May be run again after it was
/// cut short: it begins anew.
pub async fn rebuild_metadata(parts: Rebuild) -> Result<(MetaStore, RebuildReport), EngineError> {
    let drives = parts.chunks.drives();
    let bags: Vec<RootBag> = ROOT_BAG_FILE.read_all(&drives).await;
    let lists: Vec<BackupList> = BACKUP_LIST_FILE.read_all(&drives).await;
    let bag = bags.into_iter().max_by_key(|bag| bag.sequence);
    let list = lists.into_iter().max_by_key(|list| list.sequence).unwrap_or_default();
    let mut report = RebuildReport { drives: drives.len(), root_bag: bag.is_some(), ..Default::default() };
    let bag = bag.unwrap_or_default();

    let meta = restore::found_anew(&parts, &bag, &list, &mut report).await?;
    let engine = ObjectEngine::new(
        meta.clone(),
        parts.segments.clone(),
        parts.root_key.clone(),
        parts.clock.clone(),
        parts.random.clone(),
        EngineConfig::default(),
    );
    let walked = async {
        restore::apply_bag(&meta, &bag, &mut report).await?;
        apply::Finder::new(&engine, &parts, &mut report).await?.run().await
    };
    match walked.await {
        Ok(()) => Ok((meta, report)),
        Err(error) => {
            meta.shutdown().await;
            Err(error)
        }
    }
}
