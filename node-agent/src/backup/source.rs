//! What a node streams as a backup.

use std::sync::Arc;
use std::time::Duration;

use admin_api::ByteStream;
use bytes::Bytes;
use futures_util::StreamExt;
use grid_types::{GridId, NodeId, ShardId};
use keyring::{PassphraseKey, RootKeys};
use meta_store::{MetaError, MetaStore, ShardImage};
use ring::digest::{Context, SHA256};
use sys::Clock;
use tokio::sync::mpsc;

use super::format::{Encoder, Head, Manifest, PAYLOAD_BYTES_MAX, ShardSize};
use crate::grid::{GridRegistry, RegistryFailure};

/// Tries to catch all shards between two splits.
const SET_TRIES_MAX: u32 = 5;
/// Pieces that wait for who reads: 256 KiB each.
const PIECES_WAITING_MAX: usize = 4;
/// A reader that takes nothing for so long is gone: while it is waited for, no shard is checkpointed.
const STALL_MAX: Duration = Duration::from_secs(60);

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The metadata.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The member list.
    #[error("the member list: {0}")]
    Members(#[from] RegistryFailure),
    /// The manifest.
    #[error("writing the manifest: {0}")]
    Manifest(#[from] serde_json::Error),
    /// No moment was found at which all shards stood still.
    #[error("shards keep splitting under the backup: try again in a minute")]
    Splitting,
}

/// What a backup is made of.
pub struct BackupSource {
    /// The grid.
    pub grid: GridId,
    /// This node.
    pub node: NodeId,
    /// Metadata.
    pub meta: MetaStore,
    /// Members.
    pub registry: GridRegistry,
    /// The root keys.
    pub root_keys: RootKeys,
    /// For its stamp.
    pub clock: Arc<dyn Clock>,
}

impl BackupSource {
    /// Begins. All shards are as of one moment between call and answer. `held` lives as long as the stream.
    pub async fn stream(
        self,
        head: impl FnOnce(GridId, grid_types::Timestamp) -> Head,
        key: PassphraseKey,
        held: impl Send + 'static,
    ) -> Result<ByteStream, SourceError> {
        let stamp = self.clock.now();
        let members = self.registry.current().await?;
        let images = self.images().await?;
        let manifest = Manifest {
            release: env!("CARGO_PKG_VERSION").to_owned(),
            grid: self.grid,
            node: self.node,
            stamp,
            shards: images
                .iter()
                .map(|(shard, image)| ShardSize { shard: *shard, bytes: image.size() })
                .collect(),
        };
        let (mut encoder, first) = Encoder::new(&head(self.grid, stamp), &key);
        let mut beginning = vec![first];
        beginning.extend(encoder.begin(&manifest, &self.root_keys, members.bytes())?);
        let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
        tokio::spawn(async move {
            let _held = held;
            if let Err(error) = send_all(&sender, beginning, encoder, images).await {
                tracing::warn!(%error, "a backup broke off");
                // Whoever reads must not take a part for the whole; it may be gone.
                let _ = sender.send_timeout(Err(error.into()), STALL_MAX).await;
            }
        });
        Ok(futures_util::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|piece| (piece, receiver))
        })
        .boxed())
    }

    async fn images(&self) -> Result<Vec<(ShardId, ShardImage)>, SourceError> {
        for _ in 0..SET_TRIES_MAX {
            let shards = self.meta.shards_to_back_up();
            let mut images = Vec::new();
            for shard in &shards {
                images.push((*shard, self.meta.image(*shard).await?));
            }
            // A split in between would leave keys in neither image.
            if self.meta.shards_to_back_up() == shards {
                return Ok(images);
            }
        }
        Err(SourceError::Splitting)
    }
}

type Pieces = mpsc::Sender<Result<Bytes, http_server::BoxError>>;

async fn send_all(
    sender: &Pieces,
    beginning: Vec<Bytes>,
    mut encoder: Encoder,
    images: Vec<(ShardId, ShardImage)>,
) -> Result<(), MetaError> {
    for bytes in beginning {
        send(sender, bytes).await?;
    }
    for (shard, mut image) in images {
        send(sender, encoder.image(shard)).await?;
        let mut hash = Context::new(&SHA256);
        while let Some(piece) = image.next_piece().await? {
            hash.update(&piece);
            for part in piece.chunks(PAYLOAD_BYTES_MAX) {
                send(sender, encoder.piece(part)).await?;
            }
        }
        send(sender, encoder.image_end(hash.finish().as_ref())).await?;
    }
    send(sender, encoder.end()).await
}

async fn send(sender: &Pieces, bytes: Bytes) -> Result<(), MetaError> {
    let gone = |_| MetaError::Io {
        operation: "send a backup",
        source: std::io::Error::new(std::io::ErrorKind::BrokenPipe, "whoever asked for it does not take it"),
    };
    sender.send_timeout(Ok(bytes), STALL_MAX).await.map_err(gone)
}
