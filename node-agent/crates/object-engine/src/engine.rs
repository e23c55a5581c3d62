//! The entry point: what the front doors call. The operations lie in a file a family.

use std::sync::Arc;
use std::time::Duration;

use grid_types::{BucketName, ErrorCode, OpId, ProfileChoice, VersionId};
use keyring::RootKeys;
use meta_store::root::Bucket;
use meta_store::{Command, MetaStore, Outcome};
use segment_store::SegmentStore;
use sys::{Clock, Random};

use crate::changes::{Changes, ROW_BYTES_GUESSED};
use crate::digest::DigestPool;
use crate::internal::is_internal;
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
    changes: Changes,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    config: EngineConfig,
}

impl ObjectEngine {
    /// Over metadata, segments and keys.
    pub fn new(
        meta: MetaStore,
        segments: SegmentStore,
        root_keys: impl Into<RootKeys>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        config: EngineConfig,
    ) -> Self {
        let keys = BucketKeys::new(meta.clone(), root_keys.into());
        Self {
            shared: Arc::new(Shared {
                meta,
                segments,
                keys,
                digests: DigestPool::default(),
                changes: Changes::default(),
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

    pub(crate) fn changes(&self) -> &Changes {
        &self.shared.changes
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
        for last_try in (0..COMMIT_TRIES_MAX).map(|done| done + 1 == COMMIT_TRIES_MAX) {
            let command = command(generation);
            let changed = if is_internal(&bucket.name) { 0 } else { row_bytes(&command) };
            let error = match self.shared.meta.commit(op, command).await {
                Ok(outcome) => {
                    // After the commit, so that a backup that misses the one misses the other.
                    if changed > 0 {
                        self.shared.changes.object_changed(changed);
                    }
                    return Ok(outcome);
                }
                Err(error) => error,
            };
            match error.code() {
                _ if last_try => return Err(error.into()),
                ErrorCode::StaleGeneration => generation = self.same_bucket(bucket).await?.generation,
                ErrorCode::WrongShard | ErrorCode::SlowDown => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                _ => return Err(error.into()),
            }
        }
        Err(EngineError::refused(ErrorCode::Internal, "a commit without a try"))
    }

    async fn same_bucket(&self, bucket: &Bucket) -> Result<Bucket, EngineError> {
        let now = self.any_bucket(&bucket.name).await?;
        if now.id == bucket.id { Ok(now) } else { Err(EngineError::no_such_bucket(&bucket.name)) }
    }

    /// The bucket, or NoSuchBucket.
    pub async fn bucket(&self, name: &BucketName) -> Result<Bucket, EngineError> {
        if is_internal(name) {
            return Err(EngineError::no_such_bucket(name));
        }
        self.any_bucket(name).await
    }

    async fn any_bucket(&self, name: &BucketName) -> Result<Bucket, EngineError> {
        self.shared.meta.bucket(name).await?.ok_or_else(|| EngineError::no_such_bucket(name))
    }
}

/// About how many bytes of rows a command changes.
fn row_bytes(command: &Command) -> u64 {
    let variable = match command {
        Command::PutVersion { version, inline, segments, .. } => {
            version.attributes.len() + inline.as_ref().map_or(0, Vec::len) + 100 * segments.len()
        }
        Command::PutPart { segments, .. } => 100 * segments.len(),
        Command::CompleteUpload { parts, .. } => 60 * parts.len(),
        _ => 0,
    };
    ROW_BYTES_GUESSED + variable as u64
}

/// An outcome that the command cannot have: a bug, told as one.
pub(crate) fn unexpected(outcome: &Outcome) -> EngineError {
    EngineError::refused(ErrorCode::Internal, format!("the metadata store answered {outcome:?}"))
}
