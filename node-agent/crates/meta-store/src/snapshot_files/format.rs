//! The bytes of a snapshot file. docs/formats/metadata-snapshot.md is the page.

use bytes::Bytes;
use grid_types::ShardId;

use super::SnapshotInfo;
use crate::log::OPAQUE_BYTES_MAX;

/// Where snapshots lie on a drive.
pub(super) const SNAPSHOT_DIR: &str = "meta/snapshots";
/// Ends the name of a file under construction.
pub(super) const TEMPORARY: &str = ".new";
/// "SSNP", format version 1.
const MAGIC: [u8; 8] = *b"SSNP\x01\0\0\0";
/// Bytes before the log id.
const FIXED_HEADER: usize = 28;
/// Bytes of a header at most.
pub(super) const HEADER_BYTES_MAX: usize = FIXED_HEADER + OPAQUE_BYTES_MAX + 4;
/// Bytes before a chunk: its length, its checksum.
pub(super) const CHUNK_HEADER: usize = 8;
/// Stands for the length in the footer.
const FOOTER_MARK: u32 = u32::MAX;
/// Bytes of the footer: mark, checksum, chunks, bytes.
pub(super) const FOOTER: usize = 24;

pub(super) fn file_path(group: ShardId, index: u64) -> String {
    format!("{SNAPSHOT_DIR}/{:016x}-{index:016x}.snap", group.0)
}

/// Group and index, from a file's name.
pub(super) fn parse_name(name: &str) -> Option<(ShardId, u64)> {
    let (group, index) = name.strip_suffix(".snap")?.split_once('-')?;
    if group.len() != 16 || index.len() != 16 {
        return None;
    }
    Some((ShardId(u64::from_str_radix(group, 16).ok()?), u64::from_str_radix(index, 16).ok()?))
}

pub(super) fn encode_header(info: &SnapshotInfo) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&info.group.0.to_le_bytes());
    bytes.extend_from_slice(&info.index.to_le_bytes());
    let len = u32::try_from(info.log_id.len()).expect("a log id is short");
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&info.log_id);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

/// The header at the start of `bytes`, and its length.
pub(super) fn decode_header(bytes: &[u8]) -> Option<(SnapshotInfo, usize)> {
    let fixed = bytes.get(..FIXED_HEADER)?.strip_prefix(&MAGIC)?;
    let (group, rest) = fixed.split_first_chunk()?;
    let (index, rest) = rest.split_first_chunk()?;
    let id_len = usize::try_from(u32::from_le_bytes(*rest.first_chunk()?)).ok()?;
    if id_len > OPAQUE_BYTES_MAX {
        return None;
    }
    let end = FIXED_HEADER + id_len;
    let crc = bytes.get(end..)?.first_chunk()?;
    if crc32c::crc32c(&bytes[..end]) != u32::from_le_bytes(*crc) {
        return None;
    }
    let log_id = Bytes::copy_from_slice(&bytes[FIXED_HEADER..end]);
    let info = SnapshotInfo {
        group: ShardId(u64::from_le_bytes(*group)),
        index: u64::from_le_bytes(*index),
        log_id,
    };
    Some((info, end + 4))
}

/// Makes the checksums of one snapshot: a chunk of another one, or in another place, does not verify.
#[derive(Clone, Copy)]
pub(super) struct ChunkSeal(u32);

impl ChunkSeal {
    pub(super) fn new(info: &SnapshotInfo) -> Self {
        Self(crc32c::crc32c(&encode_header(info)))
    }

    fn crc(self, chunk: u64, bytes: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &chunk.to_le_bytes()), bytes)
    }

    pub(super) fn chunk_header(self, chunk: u64, bytes: &[u8]) -> [u8; CHUNK_HEADER] {
        let len = u32::try_from(bytes.len()).expect("a chunk is short");
        let mut header = [0; CHUNK_HEADER];
        header[..4].copy_from_slice(&len.to_le_bytes());
        header[4..].copy_from_slice(&self.crc(chunk, bytes).to_le_bytes());
        header
    }

    pub(super) fn footer(self, chunks: u64, bytes: u64) -> [u8; FOOTER] {
        let mut footer = [0; FOOTER];
        footer[..4].copy_from_slice(&FOOTER_MARK.to_le_bytes());
        footer[8..16].copy_from_slice(&chunks.to_le_bytes());
        footer[16..].copy_from_slice(&bytes.to_le_bytes());
        let crc = self.crc(FOOTER_MARK.into(), &footer[8..]);
        footer[4..8].copy_from_slice(&crc.to_le_bytes());
        footer
    }

    /// Does the chunk verify?
    pub(super) fn verifies(self, header: &[u8; CHUNK_HEADER], chunk: u64, bytes: &[u8]) -> bool {
        *header == self.chunk_header(chunk, bytes)
    }
}

/// Bytes of the chunk behind this header; `None` = the footer comes.
pub(super) fn chunk_len(header: &[u8; CHUNK_HEADER]) -> Option<u32> {
    let len = u32::from_le_bytes([header[0], header[1], header[2], header[3]]);
    (len != FOOTER_MARK).then_some(len)
}
