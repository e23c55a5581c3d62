use futures_util::stream;
use grid_types::SegmentId;
use proptest::prelude::*;

use super::*;

const DRIVE: DriveId = DriveId::from_bytes([3; 16]);
const CHUNK: ChunkKey = ChunkKey { segment: SegmentId::from_bytes([7; 16]), index: 2 };

fn cut(bytes: &[u8], sizes: &[usize]) -> Vec<Bytes> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let mut pieces = Vec::new();
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        pieces.push(rest.split_to((*size).min(rest.len())));
    }
    pieces
}

/// Nothing here waits, so every future is ready at once.
fn read(pieces: Vec<Bytes>) -> Vec<Result<(Kind, Bytes), ErrorCode>> {
    let mut messages = Messages::new(stream::iter(pieces.into_iter().map(Ok)).boxed());
    let mut all = Vec::new();
    loop {
        match messages.next().now_or_never().unwrap() {
            Ok(Some((kind, body))) => all.push(Ok((kind, body.join()))),
            Ok(None) => return all,
            Err(error) => {
                all.push(Err(error.code));
                return all;
            }
        }
    }
}

#[test]
fn messages_survive_any_cut() {
    let frame = [9; 300];
    let stream = [message(Kind::Wait, &[]), message(Kind::Frame, &frame), message(Kind::Done, &[])].concat();
    for sizes in [&[1][..], &[2, 3], &[4], &[5, 7], &[64], &[1000]] {
        let expected = vec![
            Ok((Kind::Wait, Bytes::new())),
            Ok((Kind::Frame, Bytes::copy_from_slice(&frame))),
            Ok((Kind::Done, Bytes::new())),
        ];
        assert_eq!(read(cut(&stream, sizes)), expected, "{sizes:?}");
        // Cut short anywhere but between two messages it is an error.
        for len in 0..stream.len() {
            let whole = [0, 5, 310].contains(&len);
            assert_eq!(read(cut(&stream[..len], sizes)).iter().any(Result::is_err), !whole, "{len}");
        }
    }
}

#[test]
fn lengths_and_kinds_beyond_the_limits_are_refused_before_they_are_held() {
    let head = |kind: u8, len: u32| Bytes::from([&[kind][..], &len.to_le_bytes()].concat());
    assert_eq!(read(vec![head(2, FRAME_MESSAGE_BYTES_MAX as u32 + 1)]), [Err(ErrorCode::TooLarge)]);
    assert_eq!(read(vec![head(1, SMALL_MESSAGE_BYTES_MAX as u32 + 1)]), [Err(ErrorCode::TooLarge)]);
    assert_eq!(read(vec![head(6, 1)]), [Err(ErrorCode::TooLarge)]);
    assert_eq!(read(vec![head(0, 0)]), [Err(ErrorCode::InvalidArgument)]);
    assert_eq!(read(vec![head(8, 0)]), [Err(ErrorCode::InvalidArgument)]);
}

#[test]
fn errors_of_drives_keep_their_kind_on_the_way() {
    let io = ChunkError::Io { drive: DRIVE, operation: "x", source: std::io::Error::other("y") };
    let errors = [
        ChunkError::Missing { drive: DRIVE, chunk: CHUNK },
        ChunkError::Corrupt { drive: DRIVE, chunk: CHUNK, what: "frame 3".to_owned() },
        ChunkError::Full { drive: DRIVE },
        ChunkError::OutOfService { drive: DRIVE, reason: "pulled".to_owned() },
        ChunkError::Unreachable { drive: DRIVE, reason: "silent".to_owned() },
        io,
    ];
    for error in errors {
        let back = from_rpc(DRIVE, Some(CHUNK), to_rpc(&error));
        assert_eq!(std::mem::discriminant(&back), std::mem::discriminant(&error), "{back}");
        assert_eq!(back.code(), error.code());
        // Silence is never taken for the drive's own word.
        for fate in [Fate::NotSent, Fate::Unknown] {
            let told = RpcError { fate, ..to_rpc(&error) };
            assert!(matches!(from_rpc(DRIVE, Some(CHUNK), told), ChunkError::Unreachable { .. }));
        }
    }
}

proptest! {
    #[test]
    fn hostile_bytes_end_in_an_error_or_an_end(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        sizes in prop::collection::vec(1usize..40, 1..5),
        kind in 1u8..8,
        len in 0u32..300,
    ) {
        let sound = decode_stream(cut(&bytes, &sizes));
        prop_assert!(sound <= bytes.len() / PREFIX_BYTES);
        let framed = [&[kind][..], &len.to_le_bytes(), &bytes].concat();
        decode_stream(cut(&framed, &sizes));
    }

    #[test]
    fn a_frame_comes_out_as_it_went_in(
        hash in any::<[u8; FRAME_HASH_BYTES]>(),
        block in prop::collection::vec(any::<u8>(), 1..2_000),
        sizes in prop::collection::vec(1usize..90, 1..5),
    ) {
        let body = [&hash[..], &block].concat();
        let mut messages = Messages::new(stream::iter(cut(&message(Kind::Frame, &body), &sizes).into_iter().map(Ok)).boxed());
        let (kind, frame) = messages.next().now_or_never().unwrap().unwrap().unwrap();
        prop_assert_eq!(kind, Kind::Frame);
        let (got, pieces) = frame.split_frame().unwrap();
        prop_assert_eq!(got, hash);
        prop_assert_eq!(pieces.concat(), block);
    }
}
