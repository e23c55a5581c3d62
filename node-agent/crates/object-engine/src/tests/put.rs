use futures_util::future::join_all;
use grid_types::{ErrorCode, Profile, ProfileChoice, SEGMENT_BYTES_MAX};
use meta_store::WriteCondition;

use super::rig::{MIB, body, broken_body, checksum, code, key, md5_hex, pattern, rig, rig_with};
use crate::{Attributes, ChecksumKind, ChecksumType, EngineConfig, ExpectedDigests, PutObject};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_around_every_border_come_back() {
    let rig = rig().await;
    let inline = rig.engine.config().inline_bytes_max as usize;
    let sizes =
        [0, 1, 1_000, inline - 1, inline, inline + 1, 65_535, 65_536, 65_537, 131_073, MIB, 3 * MIB + 7];
    for announced in [true, false] {
        for (seed, size) in (0u64..).zip(sizes) {
            let bytes = pattern(seed, size);
            let request = rig.put_request("k", &bytes);
            let length = request.length.filter(|_| announced);
            let written = rig.engine.put_object(PutObject { length, ..request }).await.unwrap();
            assert_eq!((written.size, &written.etag), (size as u64, &md5_hex(&bytes)), "{size}");
            let (info, read) = rig.get("k").await.unwrap();
            assert_eq!((info.size, &info.etag, info.version), (size as u64, &written.etag, written.version));
            assert_eq!((info.modified, info.partial, info.range), (written.modified, false, 0..size as u64));
            assert!(read == bytes, "{size} bytes, announced: {announced}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_bodies_touch_no_drive() {
    let rig = rig().await;
    rig.put("small", &pattern(1, 16 << 10)).await;
    assert!(rig.chunk_keys().await.is_empty());
    rig.put("larger", &pattern(1, (16 << 10) + 1)).await;
    assert_eq!(rig.chunk_keys().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_and_checksum_are_kept_over_a_restart() {
    let rig = rig().await;
    let attributes = Attributes {
        content_type: Some("text/plain".into()),
        content_encoding: Some("gzip".into()),
        cache_control: Some("no-store".into()),
        user_metadata: vec![("colour".into(), "grün".into()), ("b".into(), String::new())],
        ..Default::default()
    };
    for (size, kind) in (0..).step_by(40_000).zip(ChecksumKind::ALL) {
        let bytes = pattern(3, size);
        let expected = ExpectedDigests::default();
        expected.set_checksum(checksum(kind, &bytes));
        let request = PutObject {
            attributes: attributes.clone(),
            checksum: Some(kind),
            expected,
            ..rig.put_request("k", &bytes)
        };
        let written = rig.engine.put_object(request).await.unwrap();
        assert_eq!(written.checksum, Some(checksum(kind, &bytes)));
        let info = rig.restarted().head_object(rig.get_request("k")).await.unwrap();
        assert_eq!(info.attributes, attributes);
        assert_eq!(info.checksum, Some(checksum(kind, &bytes)));
        let query = crate::ListObjects { limit: 1, ..Default::default() };
        let listing = rig.engine.list_objects(&rig.bucket, query).await.unwrap();
        assert_eq!(listing.objects[0].checksum, Some((kind, ChecksumType::FullObject)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_digest_commits_nothing() {
    let rig = rig().await;
    for size in [100, 2 * MIB] {
        let bytes = pattern(1, size);
        let wrong_md5 = ExpectedDigests::default();
        wrong_md5.set_md5([7; 16]);
        let wrong_checksum = ExpectedDigests::default();
        wrong_checksum.set_checksum(checksum(ChecksumKind::Crc32c, b"other"));
        for (expected, names) in [(wrong_md5, "Content-MD5"), (wrong_checksum, "CRC32C")] {
            let request = rig.put_request("k", &bytes);
            let request = PutObject { expected, checksum: Some(ChecksumKind::Crc32c), ..request };
            let error = rig.engine.put_object(request).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::BadDigest);
            assert!(error.to_string().contains(names), "{error}");
        }
        let unannounced = ExpectedDigests::default();
        unannounced.set_checksum(checksum(ChecksumKind::Sha256, &bytes));
        let request = PutObject { expected: unannounced, ..rig.put_request("k", &bytes) };
        assert_eq!(code(rig.engine.put_object(request).await), Some(ErrorCode::InvalidArgument));
    }
    assert!(rig.keys().await.is_empty() && rig.chunk_keys().await.is_empty());
    rig.put("k", b"good").await;
    let wrong = ExpectedDigests::default();
    wrong.set_md5([7; 16]);
    let request = PutObject { expected: wrong, ..rig.put_request("k", b"bad") };
    assert_eq!(code(rig.engine.put_object(request).await), Some(ErrorCode::BadDigest));
    assert_eq!(rig.get("k").await.unwrap().1, b"good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trailing_digest_is_read_when_the_body_has_ended() {
    let rig = rig().await;
    let bytes = pattern(1, 2 * MIB);
    let expected = ExpectedDigests::default();
    let (late, wrong) = (expected.clone(), checksum(ChecksumKind::Crc32, b"other"));
    let trailer = futures_util::stream::poll_fn(move |_| {
        late.set_checksum(wrong.clone());
        std::task::Poll::Ready(None)
    });
    let body = Box::pin(futures_util::StreamExt::chain(body(&bytes, 70_000), trailer));
    let request = rig.put_request("k", &bytes);
    let request = PutObject { body, expected, checksum: Some(ChecksumKind::Crc32), ..request };
    assert_eq!(code(rig.engine.put_object(request).await), Some(ErrorCode::BadDigest));
    assert!(rig.keys().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_cut_short_or_too_long_commit_nothing() {
    let rig = rig().await;
    for size in [10, 100_000, 2 * MIB] {
        let bytes = pattern(1, size);
        let broken = |length| PutObject { body: broken_body(&bytes), length, ..rig.put_request("k", &bytes) };
        let announced = |length| PutObject { length: Some(length), ..rig.put_request("k", &bytes) };
        for request in [
            broken(None),
            broken(Some(size as u64)),
            broken(Some(size as u64 + 1)),
            announced(size as u64 + 1),
            announced(size as u64 - 1),
            announced(0),
        ] {
            assert_eq!(code(rig.engine.put_object(request).await), Some(ErrorCode::IncompleteBody), "{size}");
        }
    }
    // Two segments are finished when this one breaks.
    let bytes = pattern(1, 2 * SEGMENT_BYTES_MAX as usize + 1_000);
    let broken = PutObject { body: broken_body(&bytes), length: None, ..rig.put_request("k", &[]) };
    assert_eq!(code(rig.engine.put_object(broken).await), Some(ErrorCode::IncompleteBody));
    assert!(rig.keys().await.is_empty() && rig.chunk_keys().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_is_dropped_half_way_leaves_nothing_to_see() {
    let rig = rig().await;
    let bytes = pattern(1, 2 * MIB);
    let stuck = futures_util::StreamExt::chain(body(&bytes, 100_000), futures_util::stream::pending());
    let request =
        PutObject { body: Box::pin(stuck), length: Some(3 * MIB as u64), ..rig.put_request("k", &bytes) };
    let put = rig.engine.put_object(request);
    let timed = tokio::time::timeout(std::time::Duration::from_millis(300), put).await;
    assert!(timed.is_err(), "the body never ends");
    assert!(rig.keys().await.is_empty());
    rig.put("k", &bytes).await;
    assert!(rig.get("k").await.unwrap().1 == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_over_the_limit_are_refused() {
    let config = EngineConfig { put_bytes_max: 100_000, ..Default::default() };
    let rig = rig_with(1, config).await;
    let bytes = pattern(1, 100_001);
    let taken = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = taken.clone();
    let watched = futures_util::StreamExt::inspect(body(&bytes, 1_000), move |_| {
        seen.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let request = PutObject { body: Box::pin(watched), ..rig.put_request("k", &bytes) };
    assert_eq!(code(rig.engine.put_object(request).await), Some(ErrorCode::TooLarge));
    assert!(!taken.load(std::sync::atomic::Ordering::Relaxed), "refused before the body is taken");
    let request = PutObject { length: None, ..rig.put_request("k", &bytes) };
    assert_eq!(code(rig.engine.put_object(request).await), Some(ErrorCode::TooLarge));
    rig.put("k", &bytes[1..]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_puts() {
    let rig = rig().await;
    let put = |condition: WriteCondition| async {
        let request = PutObject { condition, ..rig.put_request("k", b"x") };
        code(rig.engine.put_object(request).await)
    };
    let with = |etag: &str| WriteCondition::ETag(etag.into());
    assert_eq!(put(with(&md5_hex(b"x"))).await, Some(ErrorCode::NoSuchKey));
    assert_eq!(put(WriteCondition::Absent).await, None);
    assert_eq!(put(WriteCondition::Absent).await, Some(ErrorCode::PreconditionFailed));
    assert_eq!(put(with(&md5_hex(b"y"))).await, Some(ErrorCode::PreconditionFailed));
    assert_eq!(put(with(&md5_hex(b"x"))).await, None);
    let at = key("k");
    let deleted = |condition| rig.engine.delete_object(&rig.bucket, &at, None, condition);
    assert_eq!(code(deleted(with(&md5_hex(b"y"))).await), Some(ErrorCode::PreconditionFailed));
    assert!(deleted(with(&md5_hex(b"x"))).await.unwrap().is_some());
    assert_eq!(deleted(WriteCondition::None).await.unwrap(), None, "nothing was there");
    assert_eq!(put(WriteCondition::Absent).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_conditional_puts_exactly_one_wins() {
    let rig = rig().await;
    for round in 0..5 {
        // Large enough that all pass the early look before the first commits.
        let bodies: Vec<Vec<u8>> = (0..8).map(|n| pattern(n, 200_000)).collect();
        let at = format!("k{round}");
        let puts = bodies.iter().map(|bytes| {
            let condition = WriteCondition::Absent;
            rig.engine.put_object(PutObject { condition, ..rig.put_request(&at, bytes) })
        });
        let results = join_all(puts).await;
        let winners: Vec<usize> = (0..8).filter(|n| results[*n].is_ok()).collect();
        assert_eq!(winners.len(), 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.code(), ErrorCode::PreconditionFailed);
        }
        assert!(rig.get(&at).await.unwrap().1 == bodies[winners[0]]);
        assert_eq!(rig.chunk_keys().await.len(), round + 1, "the losers' chunks are gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_swaps_exactly_one_wins() {
    let rig = rig().await;
    let first = rig.put("k", b"0").await;
    let puts = (1u8..=8).map(|n| {
        let condition = WriteCondition::ETag(first.etag.clone());
        rig.engine.put_object(PutObject { condition, ..rig.put_request("k", &[n]) })
    });
    let wins = join_all(puts).await.into_iter().filter(Result::is_ok).count();
    assert_eq!(wins, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_overwrites_leave_one_whole_body() {
    let rig = rig().await;
    let bodies: Vec<Vec<u8>> = (0..6).map(|n| pattern(n, 300_000 + n as usize)).collect();
    for result in
        join_all(bodies.iter().map(|bytes| rig.engine.put_object(rig.put_request("k", bytes)))).await
    {
        result.unwrap();
    }
    let (info, read) = rig.get("k").await.unwrap();
    assert!(bodies.contains(&read));
    assert_eq!(info.etag, md5_hex(&read));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_of_three_segments() {
    let rig = rig().await;
    let border = SEGMENT_BYTES_MAX as usize;
    let bytes = pattern(9, 2 * border + 70_001);
    let written = rig.put("big", &bytes).await;
    assert_eq!(written.etag, md5_hex(&bytes));
    assert_eq!(rig.chunk_keys().await.len(), 3);
    let (_, read) = rig.get("big").await.unwrap();
    assert!(read == bytes);
    let size = bytes.len();
    for (from, to) in [
        (border - 1, border + 1),
        (border - 70_000, border + 70_000),
        (2 * border, 2 * border + 1),
        (2 * border - 3, size),
        (size - 1, size),
        (0, 1),
    ] {
        let range = crate::RangeSpec::FromTo(from as u64, to as u64 - 1);
        let (info, read) = rig.get_range("big", range).await.unwrap();
        assert_eq!((info.partial, info.range), (true, from as u64..to as u64));
        assert!(read == bytes[from..to], "{from}..{to}");
    }
    // Exactly full: the last segment must still be open for its record when the body ends.
    rig.put("full", &bytes[..border]).await;
    assert!(rig.get("full").await.unwrap().1 == bytes[..border]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_classes_are_profiles() {
    let mut config = EngineConfig { profile: ProfileChoice::Fixed(Profile::Copies(1)), ..Default::default() };
    config.storage_classes.insert("SAFE".into(), ProfileChoice::Fixed(Profile::Copies(2)));
    config.storage_classes.insert("CODED".into(), ProfileChoice::Fixed(Profile::Ec { k: 2, m: 1 }));
    let rig = rig_with(3, config).await;
    let bytes = pattern(1, 300_000);
    for (class, chunks) in [(None, 1), (Some("STANDARD"), 1), (Some("SAFE"), 2), (Some("CODED"), 3)] {
        let before = rig.chunk_keys().await.len();
        let at = class.unwrap_or("none");
        let request = PutObject { storage_class: class.map(Into::into), ..rig.put_request(at, &bytes) };
        rig.engine.put_object(request).await.unwrap();
        assert_eq!(rig.chunk_keys().await.len() - before, chunks, "{class:?}");
        let (info, read) = rig.get(at).await.unwrap();
        assert_eq!(info.storage_class, class.unwrap_or("STANDARD"));
        assert!(read == bytes);
    }
    let request = PutObject { storage_class: Some("GLACIER".into()), ..rig.put_request("k", &bytes) };
    let error = rig.engine.put_object(request).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.to_string().contains("STANDARD, CODED, SAFE"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_readable_lies_on_a_drive() {
    let rig = rig().await;
    let marker = b"the-needle-in-the-haystack";
    let mut bytes = pattern(1, 200_000);
    bytes[1_000..1_000 + marker.len()].copy_from_slice(marker);
    let attributes = Attributes {
        user_metadata: vec![("m".into(), String::from_utf8_lossy(marker).into_owned())],
        ..Default::default()
    };
    rig.engine.put_object(PutObject { attributes, ..rig.put_request("chunks", &bytes) }).await.unwrap();
    rig.put("inline", marker).await;
    rig.meta.shutdown().await;
    assert!(rig.search_drives(b"inline") > 0, "keys of objects are readable, so the search works");
    assert_eq!(rig.search_drives(marker), 0);
}
