use std::collections::BTreeSet;

use super::rig::{Rig, key, rig};
use crate::{ListObjects, ObjectListing};

async fn page(
    rig: &Rig,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<String>,
    limit: usize,
) -> ObjectListing {
    let delimiter = delimiter.map(Into::into);
    let query = ListObjects { prefix: prefix.into(), delimiter, after, limit };
    rig.engine.list_objects(&rig.bucket, query).await.unwrap()
}

fn names(listing: &ObjectListing) -> Vec<&str> {
    listing.objects.iter().map(|object| object.key.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefixes_and_delimiters() {
    let rig = rig().await;
    for at in ["a", "a/b", "a/c/d", "a/c/e", "ab", "b/", "ä", "日本/語"] {
        rig.put(at, at.as_bytes()).await;
    }
    let all = page(&rig, "", None, None, 1_000).await;
    assert_eq!(names(&all), ["a", "a/b", "a/c/d", "a/c/e", "ab", "b/", "ä", "日本/語"]);
    assert_eq!((all.next.clone(), all.objects[4].size), (None, 2));
    let top = page(&rig, "", Some("/"), None, 1_000).await;
    assert_eq!(names(&top), ["a", "ab", "ä"]);
    assert_eq!(top.prefixes, ["a/", "b/", "日本/"]);
    let inner = page(&rig, "a/", Some("/"), None, 1_000).await;
    assert_eq!((names(&inner), inner.prefixes.clone()), (vec!["a/b"], vec!["a/c/".to_owned()]));
    let none = page(&rig, "zzz", Some("/"), None, 1_000).await;
    assert!(none.objects.is_empty() && none.prefixes.is_empty() && none.next.is_none());
    let nothing_asked = page(&rig, "", None, None, 0).await;
    assert!(nothing_asked.objects.is_empty() && nothing_asked.next.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_meet_without_gap_or_overlap() {
    let rig = rig().await;
    let mut keys = BTreeSet::new();
    for n in 0..30 {
        let at = format!("{}/{n:02}", ["x", "y", "z"][n % 3]);
        rig.put(&at, b"").await;
        keys.insert(at);
    }
    for limit in [1, 2, 7, 29, 30, 31] {
        for delimiter in [None, Some("/"), Some("0")] {
            let whole = page(&rig, "", delimiter, None, 1_000).await;
            let (mut objects, mut prefixes, mut after) = (Vec::new(), Vec::new(), None);
            loop {
                let listing = page(&rig, "", delimiter, after, limit).await;
                assert!(listing.objects.len() + listing.prefixes.len() <= limit);
                objects.extend(names(&listing).into_iter().map(str::to_owned));
                prefixes.extend(listing.prefixes.clone());
                after = listing.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(objects, names(&whole), "limit {limit}, delimiter {delimiter:?}");
            assert_eq!(prefixes, whole.prefixes, "limit {limit}, delimiter {delimiter:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_are_stable_under_writes() {
    let rig = rig().await;
    let stays: Vec<String> = (0..40).map(|n| format!("stays-{:02}", 2 * n)).collect();
    for at in &stays {
        rig.put(at, b"1").await;
    }
    let (mut seen, mut after, mut round) = (Vec::new(), None, 0);
    loop {
        let listing = page(&rig, "", None, after, 7).await;
        seen.extend(names(&listing).into_iter().map(str::to_owned));
        after = listing.next;
        if after.is_none() {
            break;
        }
        // Around the cursor, before and behind it: new keys, keys that go, keys that are overwritten.
        for n in 0..5 {
            rig.put(&format!("stays-{:02}x", 10 * n + round), b"new").await;
        }
        rig.put(&stays[round * 3], b"2").await;
        let gone = key(&format!("stays-{:02}x", 10 + round.saturating_sub(1)));
        rig.engine.delete_object(&rig.bucket, &gone, None, Default::default()).await.unwrap();
        round += 1;
    }
    assert!(round >= 5);
    let old: Vec<&String> = seen.iter().filter(|name| !name.ends_with('x')).collect();
    assert_eq!(old, stays.iter().collect::<Vec<_>>());
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), seen.len(), "nothing twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_is_listed_at_once_and_a_delete_unlisted() {
    let rig = rig().await;
    for n in 0..20 {
        let at = format!("k{n}");
        rig.put(&at, b"x").await;
        assert_eq!(rig.keys().await, std::slice::from_ref(&at));
        rig.engine.delete_object(&rig.bucket, &key(&at), None, Default::default()).await.unwrap();
        assert!(rig.keys().await.is_empty());
    }
}
