//! A state machine that is fed by hand, and its tables as text.

use std::sync::Arc;

use grid_types::{
    BucketId, Cipher, Compression, DriveId, ObjectKey, OpId, Profile, Segment, SegmentId, SegmentOwner,
    ShardId, Timestamp, UploadId, VersionId,
};
use parking_lot::Mutex;

use crate::rows::{ObjectRow, PartRow, UploadRow, VersionRow};
use crate::state::{
    Action, Answer, Body, ChildFiles, CommandError, Entry, Limits, Proposal, ReadView, Reply, ShardFile,
    ShardRange, StateError, Storage, StubCommand, Writer,
};
use crate::{Command, Outcome, WriteCondition};

pub(super) const LIMITS: Limits = Limits { op_ids_min: 100_000, op_id_micros: 900_000_000 };
pub(super) const CACHE_BYTES: u64 = 1 << 20;

/// Children in memory; `born` says which of them lived before.
#[derive(Default)]
pub(super) struct Children {
    pub born: Mutex<Vec<ShardId>>,
}

impl ChildFiles for Children {
    fn born(&self, child: ShardId) -> bool {
        self.born.lock().contains(&child)
    }

    fn create(self: Arc<Self>, _child: ShardId, limits: Limits) -> Result<Writer, StateError> {
        ShardFile::create_writer(&Storage::Memory, &ShardRange::default(), limits, CACHE_BYTES, self)
    }
}

pub(super) struct Machine {
    pub file: Arc<ShardFile>,
    pub children: Arc<Children>,
    index: u64,
    ops: u64,
    clock: u64,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self::with(LIMITS)
    }

    pub(super) fn with(limits: Limits) -> Self {
        let children = Arc::new(Children::default());
        let range = ShardRange::default();
        let file = ShardFile::create(Storage::Memory, &range, limits, CACHE_BYTES, children.clone()).unwrap();
        Self { file: Arc::new(file), children, index: 0, ops: 0, clock: 1_000_000 }
    }

    pub(super) fn of_file(file: ShardFile) -> Self {
        let children = Arc::new(Children::default());
        Self { file: Arc::new(file), children, index: 0, ops: 1 << 32, clock: 2_000_000_000 }
    }

    /// A machine with an open bucket.
    pub(super) fn with_bucket(number: u8) -> Self {
        let mut machine = Self::new();
        machine.open_bucket(number);
        machine
    }

    pub(super) fn open_bucket(&mut self, number: u8) {
        let open = StubCommand::Open { bucket: bucket(number), generation: 1 };
        assert_eq!(self.run(Action::Stub(open)), Ok(Answer::Done));
    }

    pub(super) fn op(&mut self) -> OpId {
        self.ops += 1;
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.ops.to_be_bytes());
        OpId::from_bytes(id)
    }

    pub(super) fn advance(&mut self, micros: u64) {
        self.clock += micros;
    }

    pub(super) fn proposal(&mut self, action: Action) -> Proposal {
        let op = self.op();
        Proposal { op, birth: Timestamp(self.clock), stamp: Timestamp(self.clock), action }
    }

    pub(super) fn run(&mut self, action: Action) -> Reply {
        let proposal = self.proposal(action);
        self.apply(&[proposal]).pop().unwrap()
    }

    pub(super) fn command(&mut self, command: Command) -> Result<Outcome, grid_types::ErrorCode> {
        match self.run(Action::Object(command)) {
            Ok(Answer::Object(outcome)) => Ok(outcome),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.code),
        }
    }

    /// Applies proposals as one batch.
    pub(super) fn apply(&mut self, proposals: &[Proposal]) -> Vec<Reply> {
        let encoded: Vec<Vec<u8>> = proposals.iter().map(|proposal| proposal.encode().unwrap()).collect();
        let entries: Vec<Entry<'_>> = (self.index..)
            .zip(&encoded)
            .map(|(index, bytes)| Entry { index, log_id: b"id", body: Body::Proposal(bytes) })
            .collect();
        self.index += entries.len() as u64;
        self.file.apply(&entries).unwrap()
    }

    pub(super) fn ask<R>(
        &self,
        question: impl FnOnce(&ReadView<'_>) -> Result<R, CommandError>,
    ) -> Result<R, grid_types::ErrorCode> {
        match self.file.read(question) {
            Ok(answer) => Ok(answer),
            Err(CommandError::Refused(refusal)) => Err(refusal.code),
            Err(CommandError::State(error)) => panic!("{error}"),
        }
    }

    pub(super) fn object(&self, key: &str) -> Option<ObjectRow> {
        self.ask(|view| view.object(bucket(1), key, None)).unwrap()
    }

    pub(super) fn garbage_ids(&self) -> Vec<SegmentId> {
        let rows = self.ask(|view| view.garbage(Timestamp(u64::MAX), 100_000)).unwrap();
        rows.into_iter().map(|row| row.segment.id).collect()
    }

    pub(super) fn reap(&mut self, ids: &[SegmentId]) -> Vec<SegmentId> {
        match self.command(Command::Reap { segments: ids.to_vec() }) {
            Ok(Outcome::Reaped(dead)) => dead,
            other => panic!("{other:?}"),
        }
    }

    /// All rows of all tables, in key order, as text. Equal text = equal replicas.
    pub(super) fn dump(&self) -> Vec<String> {
        self.file
            .read(|view| {
                let mut lines = Vec::new();
                let names: Vec<String> = {
                    let mut tables = view
                        .connection
                        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")?;
                    let names = tables.query_map([], |row| row.get(0))?;
                    names.collect::<Result<_, _>>()?
                };
                for table in names {
                    let mut statement = view.connection.prepare(&format!("SELECT * FROM {table}"))?;
                    let columns = statement.column_count();
                    let mut rows = statement.query([])?;
                    let mut of_table = Vec::new();
                    while let Some(row) = rows.next()? {
                        let values: Vec<String> = (0..columns)
                            .map(|column| format!("{:?}", row.get_ref(column).unwrap()))
                            .collect();
                        of_table.push(format!("{table}: {}", values.join(" ")));
                    }
                    of_table.sort();
                    lines.extend(of_table);
                }
                Ok(lines)
            })
            .unwrap_or_else(|_| panic!("the dump fails"))
    }

    /// Checks that tables agree with each other.
    pub(super) fn check(&self) {
        self.file.check().unwrap();
        let orphans = [
            "SELECT count(*) FROM segment WHERE owner NOT IN (SELECT owner FROM object UNION SELECT owner FROM upload)",
            "SELECT count(*) FROM part WHERE owner NOT IN (SELECT owner FROM object UNION SELECT owner FROM upload)",
            "SELECT count(*) FROM body WHERE owner NOT IN (SELECT owner FROM object)",
            "SELECT count(*) FROM owner WHERE owner NOT IN (SELECT owner FROM object UNION SELECT owner FROM upload)",
            "SELECT count(*) FROM moved m WHERE NOT EXISTS (SELECT 1 FROM segment s WHERE s.owner = m.owner
                AND s.part = m.part AND s.number = m.number AND s.moved = 1)",
            "SELECT count(*) FROM segment WHERE id IN (SELECT id FROM reaped) OR id IN (SELECT id FROM garbage)",
            "SELECT count(*) FROM segment WHERE owner NOT IN (SELECT owner FROM owner)",
        ];
        for sql in orphans {
            let count: i64 = self
                .file
                .read(|view| Ok(view.connection.query_row(sql, [], |row| row.get(0))?))
                .unwrap_or_else(|_| panic!("{sql}"));
            assert_eq!(count, 0, "{sql}");
        }
    }
}

pub(super) fn bucket(number: u8) -> BucketId {
    BucketId::from_bytes([number; 16])
}

pub(super) fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).unwrap()
}

pub(super) fn drive(number: u8) -> DriveId {
    DriveId::from_bytes([number; 16])
}

fn wide(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    id
}

pub(super) fn segment_id(number: u64) -> SegmentId {
    SegmentId::from_bytes(wide(number))
}

pub(super) fn version_id(number: u64) -> VersionId {
    VersionId::from_bytes(wide(number))
}

pub(super) fn upload_id(number: u64) -> UploadId {
    UploadId::from_bytes(wide(number))
}

pub(super) fn version(number: u64, size: u64) -> VersionRow {
    VersionRow {
        version: version_id(number),
        stamp: Timestamp(0),
        size,
        etag: format!("{number:032x}"),
        storage_class: "STANDARD".to_owned(),
        key_generation: 1,
        attributes: number.to_le_bytes().to_vec(),
        checksum_tag: 0,
        part_count: 0,
        segment_count: 0,
        delete_marker: false,
    }
}

pub(super) fn segment(number: u64, length: u64, drives: &[Option<DriveId>]) -> Segment {
    let profile = Profile::Copies(u8::try_from(drives.len()).unwrap());
    Segment {
        id: segment_id(number),
        seal_id: segment_id(number),
        length,
        profile,
        cipher: Cipher::ChaCha20Poly1305,
        compression: Compression::None,
        key_generation: 1,
        block_packets: 2,
        drives: drives.to_vec(),
    }
}

/// A plain PUT of segments `first ..`, each of 100 bytes.
pub(super) fn put(text: &str, number: u64, first: u64, count: u32) -> Command {
    put_on(text, number, first, count, &[Some(drive(1)), Some(drive(2))])
}

pub(super) fn put_on(text: &str, number: u64, first: u64, count: u32, drives: &[Option<DriveId>]) -> Command {
    let segments = (0..count)
        .map(|position| {
            let owner = SegmentOwner { version: version_id(number), part: 1, number: position };
            (owner, segment(first + u64::from(position), 100, drives))
        })
        .collect();
    Command::PutVersion {
        bucket: bucket(1),
        key: key(text),
        bucket_generation: 1,
        version: version(number, 100 * u64::from(count)),
        inline: None,
        segments,
        condition: WriteCondition::None,
    }
}

pub(super) fn put_inline(text: &str, number: u64, body: &[u8], condition: WriteCondition) -> Command {
    Command::PutVersion {
        bucket: bucket(1),
        key: key(text),
        bucket_generation: 1,
        version: version(number, body.len() as u64),
        inline: Some(body.to_vec()),
        segments: Vec::new(),
        condition,
    }
}

pub(super) fn delete(text: &str) -> Command {
    Command::DeleteVersion {
        bucket: bucket(1),
        key: key(text),
        bucket_generation: 1,
        version: None,
        condition: WriteCondition::None,
    }
}

/// The first segment of version `number`, of 100 bytes and sealed as `seal`, is re-coded from `old` to `new`.
pub(super) fn replace(text: &str, number: u64, (seal, old, new): (u64, u64, u64), drives: &[u8]) -> Command {
    let drives: Vec<_> = drives.iter().map(|number| Some(drive(*number))).collect();
    Command::ReplaceSegment {
        bucket: bucket(1),
        key: key(text),
        owner: SegmentOwner { version: version_id(number), part: 1, number: 0 },
        expected: segment_id(old),
        new: Segment { seal_id: segment_id(seal), ..segment(new, 100, &drives) },
    }
}

pub(super) fn create_upload(text: &str, number: u64) -> Command {
    Command::CreateUpload {
        bucket: bucket(1),
        key: key(text),
        bucket_generation: 1,
        upload: UploadRow {
            upload: upload_id(number),
            version: version_id(number),
            stamp: Timestamp(0),
            storage_class: "STANDARD".to_owned(),
            key_generation: 1,
            attributes: vec![3],
        },
    }
}

/// Part `part` of upload `number`, one segment of `size` bytes.
pub(super) fn put_part(text: &str, number: u64, part: u16, segment_number: u64, size: u64) -> Command {
    let owner = SegmentOwner { version: version_id(number), part, number: 0 };
    Command::PutPart {
        bucket: bucket(1),
        key: key(text),
        upload: upload_id(number),
        part: PartRow {
            number: part,
            size,
            offset: 77,
            etag: etag_of_part(part),
            stamp: Timestamp(0),
            checksum: vec![1, 2],
            segment_count: 0,
        },
        segments: vec![(owner, segment(segment_number, size, &[Some(drive(1))]))],
    }
}

pub(super) fn etag_of_part(part: u16) -> String {
    format!("part{part}")
}

pub(super) fn complete(text: &str, number: u64, parts: &[u16], part_bytes_min: u64) -> Command {
    Command::CompleteUpload {
        bucket: bucket(1),
        key: key(text),
        bucket_generation: 1,
        upload: upload_id(number),
        parts: parts.iter().map(|part| (*part, etag_of_part(*part))).collect(),
        version: version(number, 0),
        condition: WriteCondition::None,
        part_bytes_min,
    }
}

pub(super) fn abort(text: &str, number: u64) -> Command {
    Command::AbortUpload { bucket: bucket(1), key: key(text), upload: upload_id(number) }
}
