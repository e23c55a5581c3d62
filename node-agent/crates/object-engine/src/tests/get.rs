use grid_types::{ErrorCode, Timestamp};

use super::rig::{MIB, code, md5_hex, pattern, rig};
use crate::{EngineError, GetObject, RangeSpec, ReadConditions};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ranges_of_inline_and_stored_objects() {
    let rig = rig().await;
    for size in [1_000usize, 200_000] {
        let bytes = pattern(1, size);
        rig.put("k", &bytes).await;
        let end = size as u64;
        for (range, expect) in [
            (RangeSpec::FromTo(0, 0), 0..1),
            (RangeSpec::FromTo(10, 499), 10..500),
            (RangeSpec::FromTo(10, u64::MAX), 10..end),
            (RangeSpec::From(end - 1), end - 1..end),
            (RangeSpec::Suffix(7), end - 7..end),
            (RangeSpec::Suffix(end + 7), 0..end),
        ] {
            let (info, read) = rig.get_range("k", range).await.unwrap();
            assert_eq!((info.partial, info.range.clone(), info.size), (true, expect, end), "{range:?}");
            assert!(read == bytes[info.range.start as usize..info.range.end as usize], "{range:?}");
        }
        let (info, read) = rig.get_range("k", RangeSpec::FromTo(5, 4)).await.unwrap();
        assert!(!info.partial && read == bytes, "a range that makes no sense is ignored");
        for range in [RangeSpec::From(end), RangeSpec::FromTo(end, end), RangeSpec::Suffix(0)] {
            let error = rig.get_range("k", range).await.unwrap_err();
            assert!(matches!(error, EngineError::InvalidRange { size } if size == end), "{range:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_objects_have_no_ranges() {
    let rig = rig().await;
    rig.put("k", b"").await;
    assert_eq!(rig.get("k").await.unwrap().1, b"");
    for range in [RangeSpec::From(0), RangeSpec::FromTo(0, 0), RangeSpec::Suffix(1)] {
        assert_eq!(code(rig.get_range("k", range).await), Some(ErrorCode::InvalidRange), "{range:?}");
    }
    let first = GetObject { part_number: Some(1), ..rig.get_request("k") };
    let (info, read) = rig.read(first).await.unwrap();
    assert_eq!((info.partial, read), (false, Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_object_has_one_part() {
    let rig = rig().await;
    rig.put("k", b"hello").await;
    let part = |number| GetObject { part_number: Some(number), ..rig.get_request("k") };
    let (info, read) = rig.read(part(1)).await.unwrap();
    assert_eq!((info.partial, info.part_count, read.as_slice()), (true, 0, b"hello".as_slice()));
    for number in [0, 2] {
        let error = rig.read(part(number)).await.unwrap_err();
        assert!(matches!(error, EngineError::PartNotSatisfiable { part_count: 0, .. }), "{number}");
    }
    let both = GetObject { range: Some(RangeSpec::From(0)), ..part(1) };
    assert_eq!(code(rig.read(both).await), Some(ErrorCode::InvalidArgument));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_of_reads() {
    let rig = rig().await;
    let written = rig.put("k", b"x").await;
    let read = |conditions: ReadConditions| rig.read(GetObject { conditions, ..rig.get_request("k") });
    let named = |etag: &str| Some(vec![etag.to_owned()]);
    let matching = ReadConditions { if_match: named(&written.etag), ..Default::default() };
    assert_eq!(read(matching).await.unwrap().1, b"x");
    let other = ReadConditions { if_match: named(&md5_hex(b"y")), ..Default::default() };
    assert_eq!(code(read(other).await), Some(ErrorCode::PreconditionFailed));
    let cached = ReadConditions { if_none_match: named(&written.etag), ..Default::default() };
    let error = read(cached).await.unwrap_err();
    assert!(
        matches!(error, EngineError::NotModified { etag, modified } if etag == written.etag && modified == written.modified)
    );
    let future = Some(Timestamp(written.modified.0 + 5_000_000));
    let unchanged = ReadConditions { if_modified_since: future, ..Default::default() };
    assert!(matches!(read(unchanged).await, Err(EngineError::NotModified { .. })));
    let past = Some(Timestamp(written.modified.0 - 5_000_000));
    let changed = ReadConditions { if_unmodified_since: past, ..Default::default() };
    assert_eq!(code(read(changed).await), Some(ErrorCode::PreconditionFailed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there() {
    let rig = rig().await;
    assert_eq!(code(rig.get("k").await), Some(ErrorCode::NoSuchKey));
    let nowhere = GetObject { bucket: "nowhere".parse().unwrap(), ..rig.get_request("k") };
    assert_eq!(code(rig.read(nowhere).await), Some(ErrorCode::NoSuchBucket));
    let first = rig.put("k", b"1").await;
    let second = rig.put("k", b"2").await;
    let version = |version| GetObject { version: Some(version), ..rig.get_request("k") };
    assert_eq!(code(rig.read(version(first.version)).await), Some(ErrorCode::NoSuchKey), "replaced");
    assert_eq!(rig.read(version(second.version)).await.unwrap().1, b"2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_goes_on_over_an_overwrite_and_a_delete() {
    let rig = rig().await;
    let old = pattern(1, 8 * MIB);
    rig.put("k", &old).await;
    let (_, mut reader) = rig.engine.get_object(rig.get_request("k")).await.unwrap();
    let mut read = reader.next().await.unwrap().unwrap().to_vec();
    rig.put("k", &pattern(2, 3 * MIB)).await;
    read.extend_from_slice(&reader.next().await.unwrap().unwrap());
    rig.engine.delete_object(&rig.bucket, &super::rig::key("k"), None, Default::default()).await.unwrap();
    while let Some(piece) = reader.next().await {
        read.extend_from_slice(&piece.unwrap());
    }
    assert!(read == old);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_whose_version_was_collected_is_cut() {
    let rig = rig().await;
    let old = pattern(1, 8 * MIB);
    rig.put("k", &old).await;
    let chunks = rig.chunk_keys().await;
    let (_, mut reader) = rig.engine.get_object(rig.get_request("k")).await.unwrap();
    rig.put("k", &pattern(2, MIB)).await;
    for (drive, chunk) in chunks {
        rig.chunks.drive(drive).unwrap().remove(vec![chunk]).await.unwrap();
    }
    let mut read = Vec::new();
    let error = loop {
        match reader.next().await.expect("the object cannot end: its chunks are gone") {
            Ok(piece) => read.extend_from_slice(&piece),
            Err(error) => break error,
        }
    };
    assert!(read == old[..read.len()], "no wrong byte before the cut");
    assert_eq!(error.code(), ErrorCode::NoSuchKey);
    assert!(reader.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_chunks_are_said_to_be_lost() {
    let rig = rig().await;
    rig.put("k", &pattern(1, MIB)).await;
    for (drive, chunk) in rig.chunk_keys().await {
        rig.chunks.drive(drive).unwrap().remove(vec![chunk]).await.unwrap();
    }
    assert_eq!(code(rig.get("k").await), Some(ErrorCode::SegmentLost));
    assert!(rig.engine.head_object(rig.get_request("k")).await.is_ok(), "its row is still there");
}
