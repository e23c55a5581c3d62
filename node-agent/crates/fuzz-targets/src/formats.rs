//! What old or rotten disks hold, and what other nodes send of chunks.

use bytes::Bytes;
use chunk_store::format::{
    Prelude, decode_file_header, decode_footer, decode_header, decode_pack_header, encode_footer,
    encode_header, encode_pack_header,
};
use codec::FrameHasher;
use grid_types::{ChunkKey, SegmentId};
use segment_store::remote::decode_stream;

/// The chunk that a header claims to be, so that the search gets past the identity check.
fn claimed(input: &[u8]) -> ChunkKey {
    let mut segment = [0; 16];
    let mut index = 0;
    if input.len() > 28 {
        segment.copy_from_slice(&input[12..28]);
        index = input[28];
    }
    ChunkKey { segment: SegmentId::from_bytes(segment), index }
}

/// What decodes encodes to the same bytes.
pub fn chunk_header(input: &[u8]) {
    let chunk = claimed(input);
    if let Ok((header, len)) = decode_header(chunk, input) {
        let again = encode_header(&header).expect("a decoded header encodes");
        assert_eq!(again, input[..len], "a header decodes to something else than it says");
    }
    let _defect = decode_file_header(chunk, input);
}

/// Likewise, for footers.
pub fn chunk_footer(input: &[u8]) {
    let chunk = claimed(&[]);
    if let Ok(footer) = decode_footer(chunk, input) {
        let again = encode_footer(chunk, footer.plain_len, &footer.note).expect("a decoded footer encodes");
        assert_eq!(again, input, "a footer decodes to something else than it says");
    }
}

/// Likewise, for the records and headers of packs; a record's pieces lie within it.
pub fn pack_record(input: &[u8]) {
    if let Some(prelude) = Prelude::decode(input, 0) {
        let len = prelude.encode().len();
        assert!(prelude.record_len() >= len as u64, "a record shorter than its own prelude");
        if let Prelude::Chunk { header_len, footer_len, record_len, .. } = prelude {
            assert!(u64::from(header_len) + u64::from(footer_len) < u64::from(record_len));
        }
        assert_eq!(Prelude::decode(&prelude.encode(), 0), Some(prelude));
    }
    if let Ok((_, drive, number)) = decode_pack_header(input) {
        let again = encode_pack_header(drive, number);
        assert!(
            decode_pack_header(&again).is_ok_and(|(_, same, counted)| same == drive && counted == number)
        );
    }
}

/// A frame verifies where it was hashed, and nowhere else.
pub fn frame(input: &[u8]) {
    let Some((&at, block)) = input.split_first() else { return };
    let hasher = FrameHasher::new(claimed(input));
    let hash = hasher.hash(u64::from(at), block);
    assert!(hasher.verify(u64::from(at), block, &hash));
    assert!(!hasher.verify(u64::from(at) + 1, block, &hash), "a frame verifies in another place");
    if let Some(last) = block.len().checked_sub(1) {
        let mut rotten = block.to_vec();
        rotten[last] ^= 1;
        assert!(!hasher.verify(u64::from(at), &rotten, &hash), "a flipped bit was not seen");
    }
}

/// The messages of a stream do not depend on how the net cuts it; the first byte says how.
pub fn chunk_rpc(input: &[u8]) {
    let Some((&size, stream)) = input.split_first() else { return };
    let whole = decode_stream(vec![Bytes::copy_from_slice(stream)]);
    let pieces = stream.chunks(usize::from(size).max(1)).map(Bytes::copy_from_slice).collect();
    assert_eq!(decode_stream(pieces), whole, "a stream reads differently in pieces");
}
