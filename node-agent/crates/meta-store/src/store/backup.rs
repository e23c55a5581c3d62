//! Images of shards for backups, and founding metadata anew from them.
//!
//! An image knows nothing of the log that led to it once it is restored: the restored shard is like a new one whose
//! first snapshot is not empty. So images of different shards need not be of one moment, as long as all shards of the
//! map are there.

use std::sync::Arc;

use bytes::Bytes;
use grid_types::{SegmentId, ShardId};
use sys::{Clock, Random};
use tokio::sync::mpsc;

use super::homes::Homes;
use super::{Inner, MetaStore, blocking, io};
use crate::generation;
use crate::home::HomeDrive;
use crate::log::SharedLog;
use crate::state::{ImageChunks, ShardFile, sqlite_version_is_safe};
use crate::{MetaConfig, MetaError, MetaPeers};

/// Pieces of an image that wait to be written: 256 KiB each.
const PIECES_WAITING_MAX: usize = 4;

/// One shard's rows as of one moment, in pieces. While it lives the shard is not checkpointed: read it soon.
pub struct ShardImage {
    /// `None` only while a piece is read, and after an error.
    chunks: Option<ImageChunks>,
    len: u64,
}

impl ShardImage {
    /// Bytes in all.
    pub fn size(&self) -> u64 {
        self.len
    }

    /// The next piece; `None` at the end. Not safe to drop half-way: the rest is gone then.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>, MetaError> {
        let lost = || io("read an image")(std::io::Error::other("an earlier read of it broke off"));
        let mut chunks = self.chunks.take().ok_or_else(lost)?;
        let (chunks, piece) = blocking(move || {
            let piece = chunks.next_chunk().map_err(io("read an image"))?;
            Ok((chunks, piece))
        })
        .await?;
        self.chunks = Some(chunks);
        Ok(piece.map(Bytes::from))
    }
}

/// Where the pieces of an image come from when it is restored.
pub type ImagePieces = mpsc::Receiver<Result<Bytes, MetaError>>;

/// A channel for `MetaStore::restore`.
pub fn image_pieces() -> (mpsc::Sender<Result<Bytes, MetaError>>, ImagePieces) {
    mpsc::channel(PIECES_WAITING_MAX)
}

impl MetaStore {
    /// The shards that a backup must hold, the root shard last: it holds the map of all others.
    pub fn shards_to_back_up(&self) -> Vec<ShardId> {
        let mut shards = self.shards();
        shards.push(ShardId::ROOT);
        shards
    }

    /// One shard's rows as of now: everything that was acknowledged before is in it, also where another node leads the shard.
    pub async fn image(&self, shard: ShardId) -> Result<ShardImage, MetaError> {
        self.inner.ask_named(shard, |_| Ok(())).await?;
        let (file, _) = self.inner.group(shard)?.file()?;
        let chunks = blocking(move || file.image().map_err(|error| error.of_shard(shard))).await?;
        Ok(ShardImage { len: chunks.len(), chunks: Some(chunks) })
    }

    /// Was this segment given up, by a delete, an overwrite or the reaper (any shard)? For rebuilds.
    pub async fn is_given_up(&self, segment: SegmentId) -> Result<bool, MetaError> {
        for shard in self.shards() {
            if self.inner.ask_named(shard, move |view| view.is_given_up(segment)).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Founds metadata on these drives as `found` does, from images. `images` gives each shard's pieces; all shards that
    /// the restored root shard maps must be among them, else `Damaged`. Operations that ran when an image was taken are
    /// forgotten, a split that was not handed over is given up.
    pub async fn restore(
        home: Vec<HomeDrive>,
        config: MetaConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        images: Vec<(ShardId, ImagePieces)>,
    ) -> Result<Self, MetaError> {
        Self::restore_as(MetaPeers::alone(), home, config, clock, random, images).await
    }

    /// As `restore`, on a node of a grid that had several. It alone votes at first, whoever voted when the images were taken.
    pub async fn restore_as(
        peers: MetaPeers,
        home: Vec<HomeDrive>,
        config: MetaConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        images: Vec<(ShardId, ImagePieces)>,
    ) -> Result<Self, MetaError> {
        sqlite_version_is_safe().map_err(MetaError::Damaged)?;
        let (log, homes) = {
            let (config, random) = (config.clone(), random.clone());
            blocking(move || {
                generation::write(&home, config.generation).map_err(io("write the generation"))?;
                let log = SharedLog::create(&home, config.log.clone(), random.as_ref())?;
                let homes = Arc::new(Homes::new(home, log.mirrors(), &config)?);
                Ok((log, homes))
            })
            .await?
        };
        let mut restored = Vec::new();
        for (shard, pieces) in images {
            let homes = homes.clone();
            blocking(move || restore_shard(&homes, shard, pieces)).await?;
            restored.push(shard);
        }
        if !restored.contains(&ShardId::ROOT) {
            return Err(MetaError::Damaged("the backup has no root shard".to_owned()));
        }
        peers.set_generation(config.generation);
        let inner = Inner::new(log, homes, config, clock, random, peers)?;
        inner.start_group(ShardId::ROOT).await?;
        let ranges = inner.reload_map().await?;
        if let Some((missing, _)) = ranges.iter().find(|(shard, _)| !restored.contains(shard)) {
            return Err(MetaError::Damaged(format!("the backup has no image of shard {missing}")));
        }
        for (shard, _) in ranges {
            inner.start_group(shard).await?;
        }
        inner.undo_deletions(None).await?;
        Ok(Self::running(inner))
    }
}

fn restore_shard(homes: &Arc<Homes>, shard: ShardId, mut pieces: ImagePieces) -> Result<(), MetaError> {
    let (_, storage) = homes.storage(shard)?;
    let of_shard = |error: crate::state::StateError| error.of_shard(shard);
    let next = || pieces.blocking_recv().transpose().map_err(std::io::Error::other);
    let file = ShardFile::restore(storage, next, homes.cache_bytes(), homes.clone()).map_err(of_shard)?;
    file.check().map_err(of_shard)?;
    file.forget_log().map_err(of_shard)?;
    let image = Arc::new(file).image().map_err(of_shard)?;
    homes.write_snapshot(shard, image).map(|_| ())
}
