//! Bytes of chunks, packs and their records; the pages are docs/formats/chunk.md and docs/formats/pack.md.
//!
//! All numbers are little endian. A chunk is the same three pieces in a file and in a pack: header, frames, footer. In a
//! file the header is padded with zeros to `HEADER_BYTES`, so that frames lie at offsets known by arithmetic alone.

use codec::{FRAME_HASH_BYTES, FrameHasher};
use grid_types::{
    CHUNKS_PER_SEGMENT_MAX, ChunkKey, Cipher, Compression, DriveId, Profile, SEGMENT_BYTES_MAX, SegmentId,
};

/// Begins a chunk header.
pub const CHUNK_MAGIC: [u8; 8] = *b"SHOALCHK";
/// Ends a chunk.
pub const FOOTER_MAGIC: [u8; 8] = *b"SHOALEND";
/// Begins a pack.
pub const PACK_MAGIC: [u8; 8] = *b"SHOALPAK";
/// Begins each record of a pack; not text, so that it does not turn up in text by chance.
pub const RECORD_MAGIC: [u8; 8] = *b"\xA7SHLREC\n";
/// The only version so far, of chunks and of packs.
pub const FORMAT_VERSION: u16 = 1;

/// Bytes of the header of a chunk file, padding included.
pub const HEADER_BYTES: u64 = 4_096;
/// Bytes of the sealed part of a header at most: the header with its hash must fit `HEADER_BYTES`.
pub const SEALED_BYTES_MAX: usize = 3_584;
/// Bytes that a writer may put into a footer.
pub const FOOTER_NOTE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a pack's own header.
pub const PACK_HEADER_BYTES: u64 = 64;
/// Bytes of the prelude of a record; a tombstone and a mark are nothing else.
pub const PRELUDE_BYTES: u64 = 40;

/// Stands for the header where the hash wants a frame number; no segment has so many frames.
const HEADER_FRAME: u64 = u64::MAX;
/// The same for the footer.
const FOOTER_FRAME: u64 = u64::MAX - 1;
const HEADER_FIXED_BYTES: usize = 58;
const FOOTER_FIXED_BYTES: usize = 12;
/// Length of the whole footer (u32) and `FOOTER_MAGIC`: found from the end.
pub const TRAILER_BYTES: usize = 12;
/// Bytes of a footer around the writer's own.
pub const FOOTER_OVERHEAD_BYTES: usize = FOOTER_FIXED_BYTES + FRAME_HASH_BYTES + TRAILER_BYTES;

/// The header of a chunk, as its writer gives it. Stored clear but for `sealed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkHeader {
    /// Segment id and index.
    pub chunk: ChunkKey,
    /// The segment's seal id.
    pub seal_id: SegmentId,
    /// How the segment is spread.
    pub profile: Profile,
    /// The AEAD of the packets.
    pub cipher: Cipher,
    /// The compression before sealing.
    pub compression: Compression,
    /// Generation of the bucket key.
    pub key_generation: u32,
    /// Packets of a full block.
    pub block_packets: u8,
    /// Plaintext bytes of the segment. Known at the end of writing: 0 in the header that opens a chunk file, stored
    /// in the footer.
    pub plain_len: u64,
    /// Sealed by the segment store: bucket id, key, version id, part and segment number.
    pub sealed: Vec<u8>,
}

/// Why bytes are not what they should be, in words.
pub type Defect = String;

/// Encodes a header with its hash, without padding.
pub fn encode_header(header: &ChunkHeader) -> Result<Vec<u8>, Defect> {
    if header.sealed.len() > SEALED_BYTES_MAX {
        return Err(format!("sealed part of {} bytes, {SEALED_BYTES_MAX} fit", header.sealed.len()));
    }
    if header.block_packets == 0 || !shape_is_sane(header.profile, header.chunk.index) {
        return Err(format!("index {} or block of {} packets", header.chunk.index, header.block_packets));
    }
    let len = HEADER_FIXED_BYTES + header.sealed.len() + FRAME_HASH_BYTES;
    let (kind, first, second) = match header.profile {
        Profile::Copies(n) => (1, n, 0),
        Profile::Ec { k, m } => (2, k, m),
    };
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&CHUNK_MAGIC);
    out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    out.extend_from_slice(&(len as u16).to_le_bytes());
    out.extend_from_slice(header.chunk.segment.as_bytes());
    out.push(header.chunk.index);
    out.extend_from_slice(header.seal_id.as_bytes());
    out.extend_from_slice(&[kind, first, second, header.cipher as u8, header.compression as u8]);
    out.extend_from_slice(&header.key_generation.to_le_bytes());
    out.extend_from_slice(&[header.block_packets, 0]);
    out.extend_from_slice(&(header.sealed.len() as u16).to_le_bytes());
    out.extend_from_slice(&header.sealed);
    let hash = FrameHasher::new(header.chunk).hash(HEADER_FRAME, &out);
    out.extend_from_slice(&hash);
    Ok(out)
}

/// Decodes and verifies the header of `chunk` at the start of `bytes`. Returns it with its length, hash included.
pub fn decode_header(chunk: ChunkKey, bytes: &[u8]) -> Result<(ChunkHeader, usize), Defect> {
    if bytes.len() < HEADER_FIXED_BYTES || bytes[..8] != CHUNK_MAGIC {
        return Err("header without its magic".to_owned());
    }
    let version = u16_at(bytes, 8);
    if version != FORMAT_VERSION {
        return Err(format!("header of version {version}, this release reads {FORMAT_VERSION}"));
    }
    let len = usize::from(u16_at(bytes, 10));
    let sealed_len = usize::from(u16_at(bytes, 56));
    if len != HEADER_FIXED_BYTES + sealed_len + FRAME_HASH_BYTES || len > bytes.len() {
        return Err("header with a wrong length".to_owned());
    }
    let (covered, hash) = bytes[..len].split_at(len - FRAME_HASH_BYTES);
    if !FrameHasher::new(chunk).verify(HEADER_FRAME, covered, hash) {
        return Err("header does not match its hash".to_owned());
    }
    let stored = ChunkKey { segment: id_at(bytes, 12), index: bytes[28] };
    let profile = match bytes[45] {
        1 if bytes[47] == 0 => Profile::Copies(bytes[46]),
        2 => Profile::Ec { k: bytes[46], m: bytes[47] },
        other => return Err(format!("header with profile kind {other}")),
    };
    if stored != chunk || !shape_is_sane(profile, chunk.index) || bytes[54] == 0 {
        return Err("header of another chunk or without sense".to_owned());
    }
    let cipher = Cipher::try_from(bytes[48]).map_err(|error| error.to_string())?;
    if bytes[49] != Compression::None as u8 {
        return Err(format!("header with compression {}", bytes[49]));
    }
    let header = ChunkHeader {
        chunk,
        seal_id: id_at(bytes, 29),
        profile,
        cipher,
        compression: Compression::None,
        key_generation: u32_at(bytes, 50),
        block_packets: bytes[54],
        plain_len: 0,
        sealed: bytes[HEADER_FIXED_BYTES..HEADER_FIXED_BYTES + sealed_len].to_vec(),
    };
    Ok((header, len))
}

/// As `decode_header`, for the padded header of a chunk file.
pub fn decode_file_header(chunk: ChunkKey, bytes: &[u8]) -> Result<ChunkHeader, Defect> {
    let (header, len) = decode_header(chunk, bytes)?;
    if bytes.len() as u64 != HEADER_BYTES || bytes[len..].iter().any(|&byte| byte != 0) {
        return Err("padding of the header is not zero".to_owned());
    }
    Ok(header)
}

fn shape_is_sane(profile: Profile, index: u8) -> bool {
    let (k, total) = (profile.data_chunks(), profile.total_chunks());
    k >= 1 && (1..=CHUNKS_PER_SEGMENT_MAX).contains(&total) && usize::from(index) < total
}

/// What a footer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footer {
    /// Plaintext bytes of the segment.
    pub plain_len: u64,
    /// What the writer put there.
    pub note: Vec<u8>,
}

/// Encodes a footer with its hash and trailer.
pub fn encode_footer(chunk: ChunkKey, plain_len: u64, note: &[u8]) -> Result<Vec<u8>, Defect> {
    if note.len() > FOOTER_NOTE_BYTES_MAX {
        return Err(format!("footer of {} bytes, {FOOTER_NOTE_BYTES_MAX} fit", note.len()));
    }
    let len = note.len() + FOOTER_OVERHEAD_BYTES;
    let mut out = Vec::with_capacity(len);
    out.extend_from_slice(&plain_len.to_le_bytes());
    out.extend_from_slice(&(note.len() as u32).to_le_bytes());
    out.extend_from_slice(note);
    let hash = FrameHasher::new(chunk).hash(FOOTER_FRAME, &out);
    out.extend_from_slice(&hash);
    out.extend_from_slice(&(len as u32).to_le_bytes());
    out.extend_from_slice(&FOOTER_MAGIC);
    Ok(out)
}

/// The length of the whole footer, from the last `TRAILER_BYTES` of a chunk.
pub fn footer_len(trailer: &[u8]) -> Result<u64, Defect> {
    if trailer.len() != TRAILER_BYTES || trailer[4..] != FOOTER_MAGIC {
        return Err("chunk without its end".to_owned());
    }
    let len = u32_at(trailer, 0) as usize;
    if !(FOOTER_OVERHEAD_BYTES..=FOOTER_OVERHEAD_BYTES + FOOTER_NOTE_BYTES_MAX).contains(&len) {
        return Err("footer with a wrong length".to_owned());
    }
    Ok(len as u64)
}

/// Decodes and verifies a whole footer.
pub fn decode_footer(chunk: ChunkKey, bytes: &[u8]) -> Result<Footer, Defect> {
    let trailer = bytes.len().checked_sub(TRAILER_BYTES).ok_or("footer cut short")?;
    if footer_len(&bytes[trailer..])? != bytes.len() as u64 {
        return Err("footer with a wrong length".to_owned());
    }
    let (covered, hash) = bytes[..trailer].split_at(trailer - FRAME_HASH_BYTES);
    if !FrameHasher::new(chunk).verify(FOOTER_FRAME, covered, hash) {
        return Err("footer does not match its hash".to_owned());
    }
    let plain_len = u64_at(bytes, 0);
    if u32_at(bytes, 8) as usize != covered.len() - FOOTER_FIXED_BYTES
        || !(1..=SEGMENT_BYTES_MAX).contains(&plain_len)
    {
        return Err("footer without sense".to_owned());
    }
    Ok(Footer { plain_len, note: covered[FOOTER_FIXED_BYTES..].to_vec() })
}

/// The header of a pack: magic, version, drive, number, CRC32C; zeros to `PACK_HEADER_BYTES`.
pub fn encode_pack_header(drive: DriveId, number: u64) -> [u8; PACK_HEADER_BYTES as usize] {
    let mut out = [0; PACK_HEADER_BYTES as usize];
    out[..8].copy_from_slice(&PACK_MAGIC);
    out[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    out[10..26].copy_from_slice(drive.as_bytes());
    out[26..34].copy_from_slice(&number.to_le_bytes());
    let check = crc32c::crc32c(&out[..34]);
    out[34..38].copy_from_slice(&check.to_le_bytes());
    out
}

/// Verifies a pack's header; returns its version, drive and number.
pub fn decode_pack_header(bytes: &[u8]) -> Result<(u16, DriveId, u64), Defect> {
    if bytes.len() < PACK_HEADER_BYTES as usize || bytes[..8] != PACK_MAGIC {
        return Err("pack without its magic".to_owned());
    }
    if crc32c::crc32c(&bytes[..34]) != u32_at(bytes, 34) {
        return Err("pack header does not match its checksum".to_owned());
    }
    let mut drive = [0; 16];
    drive.copy_from_slice(&bytes[10..26]);
    Ok((u16_at(bytes, 8), DriveId::from_bytes(drive), u64_at(bytes, 26)))
}

/// What begins every record of a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prelude {
    /// A chunk follows: header, frames, footer.
    Chunk {
        /// Which.
        key: ChunkKey,
        /// Bytes of its header.
        header_len: u16,
        /// Bytes of its footer.
        footer_len: u32,
        /// Bytes of the whole record, prelude included.
        record_len: u32,
    },
    /// The chunk of this name in earlier records is removed.
    Tombstone(ChunkKey),
    /// Bytes of a torn batch that hold nothing: passed over.
    Void {
        /// Bytes of the whole record, prelude included.
        record_len: u32,
    },
    /// Everything before was handed to one sync together with this mark.
    Mark {
        /// Grows by one with each batch of a drive.
        sequence: u64,
        /// Where in its pack the mark stands: a mark in another place is none.
        offset: u64,
    },
}

impl Prelude {
    /// Bytes of the whole record.
    pub fn record_len(&self) -> u64 {
        match self {
            Self::Chunk { record_len, .. } | Self::Void { record_len } => u64::from(*record_len),
            Self::Tombstone(_) | Self::Mark { .. } => PRELUDE_BYTES,
        }
    }

    /// Its bytes: magic, kind, index, header length, record length, footer length, id, CRC32C.
    pub fn encode(&self) -> [u8; PRELUDE_BYTES as usize] {
        let (kind, index, header_len, footer_len, id) = match *self {
            Self::Chunk { key, header_len, footer_len, .. } => {
                (1, key.index, header_len, footer_len, *key.segment.as_bytes())
            }
            Self::Tombstone(key) => (2, key.index, 0, 0, *key.segment.as_bytes()),
            Self::Mark { sequence, offset } => {
                let mut id = [0; 16];
                id[..8].copy_from_slice(&sequence.to_le_bytes());
                id[8..].copy_from_slice(&offset.to_le_bytes());
                (3, 0, 0, 0, id)
            }
            Self::Void { .. } => (4, 0, 0, 0, [0; 16]),
        };
        let mut out = [0; PRELUDE_BYTES as usize];
        out[..8].copy_from_slice(&RECORD_MAGIC);
        out[8] = kind;
        out[9] = index;
        out[10..12].copy_from_slice(&header_len.to_le_bytes());
        out[12..16].copy_from_slice(&(self.record_len() as u32).to_le_bytes());
        out[16..20].copy_from_slice(&footer_len.to_le_bytes());
        out[20..36].copy_from_slice(&id);
        let check = crc32c::crc32c(&out[..36]);
        out[36..].copy_from_slice(&check.to_le_bytes());
        out
    }

    /// The prelude at the start of `bytes`, standing at `offset` of its pack; `None` if there is no sound one.
    pub fn decode(bytes: &[u8], offset: u64) -> Option<Self> {
        if bytes.len() < PRELUDE_BYTES as usize
            || bytes[..8] != RECORD_MAGIC
            || crc32c::crc32c(&bytes[..36]) != u32_at(bytes, 36)
        {
            return None;
        }
        let key = ChunkKey { segment: id_at(bytes, 20), index: bytes[9] };
        let prelude = match bytes[8] {
            1 => Self::Chunk {
                key,
                header_len: u16_at(bytes, 10),
                footer_len: u32_at(bytes, 16),
                record_len: u32_at(bytes, 12),
            },
            2 => Self::Tombstone(key),
            3 => Self::Mark { sequence: u64_at(bytes, 20), offset: u64_at(bytes, 28) },
            4 => Self::Void { record_len: u32_at(bytes, 12) },
            _ => return None,
        };
        match prelude {
            Self::Chunk { header_len, footer_len, record_len, .. } => {
                let least = PRELUDE_BYTES + u64::from(header_len) + u64::from(footer_len);
                let footer_fits = footer_len as usize <= FOOTER_OVERHEAD_BYTES + FOOTER_NOTE_BYTES_MAX;
                (u64::from(record_len) > least && footer_fits).then_some(prelude)
            }
            Self::Mark { offset: stored, .. } => (stored == offset).then_some(prelude),
            Self::Void { record_len } => (u64::from(record_len) >= PRELUDE_BYTES).then_some(prelude),
            Self::Tombstone(_) => Some(prelude),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

fn id_at(bytes: &[u8], at: usize) -> SegmentId {
    let mut id = [0; 16];
    id.copy_from_slice(&bytes[at..at + 16]);
    SegmentId::from_bytes(id)
}
