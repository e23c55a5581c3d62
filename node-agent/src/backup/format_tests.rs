//! A backup of known records: whole, cut at every byte, with every bit turned, under another passphrase.

use bytes::Bytes;
use grid_types::{GridId, NodeId, ShardId, Timestamp};
use keyring::{PassphraseCost, PassphraseKey, RootKey, RootKeys};
use membership::{GridCa, MemberList, NewMember, SignedList};
use ring::digest::{SHA256, digest};
use sys::RealRandom;

use super::format::{
    BackupError, Decoder, Encoder, HEAD_BYTES, Head, Manifest, PAYLOAD_BYTES_MAX, Record, ShardSize,
};

const GRID: GridId = GridId::from_bytes([1; 16]);
/// One guess costs next to nothing here.
const CHEAP: PassphraseCost = PassphraseCost { memory_kib: 64, passes: 1, lanes: 1 };
const SALT: [u8; 16] = [3; 16];

fn key(passphrase: &str) -> PassphraseKey {
    PassphraseKey::derive(passphrase.as_bytes(), &SALT, CHEAP).unwrap()
}

fn list() -> SignedList {
    let ca = GridCa::generate(&RealRandom).unwrap();
    let founder = NewMember {
        public_key: vec![7; 32],
        name: "one".to_owned(),
        addresses: Vec::new(),
        has_aes: true,
        has_drives: true,
        added: Timestamp(1),
    };
    SignedList::sign(MemberList::found(GRID, ca.public_key(), founder).unwrap(), &ca).unwrap()
}

struct Written {
    bytes: Vec<u8>,
    root_keys: RootKeys,
    list: SignedList,
}

/// Two shards: one of two pieces, one of none.
fn written(pieces: &[&[u8]]) -> Written {
    let head = Head { salt: SALT, cost: CHEAP, grid: GRID, stamp: Timestamp(99) };
    let whole: Vec<u8> = pieces.concat();
    let size = |shard, bytes: usize| ShardSize { shard: ShardId(shard), bytes: bytes as u64 };
    let manifest = Manifest {
        release: "0".to_owned(),
        grid: GRID,
        node: NodeId::from_bytes([2; 16]),
        stamp: Timestamp(99),
        shards: vec![size(5, whole.len()), size(0, 0)],
    };
    let (root_keys, list) = (RootKeys::from(RootKey::generate(&RealRandom)), list());
    root_keys.draw_next(0, &RealRandom).unwrap();
    let (mut encoder, first) = Encoder::new(&head, &key("correct horse"));
    let mut all: Vec<Bytes> = vec![first];
    all.extend(encoder.begin(&manifest, &root_keys, list.bytes()).unwrap());
    all.push(encoder.image(ShardId(5)));
    all.extend(pieces.iter().map(|piece| encoder.piece(piece)));
    all.push(encoder.image_end(digest(&SHA256, &whole).as_ref()));
    all.push(encoder.image(ShardId(0)));
    all.push(encoder.image_end(digest(&SHA256, &[]).as_ref()));
    all.push(encoder.end());
    Written { bytes: all.concat(), root_keys, list }
}

/// Reads in steps of so many bytes; also whether the whole was authenticated.
fn read(bytes: &[u8], passphrase: Option<&str>, step: usize) -> Result<(Vec<Record>, bool), BackupError> {
    let (head, rest) =
        bytes.split_first_chunk::<HEAD_BYTES>().ok_or(BackupError::CutShort(bytes.len() as u64))?;
    let head_says = Head::decode(head)?;
    let key = match passphrase {
        Some(line) => Some(PassphraseKey::derive(line.as_bytes(), &head_says.salt, head_says.cost)?),
        None => None,
    };
    let mut decoder = Decoder::new(head, key.as_ref());
    let mut records = Vec::new();
    for part in rest.chunks(step) {
        decoder.push(part);
        while let Some(record) = decoder.next()? {
            records.push(record);
        }
    }
    Ok((records, decoder.finish()?.authentic))
}

#[test]
fn what_was_written_comes_back_however_it_is_cut_up() {
    let long = vec![8; PAYLOAD_BYTES_MAX];
    let written = written(&[&long, b"end"]);
    for step in [1_000, 65_537, written.bytes.len()] {
        let (records, authentic) = read(&written.bytes, Some("correct horse"), step).unwrap();
        assert!(authentic);
        let [
            Record::Manifest(manifest),
            Record::RootKeys(keys),
            Record::Members(Some(list)),
            Record::Image(ShardId(5)),
            Record::Piece(first),
            Record::Piece(second),
            Record::ImageEnd,
            Record::Image(ShardId(0)),
            Record::ImageEnd,
        ] = records.as_slice()
        else {
            panic!("{records:?}")
        };
        assert_eq!((manifest.grid, manifest.stamp, manifest.shards.len()), (GRID, Timestamp(99), 2));
        assert_eq!(keys.generations(), [1, 2]);
        assert_eq!(*keys.encode(), *written.root_keys.encode());
        assert_eq!(list, &written.list);
        assert_eq!((&first[..], &second[..]), (&long[..], b"end".as_slice()));
    }
}

#[test]
fn without_a_passphrase_it_is_whole_and_says_nothing() {
    let written = written(&[b"piece"]);
    let (records, authentic) = read(&written.bytes, None, 100).unwrap();
    assert!(records.is_empty() && !authentic);
    let clear = String::from_utf8_lossy(&written.bytes).into_owned();
    assert!(!clear.contains("SHOALKEY") && !clear.contains("piece") && !clear.contains("release"));
}

#[test]
fn a_wrong_passphrase_is_told_from_damage() {
    let written = written(&[b"piece"]);
    let refused = read(&written.bytes, Some("correct horsf"), 100).unwrap_err();
    assert!(matches!(refused, BackupError::WrongPassphrase), "{refused:?}");
    let mut damaged = written.bytes;
    let last = damaged.len() - 40;
    damaged[last] ^= 1;
    let refused = read(&damaged, Some("correct horsf"), 100).unwrap_err();
    assert!(matches!(refused, BackupError::Damaged { .. }), "{refused:?}");
}

#[test]
fn cut_anywhere_it_is_refused() {
    let written = written(&[b"piece"]);
    for length in 0..written.bytes.len() {
        for passphrase in [Some("correct horse"), None] {
            let refused = read(&written.bytes[..length], passphrase, 64).unwrap_err();
            assert!(
                matches!(refused, BackupError::CutShort(at) if at == length as u64),
                "{length}: {refused:?}"
            );
        }
    }
    let longer = [written.bytes.as_slice(), b"x"].concat();
    let refused = read(&longer, Some("correct horse"), 64).unwrap_err();
    assert!(matches!(refused, BackupError::Damaged { .. }), "{refused:?}");
}

#[test]
fn no_bit_can_be_turned() {
    let written = written(&[b"piece"]);
    for bit in 0..written.bytes.len() * 8 {
        let mut flipped = written.bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // A cost that was made dearer would only take its time.
        if !(96..192).contains(&bit) {
            assert!(read(&flipped, Some("correct horse"), 64).is_err(), "bit {bit}");
        }
        assert!(read(&flipped, None, 64).is_err(), "bit {bit} without a passphrase");
    }
}

/// Whoever knows the passphrase can write what they like; it must still be consistent.
#[test]
fn records_out_of_order_are_refused() {
    let head = Head { salt: SALT, cost: CHEAP, grid: GRID, stamp: Timestamp(99) };
    let manifest = Manifest {
        release: "0".to_owned(),
        grid: GRID,
        node: NodeId::from_bytes([2; 16]),
        stamp: Timestamp(99),
        shards: vec![ShardSize { shard: ShardId(5), bytes: 3 }],
    };
    let root_keys = RootKeys::from(RootKey::generate(&RealRandom));
    let hash = digest(&SHA256, b"abc");
    let check = |what: &str, good: bool, write: &dyn Fn(&mut Encoder) -> Vec<Bytes>| {
        let (mut encoder, first) = Encoder::new(&head, &key("correct horse"));
        let mut bytes = first.to_vec();
        bytes.extend(encoder.begin(&manifest, &root_keys, &[]).unwrap().concat());
        bytes.extend(write(&mut encoder).concat());
        bytes.extend(encoder.end());
        assert_eq!(read(&bytes, Some("correct horse"), 64).is_ok(), good, "{what}");
    };
    check("as it should be", true, &|encoder| {
        vec![encoder.image(ShardId(5)), encoder.piece(b"abc"), encoder.image_end(hash.as_ref())]
    });
    check("no image", false, &|_| Vec::new());
    check("another shard", false, &|encoder| {
        vec![encoder.image(ShardId(6)), encoder.piece(b"abc"), encoder.image_end(hash.as_ref())]
    });
    check("too short", false, &|encoder| {
        vec![
            encoder.image(ShardId(5)),
            encoder.piece(b"ab"),
            encoder.image_end(digest(&SHA256, b"ab").as_ref()),
        ]
    });
    check("too long", false, &|encoder| {
        vec![
            encoder.image(ShardId(5)),
            encoder.piece(b"abcd"),
            encoder.image_end(digest(&SHA256, b"abcd").as_ref()),
        ]
    });
    check("other bytes", false, &|encoder| {
        vec![encoder.image(ShardId(5)), encoder.piece(b"abd"), encoder.image_end(hash.as_ref())]
    });
    check("no end of the image", false, &|encoder| vec![encoder.image(ShardId(5)), encoder.piece(b"abc")]);
    check("an image twice", false, &|encoder| {
        let mut image =
            || vec![encoder.image(ShardId(5)), encoder.piece(b"abc"), encoder.image_end(hash.as_ref())];
        [image(), image()].concat()
    });
}
