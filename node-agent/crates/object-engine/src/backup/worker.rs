//! Keeps root bag, backups and their list up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chunk_store::{ChunkStore, Drive};
use futures_util::StreamExt;
use grid_types::{DriveId, ErrorCode, ObjectKey, ShardId, Timestamp};
use meta_store::root::{Bucket, Expect, RecordKind, RecordWrite};
use meta_store::{ShardImage, WriteCondition};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::bag::{ROOT_BAG_FILE, RootBag};
use super::drive_file::DriveFile;
use super::list::{BACKUP_LIST_FILE, BackupList, BackupSet, ShardCopy};
use crate::put::{NewVersion, PLAIN_PART};
use crate::sink::BodyPlace;
use crate::write::BodyLimits;
use crate::{Attributes, EngineError, ExpectedDigests, ListObjects, ObjectEngine};

/// Keys of backups in the internal bucket begin with it.
const PREFIX: &str = "backup/";
/// Tries to catch all shards between two splits.
const SET_TRIES_MAX: u32 = 5;
/// Pages of backups to look through for old ones.
const LIST_PAGE: usize = 1_000;

/// Periods and limits; `Default` is what users get.
#[derive(Debug, Clone)]
pub struct BackupConfig {
    /// A backup is taken so long after the last one, if something changed.
    pub period: Duration,
    /// ... or when so many bytes of rows changed.
    pub changed_bytes_max: u64,
    /// Backups kept.
    pub kept: usize,
    /// How often changes are looked for.
    pub tick: Duration,
    /// The root bag is compared with the root shard at least so often; at once where a bucket came or went.
    pub bag_period: Duration,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            period: Duration::from_secs(15 * 60),
            changed_bytes_max: 64 << 20,
            kept: 3,
            tick: Duration::from_secs(1),
            bag_period: Duration::from_secs(60),
        }
    }
}

/// What status shows.
#[derive(Debug, Clone, Default)]
pub struct BackupStatus {
    /// The newest backup.
    pub last: Option<Timestamp>,
    /// Bytes of its images.
    pub last_bytes: u64,
    /// Why the last try failed, if it did.
    pub trouble: Option<String>,
}

/// Keeps root bag, backups and their list up to date. One a node.
pub struct MetadataBackup {
    engine: ObjectEngine,
    chunks: ChunkStore,
    config: BackupConfig,
    state: tokio::sync::Mutex<State>,
    status: Mutex<BackupStatus>,
}

/// The root record (kind 7) that holds the list for all nodes: only who leads the root shard takes backups.
const LIST_RECORD: &[u8] = b"backup-list";

/// What lies on the drives, as far as this run knows.
struct State {
    bag: RootBag,
    list: BackupList,
    bag_spread: Spread,
    list_spread: Spread,
    /// Time since boot.
    bag_compared: Option<Duration>,
    bag_changes: u64,
    backed_up: Duration,
    /// `Changes` when the last image was taken.
    changes: u64,
    changed_bytes: u64,
    /// What the metadata had applied when the last backup was done.
    applied: u64,
}

/// Which drives have the newest state of a file.
#[derive(Default)]
struct Spread {
    on: BTreeSet<DriveId>,
    /// Where writing it failed: tried again with the next comparison, not at each tick.
    failed: BTreeSet<DriveId>,
}

impl Spread {
    fn tried(&self, drive: &Drive) -> bool {
        self.on.contains(&drive.id()) || self.failed.contains(&drive.id())
    }

    async fn write(&mut self, file: DriveFile, drives: impl Iterator<Item = Drive>, bytes: Vec<u8>) {
        let lacking: Vec<Drive> = drives.filter(|drive| !self.on.contains(&drive.id())).collect();
        let failed = file.write_all(&lacking, bytes).await;
        for (drive, error) in &failed {
            tracing::warn!(drive = %drive.id(), file = file.path, %error, "a file for rebuilds was not written");
        }
        self.failed = failed.iter().map(|(drive, _)| drive.id()).collect();
        self.on.extend(lacking.iter().map(Drive::id).filter(|id| !self.failed.contains(id)));
    }
}

impl MetadataBackup {
    /// Takes up what lies on the drives. The first backup of a run is due a period after its start.
    pub async fn start(engine: ObjectEngine, chunks: ChunkStore, config: BackupConfig) -> Self {
        let drives = chunks.drives();
        let newest = |bag: &RootBag| bag.sequence;
        let bag = ROOT_BAG_FILE.read_all(&drives).await.into_iter().max_by_key(newest).unwrap_or_default();
        let lists: Vec<BackupList> = BACKUP_LIST_FILE.read_all(&drives).await;
        let list = lists.into_iter().max_by_key(|list| list.sequence).unwrap_or_default();
        let status = BackupStatus {
            last: list.sets.first().map(|set| set.stamp),
            last_bytes: list.sets.first().map_or(0, BackupSet::bytes),
            trouble: None,
        };
        let state = State {
            bag,
            list,
            bag_spread: Spread::default(),
            list_spread: Spread::default(),
            bag_compared: None,
            bag_changes: 0,
            backed_up: engine.clock().since_boot(),
            // Whether the run before backed up its last changes is not known.
            changes: u64::MAX,
            changed_bytes: 0,
            applied: 0,
        };
        let state = tokio::sync::Mutex::new(state);
        Self { engine, chunks, config, state, status: Mutex::new(status) }
    }

    /// Works until `stop`. What fails is tried again at the next tick.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.config.tick) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
            self.note(&self.tick().await);
        }
    }

    /// What status shows.
    pub fn status(&self) -> BackupStatus {
        self.status.lock().clone()
    }

    /// Takes a backup now, due or not.
    pub async fn back_up_now(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock().await;
        self.refresh_bag(&mut state).await?;
        let done = self.back_up(&mut state).await;
        self.note(&done);
        done
    }

    /// Puts what the root shard says now on every drive in service; an error where one does not take it.
    pub async fn refresh_now(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock().await;
        self.refresh_bag(&mut state).await?;
        match state.bag_spread.failed.first() {
            None => Ok(()),
            Some(drive) => {
                let detail = format!("drive {drive} did not take the root bag");
                Err(EngineError::refused(ErrorCode::DriveFailed, detail))
            }
        }
    }

    /// Does what is due. Safe to drop: what was written of an unfinished backup is dropped with the next one.
    pub async fn tick(&self) -> Result<(), EngineError> {
        let mut state = self.state.lock().await;
        let now = self.engine.clock().since_boot();
        let compared = state.bag_compared.is_some_and(|at| now.saturating_sub(at) < self.config.bag_period);
        let new_drive = self.in_service().any(|drive| !state.bag_spread.tried(&drive));
        if !compared || new_drive || self.engine.changes().roots() != state.bag_changes {
            self.refresh_bag(&mut state).await?;
            self.adopt_list(&mut state).await?;
            self.write_list(&mut state).await;
        }
        let (meta, alone) = (self.engine.meta(), self.engine.meta().peers().is_alone());
        if !alone && !meta.leads(ShardId::ROOT) {
            return Ok(());
        }
        let (changes, bytes) = self.engine.changes().objects();
        let changed = changes != state.changes || !alone && meta.applied() != state.applied;
        let due = now.saturating_sub(state.backed_up) >= self.config.period && changed;
        let much = bytes.saturating_sub(state.changed_bytes) >= self.config.changed_bytes_max;
        if due || much {
            return self.back_up(&mut state).await;
        }
        Ok(())
    }

    fn note(&self, done: &Result<(), EngineError>) {
        let trouble = done.as_ref().err().map(ToString::to_string);
        let mut status = self.status.lock();
        if trouble.is_some() && trouble != status.trouble {
            tracing::warn!(trouble, "the metadata could not be backed up");
        }
        status.trouble = trouble;
    }

    fn in_service(&self) -> impl Iterator<Item = Drive> {
        self.chunks.drives().into_iter().filter(|drive| drive.out_of_service().is_none())
    }

    async fn refresh_bag(&self, state: &mut State) -> Result<(), EngineError> {
        let changes = self.engine.changes().roots();
        let now = RootBag { sequence: state.bag.sequence, ..RootBag::collect(self.engine.meta()).await? };
        if now != state.bag {
            state.bag = RootBag { sequence: now.sequence + 1, ..now };
            state.bag_spread = Spread::default();
        }
        let bytes = ROOT_BAG_FILE.encode(&state.bag);
        state.bag_spread.write(ROOT_BAG_FILE, self.in_service(), bytes).await;
        state.bag_compared = Some(self.engine.clock().since_boot());
        state.bag_changes = changes;
        Ok(())
    }

    /// Another node may have taken the last backup: its list counts here, too.
    async fn adopt_list(&self, state: &mut State) -> Result<(), EngineError> {
        let meta = self.engine.meta();
        if meta.peers().is_alone() {
            return Ok(());
        }
        let Some(record) = meta.record(RecordKind::Setting, LIST_RECORD).await? else { return Ok(()) };
        match BACKUP_LIST_FILE.decode::<BackupList>(&record.value) {
            Ok(list) if list.sequence > state.list.sequence => {
                state.list = list;
                state.list_spread = Spread::default();
            }
            Ok(_) => {}
            Err(reason) => tracing::warn!(reason, "the grid's list of backups is of no use"),
        }
        Ok(())
    }

    async fn write_list(&self, state: &mut State) {
        if !state.list.sets.is_empty() {
            let bytes = BACKUP_LIST_FILE.encode(&state.list);
            state.list_spread.write(BACKUP_LIST_FILE, self.in_service(), bytes).await;
        }
    }

    async fn back_up(&self, state: &mut State) -> Result<(), EngineError> {
        let bucket = self.engine.internal_bucket().await?;
        // The internal bucket's key must be in the bag before anything is sealed with it.
        self.refresh_bag(state).await?;
        self.adopt_list(state).await?;
        let (changes, changed_bytes) = self.engine.changes().objects();
        let sequence = state.list.sets.first().map_or(0, |set| set.sequence) + 1;
        let set = self.write_set(&bucket, sequence).await?;
        (state.changes, state.changed_bytes) = (changes, changed_bytes);
        state.backed_up = self.engine.clock().since_boot();
        {
            let mut status = self.status.lock();
            (status.last, status.last_bytes) = (Some(set.stamp), set.bytes());
        }
        tracing::info!(sequence, bytes = set.bytes(), shards = set.shards.len(), "metadata backed up");
        state.list.sets.insert(0, set);
        state.list.sets.truncate(self.config.kept.max(1));
        state.list.sequence += 1;
        state.list_spread = Spread::default();
        self.write_list(state).await;
        self.engine
            .meta()
            .write_records(vec![RecordWrite {
                kind: RecordKind::Setting,
                key: LIST_RECORD.to_vec(),
                expect: Expect::Any,
                value: Some(BACKUP_LIST_FILE.encode(&state.list)),
            }])
            .await?;
        state.applied = self.engine.meta().applied();
        if state.list_spread.on.is_empty() {
            return Err(EngineError::refused(ErrorCode::DriveFailed, "no drive took the list of backups"));
        }
        self.drop_old(&bucket, &state.list).await
    }

    async fn write_set(&self, bucket: &Bucket, sequence: u64) -> Result<BackupSet, EngineError> {
        let meta = self.engine.meta();
        for _ in 0..SET_TRIES_MAX {
            let shards = meta.shards_to_back_up();
            let stamp = self.engine.clock().now();
            let mut copies = BTreeMap::new();
            for (order, shard) in shards.iter().enumerate() {
                let image = meta.image(*shard).await?;
                copies.insert(order, self.write_image(bucket, sequence, *shard, image).await?);
            }
            // A split in between would leave keys in neither image.
            if meta.shards_to_back_up() == shards {
                return Ok(BackupSet {
                    sequence,
                    stamp,
                    bucket: bucket.id,
                    shards: copies.into_values().collect(),
                });
            }
        }
        Err(EngineError::refused(ErrorCode::Unavailable, "shards keep splitting under the backup"))
    }

    async fn write_image(
        &self,
        bucket: &Bucket,
        sequence: u64,
        shard: ShardId,
        image: ShardImage,
    ) -> Result<ShardCopy, EngineError> {
        let engine = &self.engine;
        let size = image.size();
        let key = object_key(&format!("{PREFIX}{sequence:020}/{shard}"))?;
        let (storage_class, profile) = engine.storage_class(None)?;
        let new = NewVersion {
            version: engine.new_version(),
            storage_class,
            attributes: Attributes::default(),
            condition: WriteCondition::None,
        };
        let place = BodyPlace {
            bucket,
            key: &key,
            bucket_key: engine.keys().current(bucket).await?,
            version: new.version,
            part: PLAIN_PART,
            profile,
        };
        let limits = BodyLimits {
            length: Some(size),
            bytes_max: u64::MAX,
            // A row would be lost with what it is to bring back.
            inline_bytes_max: 0,
            checksum: None,
            expected: ExpectedDigests::default(),
        };
        let pieces = futures_util::stream::unfold(image, |mut image| async {
            match image.next_piece().await {
                Ok(Some(piece)) => Some((Ok(piece), image)),
                Ok(None) => None,
                Err(error) => Some((Err(EngineError::from(error)), image)),
            }
        });
        let written = engine.put_version(place, pieces.boxed(), limits, new).await?;
        let segments = engine.segments_of(bucket, &key, written.version).await?;
        Ok(ShardCopy { shard, version: written.version, size, segments })
    }

    /// Deletes backups that the list no longer names.
    async fn drop_old(&self, bucket: &Bucket, list: &BackupList) -> Result<(), EngineError> {
        let kept: BTreeSet<String> =
            list.sets.iter().map(|set| format!("{PREFIX}{:020}/", set.sequence)).collect();
        let query = ListObjects { prefix: PREFIX.to_owned(), limit: LIST_PAGE, ..Default::default() };
        let listing = self.engine.list_in(bucket, query).await?;
        for object in listing.objects {
            if !kept.iter().any(|prefix| object.key.as_str().starts_with(prefix)) {
                self.engine.delete_in(bucket, &object.key, None, WriteCondition::None).await?;
            }
        }
        Ok(())
    }
}

impl BackupSet {
    fn bytes(&self) -> u64 {
        self.shards.iter().map(|copy| copy.size).sum()
    }
}

pub(crate) fn object_key(text: &str) -> Result<ObjectKey, EngineError> {
    ObjectKey::new(text).map_err(|error| EngineError::invalid_argument(error.to_string()))
}
