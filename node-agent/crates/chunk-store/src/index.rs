//! Where each packed chunk lies: a small SQLite file per drive, with the last batches in memory before it.
//!
//! Invariants: it can be thrown away at any time, since packs say all of it; the (pack, mark) it covers is stored in the
//! same transaction as the rows; only the pack writer changes it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use grid_types::{ChunkKey, DriveId, SegmentId};
use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use crate::format::{HEADER_BYTES, PRELUDE_BYTES};
use crate::frames::FrameShape;

type SqlResult<T> = rusqlite::Result<T>;

/// Version of the tables; another one is rebuilt.
const TABLES_VERSION: i64 = 1;
/// KiB of page cache per connection.
const CACHE_KIB: i64 = 512;
/// Operations that may wait in memory for the file; more are refused until it takes them.
pub(crate) const WAITING_MAX: usize = 4_096;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub pack: u64,
    /// Of the record, in its pack.
    pub offset: u64,
    /// Bytes of the record.
    pub len: u64,
    pub header_len: u64,
    pub footer_len: u64,
    pub shape: FrameShape,
}

/// How far the packs are indexed: the end of a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Covered {
    pub pack: u64,
    pub offset: u64,
    pub sequence: u64,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum IndexChange {
    Put(ChunkKey, Place),
    /// A tombstone in this pack.
    Remove(ChunkKey, u64),
    /// A tombstone was carried on into this pack: its bytes live until the pack is compacted.
    Carried(u64),
}

/// A pack as the index knows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PackRow {
    pub number: u64,
    pub len: u64,
    pub live: u64,
    /// Everything in it has moved; its file goes.
    pub retired: bool,
}

pub(crate) struct Index {
    path: Option<PathBuf>,
    writer: Mutex<Connection>,
    /// A connection of its own for readers, so that they do not wait for a transaction; none in memory.
    reader: Option<Mutex<Connection>>,
    waiting: RwLock<Waiting>,
}

#[derive(Default)]
struct Waiting {
    changes: Vec<IndexChange>,
    latest: HashMap<ChunkKey, Option<Place>>,
    covered: Option<Covered>,
    /// Ends of the packs that grew.
    ends: HashMap<u64, u64>,
}

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), drive BLOB NOT NULL,
        pack INTEGER NOT NULL, offset INTEGER NOT NULL, sequence INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS chunk (segment BLOB NOT NULL, idx INTEGER NOT NULL, pack INTEGER NOT NULL,
        offset INTEGER NOT NULL, len INTEGER NOT NULL, header_len INTEGER NOT NULL, footer_len INTEGER NOT NULL,
        plain_len INTEGER NOT NULL, k INTEGER NOT NULL, block_packets INTEGER NOT NULL,
        PRIMARY KEY (segment, idx)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS pack (number INTEGER PRIMARY KEY, len INTEGER NOT NULL, live INTEGER NOT NULL,
        retired INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS dead (segment BLOB NOT NULL, idx INTEGER NOT NULL, pack INTEGER NOT NULL,
        PRIMARY KEY (segment, idx, pack)) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS dead_by_pack ON dead (pack);
";

impl Index {
    /// Opens the index, or begins an empty one when there is none, it is of another drive or version, or distrusted.
    pub fn open(path: Option<PathBuf>, drive: DriveId) -> SqlResult<Self> {
        let Some(file) = path.clone() else { return Self::begin(None, drive) };
        if !marker(&file).exists()
            && let Ok(index) = Self::begin(path.clone(), drive)
        {
            return Ok(index);
        }
        Self::rebuild(file, drive)
    }

    fn begin(path: Option<PathBuf>, drive: DriveId) -> SqlResult<Self> {
        let writer = match &path {
            Some(file) => Connection::open(file)?,
            None => Connection::open_in_memory()?,
        };
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "NORMAL")?;
        writer.pragma_update(None, "cache_size", -CACHE_KIB)?;
        writer.set_prepared_statement_cache_capacity(16);
        writer.execute_batch(TABLES)?;
        let version: i64 = writer.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version == 0 {
            writer.pragma_update(None, "user_version", TABLES_VERSION)?;
        } else if version != TABLES_VERSION {
            return Err(rusqlite::Error::InvalidQuery);
        }
        let stored: Option<Vec<u8>> =
            writer.query_row("SELECT drive FROM state", [], |row| row.get(0)).optional()?;
        match stored {
            Some(stored) if stored != drive.as_bytes() => return Err(rusqlite::Error::InvalidQuery),
            Some(_) => {}
            None => {
                writer.execute("INSERT INTO state VALUES (1, ?1, 0, 0, 0)", params![drive.as_bytes()])?;
            }
        }
        let reader = match &path {
            Some(file) => {
                let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
                let reader = Connection::open_with_flags(file, flags)?;
                reader.pragma_update(None, "cache_size", -CACHE_KIB)?;
                Some(Mutex::new(reader))
            }
            None => None,
        };
        Ok(Self { path, writer: Mutex::new(writer), reader, waiting: RwLock::default() })
    }

    /// Throws the file away and begins an empty one.
    pub fn rebuild(file: PathBuf, drive: DriveId) -> SqlResult<Self> {
        tracing::warn!(index = %file.display(), "index is rebuilt from the packs");
        let broken = |error: std::io::Error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
        for suffix in ["", "-wal", "-shm"] {
            let mut name = file.clone().into_os_string();
            name.push(suffix);
            remove_if_there(Path::new(&name)).map_err(broken)?;
        }
        let index = Self::begin(Some(file.clone()), drive)?;
        remove_if_there(&marker(&file)).map_err(broken)?;
        Ok(index)
    }

    /// Empties an index that does not fit the packs.
    pub fn clear(&self) -> SqlResult<()> {
        self.writer.lock().execute_batch(
            "BEGIN; DELETE FROM chunk; DELETE FROM pack; DELETE FROM dead;
             UPDATE state SET pack = 0, offset = 0, sequence = 0; COMMIT;",
        )
    }

    /// Makes the next start rebuild it.
    pub fn distrust(&self) {
        if let Some(file) = &self.path
            && let Err(error) = open_marker(file)
        {
            tracing::error!(%error, "cannot mark the index as damaged");
        }
    }

    /// What it covers; pack 0 for nothing (packs are numbered from 1).
    pub fn covered(&self) -> SqlResult<Covered> {
        self.writer.lock().query_row("SELECT pack, offset, sequence FROM state", [], |row| {
            Ok(Covered { pack: number(row, 0)?, offset: number(row, 1)?, sequence: number(row, 2)? })
        })
    }

    pub fn packs(&self) -> SqlResult<Vec<PackRow>> {
        let writer = self.writer.lock();
        let mut statement =
            writer.prepare_cached("SELECT number, len, live, retired FROM pack ORDER BY number")?;
        let rows = statement.query_map([], |row| {
            let live: i64 = row.get(2)?;
            Ok(PackRow {
                number: number(row, 0)?,
                len: number(row, 1)?,
                live: u64::try_from(live).unwrap_or(0),
                retired: row.get(3)?,
            })
        })?;
        rows.collect()
    }

    /// Where a chunk lies.
    pub fn lookup(&self, key: ChunkKey) -> SqlResult<Option<Place>> {
        if let Some(latest) = self.waiting.read().latest.get(&key) {
            return Ok(*latest);
        }
        find(&self.reading().lock(), key)
    }

    fn reading(&self) -> &Mutex<Connection> {
        self.reader.as_ref().unwrap_or(&self.writer)
    }

    /// Keys after `after` in order. The caller has flushed.
    pub fn page(&self, after: Option<ChunkKey>, limit: usize) -> SqlResult<Vec<ChunkKey>> {
        let connection = self.reading().lock();
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let key = |row: &Row<'_>| Ok(ChunkKey { segment: segment(row, 0)?, index: row.get(1)? });
        match after {
            None => connection
                .prepare_cached("SELECT segment, idx FROM chunk ORDER BY segment, idx LIMIT ?1")?
                .query_map([limit], key)?
                .collect(),
            Some(after) => connection
                .prepare_cached(
                    "SELECT segment, idx FROM chunk WHERE (segment, idx) > (?1, ?2) ORDER BY segment, idx LIMIT ?3",
                )?
                .query_map(params![after.segment.as_bytes(), after.index, limit], key)?
                .collect(),
        }
    }

    /// Notes synced changes: seen by readers at once, in the file after `flush`.
    pub fn apply(&self, changes: &[IndexChange], covered: Covered) {
        let mut waiting = self.waiting.write();
        for change in changes {
            match *change {
                IndexChange::Put(key, place) => drop(waiting.latest.insert(key, Some(place))),
                IndexChange::Remove(key, _) => drop(waiting.latest.insert(key, None)),
                IndexChange::Carried(_) => {}
            }
        }
        waiting.changes.extend_from_slice(changes);
        waiting.ends.insert(covered.pack, covered.offset);
        waiting.covered = Some(covered);
    }

    /// Changes that wait in memory.
    pub fn waiting(&self) -> usize {
        self.waiting.read().changes.len()
    }

    /// Writes the changes that wait, in one transaction. Only the pack writer calls it.
    pub fn flush(&self) -> SqlResult<()> {
        let (changes, covered, ends) = {
            let waiting = self.waiting.read();
            let Some(covered) = waiting.covered else { return Ok(()) };
            (waiting.changes.clone(), covered, waiting.ends.clone())
        };
        {
            let mut writer = self.writer.lock();
            let transaction = writer.transaction()?;
            write_changes(&transaction, &changes, covered, &ends)?;
            transaction.commit()?;
        }
        // Nobody else adds changes, so what waits is exactly what was written.
        *self.waiting.write() = Waiting::default();
        Ok(())
    }

    /// Is there a dead record of `key` in a pack other than `pack`? The caller has flushed.
    pub fn dead_elsewhere(&self, key: ChunkKey, pack: u64) -> SqlResult<bool> {
        self.writer
            .lock()
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM dead WHERE segment = ?1 AND idx = ?2 AND pack <> ?3)",
            )?
            .query_row(params![key.segment.as_bytes(), key.index, signed(pack)], |row| row.get(0))
    }

    /// Chunks whose place is still this pack: those that a scan of it cannot find. Reads the whole table.
    pub fn left_in(&self, pack: u64, limit: usize) -> SqlResult<Vec<(ChunkKey, Place)>> {
        let writer = self.writer.lock();
        let mut statement = writer.prepare_cached(
            "SELECT pack, offset, len, header_len, footer_len, plain_len, k, block_packets, segment, idx
             FROM chunk WHERE pack = ?1",
        )?;
        let rows = statement.query_map([signed(pack)], |row| {
            let key = ChunkKey { segment: segment(row, 8)?, index: row.get(9)? };
            Ok(place(row).map(|place| (key, place)))
        })?;
        rows.filter_map(Result::transpose).take(limit).collect()
    }

    /// Everything in the pack has moved: its file may go.
    pub fn retire(&self, pack: u64) -> SqlResult<()> {
        self.writer.lock().execute("UPDATE pack SET retired = 1 WHERE number = ?1", [signed(pack)]).map(drop)
    }

    /// The pack's file is gone, durably.
    pub fn forget_pack(&self, pack: u64) -> SqlResult<()> {
        let mut writer = self.writer.lock();
        let transaction = writer.transaction()?;
        transaction.execute("DELETE FROM dead WHERE pack = ?1", [signed(pack)])?;
        transaction.execute("DELETE FROM pack WHERE number = ?1", [signed(pack)])?;
        transaction.commit()
    }
}

fn write_changes(
    connection: &Connection,
    changes: &[IndexChange],
    covered: Covered,
    ends: &HashMap<u64, u64>,
) -> SqlResult<()> {
    let mut live: HashMap<u64, i64> = HashMap::new();
    let mut touched: HashSet<u64> = ends.keys().copied().collect();
    let mut put =
        connection.prepare_cached("INSERT OR REPLACE INTO chunk VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)")?;
    let mut remove = connection.prepare_cached("DELETE FROM chunk WHERE segment = ?1 AND idx = ?2")?;
    let mut dead = connection.prepare_cached("INSERT OR IGNORE INTO dead VALUES (?1, ?2, ?3)")?;
    let len = |place: &Place| i64::try_from(place.len).unwrap_or(i64::MAX);
    for change in changes {
        match change {
            IndexChange::Put(key, place) => {
                let id = key.segment.as_bytes();
                if let Some(old) = find(connection, *key)? {
                    *live.entry(old.pack).or_default() -= len(&old);
                    dead.execute(params![id, key.index, signed(old.pack)])?;
                }
                *live.entry(place.pack).or_default() += len(place);
                touched.insert(place.pack);
                let shape = place.shape;
                put.execute(params![
                    id,
                    key.index,
                    signed(place.pack),
                    signed(place.offset),
                    signed(place.len),
                    signed(place.header_len),
                    signed(place.footer_len),
                    signed(shape.plain_len),
                    shape.k,
                    shape.block_packets
                ])?;
            }
            IndexChange::Remove(key, tombstone) => {
                touched.insert(*tombstone);
                if let Some(old) = find(connection, *key)? {
                    *live.entry(old.pack).or_default() -= len(&old);
                    remove.execute(params![key.segment.as_bytes(), key.index])?;
                    // A tombstone behind its chunk in one pack goes when the pack goes.
                    if old.pack != *tombstone {
                        dead.execute(params![key.segment.as_bytes(), key.index, signed(old.pack)])?;
                    }
                }
            }
            IndexChange::Carried(pack) => {
                *live.entry(*pack).or_default() += PRELUDE_BYTES as i64;
                touched.insert(*pack);
            }
        }
    }
    for pack in &touched {
        connection
            .prepare_cached("INSERT OR IGNORE INTO pack VALUES (?1, 0, 0, 0)")?
            .execute([signed(*pack)])?;
    }
    for (pack, change) in live {
        connection
            .prepare_cached("UPDATE pack SET live = live + ?2 WHERE number = ?1")?
            .execute(params![signed(pack), change])?;
    }
    for (pack, end) in ends {
        connection
            .prepare_cached("UPDATE pack SET len = max(len, ?2) WHERE number = ?1")?
            .execute([signed(*pack), signed(*end)])?;
    }
    let Covered { pack, offset, sequence } = covered;
    connection.prepare_cached("UPDATE state SET pack = ?1, offset = ?2, sequence = ?3")?.execute([
        signed(pack),
        signed(offset),
        signed(sequence),
    ])?;
    Ok(())
}

fn find(connection: &Connection, key: ChunkKey) -> SqlResult<Option<Place>> {
    let found = connection
        .prepare_cached(
            "SELECT pack, offset, len, header_len, footer_len, plain_len, k, block_packets
             FROM chunk WHERE segment = ?1 AND idx = ?2",
        )?
        .query_row(params![key.segment.as_bytes(), key.index], |row| Ok(place(row)))
        .optional()?;
    Ok(found.flatten())
}

/// A row whose numbers do not fit each other is rot and as good as none: the chunk is repaired like a missing one.
fn place(row: &Row<'_>) -> Option<Place> {
    let number = |column| number(row, column).ok();
    let shape = FrameShape::checked(number(5)?, number(6)?, number(7)?)?;
    let (pack, offset, len) = (number(0)?, number(1)?, number(2)?);
    let (header_len, footer_len) = (number(3)?, number(4)?);
    let whole =
        PRELUDE_BYTES.checked_add(header_len)?.checked_add(footer_len)?.checked_add(shape.frames_len())?;
    offset.checked_add(len)?;
    let sound = whole == len && header_len <= HEADER_BYTES;
    sound.then_some(Place { pack, offset, len, header_len, footer_len, shape })
}

fn number(row: &Row<'_>, column: usize) -> SqlResult<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

/// SQLite stores 63 bits, more than any length or number here reaches.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn segment(row: &Row<'_>, column: usize) -> SqlResult<SegmentId> {
    row.get::<_, [u8; 16]>(column).map(SegmentId::from_bytes)
}

fn marker(file: &Path) -> PathBuf {
    file.with_extension("damaged")
}

fn open_marker(file: &Path) -> std::io::Result<()> {
    std::fs::write(marker(file), b"")
}

fn remove_if_there(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
