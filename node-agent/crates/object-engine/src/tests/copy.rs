use grid_types::{BucketName, ErrorCode, Profile, ProfileChoice};
use meta_store::WriteCondition;

use super::rig::{MIB, Rig, checksum, code, key, md5_hex, pattern, rig, rig_with};
use crate::{
    Attributes, ChecksumKind, CopySource, EngineConfig, EngineError, GetObject, PutObject, ReadConditions,
    Written,
};

fn source(rig: &Rig, at: &str) -> CopySource {
    let conditions = ReadConditions::default();
    CopySource { bucket: rig.bucket.clone(), key: key(at), version: None, conditions, range: None }
}

async fn copy(
    rig: &Rig,
    from: CopySource,
    to: &str,
    attributes: Option<Attributes>,
) -> Result<Written, EngineError> {
    let condition = WriteCondition::None;
    rig.engine.copy_object(from, &rig.bucket, &key(to), attributes, None, None, condition).await
}

fn red() -> Attributes {
    Attributes { user_metadata: vec![("colour".into(), "red".into())], ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_keep_bytes_headers_and_checksum() {
    let rig = rig().await;
    for size in [0, 10, 2 * MIB] {
        let bytes = pattern(1, size);
        let request = rig.put_request("from", &bytes);
        let request = PutObject { attributes: red(), checksum: Some(ChecksumKind::Sha256), ..request };
        let first = rig.engine.put_object(request).await.unwrap();
        let written = copy(&rig, source(&rig, "from"), "to", None).await.unwrap();
        assert_eq!((written.etag.as_str(), written.size), (md5_hex(&bytes).as_str(), size as u64));
        assert_ne!(written.version, first.version);
        let (info, read) = rig.get("to").await.unwrap();
        assert_eq!((info.attributes, info.checksum), (red(), Some(checksum(ChecksumKind::Sha256, &bytes))));
        assert!(read == bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn copies_live_on_without_their_source() {
    let rig = rig().await;
    let other: BucketName = "other".parse().unwrap();
    rig.engine.create_bucket(&other, "owner").await.unwrap();
    let bytes = pattern(1, MIB);
    rig.put("from", &bytes).await;
    let from = source(&rig, "from");
    let condition = WriteCondition::None;
    rig.engine.copy_object(from, &other, &key("to"), Some(red()), None, None, condition).await.unwrap();
    rig.engine.delete_object(&rig.bucket, &key("from"), None, Default::default()).await.unwrap();
    let request = GetObject { bucket: other, ..rig.get_request("to") };
    let (info, read) = rig.read(request).await.unwrap();
    assert_eq!(info.attributes, red());
    assert!(read == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_onto_itself_must_change_something() {
    let mut config = EngineConfig::default();
    config.storage_classes.insert("OTHER".into(), ProfileChoice::Fixed(Profile::Copies(1)));
    let rig = rig_with(1, config).await;
    let bytes = pattern(1, MIB);
    rig.put("k", &bytes).await;
    let same = copy(&rig, source(&rig, "k"), "k", None).await.unwrap_err();
    assert_eq!(same.code(), ErrorCode::InvalidArgument);
    assert!(same.to_string().contains("to itself"), "{same}");
    copy(&rig, source(&rig, "k"), "k", Some(red())).await.unwrap();
    let (info, read) = rig.get("k").await.unwrap();
    assert!(info.attributes == red() && read == bytes);
    let (class, condition) = (Some("OTHER".to_owned()), WriteCondition::None);
    let from = source(&rig, "k");
    rig.engine.copy_object(from, &rig.bucket, &key("k"), None, class, None, condition).await.unwrap();
    let (info, read) = rig.get("k").await.unwrap();
    assert_eq!((info.storage_class.as_str(), info.attributes), ("OTHER", red()));
    assert!(read == bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_of_copies() {
    let rig = rig().await;
    let written = rig.put("from", b"x").await;
    let mut from = source(&rig, "from");
    from.conditions.if_none_match = Some(vec![written.etag.clone()]);
    let refused = copy(&rig, from, "to", None).await.unwrap_err();
    assert!(matches!(refused, EngineError::Refused { code: ErrorCode::PreconditionFailed, .. }), "never 304");
    assert_eq!(code(copy(&rig, source(&rig, "none"), "to", None).await), Some(ErrorCode::NoSuchKey));
    rig.put("to", b"there").await;
    let (from, absent) = (source(&rig, "from"), WriteCondition::Absent);
    let refused = rig.engine.copy_object(from, &rig.bucket, &key("to"), None, None, None, absent).await;
    assert_eq!(code(refused), Some(ErrorCode::PreconditionFailed));
    assert_eq!(rig.get("to").await.unwrap().1, b"there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_checksum_on_request_and_none_too_large() {
    let config = EngineConfig { put_bytes_max: MIB as u64, ..Default::default() };
    let rig = rig_with(1, config).await;
    let bytes = pattern(1, 1_000);
    rig.put("from", &bytes).await;
    let (from, kind, none) = (source(&rig, "from"), Some(ChecksumKind::Crc64Nvme), WriteCondition::None);
    let written =
        rig.engine.copy_object(from, &rig.bucket, &key("to"), None, None, kind, none).await.unwrap();
    assert_eq!(written.checksum, Some(checksum(ChecksumKind::Crc64Nvme, &bytes)));
}
