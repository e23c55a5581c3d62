//! The bytes of a backup file: docs/formats/backup.md.
//!
//! Invariants: nothing is given out that was not authenticated; the records come in one order and no other; a decoder
//! holds at most one piece.

use bytes::{Buf, Bytes, BytesMut};
use grid_types::{GridId, NodeId, ShardId, Timestamp};
use keyring::{
    PassphraseCost, PassphraseError, PassphraseKey, PieceOpener, PieceSealer, RootKeys, SALT_BYTES,
    SEALED_PIECE_OVERHEAD_BYTES,
};
use membership::{LIST_BYTES_MAX, SignedList};
use ring::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

const MAGIC: &[u8; 8] = b"SHOALBAK";
const VERSION: u16 = 1;
/// Argon2id, version 1.3.
const KDF_ARGON2ID: u8 = 1;
/// Bytes before the first piece.
pub const HEAD_BYTES: usize = 80;
/// Bytes of one record's payload: what images of shards are read in.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 10;
const SEALED_BYTES_MAX: usize = 1 + PAYLOAD_BYTES_MAX + SEALED_PIECE_OVERHEAD_BYTES;
/// In the length of a piece: it is the last one.
const LAST: u32 = 1 << 31;
const HASH_BYTES: usize = 32;
/// Shards that a manifest may name.
const SHARDS_MAX: usize = 65_536;

const MANIFEST: u8 = 1;
const ROOT_KEY: u8 = 2;
const MEMBERS: u8 = 3;
const IMAGE: u8 = 4;
const PIECE: u8 = 5;
const IMAGE_END: u8 = 6;
const END: u8 = 7;

/// Why a backup cannot be used. The sentences continue its name.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Another kind of file.
    #[error("is no backup of Shoal")]
    Foreign,
    /// Of a newer release.
    #[error("was written by a newer release (format {0}): use that release")]
    Newer(u16),
    /// It ends too early.
    #[error("is cut short: it ends at byte {0}, before its end mark; take another copy")]
    CutShort(u64),
    /// Bytes changed.
    #[error("is damaged: {what} at byte {at}; take another copy")]
    Damaged {
        /// What is wrong.
        what: &'static str,
        /// Where.
        at: u64,
    },
    /// It is whole and does not open.
    #[error("is whole, but does not open with this passphrase")]
    WrongPassphrase,
    /// The passphrase cannot be used.
    #[error("cannot be opened: {0}")]
    Passphrase(#[from] PassphraseError),
}

/// What stands in the clear: how to make the key, whose backup it is, and from when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The salt of the passphrase.
    pub salt: [u8; SALT_BYTES],
    /// The cost of a guess.
    pub cost: PassphraseCost,
    /// The grid.
    pub grid: GridId,
    /// When it was begun.
    pub stamp: Timestamp,
}

impl Head {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_be_bytes());
        bytes[10] = KDF_ARGON2ID;
        bytes[12..16].copy_from_slice(&self.cost.memory_kib.to_be_bytes());
        bytes[16..20].copy_from_slice(&self.cost.passes.to_be_bytes());
        bytes[20..24].copy_from_slice(&self.cost.lanes.to_be_bytes());
        bytes[24..40].copy_from_slice(&self.salt);
        bytes[40..56].copy_from_slice(self.grid.as_bytes());
        bytes[56..64].copy_from_slice(&self.stamp.0.to_be_bytes());
        bytes
    }

    /// Reads them.
    pub fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<Self, BackupError> {
        let mut rest = &bytes[..];
        let mut magic = [0; 8];
        rest.copy_to_slice(&mut magic);
        if magic != *MAGIC {
            return Err(BackupError::Foreign);
        }
        let version = rest.get_u16();
        if version > VERSION {
            return Err(BackupError::Newer(version));
        }
        let (kdf, zero) = (rest.get_u8(), rest.get_u8());
        let cost =
            PassphraseCost { memory_kib: rest.get_u32(), passes: rest.get_u32(), lanes: rest.get_u32() };
        let (mut salt, mut grid) = ([0; SALT_BYTES], [0; 16]);
        rest.copy_to_slice(&mut salt);
        rest.copy_to_slice(&mut grid);
        let stamp = Timestamp(rest.get_u64());
        if version == 0 || kdf != KDF_ARGON2ID || zero != 0 || rest.iter().any(|byte| *byte != 0) {
            return Err(BackupError::Damaged { what: "its head is not as any release writes it", at: 8 });
        }
        Ok(Self { salt, cost, grid: GridId::from_bytes(grid), stamp })
    }
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the agent that wrote it.
    pub release: String,
    /// The grid.
    pub grid: GridId,
    /// The node that wrote it.
    pub node: NodeId,
    /// When it was begun: what was acknowledged before is in it.
    pub stamp: Timestamp,
    /// All shards, the root shard last.
    pub shards: Vec<ShardSize>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardSize {
    /// The shard.
    pub shard: ShardId,
    /// Bytes of its image.
    pub bytes: u64,
}

/// What comes out of a backup, in this order; images in the order of the manifest.
#[derive(Debug)]
pub enum Record {
    /// First.
    Manifest(Manifest),
    /// The root key.
    RootKeys(RootKeys),
    /// The signed member list; none where the grid had none.
    Members(Option<SignedList>),
    /// A shard's image begins.
    Image(ShardId),
    /// Bytes of the image.
    Piece(Bytes),
    /// It was whole.
    ImageEnd,
}

/// What was in a backup that is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Bytes of the file.
    pub bytes: u64,
    /// Everything was opened and authenticated; otherwise the file is as it was written, whoever wrote it.
    pub authentic: bool,
}

/// Makes the bytes of one backup.
pub struct Encoder {
    sealer: PieceSealer,
    hash: Context,
}

impl Encoder {
    /// The head's salt must have been drawn for this backup. Also its first bytes.
    pub fn new(head: &Head, key: &PassphraseKey) -> (Self, Bytes) {
        let bytes = head.encode();
        let mut encoder = Self { sealer: PieceSealer::new(key, &bytes), hash: Context::new(&SHA256) };
        encoder.hash.update(&bytes);
        (encoder, Bytes::copy_from_slice(&bytes))
    }

    fn record(&mut self, kind: u8, payload: &[u8], last: bool) -> Bytes {
        let mut plain = zeroize::Zeroizing::new(Vec::with_capacity(1 + payload.len()));
        plain.push(kind);
        plain.extend_from_slice(payload);
        let sealed = self.sealer.seal(&plain, last);
        let length = u32::try_from(sealed.len()).expect("payloads are at most 256 KiB");
        let mut bytes = BytesMut::with_capacity(4 + sealed.len());
        bytes.extend_from_slice(&(length | if last { LAST } else { 0 }).to_be_bytes());
        bytes.extend_from_slice(&sealed);
        self.hash.update(&bytes);
        bytes.freeze()
    }

    /// Manifest, root key and member list.
    pub fn begin(
        &mut self,
        manifest: &Manifest,
        root_keys: &RootKeys,
        members: &[u8],
    ) -> Result<Vec<Bytes>, serde_json::Error> {
        let manifest = serde_json::to_vec(manifest)?;
        let mut bytes: Vec<Bytes> =
            manifest.chunks(PAYLOAD_BYTES_MAX).map(|part| self.record(MANIFEST, part, false)).collect();
        bytes.push(self.record(ROOT_KEY, &root_keys.encode(), false));
        bytes.extend(members.chunks(PAYLOAD_BYTES_MAX).map(|part| self.record(MEMBERS, part, false)));
        Ok(bytes)
    }

    /// A shard's image begins.
    pub fn image(&mut self, shard: ShardId) -> Bytes {
        self.record(IMAGE, &shard.0.to_be_bytes(), false)
    }

    /// Bytes of the image, at most `PAYLOAD_BYTES_MAX`.
    pub fn piece(&mut self, piece: &[u8]) -> Bytes {
        self.record(PIECE, piece, false)
    }

    /// The image was whole; its SHA-256.
    pub fn image_end(&mut self, hash: &[u8]) -> Bytes {
        self.record(IMAGE_END, hash, false)
    }

    /// The end.
    pub fn end(mut self) -> Bytes {
        let mut bytes = BytesMut::from(&self.record(END, &[], true)[..]);
        bytes.extend_from_slice(self.hash.finish().as_ref());
        bytes.freeze()
    }
}

/// Where a decoder stands among the records.
enum Expect {
    /// More of the manifest, or the root key.
    Manifest(Vec<u8>),
    /// More of the list, or the first image, or the end.
    Members(Vec<u8>),
    /// The image of this place in the manifest, or the end.
    Image(usize),
    /// More of it, or its end.
    Piece { image: usize, hash: Box<Context>, left: u64 },
    /// Nothing.
    Nothing,
}

enum Seal {
    Open(PieceOpener),
    /// No passphrase was given.
    Absent,
    /// The first piece did not open: the hash at the end tells whether that is the passphrase's fault.
    Refused,
}

fn damaged(what: &'static str, at: u64) -> BackupError {
    BackupError::Damaged { what, at }
}

/// Takes a backup apart. Bytes are pushed in, records come out; `finish` has the last word.
pub struct Decoder {
    buffer: BytesMut,
    position: u64,
    hash: Option<Context>,
    seal: Seal,
    expect: Expect,
    manifest: Option<Manifest>,
    /// Records that came out of one piece together.
    ready: std::collections::VecDeque<Record>,
    ended: bool,
}

impl Decoder {
    /// After the head. Without a key the frame alone is verified, and no records come.
    pub fn new(head: &[u8; HEAD_BYTES], key: Option<&PassphraseKey>) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(head);
        Self {
            buffer: BytesMut::new(),
            position: HEAD_BYTES as u64,
            hash: Some(hash),
            seal: key.map_or(Seal::Absent, |key| Seal::Open(PieceOpener::new(key, head))),
            expect: Expect::Manifest(Vec::new()),
            manifest: None,
            ready: std::collections::VecDeque::new(),
            ended: false,
        }
    }

    /// Takes bytes; call `next` until it gives none before more are pushed.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next record that is there.
    pub fn next(&mut self) -> Result<Option<Record>, BackupError> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            if self.ended && self.buffer.len() > HASH_BYTES {
                return Err(damaged("it goes on after its end mark", self.position + HASH_BYTES as u64));
            }
            if self.ended || self.buffer.len() < 4 {
                return Ok(None);
            }
            let word = u32::from_be_bytes([self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]]);
            let (length, last) = ((word & !LAST) as usize, word & LAST != 0);
            if length <= SEALED_PIECE_OVERHEAD_BYTES || length > SEALED_BYTES_MAX {
                return Err(damaged("a length is out of bounds", self.position));
            }
            if self.buffer.len() < 4 + length {
                return Ok(None);
            }
            let frame = self.buffer.split_to(4 + length).freeze();
            if let Some(hash) = &mut self.hash {
                hash.update(&frame);
            }
            self.open(&frame[4..], last)?;
            self.position += 4 + length as u64;
            self.ended = last;
        }
    }

    fn open(&mut self, sealed: &[u8], last: bool) -> Result<(), BackupError> {
        let Seal::Open(opener) = &mut self.seal else { return Ok(()) };
        match opener.open(sealed, last) {
            Ok(plain) => {
                let plain = zeroize::Zeroizing::new(plain);
                let (kind, payload) =
                    plain.split_first().ok_or_else(|| damaged("a piece is empty", self.position))?;
                self.take(*kind, payload, last)
            }
            Err(_) if self.position == HEAD_BYTES as u64 => {
                self.seal = Seal::Refused;
                Ok(())
            }
            Err(_) => Err(damaged("a piece is not as it was written", self.position)),
        }
    }

    /// A record that was authenticated: whoever wrote it knew the passphrase.
    fn take(&mut self, kind: u8, payload: &[u8], last: bool) -> Result<(), BackupError> {
        let at = self.position;
        let disorder = || damaged("records are not in their order", at);
        if last != (kind == END) {
            return Err(disorder());
        }
        let expect = std::mem::replace(&mut self.expect, Expect::Nothing);
        self.expect = match (kind, expect) {
            (MANIFEST, Expect::Manifest(mut text)) if text.len() < SHARDS_MAX * 64 => {
                text.extend_from_slice(payload);
                Expect::Manifest(text)
            }
            (ROOT_KEY, Expect::Manifest(text)) => {
                let manifest: Manifest = serde_json::from_slice(&text)
                    .map_err(|_| damaged("its manifest is not as this release writes it", self.position))?;
                let key = RootKeys::decode(payload)
                    .map_err(|_| damaged("its root keys cannot be read", self.position))?;
                self.manifest = Some(manifest.clone());
                self.ready.extend([Record::Manifest(manifest), Record::RootKeys(key)]);
                Expect::Members(Vec::new())
            }
            (MEMBERS, Expect::Members(mut bytes)) if bytes.len() + payload.len() <= LIST_BYTES_MAX => {
                bytes.extend_from_slice(payload);
                Expect::Members(bytes)
            }
            (IMAGE | END, Expect::Members(bytes)) => {
                let list = match bytes.is_empty() {
                    true => None,
                    false => Some(
                        SignedList::verify_any(&bytes)
                            .map_err(|_| damaged("its member list cannot be read", self.position))?,
                    ),
                };
                self.ready.push_back(Record::Members(list));
                self.image_or_end(kind, payload, 0)?
            }
            (IMAGE | END, Expect::Image(place)) => self.image_or_end(kind, payload, place)?,
            (PIECE, Expect::Piece { image, mut hash, left }) if payload.len() as u64 <= left => {
                hash.update(payload);
                self.ready.push_back(Record::Piece(Bytes::copy_from_slice(payload)));
                Expect::Piece { image, hash, left: left - payload.len() as u64 }
            }
            (IMAGE_END, Expect::Piece { image, hash, left: 0 })
                if Context::clone(&hash).finish().as_ref() == payload =>
            {
                self.ready.push_back(Record::ImageEnd);
                Expect::Image(image + 1)
            }
            _ => return Err(disorder()),
        };
        Ok(())
    }

    fn image_or_end(&mut self, kind: u8, payload: &[u8], place: usize) -> Result<Expect, BackupError> {
        let at = self.position;
        let disorder = || damaged("it does not hold the shards of its manifest", at);
        let next = self.manifest.as_ref().and_then(|manifest| manifest.shards.get(place));
        match (kind, next) {
            (END, None) => Ok(Expect::Nothing),
            (IMAGE, Some(shard)) if payload == shard.shard.0.to_be_bytes() => {
                let (id, left) = (shard.shard, shard.bytes);
                self.ready.push_back(Record::Image(id));
                Ok(Expect::Piece { image: place, hash: Box::new(Context::new(&SHA256)), left })
            }
            _ => Err(disorder()),
        }
    }

    /// All bytes were pushed and all records taken: is the backup whole?
    pub fn finish(mut self) -> Result<Summary, BackupError> {
        let end = self.position + self.buffer.len() as u64;
        if !self.ended || self.buffer.len() < HASH_BYTES {
            return Err(BackupError::CutShort(end));
        }
        let hash = self.hash.take().map(Context::finish);
        if hash.is_none_or(|hash| hash.as_ref() != &self.buffer[..]) {
            return Err(damaged("its bytes do not match the hash", self.position));
        }
        match self.seal {
            Seal::Open(_) => Ok(Summary { bytes: end, authentic: true }),
            Seal::Absent => Ok(Summary { bytes: end, authentic: false }),
            Seal::Refused => Err(BackupError::WrongPassphrase),
        }
    }
}
