//! The entry point: what the front doors call. The operations lie in a file a family.

use std::sync::Arc;
use std::time::Duration;

use grid_types::{BucketName, ErrorCode, OpId, ProfileChoice, VersionId};
use keyring::RootKey;
use meta_store::root::Bucket;
use meta_store::{Command, MetaStore, Outcome};
use segment_store::SegmentStore;
use sys::{Clock, Random};

use crate::digest::DigestPool;
use crate::keys::BucketKeys;
use crate::{EngineConfig, EngineError};

/// The storage class of objects that name none.
pub const STANDARD: &str = "STANDARD";
/// Tries of one commit that met a changed bucket, a moved shard or a full queue.
const COMMIT_TRIES_MAX: u32 = 6;
/// Pause before the second try; doubles with each.
const COMMIT_PAUSE: Duration = Duration::from_millis(5);

/// Object operations on the grid. Cheap to clone.
///
/// Cancellation: reads are safe to drop. A dropped write either commits whole or leaves garbage that is reaped.
#[derive(Clone)]
pub struct ObjectEngine {
    shared: Arc<Shared>,
}

struct Shared {
    meta: MetaStore,
    segments: SegmentStore,
    keys: BucketKeys,
    digests: DigestPool,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    config: EngineConfig,
}

impl ObjectEngine {
    /// Over metadata, segments and keys.
    pub fn new(
        meta: MetaStore,
        segments: SegmentStore,
        root_key: RootKey,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        config: EngineConfig,
    ) -> Self {
        let keys = BucketKeys::new(meta.clone(), root_key);
        Self {
            shared: Arc::new(Shared {
                meta,
                segments,
                keys,
                digests: DigestPool::default(),
                clock,
                random,
                config,
            }),
        }
    }

    /// Limits and settings.
    pub fn config(&self) -> &EngineConfig {
        &self.shared.config
    }

    pub(crate) fn meta(&self) -> &MetaStore {
        &self.shared.meta
    }

    pub(crate) fn segments(&self) -> &SegmentStore {
        &self.shared.segments
    }

    pub(crate) fn keys(&self) -> &BucketKeys {
        &self.shared.keys
    }

    pub(crate) fn digests(&self) -> &DigestPool {
        &self.shared.digests
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.shared.clock
    }

    pub(crate) fn random(&self) -> &dyn Random {
        &*self.shared.random
    }

    pub(crate) fn new_version(&self) -> VersionId {
        VersionId::from(self.shared.random.id())
    }

    /// True for `STANDARD` and the classes of the configuration.
    pub fn has_storage_class(&self, class: &str) -> bool {
        self.storage_class(Some(class)).is_ok()
    }

    /// The class's name for the row, and its profile.
    pub(crate) fn storage_class(&self, asked: Option<&str>) -> Result<(String, ProfileChoice), EngineError> {
        let class = asked.unwrap_or(STANDARD);
        let profile = match self.shared.config.storage_classes.get(class) {
            Some(profile) => *profile,
            None if class == STANDARD => self.shared.config.profile,
            None => {
                let known: Vec<&str> = std::iter::once(STANDARD)
                    .chain(self.shared.config.storage_classes.keys().map(String::as_str))
                    .collect();
                let detail = format!(
                    "The storage class you specified is not valid; this grid has {}",
                    known.join(", ")
                );
                return Err(EngineError::invalid_argument(detail));
            }
        };
        Ok((class.to_owned(), profile))
    }

    /// Commits under one op id. `command` is made anew for each try with the bucket's generation; a bucket that was
    /// deleted meanwhile is NoSuchBucket even where another one has its name by now, since the body is sealed for the
    /// old one.
    pub(crate) async fn commit(
        &self,
        bucket: &Bucket,
        command: impl Fn(u64) -> Command,
    ) -> Result<Outcome, EngineError> {
        let op: OpId = self.shared.meta.new_op();
        let mut generation = bucket.generation;
        let mut pause = COMMIT_PAUSE;
        for _ in 1..COMMIT_TRIES_MAX {
            let error = match self.shared.meta.commit(op, command(generation)).await {
                Ok(outcome) => return Ok(outcome),
                Err(error) => error,
            };
            match error.code() {
                ErrorCode::StaleGeneration => generation = self.same_bucket(bucket).await?.generation,
                ErrorCode::WrongShard | ErrorCode::SlowDown => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                _ => return Err(error.into()),
            }
        }
        Ok(self.shared.meta.commit(op, command(generation)).await?)
    }

    async fn same_bucket(&self, bucket: &Bucket) -> Result<Bucket, EngineError> {
        let now = self.bucket(&bucket.name).await?;
        if now.id == bucket.id { Ok(now) } else { Err(EngineError::no_such_bucket(&bucket.name)) }
    }

    /// The bucket, or NoSuchBucket.
    pub async fn bucket(&self, name: &BucketName) -> Result<Bucket, EngineError> {
        self.shared.meta.bucket(name).await?.ok_or_else(|| EngineError::no_such_bucket(name))
    }
}

/// An outcome that the command cannot have: a bug, told as one.
pub(crate) fn unexpected(outcome: &Outcome) -> EngineError {
    EngineError::refused(ErrorCode::Internal, format!("the metadata store answered {outcome:?}"))
}
