//! What the chunk service says to peers that do not keep to the rules.

use std::time::Duration;

use bytes::Bytes;
use chunk_store::ChunkHeader;
use chunk_store::format::{encode_footer, encode_header};
use codec::FrameHasher;
use futures_util::future::{Either, select};
use futures_util::{StreamExt, stream};
use grid_types::{ChunkKey, Cipher, Compression, DriveId, ErrorCode, Profile, SEGMENT_BYTES_MAX, SegmentId};
use rpc::{Body, Method, NetworkExt, RpcError};

use super::nodes_rig::*;
use crate::ChunkServiceConfig;
use crate::remote::wire::{self, Begin, ChunkQuestion, Kind, ListQuestion, Messages, ReadQuestion};

const CHUNK: ChunkKey = ChunkKey { segment: SegmentId::from_bytes([7; 16]), index: 0 };
const DEADLINE: Duration = Duration::from_secs(5);

fn header(block_packets: u8) -> ChunkHeader {
    ChunkHeader {
        chunk: CHUNK,
        seal_id: CHUNK.segment,
        profile: Profile::Copies(2),
        cipher: Cipher::ChaCha20Poly1305,
        compression: Compression::None,
        key_generation: 1,
        block_packets,
        plain_len: 0,
        sealed: vec![1; 40],
    }
}

fn begin(drive: DriveId, payload_len_max: u64, block_packets: u8) -> Bytes {
    let header = encode_header(&header(block_packets)).unwrap();
    wire::value(Kind::Begin, &Begin { drive, chunk: CHUNK, payload_len_max, header }).unwrap()
}

fn frame(number: u64, block: &[u8]) -> Bytes {
    let hash = FrameHasher::new(CHUNK).hash(number, block);
    wire::message(Kind::Frame, &[&hash[..], block].concat())
}

fn finish(plain_len: u64) -> Bytes {
    wire::message(Kind::Finish, &encode_footer(CHUNK, plain_len, b"note").unwrap())
}

fn body(pieces: Vec<Bytes>) -> Body {
    stream::iter(pieces.into_iter().map(Ok)).boxed()
}

/// The last word of a write: its kind, or the code of its failure.
async fn write(rig: &Nodes, pieces: Vec<Bytes>) -> Result<Kind, ErrorCode> {
    let answer = rig.nodes[0].network.send(rig.nodes[1].id, wire::WRITE, body(pieces), DEADLINE).await;
    last_word(answer).await
}

async fn last_word(answer: Result<Body, RpcError>) -> Result<Kind, ErrorCode> {
    let mut messages = Messages::new(answer.map_err(|error| error.code)?);
    let mut last = Kind::Wait;
    while let Some((kind, body)) = messages.next().await.map_err(|error| error.code)? {
        if kind == Kind::Failed {
            return Err(wire::decode::<wire::Failure>(&body.join()).unwrap().code);
        }
        last = kind;
    }
    Ok(last)
}

#[tokio::test]
async fn writes_that_break_the_rules_fail_and_leave_nothing() {
    let rig = Nodes::new(2, 1);
    let drive = rig.nodes[1].drives[0];
    let block = vec![5u8; 1_016];
    let invalid = Err(ErrorCode::InvalidArgument);
    let mut spoilt = begin(drive, 4_096, 2).to_vec();
    let last = spoilt.len() - 1;
    spoilt[last] ^= 1;
    let mut wrong_hash = frame(0, &block).to_vec();
    wrong_hash[400] ^= 1;
    let cases: Vec<(&str, Vec<Bytes>, Result<Kind, ErrorCode>)> = vec![
        ("nothing", vec![], invalid),
        ("noise", vec![Bytes::from_static(b"GET / HTTP/1.1")], invalid),
        ("no beginning", vec![frame(0, &block)], invalid),
        ("a spoilt header", vec![spoilt.into()], invalid),
        ("a chunk beyond all", vec![begin(drive, 3 * SEGMENT_BYTES_MAX, 2)], invalid),
        ("blocks beyond all", vec![begin(drive, 4_096, 200)], invalid),
        ("another node's drive", vec![begin(rig.nodes[0].drives[0], 4_096, 2)], Err(ErrorCode::NoSuchDrive)),
        ("no end", vec![begin(drive, 4_096, 2), frame(0, &block)], invalid),
        ("a beginning within", vec![begin(drive, 4_096, 2), begin(drive, 4_096, 2)], invalid),
        ("an empty frame", vec![begin(drive, 4_096, 2), wire::message(Kind::Frame, &[0; 32])], invalid),
        ("a wrong hash", vec![begin(drive, 4_096, 2), wrong_hash.into()], Err(ErrorCode::BadDigest)),
        ("a frame out of order", vec![begin(drive, 4_096, 2), frame(1, &block)], Err(ErrorCode::BadDigest)),
        ("more than announced", vec![begin(drive, 1_000, 2), frame(0, &block)], Err(ErrorCode::DriveFailed)),
        ("a block of three packets", vec![begin(drive, 1 << 20, 2), frame(0, &vec![1; 3 * 65_552])], invalid),
        (
            "an end that does not fit",
            vec![begin(drive, 4_096, 2), frame(0, &block), finish(999)],
            Err(ErrorCode::DriveFailed),
        ),
        (
            "a footer of another chunk",
            vec![begin(drive, 4_096, 2), frame(0, &block), wire::message(Kind::Finish, &[3; 80])],
            invalid,
        ),
    ];
    for (name, pieces, expected) in cases {
        assert_eq!(write(&rig, pieces).await, expected, "{name}");
        rig.until_stored(1, 0).await;
    }
    // And one that keeps to them, in single bytes.
    let good = [begin(drive, 4_096, 2), frame(0, &block), finish(1_000)].concat();
    let bytes = good.iter().map(|byte| Bytes::copy_from_slice(&[*byte])).collect();
    assert_eq!(write(&rig, bytes).await, Ok(Kind::Done));
    rig.until_stored(1, 1).await;
}

#[tokio::test]
async fn questions_without_sense_have_an_answer() {
    let rig = Nodes::new(2, 1);
    let (node, drive) = (rig.nodes[1].id, rig.nodes[1].drives[0]);
    let network = &rig.nodes[0].network;
    let ask = |method, message: Vec<u8>| network.call(node, method, message.into(), DEADLINE);
    for method in [wire::INFO, wire::VERIFY, wire::CONTAINS, wire::REMOVE, wire::LIST, wire::READ] {
        let error = ask(method, vec![0xFF; 3]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidArgument, "{}", method.path);
        let error = ask(method, vec![0; wire::SMALL_MESSAGE_BYTES_MAX + 1]).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::TooLarge, "{}", method.path);
    }
    let unknown = ask(Method::control("/chunk/v2/verify"), Vec::new()).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::NotImplemented);
    let nowhere = ChunkQuestion { drive: DriveId::from_bytes([99; 16]), chunk: CHUNK };
    let error = ask(wire::VERIFY, postcard::to_allocvec(&nowhere).unwrap()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::NoSuchDrive);
    // A thousand and no more.
    let many = wire::RemoveOrder { drive, chunks: vec![CHUNK; wire::CHUNKS_PER_CALL_MAX + 1] };
    let error = ask(wire::REMOVE, postcard::to_allocvec(&many).unwrap()).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    let all = ListQuestion { drive, after: None, limit: u32::MAX };
    assert!(ask(wire::LIST, postcard::to_allocvec(&all).unwrap()).await.is_ok());
    // Frames that no chunk has.
    for (first, count) in [(0, 1), (u64::MAX, u64::MAX), (0, 0)] {
        let question = ReadQuestion { drive, chunk: CHUNK, first, count };
        let error = ask(wire::READ, postcard::to_allocvec(&question).unwrap()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::SegmentLost, "{first} {count}");
    }
}

#[tokio::test]
async fn a_peer_has_its_share_and_no_more() {
    let service = ChunkServiceConfig {
        writes_per_peer_max: 2,
        wait_max: Duration::from_millis(20),
        ..ChunkServiceConfig::default()
    };
    let rig = Nodes::with(3, 1, 1, brisk(), service);
    let drive = rig.nodes[1].drives[0];
    let open = |from: usize| {
        let growing = stream::iter([Ok(begin(drive, 4_096, 2))]).chain(stream::pending()).boxed();
        rig.nodes[from].network.send(rig.nodes[1].id, wire::WRITE, growing, DEADLINE)
    };
    let (first, _second) = (open(0).await.unwrap(), open(0).await.unwrap());
    assert_eq!(open(0).await.err().unwrap().code, ErrorCode::SlowDown);
    assert!(open(2).await.is_ok(), "another peer has its own");
    drop(first);

    // Reads in line behind a slow drive.
    let service = ChunkServiceConfig {
        reads_per_peer_max: 1,
        wait_max: Duration::from_millis(20),
        ..ChunkServiceConfig::default()
    };
    let rig = Nodes::with(3, 1, 1, brisk(), service);
    let drive = rig.nodes[1].drives[0];
    rig.nodes[1].disks[0].shut_reads();
    let good = [begin(drive, 2 << 20, 2), frame(0, &[5; 1_016]), finish(1_000)].to_vec();
    assert_eq!(write(&rig, good).await, Ok(Kind::Done));
    let verify = |from: usize| {
        let message = postcard::to_allocvec(&ChunkQuestion { drive, chunk: CHUNK }).unwrap();
        rig.nodes[from].network.call(rig.nodes[1].id, wire::VERIFY, message.into(), DEADLINE)
    };
    // One of the two is let in, and reads for as long as the gate is shut; the other is sent away.
    let two = select(verify(0), verify(0)).await;
    let (Either::Left((refused, other)) | Either::Right((refused, other))) = two;
    assert_eq!(refused.unwrap_err().code, ErrorCode::SlowDown);
    rig.nodes[1].disks[0].open_gate();
    assert!(other.await.is_ok());
    assert!(verify(0).await.is_ok());

    let service =
        ChunkServiceConfig { memory_bytes: 6_000, wait_max: Duration::from_millis(20), ..Default::default() };
    let rig = Nodes::with(2, 1, 1, brisk(), service);
    let drive = rig.nodes[1].drives[0];
    let growing = || stream::iter([Ok(begin(drive, 4_096, 2))]).chain(stream::pending()).boxed();
    let network = &rig.nodes[0].network;
    let first = network.send(rig.nodes[1].id, wire::WRITE, growing(), DEADLINE).await;
    assert!(first.is_ok());
    let second = network.send(rig.nodes[1].id, wire::WRITE, growing(), DEADLINE).await;
    assert_eq!(second.err().unwrap().code, ErrorCode::SlowDown, "memory is used up");
}

/// Half a write, then silence: the node waits for its time and no longer.
#[tokio::test]
async fn a_write_that_falls_silent_is_given_up() {
    let service = ChunkServiceConfig { idle_max: Duration::from_millis(40), ..Default::default() };
    let rig = Nodes::with(2, 1, 1, brisk(), service);
    let drive = rig.nodes[1].drives[0];
    let growing =
        stream::iter([Ok(begin(drive, 4_096, 2)), Ok(frame(0, &[1; 100]))]).chain(stream::pending()).boxed();
    let answer = rig.nodes[0].network.send(rig.nodes[1].id, wire::WRITE, growing, DEADLINE).await;
    assert_eq!(last_word(answer).await, Err(ErrorCode::Unavailable));
    rig.until_stored(1, 0).await;
}
