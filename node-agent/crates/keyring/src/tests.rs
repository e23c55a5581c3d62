//! Golden vectors, computed apart from this code (HKDF over Python's hmac, HChaCha20 written out over the RFC 8439
//! AEAD of another library), and the unhappy half.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU8, Ordering};

use grid_types::{BucketId, SegmentId};
use sys::Random;

use crate::secret::Secret;
use crate::{BucketKey, KEY_FILE_BYTES, KeyringError, RootKey, RootKeys, SealedValue};

/// 0, 1, 2 … over all calls.
#[derive(Default)]
struct Counting(AtomicU8);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.iter_mut().for_each(|byte| *byte = self.0.fetch_add(1, Ordering::Relaxed));
    }
}

const BUCKET: BucketId = BucketId::from_bytes([0xb0; 16]);
const OTHER_BUCKET: BucketId = BucketId::from_bytes([0xb1; 16]);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn golden_key() -> BucketKey {
    BucketKey::new(1, Secret::copied(&std::array::from_fn(|i| i as u8)))
}

#[test]
fn hkdf_agrees_with_rfc_5869_test_case_3() {
    // Salt and info empty; the first 32 of its 42 bytes. The RFC's input is 22 bytes, so through ring directly.
    let prk = ring::hkdf::Salt::new(ring::hkdf::HKDF_SHA256, &[]).extract(&[0x0b; 22]);
    let mut out = [0; 32];
    prk.expand(&[], ring::hkdf::HKDF_SHA256).unwrap().fill(&mut out).unwrap();
    assert_eq!(hex(&out), "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
}

#[test]
fn segment_keys_do_not_drift() {
    let key = golden_key().segment_key(SegmentId::from_bytes([7; 16]));
    assert_eq!(hex(&key), "42357a1841dbfebc30921cb49a4a03a2aace8bd2055d81d98eb98ca1aa5ca49a");
    assert_ne!(key, golden_key().segment_key(SegmentId::from_bytes([8; 16])));
}

#[test]
fn values_sealed_by_an_earlier_release_still_open() {
    let sealed = golden_key().seal_value(b"label", b"hello", &Counting::default());
    assert_eq!(
        hex(&sealed.0),
        "000102030405060708090a0b0c0d0e0f10111213141516170808b0a8cb2821e87dcd669e5256028a79b947199f"
    );
    assert_eq!(golden_key().open_value(b"label", &sealed).unwrap(), b"hello");
}

#[test]
fn wrapped_keys_do_not_drift() {
    let random = Counting::default();
    let root = RootKey::generate(&random);
    let (key, wrapped) = root.new_bucket_key(BUCKET, 1, &random);
    assert_eq!((wrapped.generation, wrapped.root_generation), (1, 1));
    assert_eq!(
        hex(&wrapped.bytes),
        "404142434445464748494a4b4c4d4e4f5051525354555657828506926408fefd6fdd9af604b83a36b80a5e6eb07ade4d0ff08396d1472888ea3c57a3df325c280a96759d5662fea4"
    );
    let again = root.unwrap(BUCKET, &wrapped).unwrap();
    let seal_id = SegmentId::from_bytes([1; 16]);
    assert_eq!(again.segment_key(seal_id), key.segment_key(seal_id));
    assert_eq!(again.generation(), 1);
}

#[test]
fn a_wrapped_key_is_bound_to_bucket_and_generations() {
    let random = Counting::default();
    let root = RootKey::generate(&random);
    let (_, wrapped) = root.new_bucket_key(BUCKET, 1, &random);
    assert!(root.unwrap(OTHER_BUCKET, &wrapped).is_err());
    let mut other = wrapped.clone();
    other.generation = 2;
    assert!(root.unwrap(BUCKET, &other).is_err());
    other = wrapped.clone();
    other.root_generation = 2;
    assert!(root.unwrap(BUCKET, &other).is_err());
    assert!(RootKey::generate(&random).unwrap(BUCKET, &wrapped).is_err(), "another root key");
}

#[test]
fn a_changed_sealed_value_does_not_open() {
    let key = golden_key();
    let sealed = key.seal_value(b"label", b"secret body", &Counting::default());
    for byte in 0..sealed.0.len() {
        let mut bytes = sealed.0.clone();
        bytes[byte] ^= 1;
        assert!(key.open_value(b"label", &SealedValue(bytes)).is_err(), "byte {byte}");
    }
    for length in 0..sealed.0.len() {
        assert!(key.open_value(b"label", &SealedValue(sealed.0[..length].to_vec())).is_err());
    }
    assert!(key.open_value(b"labe", &sealed).is_err());
    let root = RootKey::generate(&Counting::default());
    let sealed = root.seal_value("AKIA1", b"s3cret", &Counting::default());
    assert_eq!(root.open_value("AKIA1", &sealed).unwrap(), b"s3cret");
    assert!(root.open_value("AKIA2", &sealed).is_err());
}

#[test]
fn debug_shows_no_key() {
    let root = RootKey::generate(&Counting::default());
    assert_eq!(format!("{root:?}"), "RootKey { generation: 1, .. }");
    assert_eq!(format!("{:?}", golden_key()), "BucketKey { generation: 1, .. }");
}

#[test]
fn a_key_file_comes_back_and_is_private() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    let random = Counting::default();
    let root = RootKey::generate(&random);
    let (_, wrapped) = root.new_bucket_key(BUCKET, 3, &random);
    RootKeys::from(root).save(&path).unwrap();
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(metadata.len(), KEY_FILE_BYTES as u64);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
    let loaded = RootKeys::load(&path).unwrap();
    assert_eq!(loaded.generation(), 1);
    assert_eq!(loaded.unwrap(BUCKET, &wrapped).unwrap().generation(), 3);
}

#[test]
fn the_key_file_of_the_first_release_still_loads() {
    let mut bytes = b"SHOALKEY\0\x01\0\0\0\0\0\x02".to_vec();
    bytes.extend(0..32u8);
    bytes.extend(data("3714b8f926b97d153157ba8427ad32589ee23c8050433a395a3936282da98904"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    std::fs::write(&path, &bytes).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(RootKeys::load(&path).unwrap().generation(), 2);
}

fn data(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_key_file_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    RootKeys::from(RootKey::generate(&Counting::default())).save(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = RootKeys::from(RootKey::generate(&Counting(AtomicU8::new(9)))).save(&path).unwrap_err();
    assert!(
        matches!(&error, KeyringError::File { source, .. } if source.kind() == std::io::ErrorKind::AlreadyExists)
    );
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn a_stale_temporary_file_does_not_stop_a_save() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    std::fs::write(dir.path().join("root.key.new"), b"half a key").unwrap();
    RootKeys::from(RootKey::generate(&Counting::default())).save(&path).unwrap();
    assert!(RootKeys::load(&path).is_ok());
}

#[test]
fn a_key_file_open_to_others_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    RootKeys::from(RootKey::generate(&Counting::default())).save(&path).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o601] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let text = RootKeys::load(&path).unwrap_err().to_string();
        assert!(text.contains("chmod 600"), "{mode:o}: {text}");
    }
}

#[test]
fn a_damaged_key_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("root.key");
    RootKeys::from(RootKey::generate(&Counting::default())).save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 0x10;
        std::fs::write(&path, &bad).unwrap();
        assert!(RootKeys::load(&path).is_err(), "byte {byte}");
    }
    for length in [0, 16, good.len() - 1] {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(matches!(RootKeys::load(&path), Err(KeyringError::Format { .. })), "{length} bytes");
    }
    std::fs::write(&path, [good.as_slice(), b"x"].concat()).unwrap();
    assert!(RootKeys::load(&path).is_err());
    assert!(matches!(
        RootKeys::load(dir.path()),
        Err(KeyringError::Format { .. } | KeyringError::File { .. })
    ));
    assert!(matches!(RootKeys::load(&dir.path().join("none")), Err(KeyringError::File { .. })));
}

/// `None` where nothing is mapped there (any more).
fn memory_at(address: usize) -> Option<[u8; 32]> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; 32];
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    memory.read_exact_at(&mut bytes, address as u64).ok().map(|()| bytes)
}

#[test]
fn a_key_is_wiped_when_its_last_clone_goes() {
    let key = [0xa7; 32];
    let secret = Secret::copied(&key);
    let address = secret.expose().as_ptr().addr();
    let clone = secret.clone();
    drop(secret);
    assert_eq!(memory_at(address), Some(key), "the test looks at the wrong place");
    drop(clone);
    // The allocator may have written its own notes there.
    if let Some(left) = memory_at(address) {
        assert!(!left.windows(4).any(|four| four == &key[..4]), "{left:x?}");
    }
}

#[test]
fn the_pages_of_keys_are_locked_where_the_system_allows_it() {
    let locked_kib = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmLck:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    };
    let allowed = sys::locked_memory::PageLock::of(&[0; 1]).is_ok();
    let keys: Vec<Secret> = (0..100).map(|_| Secret::copied(&[1; 32])).collect();
    assert_eq!(locked_kib() > 0, allowed);
    drop(keys);
}
