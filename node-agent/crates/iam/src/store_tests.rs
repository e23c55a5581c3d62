//! Access keys over a real root shard.

use std::sync::Arc;

use grid_types::{DriveId, ErrorCode};
use keyring::RootKey;
use meta_store::home::HomeDrive;
use meta_store::root::{Expect, RecordKind, RecordWrite};
use meta_store::{MetaConfig, MetaStore};
use sys::{Clock, RealClock, RealDisk, RealRandom, SimClock};

use crate::cache::{KNOWN_AGE_MAX, UNKNOWN_AGE_MAX};
use crate::{AccessKeyState, Action, Caller, Iam, IamError, resealed_record};

struct Rig {
    iam: Iam,
    meta: MetaStore,
    root_key: RootKey,
    clock: SimClock,
    _dir: tempfile::TempDir,
}

async fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(dir.path()).unwrap());
    let home = vec![HomeDrive { id: DriveId::from_bytes([1; 16]), disk }];
    let random = Arc::new(RealRandom);
    let meta =
        MetaStore::found(home, MetaConfig::default(), Arc::new(RealClock), random.clone()).await.unwrap();
    let root_key = RootKey::generate(&*random);
    let clock = SimClock::new(RealClock.now());
    let iam = Iam::new(meta.clone(), root_key.clone(), Arc::new(clock.clone()), random);
    Rig { iam, meta, root_key, clock, _dir: dir }
}

impl Rig {
    /// Another node's view of the same root shard.
    fn other(&self) -> Iam {
        let (clock, random) = (Arc::new(self.clock.clone()), Arc::new(RealRandom));
        Iam::new(self.meta.clone(), self.root_key.clone(), clock, random)
    }
}

fn code<T>(result: Result<T, IamError>) -> Option<ErrorCode> {
    result.err().map(|error| error.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_made_found_disabled_and_deleted() {
    let rig = rig().await;
    let (made, secret) = rig.iam.create("alice", None).await.unwrap();
    assert_eq!((made.id.len(), secret.len(), made.state), (20, 40, AccessKeyState::Active));
    let (found, found_secret) = rig.iam.lookup(&made.id).await.unwrap();
    assert_eq!((&found, &*found_secret), (&made, &secret));
    assert_eq!(rig.iam.list().await.unwrap(), std::slice::from_ref(&made));
    rig.iam.set_state(&made.id, AccessKeyState::Disabled).await.unwrap();
    assert_eq!(code(rig.iam.lookup(&made.id).await), Some(ErrorCode::InvalidAccessKey), "at once");
    assert_eq!(rig.iam.list().await.unwrap()[0].state, AccessKeyState::Disabled);
    rig.iam.set_state(&made.id, AccessKeyState::Active).await.unwrap();
    assert_eq!(*rig.iam.lookup(&made.id).await.unwrap().1, secret, "the secret outlives the change");
    rig.iam.delete(&made.id).await.unwrap();
    assert_eq!(code(rig.iam.lookup(&made.id).await), Some(ErrorCode::InvalidAccessKey));
    assert_eq!(code(rig.iam.delete(&made.id).await), Some(ErrorCode::InvalidAccessKey));
    let state = rig.iam.set_state(&made.id, AccessKeyState::Active).await;
    assert_eq!(code(state), Some(ErrorCode::InvalidAccessKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn given_keys_are_checked() {
    let rig = rig().await;
    let create = |id: &str, secret: &str| rig.iam.create("u", Some((id.to_owned(), secret.to_owned())));
    let good = "secret-of-12";
    let long = "x".repeat(129);
    for (id, secret) in
        [("ab", good), ("a b c", good), ("äöü", good), (&long, good), ("abc", "short"), ("abc", "with space")]
    {
        assert_eq!(code(create(id, secret).await), Some(ErrorCode::InvalidArgument), "{id} {secret}");
    }
    create("abc", good).await.unwrap();
    assert_eq!(code(create("abc", "another-secret").await), Some(ErrorCode::Conflict));
    assert_eq!(&***rig.iam.lookup("abc").await.unwrap().1, good);
    assert_eq!(code(rig.iam.create("", None).await), Some(ErrorCode::InvalidArgument));
    assert_eq!(code(rig.iam.lookup("a\nb").await), Some(ErrorCode::InvalidAccessKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_is_found_right_after_it_was_asked_for_in_vain() {
    let rig = rig().await;
    assert_eq!(code(rig.iam.lookup("later").await), Some(ErrorCode::InvalidAccessKey));
    let given = Some(("later".to_owned(), "secret-of-12".to_owned()));
    rig.iam.create("u", given).await.unwrap();
    assert!(rig.iam.lookup("later").await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_through_another_node_are_seen_in_time() {
    let rig = rig().await;
    let other = rig.other();
    assert_eq!(code(other.lookup("key").await), Some(ErrorCode::InvalidAccessKey));
    rig.iam.create("u", Some(("key".to_owned(), "secret-of-12".to_owned()))).await.unwrap();
    rig.clock.advance(UNKNOWN_AGE_MAX);
    assert!(other.lookup("key").await.is_ok());
    rig.iam.set_state("key", AccessKeyState::Disabled).await.unwrap();
    rig.clock.advance(KNOWN_AGE_MAX);
    assert_eq!(code(other.lookup("key").await), Some(ErrorCode::InvalidAccessKey));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_do_not_open_are_errors_not_unknown_keys() {
    let rig = rig().await;
    let given = |id: &str| Some((id.to_owned(), "secret-of-12".to_owned()));
    rig.iam.create("u", given("one")).await.unwrap();
    let one = rig.meta.record(RecordKind::AccessKey, b"one").await.unwrap().unwrap();
    let write = |key: &[u8], value: Vec<u8>| RecordWrite {
        kind: RecordKind::AccessKey,
        key: key.to_vec(),
        expect: Expect::Any,
        value: Some(value),
    };
    // Another key's secret under this id; a version of the future.
    let mut future = one.value.clone();
    future[0] = 200;
    let writes = vec![write(b"two", one.value.clone()), write(b"three", future)];
    rig.meta.write_records(writes).await.unwrap();
    assert_eq!(code(rig.iam.lookup("two").await), Some(ErrorCode::KeyMissing));
    assert_eq!(code(rig.iam.lookup("three").await), Some(ErrorCode::Corrupt));
    assert!(rig.iam.lookup("one").await.is_ok());
    let needle = b"secret-of-12";
    assert!(!one.value.windows(needle.len()).any(|window| window == needle), "sealed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_are_all_listed() {
    let rig = rig().await;
    for n in 0..300 {
        rig.iam.create("u", Some((format!("key{n:03}"), "secret-of-12".to_owned()))).await.unwrap();
    }
    let ids: Vec<String> = rig.iam.list().await.unwrap().into_iter().map(|key| key.id).collect();
    assert_eq!(ids, (0..300).map(|n| format!("key{n:03}")).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_do_what() {
    let rig = rig().await;
    let (mut key, _) = rig.iam.create("u", None).await.unwrap();
    let action = Action("s3:GetObject");
    let ask = async |caller: Caller| code(rig.iam.authorize(&caller, action, "bucket/key").await);
    assert_eq!(ask(Caller::Key(key.clone())).await, None);
    assert_eq!(ask(Caller::Anonymous).await, Some(ErrorCode::AccessDenied));
    key.state = AccessKeyState::Disabled;
    assert_eq!(ask(Caller::Key(key)).await, Some(ErrorCode::AccessDenied));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_sealed_anew_and_stay_the_same() {
    let rig = rig().await;
    let random = RealRandom;
    let (key, secret) = rig.iam.create("u", None).await.unwrap();
    let record = rig.meta.record(RecordKind::AccessKey, key.id.as_bytes()).await.unwrap().unwrap();
    let keys = keyring::RootKeys::from(rig.root_key.clone());
    let again = |value: &[u8]| resealed_record(&keys, key.id.as_bytes(), value, &random).unwrap();
    assert!(again(&record.value).is_none());
    keys.draw_next(1, &random).unwrap();
    keys.seal_with(2);
    let value = again(&record.value).unwrap();
    assert!(again(&value).is_none());
    let write = RecordWrite {
        kind: RecordKind::AccessKey,
        key: record.key,
        expect: Expect::Generation(record.generation),
        value: Some(value),
    };
    rig.meta.write_records(vec![write]).await.unwrap();
    keys.forget_all_but(&[]);
    let other = Iam::new(rig.meta.clone(), keys.clone(), Arc::new(rig.clock.clone()), Arc::new(RealRandom));
    assert_eq!(*other.lookup(&key.id).await.unwrap().1, secret);
    assert!(resealed_record(&keys, b"other id", b"no record", &random).is_err());
}
