//! The file of a shard: one connection that writes, a few that read, one that checkpoints.
//!
//! The file is a cache of snapshot + log. WAL with synchronous=NORMAL: what a power cut takes back is applied again.
//! Checkpoints are ours alone (`wal_autocheckpoint = 0`), so between two of them the main file is one consistent,
//! immutable image: a snapshot is read from it by plain reads, without a second file and without blocking writes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grid_types::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, MAIN_DB, OpenFlags};
use sys::{Disk, DiskFile};

use super::error::{CommandError, StateError};
use super::proposal::Reply;
use super::range::ShardRange;
use super::read::ReadView;
use super::schema;
use super::split::ChildFiles;
use super::writer::{Applied, Entry, Limits, Writer};

/// Connections kept for reads of one shard; more are opened for the moment where more threads read.
const READERS_KEPT: usize = 4;
/// Bytes of one chunk of an image.
const IMAGE_CHUNK_BYTES: usize = 256 << 10;
/// Bytes 18 and 19 of the header: 2 = WAL, 1 = rollback journal (all that a memory file can do).
const HEADER_JOURNAL: std::ops::Range<usize> = 18..20;
/// Tries to checkpoint past readers that are in the way.
const CHECKPOINT_TRIES: u32 = 50;

/// Where a shard's file lives.
#[derive(Clone)]
pub(crate) enum Storage {
    /// On a drive with a real path.
    File { disk: Arc<dyn Disk>, path: String },
    /// In memory, where the disk is simulated: a power cut loses it, as it may lose the file.
    Memory,
}

/// How far a file is safe on its own: applied index and log id at the last completed and synced checkpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Durable {
    pub applied: Applied,
    pub membership: Option<Vec<u8>>,
}

/// The file of one shard. All calls block.
pub(crate) struct ShardFile {
    storage: Storage,
    cache_bytes: u64,
    writer: Mutex<Writer>,
    readers: Mutex<Vec<Connection>>,
    checkpoints: Mutex<Checkpoints>,
    /// Stamp of the last command that was applied.
    stamp: AtomicU64,
    /// Bytes of entries applied by this run.
    applied_bytes: AtomicU64,
}

struct Checkpoints {
    connection: Option<Connection>,
    /// Images being read; no checkpoint may run.
    images: usize,
    durable: Option<Durable>,
}

fn sqlite(operation: &'static str) -> impl Fn(rusqlite::Error) -> StateError {
    move |source| StateError::Sqlite { operation, source }
}

fn disk_error(operation: &'static str) -> impl Fn(io::Error) -> StateError {
    move |source| StateError::Io { operation, source }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Storage {
    fn connect(&self, cache_bytes: u64) -> Result<Connection, StateError> {
        let connection = match self {
            Self::File { disk, path } => {
                let Some(path) = disk.local_path(path) else {
                    return Err(StateError::Damaged("the drive has no local path".to_owned()));
                };
                let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
                    | OpenFlags::SQLITE_OPEN_CREATE
                    | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                Connection::open_with_flags(path, flags).map_err(sqlite("open the file"))?
            }
            Self::Memory => Connection::open_in_memory().map_err(sqlite("open in memory"))?,
        };
        schema::configure(&connection, cache_bytes)?;
        Ok(connection)
    }

    fn switch_to_wal(&self, connection: &Connection) -> Result<(), StateError> {
        if matches!(self, Self::File { .. }) {
            let mode: String = connection
                .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
                .map_err(sqlite("switch to WAL"))?;
            if mode != "wal" {
                return Err(StateError::Damaged(format!("journal mode is {mode}, not WAL")));
            }
        }
        Ok(())
    }

    /// Is there a file?
    pub(crate) fn exists(&self) -> Result<bool, StateError> {
        match self {
            Self::File { disk, path } => match disk.open_read(path) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(disk_error("look for the file")(error)),
            },
            Self::Memory => Ok(false),
        }
    }

    /// Bytes of the file, without its WAL.
    pub(crate) fn bytes(&self) -> Result<u64, StateError> {
        match self {
            Self::File { disk, path } => {
                disk.open_read(path).and_then(|file| file.len()).map_err(disk_error("measure the file"))
            }
            Self::Memory => Ok(0),
        }
    }

    /// Bytes of the WAL; 0 where there is none.
    pub(crate) fn wal_bytes(&self) -> u64 {
        match self {
            Self::File { disk, path } => {
                disk.open_read(&format!("{path}-wal")).and_then(|file| file.len()).unwrap_or(0)
            }
            Self::Memory => 0,
        }
    }

    /// Removes the file with its WAL.
    pub(crate) fn remove(&self) -> Result<(), StateError> {
        let Self::File { disk, path } = self else {
            return Ok(());
        };
        for suffix in ["-wal", "-shm", ".new", ""] {
            match disk.remove(&format!("{path}{suffix}")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(disk_error("remove the file")(error));
                }
                _ => {}
            }
        }
        disk.sync_dir(parent(path), "shard: removed file").map_err(disk_error("sync the directory"))
    }
}

impl ShardFile {
    /// A new shard's file, in place of whatever is there.
    pub(crate) fn create(
        storage: Storage,
        range: &ShardRange,
        limits: Limits,
        cache_bytes: u64,
        children: Arc<dyn ChildFiles>,
    ) -> Result<Self, StateError> {
        let writer = Self::create_writer(&storage, range, limits, cache_bytes, children)?;
        Ok(Self::with(storage, cache_bytes, writer))
    }

    /// As `create`, for whoever fills the file before it is a shard.
    pub(crate) fn create_writer(
        storage: &Storage,
        range: &ShardRange,
        limits: Limits,
        cache_bytes: u64,
        children: Arc<dyn ChildFiles>,
    ) -> Result<Writer, StateError> {
        storage.remove()?;
        let connection = storage.connect(cache_bytes)?;
        storage.switch_to_wal(&connection)?;
        schema::create(&connection)?;
        Writer::found(&connection, range, limits)?;
        if let Storage::File { disk, path } = storage {
            disk.sync_dir(parent(path), "shard: new file").map_err(disk_error("sync the directory"))?;
        }
        Writer::open(connection, children)
    }

    /// Opens the file of an older run; `check` looks at every page, which takes about 1 s a GiB.
    pub(crate) fn open(
        storage: Storage,
        cache_bytes: u64,
        check: bool,
        children: Arc<dyn ChildFiles>,
    ) -> Result<Self, StateError> {
        let connection = storage.connect(cache_bytes)?;
        Self::adopt(storage, connection, cache_bytes, check, children)
    }

    fn adopt(
        storage: Storage,
        connection: Connection,
        cache_bytes: u64,
        check: bool,
        children: Arc<dyn ChildFiles>,
    ) -> Result<Self, StateError> {
        schema::verify(&connection)?;
        if check {
            quick_check(&connection)?;
        }
        storage.switch_to_wal(&connection)?;
        Ok(Self::with(storage, cache_bytes, Writer::open(connection, children)?))
    }

    /// Takes over a file that was filled before it became a shard.
    pub(crate) fn from_writer(storage: Storage, cache_bytes: u64, writer: Writer) -> Self {
        Self::with(storage, cache_bytes, writer)
    }

    fn with(storage: Storage, cache_bytes: u64, writer: Writer) -> Self {
        let stamp = AtomicU64::new(writer.applied().stamp.0);
        Self {
            storage,
            cache_bytes,
            writer: Mutex::new(writer),
            readers: Mutex::new(Vec::new()),
            checkpoints: Mutex::new(Checkpoints { connection: None, images: 0, durable: None }),
            stamp,
            applied_bytes: AtomicU64::new(0),
        }
    }

    /// The writer, for the state machine and for background work on a split.
    pub(crate) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock()
    }

    /// Applies a batch in one transaction.
    pub(crate) fn apply(&self, entries: &[Entry<'_>]) -> Result<Vec<Reply>, StateError> {
        let mut writer = self.writer.lock();
        if writer.retired {
            let source = io::Error::other("the file was handed to another run of the group");
            return Err(StateError::Io { operation: "apply", source });
        }
        let replies = writer.apply(entries)?;
        let bytes: usize = entries
            .iter()
            .map(|entry| match entry.body {
                super::writer::Body::Proposal(bytes) | super::writer::Body::Membership(bytes) => bytes.len(),
                super::writer::Body::Blank => 0,
            })
            .sum();
        self.applied_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.stamp.store(writer.applied().stamp.0, Ordering::Release);
        Ok(replies)
    }

    /// How far the file has come.
    pub(crate) fn applied(&self) -> Result<Durable, StateError> {
        self.applied_now()
    }

    /// The keys that the shard owns.
    pub(crate) fn range(&self) -> Result<ShardRange, StateError> {
        Ok(self.writer.lock().range().clone())
    }

    /// Waits for a batch that is being applied; afterwards nothing is.
    pub(crate) fn retire(&self) {
        self.writer.lock().retired = true;
    }

    /// Bytes of entries applied since this run opened the file.
    pub(crate) fn applied_bytes(&self) -> u64 {
        self.applied_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Stamp of the last applied command.
    pub(crate) fn stamp(&self) -> Timestamp {
        Timestamp(self.stamp.load(Ordering::Acquire))
    }

    /// Reads on one consistent snapshot.
    pub(crate) fn read<R>(
        &self,
        question: impl FnOnce(&ReadView<'_>) -> Result<R, CommandError>,
    ) -> Result<R, CommandError> {
        if matches!(self.storage, Storage::Memory) {
            let writer = self.writer.lock();
            return question(&ReadView { connection: &writer.connection });
        }
        let kept = self.readers.lock().pop();
        let reader = match kept {
            Some(reader) => reader,
            None => self.storage.connect(self.cache_bytes)?,
        };
        reader.prepare_cached("BEGIN")?.execute([])?;
        let answer = question(&ReadView { connection: &reader });
        reader.prepare_cached("COMMIT")?.execute([])?;
        let mut readers = self.readers.lock();
        if readers.len() < READERS_KEPT {
            readers.push(reader);
        }
        answer
    }

    /// Bytes of the live pages.
    pub(crate) fn live_bytes(&self) -> Result<u64, StateError> {
        let bytes = self.read(|view| {
            let pragma =
                |name: &str| view.connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok((pragma("page_count")? - pragma("freelist_count")?) * pragma("page_size")?)
        });
        match bytes {
            Ok(bytes) => super::row::unsigned(bytes),
            Err(CommandError::State(error)) => Err(error),
            Err(CommandError::Refused(refusal)) => Err(StateError::Damaged(refusal.detail)),
        }
    }

    /// Writes the WAL back into the file and syncs both. `None` where a reader or an image was in the way.
    pub(crate) fn checkpoint(&self) -> Result<Option<Durable>, StateError> {
        let mut checkpoints = self.checkpoints.lock();
        if checkpoints.images > 0 || matches!(self.storage, Storage::Memory) {
            return Ok(None);
        }
        let before = self.applied_now()?;
        self.checkpoint_locked(&mut checkpoints, before)
    }

    fn applied_now(&self) -> Result<Durable, StateError> {
        let writer = self.writer.lock();
        Ok(Durable { applied: writer.applied().clone(), membership: writer.membership()? })
    }

    fn checkpoint_locked(
        &self,
        checkpoints: &mut Checkpoints,
        before: Durable,
    ) -> Result<Option<Durable>, StateError> {
        if checkpoints.connection.is_none() {
            checkpoints.connection = Some(self.storage.connect(self.cache_bytes)?);
        }
        let connection = checkpoints.connection.as_ref().expect("just connected");
        let (busy, log, done): (i64, i64, i64) = connection
            .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .map_err(sqlite("checkpoint"))?;
        if busy != 0 || log != done {
            return Ok(None);
        }
        checkpoints.durable = Some(before.clone());
        Ok(Some(before))
    }

    /// A consistent image of the shard, with what it covers. Checkpoints wait until it is dropped; writes do not.
    pub(crate) fn image(self: &Arc<Self>) -> Result<ImageChunks, StateError> {
        let Storage::File { disk, path } = &self.storage else {
            let mut writer = self.writer.lock();
            let durable = Durable { applied: writer.applied().clone(), membership: writer.membership()? };
            let bytes = writer.connection.serialize(MAIN_DB).map_err(sqlite("copy from memory"))?.to_vec();
            return Ok(ImageChunks { durable, source: Source::Memory(bytes), offset: 0 });
        };
        let mut checkpoints = self.checkpoints.lock();
        if checkpoints.images == 0 {
            let mut tries = 0;
            while {
                let before = self.applied_now()?;
                self.checkpoint_locked(&mut checkpoints, before)?.is_none()
            } {
                tries += 1;
                if tries >= CHECKPOINT_TRIES {
                    let source = io::Error::new(io::ErrorKind::WouldBlock, "readers do not end");
                    return Err(StateError::Io { operation: "checkpoint for an image", source });
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
        let durable = checkpoints.durable.clone().unwrap_or_default();
        let file = disk.open_read(path).map_err(disk_error("open the file for an image"))?;
        let len = file.len().map_err(disk_error("measure the file"))?;
        checkpoints.images += 1;
        Ok(ImageChunks { durable, source: Source::File { file, len, shard: self.clone() }, offset: 0 })
    }

    /// Makes a file from an image, in place of whatever is there, and opens it.
    pub(crate) fn restore<B: AsRef<[u8]>>(
        storage: Storage,
        mut next: impl FnMut() -> io::Result<Option<B>>,
        cache_bytes: u64,
        children: Arc<dyn ChildFiles>,
    ) -> Result<Self, StateError> {
        match &storage {
            Storage::File { disk, path } => {
                storage.remove()?;
                let temporary = format!("{path}.new");
                let file = disk.create_new(&temporary).map_err(disk_error("create the file"))?;
                let mut offset = 0;
                while let Some(chunk) = next().map_err(disk_error("read the snapshot"))? {
                    let chunk = chunk.as_ref();
                    file.write_all_at(offset, chunk).map_err(disk_error("write the file"))?;
                    offset += chunk.len() as u64;
                }
                file.sync_data("shard: restored file").map_err(disk_error("sync the file"))?;
                disk.rename(&temporary, path).map_err(disk_error("rename the file"))?;
                disk.sync_dir(parent(path), "shard: restored name")
                    .map_err(disk_error("sync the directory"))?;
                Self::open(storage, cache_bytes, true, children)
            }
            Storage::Memory => {
                let mut bytes = Vec::new();
                while let Some(chunk) = next().map_err(disk_error("read the snapshot"))? {
                    bytes.extend_from_slice(chunk.as_ref());
                }
                if let Some(header) = bytes.get_mut(HEADER_JOURNAL) {
                    header.fill(1);
                }
                let mut connection = storage.connect(cache_bytes)?;
                connection
                    .deserialize_read_exact(MAIN_DB, bytes.as_slice(), bytes.len(), false)
                    .map_err(sqlite("take over the snapshot"))?;
                schema::configure(&connection, cache_bytes)?;
                Self::adopt(storage, connection, cache_bytes, true, children)
            }
        }
    }

    /// See `Writer::forget_log`. The file must not have a group yet.
    pub(crate) fn forget_log(&self) -> Result<(), StateError> {
        self.writer.lock().forget_log()
    }

    /// Looks at every page and row of the file.
    pub(crate) fn check(&self) -> Result<(), StateError> {
        let connection = match &self.storage {
            Storage::File { .. } => self.storage.connect(self.cache_bytes)?,
            Storage::Memory => return quick_check(&self.writer.lock().connection),
        };
        quick_check(&connection)
    }
}

fn quick_check(connection: &Connection) -> Result<(), StateError> {
    let verdict: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(sqlite("check the file"))?;
    if verdict == "ok" { Ok(()) } else { Err(StateError::Damaged(format!("the file is corrupt: {verdict}"))) }
}

enum Source {
    File { file: Arc<dyn DiskFile>, len: u64, shard: Arc<ShardFile> },
    Memory(Vec<u8>),
}

/// The bytes of an image, chunk by chunk.
pub(crate) struct ImageChunks {
    /// What the image covers.
    pub durable: Durable,
    source: Source,
    offset: u64,
}

impl ImageChunks {
    /// Bytes in all.
    pub(crate) fn len(&self) -> u64 {
        match &self.source {
            Source::File { len, .. } => *len,
            Source::Memory(bytes) => bytes.len() as u64,
        }
    }

    /// The next chunk; `None` at the end.
    pub(crate) fn next_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let left = self.len() - self.offset;
        if left == 0 {
            return Ok(None);
        }
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(IMAGE_CHUNK_BYTES);
        let chunk = match &self.source {
            Source::File { file, .. } => {
                let mut chunk = vec![0; take];
                file.read_exact_at(self.offset, &mut chunk)?;
                chunk
            }
            Source::Memory(bytes) => {
                let start = usize::try_from(self.offset).map_err(io::Error::other)?;
                bytes[start..start + take].to_vec()
            }
        };
        self.offset += take as u64;
        Ok(Some(chunk))
    }
}

impl Drop for ImageChunks {
    fn drop(&mut self) {
        if let Source::File { shard, .. } = &self.source {
            shard.checkpoints.lock().images -= 1;
        }
    }
}
