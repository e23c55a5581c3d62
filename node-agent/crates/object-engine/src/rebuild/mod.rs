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
//! `restore_metadata` does the same from images that the caller brings, of a backup outside of the grid, and refuses where
//! there is metadata already.
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
use grid_types::{ShardId, Timestamp};
use keyring::RootKeys;
use meta_store::home::HomeDrive;
use meta_store::{ImagePieces, MetaConfig, MetaError, MetaPeers, MetaStore, VoterNumber};
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
    /// The grid's root keys.
    pub root_keys: RootKeys,
    /// This node's number in the grid: it alone votes on the new metadata at first.
    pub number: VoterNumber,
    /// Limits of the new metadata.
    pub meta_config: MetaConfig,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
}

/// A backup from outside of the grid.
pub struct OutsideBackup {
    /// What was acknowledged before is in it.
    pub stamp: Timestamp,
    /// Pieces of every shard's image, in the order in which they come.
    pub images: Vec<(ShardId, ImagePieces)>,
    /// The root bags of the drives were written after it: what they know replaces what it knows.
    pub bags_are_newer: bool,
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
    walk_drives(parts, meta, bag, report).await
}

/// Makes the metadata anew from a backup, then brings back what the drives know beyond it. Where it fails, what it made is
/// set aside; what was there before stops it.
pub async fn restore_metadata(
    parts: Rebuild,
    from: OutsideBackup,
) -> Result<(MetaStore, RebuildReport), EngineError> {
    if MetaStore::exists(parts.home.clone()).await? {
        let there = "there is metadata on these drives already; a backup replaces nothing";
        return Err(MetaError::Damaged(there.to_owned()).into());
    }
    let drives = parts.chunks.drives();
    let bag = match from.bags_are_newer {
        true => ROOT_BAG_FILE.read_all(&drives).await.into_iter().max_by_key(|bag: &RootBag| bag.sequence),
        false => None,
    };
    let mut report = RebuildReport {
        drives: drives.len(),
        root_bag: bag.is_some(),
        backup: Some(from.stamp),
        ..Default::default()
    };
    let home = parts.home.clone();
    let restored = async {
        let (clock, random, peers) =
            (parts.clock.clone(), parts.random.clone(), MetaPeers::lone(parts.number));
        let config = parts.meta_config.clone();
        let meta =
            MetaStore::restore_as(peers, parts.home.clone(), config, clock, random, from.images).await?;
        walk_drives(parts, meta, bag.unwrap_or_default(), report.clone()).await
    };
    match restored.await {
        Ok(done) => Ok(done),
        Err(error) => {
            restore::set_aside(&home, &mut report).await?;
            Err(error)
        }
    }
}

/// Brings back what the drives know beyond the restored metadata.
async fn walk_drives(
    parts: Rebuild,
    meta: MetaStore,
    bag: RootBag,
    mut report: RebuildReport,
) -> Result<(MetaStore, RebuildReport), EngineError> {
    let engine = ObjectEngine::new(
        meta.clone(),
        parts.segments.clone(),
        parts.root_keys.clone(),
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
