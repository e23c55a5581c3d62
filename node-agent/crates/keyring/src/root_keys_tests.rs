use sys::SeededRandom;

use super::*;

const BUCKET: BucketId = BucketId::from_bytes([4; 16]);

fn keys(seed: u64) -> (RootKeys, SeededRandom) {
    let random = SeededRandom::new(seed);
    (RootKeys::from(RootKey::generate(&random)), random)
}

#[test]
fn a_rotation_re_wraps_once_and_loses_nothing() {
    let (keys, random) = keys(1);
    let (bucket_key, wrapped) = keys.new_bucket_key(BUCKET, 1, &random);
    let sealed = keys.seal_value("a", b"secret", &random);
    keys.draw_next(0, &random).unwrap();
    assert_eq!(keys.generations(), [1, 2], "held, and not used");
    assert_eq!(keys.rewrap(BUCKET, &wrapped, &random).unwrap(), None);
    assert_eq!(keys.new_bucket_key(BUCKET, 2, &random).1.root_generation, 1);
    assert!(!keys.seal_with(9) && keys.seal_with(2));
    assert_eq!(keys.generations(), [2, 1]);

    let again = keys.rewrap(BUCKET, &wrapped, &random).unwrap().unwrap();
    assert_eq!((again.generation, again.root_generation), (1, 2));
    let id = grid_types::SegmentId::from_bytes([5; 16]);
    assert_eq!(keys.unwrap(BUCKET, &again).unwrap().segment_key(id), bucket_key.segment_key(id));
    assert!(keys.unwrap(BucketId::from_bytes([9; 16]), &again).is_err(), "bound to its bucket");
    assert_eq!(keys.rewrap(BUCKET, &again, &random).unwrap(), None);
    let resealed = keys.reseal_value("a", &sealed, &random).unwrap().unwrap();
    assert_eq!(keys.reseal_value("a", &resealed, &random).unwrap(), None);

    let clone = keys.clone();
    assert!(keys.forget_all_but(&[]) && !keys.forget_all_but(&[]));
    assert_eq!(clone.generations(), [2]);
    assert_eq!(keys.open_value("a", &resealed).unwrap(), b"secret");
    assert!(keys.open_value("a", &sealed).is_err(), "the old key is gone");
    assert!(matches!(keys.unwrap(BUCKET, &wrapped), Err(KeyringError::NotHeld(1))));
    assert_eq!(keys.draw_next(5, &random).unwrap().generation(), 6, "no generation twice");
}

#[test]
fn a_file_holds_them_all_and_is_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let (keys, random) = keys(2);
    keys.save(&path).unwrap();
    assert!(keys.save(&path).is_err(), "a key file is not overwritten by chance");
    keys.draw_next(0, &random).unwrap();
    keys.replace(&path).unwrap();
    let read = RootKeys::load(&path).unwrap();
    assert_eq!((read.generations(), read.encode()), (vec![1, 2], keys.encode()));
    keys.seal_with(2);
    keys.replace(&path).unwrap();
    assert_eq!(RootKeys::load(&path).unwrap().generations(), [2, 1], "which one seals is kept");
    let mode = std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap());
    assert_eq!(mode & 0o777, 0o600);
    // What a crash may leave beside it is in nobody's way.
    std::fs::write(folder.path().join("key.new"), b"half").unwrap();
    keys.replace(&path).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

    let good = keys.encode();
    for wrong in [&good[..0], &good[..79], &good[..159], &[good.as_slice(), &good[..80]].concat()] {
        assert!(RootKeys::decode(wrong).is_err(), "{} bytes", wrong.len());
    }
    let mut damaged = good.to_vec();
    damaged[100] ^= 1;
    assert!(RootKeys::decode(&damaged).is_err());
}

#[test]
fn keys_of_a_grid_merge_and_others_do_not() {
    let (ours, random) = keys(3);
    let older = ours.snapshot();
    ours.draw_next(0, &random).unwrap();
    ours.seal_with(2);
    ours.forget_all_but(&[]);
    older.merge(&ours).unwrap();
    assert_eq!(older.generations(), [2, 1], "the newer one seals");
    ours.merge(&older).unwrap();
    assert_eq!(ours.generations(), [2, 1]);
    let (foreign, _) = keys(4);
    assert!(matches!(ours.merge(&foreign), Err(KeyringError::OtherKey(1))));
    assert_eq!(ours.generations(), [2, 1]);

    // A key that was drawn and never told to anybody gives way to the one that was.
    let (a, b) = (ours.snapshot(), ours.snapshot());
    let (lost, told) = (a.draw_next(0, &random).unwrap(), b.draw_next(0, &random).unwrap());
    assert_ne!(lost.check(), told.check());
    a.hold(told.clone()).unwrap();
    assert_eq!(a.get(3).unwrap().check(), told.check());
    a.seal_with(3);
    assert!(matches!(a.hold(lost), Err(KeyringError::OtherKey(3))));
    for _ in a.generations().len()..ROOT_KEYS_MAX {
        a.draw_next(0, &random).unwrap();
    }
    assert!(matches!(a.draw_next(0, &random), Err(KeyringError::TooMany)));
    assert!(!format!("{a:?}").contains("secret"));
}
