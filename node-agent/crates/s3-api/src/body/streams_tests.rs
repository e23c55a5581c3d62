use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt;
use object_engine::{BodyError, ChecksumKind};

use super::chunk_tests::{signed_example, signer};
use super::{Announced, DataSource, open};
use crate::auth::Payload;
use crate::request::S3Body;
use crate::{S3Config, S3Error, S3ErrorCode};

/// Pieces, each pending once before it comes, then the end or an error.
struct Pieces(VecDeque<Result<Bytes, S3ErrorCode>>, bool);

impl DataSource for Pieces {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, S3Error>>> {
        self.1 = !self.1;
        if self.1 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().map(|piece| piece.map_err(S3Error::from)))
    }
}

fn pieces<'a>(bytes: impl IntoIterator<Item = &'a [u8]>) -> Pieces {
    Pieces(bytes.into_iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect(), false)
}

/// Reads a body to its end: what was handed on, and the code of the error that ended it.
async fn read(body: S3Body) -> (Vec<u8>, Option<&'static str>) {
    let mut stream = body.stream.into_inner();
    let mut data = Vec::new();
    while let Some(piece) = stream.next().await {
        match piece {
            Ok(piece) => data.extend_from_slice(&piece),
            Err(error) => {
                let is_end = stream.next().await.is_none();
                assert!(is_end, "nothing follows an error");
                return (data, Some(S3Error::from(error).code.0));
            }
        }
    }
    (data, None)
}

fn plain(length: Option<u64>) -> Announced {
    Announced { length, ..Announced::default() }
}

fn opened(source: Pieces, payload: Payload, announced: Announced) -> S3Body {
    open(source, payload, announced, &S3Config::default()).unwrap()
}

#[tokio::test]
async fn plain_bodies_have_their_length() {
    let hello = || pieces([&b"hel"[..], b"lo"]);
    assert_eq!(read(opened(hello(), Payload::Plain, plain(Some(5)))).await, (b"hello".to_vec(), None));
    assert_eq!(read(opened(hello(), Payload::Plain, plain(None))).await, (b"hello".to_vec(), None));
    let short = read(opened(hello(), Payload::Plain, plain(Some(6)))).await;
    assert_eq!(short.1, Some("IncompleteBody"));
    let long = read(opened(hello(), Payload::Plain, plain(Some(4)))).await;
    assert_eq!(long, (b"hel".to_vec(), Some("IncompleteBody")));
    assert_eq!(read(opened(pieces([]), Payload::Plain, plain(Some(0)))).await, (vec![], None));
}

#[tokio::test]
async fn a_wrong_payload_hash_is_told_before_the_last_piece() {
    let hash = |data: &[u8]| -> [u8; 32] {
        ring::digest::digest(&ring::digest::SHA256, data).as_ref().try_into().unwrap()
    };
    let body = |length, sha256| opened(pieces([&b"hel"[..], b"lo"]), Payload::Sha256(sha256), plain(length));
    assert_eq!(read(body(Some(5), hash(b"hello"))).await, (b"hello".to_vec(), None));
    assert_eq!(read(body(None, hash(b"hello"))).await, (b"hello".to_vec(), None));
    let wrong = read(body(Some(5), hash(b"hellO"))).await;
    assert_eq!(wrong, (b"hel".to_vec(), Some("XAmzContentSHA256Mismatch")));
    let wrong = read(body(None, hash(b"hellO"))).await;
    assert_eq!(wrong.1, Some("XAmzContentSHA256Mismatch"));
    let empty = opened(pieces([]), Payload::Sha256(hash(b"x")), plain(Some(0)));
    assert_eq!(read(empty).await.1, Some("XAmzContentSHA256Mismatch"));
}

#[tokio::test]
async fn errors_of_the_connection_come_through() {
    let source = Pieces([Ok(Bytes::from_static(b"he")), Err(S3ErrorCode::REQUEST_TIMEOUT)].into(), false);
    let read = read(opened(source, Payload::Plain, plain(Some(5)))).await;
    assert_eq!(read, (b"he".to_vec(), Some("RequestTimeout")));
}

fn seed() -> &'static str {
    "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
}

#[tokio::test]
async fn signed_chunks_stream_and_a_bad_last_one_is_never_handed_on_whole() {
    let (_, body) = signed_example();
    let payload = || Payload::Chunked { signer: Some(Box::new(signer(seed()))), trailer: false };
    let good = read(opened(pieces(body.chunks(10_000)), payload(), plain(Some(66_560)))).await;
    assert_eq!((good.0.len(), good.1), (66_560, None));
    let mut bad = body.clone();
    let at = bad.len() - 20;
    bad[at] ^= 1;
    let (data, code) = read(opened(pieces(bad.chunks(10_000)), payload(), plain(Some(66_560)))).await;
    assert_eq!(code, Some("SignatureDoesNotMatch"));
    assert!(data.len() < 66_560);
    let cut = read(opened(pieces([&body[..body.len() - 1]]), payload(), plain(Some(66_560)))).await;
    assert!(cut.0.len() < 66_560);
    assert_eq!(cut.1, Some("InvalidRequest"));
    let more = [body.as_slice(), b"x"].concat();
    let more = read(opened(pieces([&more[..]]), payload(), plain(Some(66_560)))).await;
    assert_eq!(more.1, Some("InvalidRequest"));
    assert!(open(pieces([]), payload(), plain(None), &S3Config::default()).is_err());
}

#[tokio::test]
async fn trailers_fill_the_expected_digests() {
    let announced = || Announced {
        length: Some(5),
        kind: Some(ChecksumKind::Crc32),
        trailer: Some(ChecksumKind::Crc32),
        ..Announced::default()
    };
    let payload = || Payload::Chunked { signer: None, trailer: true };
    let with = |trailer: &str| {
        let body = format!("5\r\nhello\r\n0\r\n{trailer}\r\n");
        opened(pieces(body.as_bytes().chunks(3)), payload(), announced())
    };
    let body = with("x-amz-checksum-crc32:NhCmhg==\r\n");
    let expected = body.expected.clone();
    assert_eq!(body.checksum, Some(ChecksumKind::Crc32));
    assert!(expected.checksum().is_none());
    assert_eq!(read(body).await, (b"hello".to_vec(), None));
    assert_eq!(expected.checksum().unwrap().value, [0x36, 0x10, 0xa6, 0x86]);
    for bad in ["", "x-amz-checksum-crc32c:NhCmhg==\r\n", "x-amz-meta-a:b\r\n"] {
        assert_eq!(read(with(bad)).await.1, Some("MalformedTrailerError"), "{bad}");
    }
    let twice = "x-amz-checksum-crc32:NhCmhg==\r\nx-amz-checksum-crc32:NhCmhg==\r\n";
    assert_eq!(read(with(twice)).await.1, Some("MalformedTrailerError"));
    assert_eq!(read(with("x-amz-checksum-crc32:AAA=\r\n")).await.1, Some("InvalidRequest"));
}

#[test]
fn a_body_error_of_another_kind_keeps_its_words() {
    let error = S3Error::from(BodyError::Refused("no".into()));
    assert_eq!((error.code.0, error.message.as_str()), ("InvalidRequest", "no"));
}
