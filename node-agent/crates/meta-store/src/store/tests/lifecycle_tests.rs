//! Founding, opening, buckets, objects, and what a restart finds.

use super::fixture::{Folders, bucket, key, put_inline, put_segment};
use crate::query::ListQuery;
use crate::{MetaConfig, Outcome};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folders = Folders::new(2);
    let photos = bucket(9, "photos");
    {
        let store = folders.found(MetaConfig::default()).await;
        assert_eq!(store.ready(), Ok(()));
        store.create_bucket(photos.clone(), vec![1, 2, 3]).await.unwrap();
        for number in 0..50 {
            let outcome = store
                .commit(store.new_op(), put_inline(&photos, &format!("k{number:03}"), number, b"hello"))
                .await;
            assert!(matches!(outcome, Ok(Outcome::Written { .. })), "{outcome:?}");
        }
        store.commit(store.new_op(), put_segment(&photos, "big", 1_000, 1 << 20)).await.unwrap();
        store.shutdown().await;
    }
    let store = folders.open(MetaConfig::default()).await;
    assert_eq!(store.bucket(&photos.name).await.unwrap(), Some(photos.clone()));
    let row = store.object(photos.id, &key("k007"), None).await.unwrap().unwrap();
    assert_eq!(row.inline.as_deref(), Some(b"hello".as_slice()));
    let row = store.object(photos.id, &key("big"), None).await.unwrap().unwrap();
    assert_eq!((row.segments.len(), row.segments[0].segment.length), (1, 1 << 20));
    assert!(store.object(photos.id, &key("none"), None).await.unwrap().is_none());
    let page = store.list(photos.id, ListQuery { limit: 20, ..ListQuery::default() }).await.unwrap();
    assert_eq!((page.entries.len(), page.truncated), (20, true));
    assert_eq!(page.entries[0].text(), "big");
    let usage = store.usage(photos.id).await.unwrap();
    assert_eq!((usage.objects, usage.bytes), (51, 50 * 5 + (1 << 20)));
    store.shutdown().await;
    assert!(store.ready().is_err());
}
