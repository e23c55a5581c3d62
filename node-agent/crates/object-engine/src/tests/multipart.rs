use futures_util::StreamExt;
use grid_types::{ErrorCode, UploadId, VersionId};
use meta_store::WriteCondition;

use super::rig::{MIB, Rig, body, broken_body, checksum, code, key, md5_hex, pattern, rig, rig_with};
use crate::{
    Attributes, Checksum, ChecksumKind, ChecksumType, CompletePart, CopySource, CreateUpload, EngineConfig,
    EngineError, ExpectedDigests, GetObject, ListUploads, PutPart, RangeSpec, ReadConditions, Written,
    WrittenPart,
};

const AT: &str = "multi";

async fn small_parts() -> Rig {
    rig_with(1, EngineConfig { part_bytes_min: 1, ..Default::default() }).await
}

async fn create(rig: &Rig, at: &str, checksum: Option<(ChecksumKind, ChecksumType)>) -> UploadId {
    let attributes = Attributes { content_type: Some("x/y".into()), ..Default::default() };
    let (bucket, key) = (rig.bucket.clone(), key(at));
    let request = CreateUpload { bucket, key, attributes, storage_class: None, checksum };
    rig.engine.create_upload(request).await.unwrap()
}

fn part_request(rig: &Rig, upload: UploadId, number: u16, bytes: &[u8]) -> PutPart {
    PutPart {
        bucket: rig.bucket.clone(),
        key: key(AT),
        upload,
        number,
        body: body(bytes, 100_000),
        length: Some(bytes.len() as u64),
        expected: ExpectedDigests::default(),
        checksum: None,
    }
}

async fn put_part(rig: &Rig, upload: UploadId, number: u16, bytes: &[u8]) -> WrittenPart {
    rig.engine.put_part(part_request(rig, upload, number, bytes)).await.unwrap()
}

fn named(number: u16, etag: &str) -> CompletePart {
    CompletePart { number, etag: etag.into(), checksum: None }
}

async fn complete(
    rig: &Rig,
    upload: UploadId,
    parts: Vec<CompletePart>,
    checksum: Option<Checksum>,
) -> Result<Written, EngineError> {
    let condition = WriteCondition::None;
    rig.engine.complete_upload(&rig.bucket, &key(AT), upload, parts, checksum, condition).await
}

fn composite(parts: &[Vec<u8>]) -> String {
    let mut all = crate::digest::Md5Hasher::default();
    for part in parts {
        let mut md5 = crate::digest::Md5Hasher::default();
        md5.update(part);
        all.update(&md5.finish());
    }
    format!("{}-{}", data_encoding::HEXLOWER.encode(&all.finish()), parts.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_become_an_object() {
    let rig = rig().await;
    let upload = create(&rig, AT, None).await;
    let parts: Vec<Vec<u8>> =
        [5 * MIB + 1, 6 * MIB, 70_000].into_iter().zip(0u64..).map(|(len, n)| pattern(n, len)).collect();
    // Out of order, and with gaps between the numbers.
    let mut list = Vec::new();
    for (number, at) in [(900, 2), (7, 0), (8, 1)] {
        let written = put_part(&rig, upload, number, &parts[at]).await;
        assert_eq!(written.etag, md5_hex(&parts[at]));
        list.push(named(number, &written.etag));
    }
    list.sort_by_key(|part| part.number);
    assert_eq!(code(rig.get(AT).await), Some(ErrorCode::NoSuchKey), "nothing is there before");
    let written = complete(&rig, upload, list.clone(), None).await.unwrap();
    let whole = parts.concat();
    assert_eq!((written.etag.as_str(), written.size), (composite(&parts).as_str(), whole.len() as u64));
    let (info, read) = rig.get(AT).await.unwrap();
    assert_eq!((info.part_count, info.attributes.content_type.as_deref()), (3, Some("x/y")));
    assert!(read == whole);
    let border = parts[0].len() as u64;
    for range in [border - 1..border + 1, border..border + 5, border * 2 - 9..whole.len() as u64] {
        let asked = RangeSpec::FromTo(range.start, range.end - 1);
        assert!(rig.get_range(AT, asked).await.unwrap().1 == whole[range.start as usize..range.end as usize]);
    }
    for (number, at) in [(7, 0), (8, 1), (900, 2)] {
        let request = GetObject { part_number: Some(number), ..rig.get_request(AT) };
        let (info, read) = rig.read(request).await.unwrap();
        assert!(info.partial && read == parts[at], "part {number}");
    }
    let missing = GetObject { part_number: Some(9), ..rig.get_request(AT) };
    let error = rig.read(missing).await.unwrap_err();
    assert!(matches!(error, EngineError::PartNotSatisfiable { part: 9, part_count: 3 }));
    let (listed, more) = rig.engine.object_parts(&rig.bucket, &key(AT), info.version, 7, 1).await.unwrap();
    assert_eq!((listed[0].number, listed[0].size, more), (8, parts[1].len() as u64, true));
    // A client that lost the answer asks again.
    let again = complete(&rig, upload, list, None).await.unwrap();
    assert_eq!((again.version, again.etag), (written.version, written.etag));
    assert_eq!(
        code(rig.engine.abort_upload(&rig.bucket, &key(AT), upload).await),
        Some(ErrorCode::NoSuchUpload)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_lists_of_parts() {
    let rig = rig().await;
    let upload = create(&rig, AT, None).await;
    let large = put_part(&rig, upload, 1, &pattern(1, 5 * MIB)).await.etag;
    let small = put_part(&rig, upload, 2, b"small").await.etag;
    let last = put_part(&rig, upload, 3, b"last").await.etag;
    let try_with = |parts: Vec<CompletePart>| async { code(complete(&rig, upload, parts, None).await) };
    let unordered = vec![named(3, &last), named(1, &large)];
    assert_eq!(try_with(unordered).await, Some(ErrorCode::InvalidPartOrder));
    assert_eq!(try_with(vec![named(1, &large), named(1, &large)]).await, Some(ErrorCode::InvalidPartOrder));
    assert_eq!(try_with(vec![named(1, &large), named(4, &last)]).await, Some(ErrorCode::InvalidPart));
    assert_eq!(try_with(vec![named(1, &last)]).await, Some(ErrorCode::InvalidPart));
    assert_eq!(try_with(vec![]).await, Some(ErrorCode::InvalidArgument));
    let too_small = vec![named(1, &large), named(2, &small), named(3, &last)];
    assert_eq!(try_with(too_small).await, Some(ErrorCode::PartTooSmall));
    assert_eq!(code(rig.get(AT).await), Some(ErrorCode::NoSuchKey));
    complete(&rig, upload, vec![named(1, &large), named(3, &last)], None).await.unwrap();
    let (info, read) = rig.get(AT).await.unwrap();
    assert_eq!(
        (info.size, &read[5 * MIB..]),
        (5 * MIB as u64 + 4, b"last".as_slice()),
        "part 2 was left out"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_that_are_not_there() {
    let rig = rig().await;
    let unknown = UploadId::from_bytes([9; 16]);
    let at = key(AT);
    let put = rig.engine.put_part(part_request(&rig, unknown, 1, b"x")).await;
    assert_eq!(code(put), Some(ErrorCode::NoSuchUpload));
    assert_eq!(code(complete(&rig, unknown, vec![named(1, "x")], None).await), Some(ErrorCode::NoSuchUpload));
    assert_eq!(code(rig.engine.abort_upload(&rig.bucket, &at, unknown).await), Some(ErrorCode::NoSuchUpload));
    let parts = rig.engine.list_parts(&rig.bucket, &at, unknown, 0, 10).await;
    assert_eq!(code(parts.map(|_| ())), Some(ErrorCode::NoSuchUpload));
    assert_eq!(
        code(rig.engine.upload_checksum(&rig.bucket, &at, unknown).await),
        Some(ErrorCode::NoSuchUpload)
    );
    let upload = create(&rig, AT, None).await;
    let elsewhere = PutPart { key: key("other"), ..part_request(&rig, upload, 1, b"x") };
    assert_eq!(code(rig.engine.put_part(elsewhere).await), Some(ErrorCode::NoSuchUpload));
    for number in [0, 10_001] {
        let put = rig.engine.put_part(part_request(&rig, upload, number, b"x")).await;
        assert_eq!(code(put), Some(ErrorCode::InvalidArgument), "part {number}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aborted_uploads_and_failed_parts_leave_nothing_to_see() {
    let rig = small_parts().await;
    let upload = create(&rig, AT, None).await;
    put_part(&rig, upload, 1, &pattern(1, 200_000)).await;
    let broken =
        PutPart { body: broken_body(b"abc"), length: Some(10), ..part_request(&rig, upload, 2, b"") };
    assert_eq!(code(rig.engine.put_part(broken).await), Some(ErrorCode::IncompleteBody));
    let wrong = ExpectedDigests::default();
    wrong.set_md5([1; 16]);
    let wrong = PutPart { expected: wrong, ..part_request(&rig, upload, 1, b"other") };
    assert_eq!(code(rig.engine.put_part(wrong).await), Some(ErrorCode::BadDigest));
    let (_, parts, _) = rig.engine.list_parts(&rig.bucket, &key(AT), upload, 0, 10).await.unwrap();
    assert_eq!(parts.iter().map(|part| (part.number, part.size)).collect::<Vec<_>>(), [(1, 200_000)]);
    rig.engine.abort_upload(&rig.bucket, &key(AT), upload).await.unwrap();
    let put = rig.engine.put_part(part_request(&rig, upload, 3, b"x")).await;
    assert_eq!(code(put), Some(ErrorCode::NoSuchUpload));
    rig.engine.delete_bucket(&rig.bucket).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_uploads_go_with_their_bucket_but_not_while_it_holds_an_object() {
    let rig = small_parts().await;
    let upload = create(&rig, AT, None).await;
    put_part(&rig, upload, 1, &pattern(1, 200_000)).await;
    create(&rig, "another", None).await;
    rig.put("object", b"x").await;
    assert_eq!(code(rig.engine.delete_bucket(&rig.bucket).await), Some(ErrorCode::BucketNotEmpty));
    put_part(&rig, upload, 2, b"still open").await;
    rig.engine.delete_object(&rig.bucket, &key("object"), None, WriteCondition::None).await.unwrap();
    rig.engine.delete_bucket(&rig.bucket).await.unwrap();
    let put = rig.engine.put_part(part_request(&rig, upload, 3, b"x")).await;
    assert_eq!(code(put), Some(ErrorCode::NoSuchBucket));
    rig.engine.create_bucket(&rig.bucket, "alice").await.unwrap();
    let put = rig.engine.put_part(part_request(&rig, upload, 3, b"x")).await;
    assert_eq!(code(put), Some(ErrorCode::NoSuchUpload), "a new bucket of that name starts empty");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_put_again_replaces_the_first() {
    let rig = small_parts().await;
    let upload = create(&rig, AT, None).await;
    let old = put_part(&rig, upload, 1, &pattern(1, 100_000)).await.etag;
    let new = put_part(&rig, upload, 1, &pattern(2, 90_000)).await.etag;
    assert_eq!(code(complete(&rig, upload, vec![named(1, &old)], None).await), Some(ErrorCode::InvalidPart));
    complete(&rig, upload, vec![named(1, &new)], None).await.unwrap();
    assert!(rig.get(AT).await.unwrap().1 == pattern(2, 90_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checksums_of_parts_and_whole() {
    let rig = small_parts().await;
    let parts = [pattern(1, 100_000), pattern(2, 50_000)];
    let whole = parts.concat();
    for kind in ChecksumKind::ALL {
        for r#type in [ChecksumType::FullObject, ChecksumType::Composite] {
            if !kind.allows(r#type) {
                continue;
            }
            let upload = create(&rig, AT, Some((kind, r#type))).await;
            let choice = rig.engine.upload_checksum(&rig.bucket, &key(AT), upload).await.unwrap();
            assert_eq!(choice, Some((kind, r#type)));
            let mut list = Vec::new();
            for (number, bytes) in (1..).zip(&parts) {
                let written = put_part(&rig, upload, number, bytes).await;
                assert_eq!(
                    written.checksum,
                    Some(checksum(kind, bytes)),
                    "computed though the part named none"
                );
                list.push(CompletePart { number, etag: written.etag, checksum: written.checksum });
            }
            let expect = match r#type {
                ChecksumType::FullObject => checksum(kind, &whole),
                ChecksumType::Composite => {
                    let values: Vec<u8> = parts.iter().flat_map(|part| checksum(kind, part).value).collect();
                    Checksum::composite(kind, checksum(kind, &values).value, 2)
                }
            };
            let wrong = Some(Checksum { value: vec![1; kind.value_bytes()], ..expect.clone() });
            assert_eq!(code(complete(&rig, upload, list.clone(), wrong).await), Some(ErrorCode::BadDigest));
            let mut wrong_part = list.clone();
            wrong_part[0].checksum = Some(checksum(kind, b"other"));
            assert_eq!(code(complete(&rig, upload, wrong_part, None).await), Some(ErrorCode::InvalidPart));
            let written = complete(&rig, upload, list, Some(expect.clone())).await.unwrap();
            assert_eq!(written.checksum.as_ref(), Some(&expect));
            let info = rig.restarted().head_object(rig.get_request(AT)).await.unwrap();
            assert_eq!(info.checksum, Some(expect), "{kind:?} {type:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checksum_choices_that_s3_does_not_have() {
    let rig = small_parts().await;
    for choice in
        [(ChecksumKind::Sha256, ChecksumType::FullObject), (ChecksumKind::Crc64Nvme, ChecksumType::Composite)]
    {
        let (bucket, key, checksum) = (rig.bucket.clone(), key(AT), Some(choice));
        let attributes = Attributes::default();
        let request = CreateUpload { bucket, key, attributes, storage_class: None, checksum };
        assert_eq!(code(rig.engine.create_upload(request).await), Some(ErrorCode::InvalidArgument));
    }
    let upload = create(&rig, AT, Some((ChecksumKind::Crc32, ChecksumType::FullObject))).await;
    let other = PutPart { checksum: Some(ChecksumKind::Sha1), ..part_request(&rig, upload, 1, b"x") };
    assert_eq!(code(rig.engine.put_part(other).await), Some(ErrorCode::InvalidArgument));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_completes() {
    let rig = small_parts().await;
    let upload = create(&rig, AT, None).await;
    let part = put_part(&rig, upload, 1, b"multi").await;
    rig.put(AT, b"plain").await;
    let parts = || vec![named(1, &part.etag)];
    let at = key(AT);
    let try_with = |condition| rig.engine.complete_upload(&rig.bucket, &at, upload, parts(), None, condition);
    assert_eq!(code(try_with(WriteCondition::Absent).await), Some(ErrorCode::PreconditionFailed));
    assert_eq!(rig.get(AT).await.unwrap().1, b"plain");
    try_with(WriteCondition::ETag(md5_hex(b"plain"))).await.unwrap();
    assert_eq!(rig.get(AT).await.unwrap().1, b"multi");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_copied_from_another_object() {
    let rig = small_parts().await;
    let bytes = pattern(1, 300_000);
    rig.put("from", &bytes).await;
    let upload = create(&rig, AT, Some((ChecksumKind::Crc32c, ChecksumType::FullObject))).await;
    let copy = |number, range| {
        let conditions = ReadConditions::default();
        let source =
            CopySource { bucket: rig.bucket.clone(), key: key("from"), version: None, conditions, range };
        let rig = &rig;
        async move { rig.engine.copy_part(source, &rig.bucket, &key(AT), upload, number).await }
    };
    for range in [(0, 300_000), (300_000, 300_001), (5, 4)] {
        assert_eq!(code(copy(1, Some(range)).await), Some(ErrorCode::InvalidArgument), "{range:?}");
    }
    let first = copy(1, Some((100, 199_999))).await.unwrap();
    assert_eq!(first.checksum, Some(checksum(ChecksumKind::Crc32c, &bytes[100..200_000])));
    let second = copy(2, None).await.unwrap();
    let written =
        complete(&rig, upload, vec![named(1, &first.etag), named(2, &second.etag)], None).await.unwrap();
    let whole = [&bytes[100..200_000], &bytes].concat();
    assert_eq!(written.checksum, Some(checksum(ChecksumKind::Crc32c, &whole)));
    assert!(rig.get(AT).await.unwrap().1 == whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_are_listed() {
    let rig = small_parts().await;
    let mut uploads = Vec::new();
    for at in ["a", "a", "dir/x", "dir/y", "z"] {
        uploads.push((at.to_owned(), create(&rig, at, None).await));
    }
    uploads.sort();
    let list = |query| rig.engine.list_uploads(&rig.bucket, query);
    let all = list(ListUploads { limit: 100, ..Default::default() }).await.unwrap();
    let seen: Vec<_> =
        all.uploads.iter().map(|upload| (upload.key.as_str().to_owned(), upload.upload)).collect();
    assert_eq!((seen, all.next), (uploads.clone(), None));
    let (mut seen, mut at) = (Vec::new(), (None, None));
    loop {
        let query =
            ListUploads { limit: 2, key_after: at.0.take(), upload_after: at.1.take(), ..Default::default() };
        let page = list(query).await.unwrap();
        assert!(page.uploads.len() <= 2);
        seen.extend(page.uploads.iter().map(|upload| (upload.key.as_str().to_owned(), upload.upload)));
        match page.next {
            Some((key, upload)) => at = (Some(key), upload),
            None => break,
        }
    }
    assert_eq!(seen, uploads);
    let query = ListUploads { limit: 100, delimiter: Some("/".into()), ..Default::default() };
    let rolled = list(query).await.unwrap();
    assert_eq!((rolled.uploads.len(), rolled.prefixes), (3, vec!["dir/".to_owned()]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_parts() {
    let rig = small_parts().await;
    let upload = create(&rig, AT, Some((ChecksumKind::Crc64Nvme, ChecksumType::FullObject))).await;
    let content = |number: u16| vec![(number % 251) as u8; 1 + usize::from(number % 3)];
    let puts = futures_util::stream::iter(1..=10_000u16).map(|number| {
        let rig = &rig;
        async move { named(number, &put_part(rig, upload, number, &content(number)).await.etag) }
    });
    let mut list: Vec<CompletePart> = puts.buffer_unordered(64).collect().await;
    list.sort_by_key(|part| part.number);
    let written = complete(&rig, upload, list, None).await.unwrap();
    let whole: Vec<u8> = (1..=10_000).flat_map(content).collect();
    assert!(written.etag.ends_with("-10000"));
    assert_eq!(written.checksum, Some(checksum(ChecksumKind::Crc64Nvme, &whole)));
    let (info, read) = rig.get(AT).await.unwrap();
    assert_eq!((info.part_count, info.size), (10_000, whole.len() as u64));
    assert!(read == whole);
    let end = whole.len() as u64;
    for range in [end - 3..end, 9_000..9_010, 15_000..15_001] {
        let asked = RangeSpec::FromTo(range.start, range.end - 1);
        let (_, read) = rig.get_range(AT, asked).await.unwrap();
        assert!(read == whole[range.start as usize..range.end as usize], "{range:?}");
    }
    let (mut seen, mut after) = (0, 0);
    let version: VersionId = info.version;
    loop {
        let (parts, more) =
            rig.engine.object_parts(&rig.bucket, &key(AT), version, after, 999).await.unwrap();
        seen += parts.len();
        after = parts.last().unwrap().number;
        if !more {
            break;
        }
    }
    assert_eq!((seen, after), (10_000, 10_000));
}
