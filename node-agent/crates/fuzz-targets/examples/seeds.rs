//! Writes the seeds of the format targets from the real encoders: `cargo run -p fuzz-targets --example seeds`.

use std::path::Path;

use chunk_store::ChunkHeader;
use chunk_store::format::{Prelude, encode_footer, encode_header, encode_pack_header};
use grid_types::{
    BucketId, ChunkKey, Cipher, Compression, DriveId, ObjectKey, Profile, SegmentId, VersionId,
};
use meta_store::{Command, WriteCondition};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = ChunkKey { segment: SegmentId::from_bytes([7; 16]), index: 3 };
    let header = |profile, sealed: &[u8]| ChunkHeader {
        chunk: key,
        seal_id: SegmentId::from_bytes([9; 16]),
        profile,
        cipher: Cipher::ChaCha20Poly1305,
        compression: Compression::None,
        key_generation: 1,
        block_packets: 2,
        plain_len: 0,
        sealed: sealed.to_vec(),
    };
    let zero = ChunkKey { segment: SegmentId::from_bytes([0; 16]), index: 0 };
    let chunk = Prelude::Chunk { key, header_len: 100, footer_len: 60, record_len: 4_096 };
    let delete = Command::DeleteVersion {
        bucket: BucketId::from_bytes([1; 16]),
        key: ObjectKey::new("a/b")?,
        bucket_generation: 1,
        version: Some(VersionId::from_bytes([2; 16])),
        condition: WriteCondition::ETag("d41d8cd98f00b204e9800998ecf8427e".to_owned()),
    };
    // As docs/formats/chunk-rpc.md has it: kind, length, body.
    let message = |kind: u8, body: &[u8]| [&[kind][..], &(body.len() as u32).to_le_bytes(), body].concat();
    let write =
        [vec![7], message(4, b""), message(2, &[3; 200]), message(3, &encode_footer(zero, 70_000, b"")?)];
    let answer = [vec![1], message(5, b""), message(4, b""), message(7, b"\x1a\x04full"), message(6, b"")];
    let seeds: [(&str, Vec<u8>); 12] = [
        ("chunk_rpc/write", write.concat()),
        ("chunk_rpc/answer", answer.concat()),
        ("chunk_header/ec", encode_header(&header(Profile::Ec { k: 2, m: 2 }, b"sealed identity"))?),
        ("chunk_header/copies", encode_header(&header(Profile::Copies(4), b""))?),
        ("chunk_footer/plain", encode_footer(zero, 70_000, b"")?),
        ("chunk_footer/record", encode_footer(zero, 1, &[5; 300])?),
        ("pack_record/chunk", chunk.encode().to_vec()),
        ("pack_record/tombstone", Prelude::Tombstone(key).encode().to_vec()),
        ("pack_record/mark", Prelude::Mark { sequence: 12, offset: 0 }.encode().to_vec()),
        ("command/delete", postcard::to_allocvec(&delete)?),
        ("command/reap", postcard::to_allocvec(&Command::Reap { segments: vec![key.segment; 3] })?),
        ("pack_record/header", encode_pack_header(DriveId::from_bytes([4; 16]), 17).to_vec()),
    ];
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, bytes) in seeds {
        let path = corpus.join(name);
        std::fs::create_dir_all(path.parent().ok_or("a seed lies in a folder")?)?;
        std::fs::write(path, bytes)?;
    }
    Ok(())
}
