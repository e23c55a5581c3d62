use grid_types::{BucketName, ErrorCode};

use super::rig::{code, rig};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn buckets_come_and_go() {
    let rig = rig().await;
    let name: BucketName = "second".parse().unwrap();
    assert_eq!(code(rig.engine.bucket(&name).await), Some(ErrorCode::NoSuchBucket));
    let made = rig.engine.create_bucket(&name, "owner").await.unwrap();
    assert_eq!(rig.engine.bucket(&name).await.unwrap().id, made.id);
    let again = code(rig.engine.create_bucket(&name, "owner").await);
    assert_eq!(again, Some(ErrorCode::BucketAlreadyOwnedByYou));
    let others = code(rig.engine.create_bucket(&name, "somebody else").await);
    assert_eq!(others, Some(ErrorCode::BucketAlreadyExists));
    let names = |buckets: Vec<meta_store::root::Bucket>| {
        buckets.into_iter().map(|bucket| bucket.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(rig.engine.list_buckets(None, 10).await.unwrap()), ["bucket", "second"]);
    assert_eq!(names(rig.engine.list_buckets(Some(&rig.bucket), 10).await.unwrap()), ["second"]);
    assert_eq!(names(rig.engine.list_buckets(None, 1).await.unwrap()), ["bucket"]);
    rig.engine.delete_bucket(&name).await.unwrap();
    assert_eq!(code(rig.engine.bucket(&name).await), Some(ErrorCode::NoSuchBucket));
    assert_eq!(code(rig.engine.delete_bucket(&name).await), Some(ErrorCode::NoSuchBucket));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_empty_buckets_go() {
    let rig = rig().await;
    rig.put("a", b"x").await;
    assert_eq!(code(rig.engine.delete_bucket(&rig.bucket).await), Some(ErrorCode::BucketNotEmpty));
    assert_eq!(rig.get("a").await.unwrap().1, b"x", "the refused delete closed nothing");
    rig.engine.delete_object(&rig.bucket, &super::rig::key("a"), None, Default::default()).await.unwrap();
    rig.engine.delete_bucket(&rig.bucket).await.unwrap();
    assert_eq!(code(rig.get("a").await), Some(ErrorCode::NoSuchBucket));
    let put = rig.engine.put_object(rig.put_request("a", b"x")).await;
    assert_eq!(code(put), Some(ErrorCode::NoSuchBucket));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_made_again_has_another_key_and_nothing_in_it() {
    let rig = rig().await;
    rig.put("a", b"old").await;
    rig.engine.delete_object(&rig.bucket, &super::rig::key("a"), None, Default::default()).await.unwrap();
    rig.engine.delete_bucket(&rig.bucket).await.unwrap();
    rig.engine.create_bucket(&rig.bucket, "owner").await.unwrap();
    assert_eq!(code(rig.get("a").await), Some(ErrorCode::NoSuchKey));
    rig.put("a", b"new").await;
    assert_eq!(rig.get("a").await.unwrap().1, b"new");
}
