//! Which lists are believed.

use grid_types::{GridId, Timestamp};
use proptest::prelude::*;
use sys::SeededRandom;

use super::*;

fn ca(seed: u64) -> GridCa {
    GridCa::generate(&SeededRandom::new(seed)).unwrap()
}

fn new(byte: u8) -> NewMember {
    NewMember {
        public_key: vec![byte; 32],
        name: format!("board-{byte}"),
        addresses: vec!["192.0.2.1:7311".parse().unwrap()],
        has_aes: true,
        has_drives: true,
        added: Timestamp::from_secs(1),
    }
}

fn founded(ca: &GridCa) -> MemberList {
    MemberList::found(GridId::from_bytes([9; 16]), ca.public_key(), new(1)).unwrap()
}

#[test]
fn a_signed_list_is_read_back_by_key_and_by_pin() {
    let ca = ca(1);
    let list = founded(&ca).with(new(2)).unwrap();
    let signed = SignedList::sign(list.clone(), &ca).unwrap();
    assert_eq!(SignedList::verify(signed.bytes(), &ca.public_key()).unwrap().list(), &list);
    assert_eq!(SignedList::verify_pinned(signed.bytes(), &ca.pin()).unwrap(), signed);
    assert_eq!((list.epoch, list.members[0].number, list.members[1].number), (2, 1, 2));
}

#[test]
fn another_ca_is_not_believed() {
    let (ours, theirs) = (ca(1), ca(2));
    let foreign = SignedList::sign(founded(&theirs), &theirs).unwrap();
    assert_eq!(SignedList::verify(foreign.bytes(), &ours.public_key()), Err(ListError::Signature));
    assert_eq!(SignedList::verify_pinned(foreign.bytes(), &ours.pin()), Err(ListError::Pin));
    assert_eq!(SignedList::sign(founded(&theirs), &ours), Err(ListError::Signature));
    // Names our CA, signed by theirs.
    let body = postcard::to_allocvec(&founded(&ours)).unwrap();
    let forged = [&[VERSION], theirs.sign(LABEL, &body).as_slice(), &body].concat();
    assert_eq!(SignedList::verify_pinned(&forged, &ours.pin()), Err(ListError::Signature));
}

#[test]
fn newer_replaces_older_and_never_the_reverse() {
    let ca = ca(1);
    let first = SignedList::sign(founded(&ca), &ca).unwrap();
    let second = SignedList::sign(first.with(new(2)).unwrap(), &ca).unwrap();
    let other = SignedList::sign(first.with(new(3)).unwrap(), &ca).unwrap();
    assert_eq!(first.newer(second.bytes()), Ok(Some(second.clone())));
    assert_eq!(second.newer(second.bytes()), Ok(None));
    assert_eq!(second.newer(first.bytes()), Err(ListError::Older { offered: 1, known: 2 }));
    assert_eq!(second.newer(other.bytes()), Err(ListError::Forked(2)));
    let elsewhere = MemberList { grid: GridId::from_bytes([8; 16]), epoch: 9, ..founded(&ca) };
    let elsewhere = SignedList::sign(elsewhere, &ca).unwrap();
    assert_eq!(first.newer(elsewhere.bytes()), Err(ListError::Grid(elsewhere.grid)));
    let mut broken = second.bytes().to_vec();
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(first.newer(&broken), Err(ListError::Signature));
}

#[test]
fn numbers_and_keys_of_the_removed_never_come_back() {
    let ca = ca(1);
    let list = founded(&ca).with(new(2)).unwrap();
    let two = new(2).node();
    assert_eq!(list.with(new(2)), Err(ChangeError::Member(two)));
    let list = list.without(two, Timestamp::from_secs(5)).unwrap();
    assert_eq!(list.epoch, 3);
    assert!(list.member(two).is_none());
    assert_eq!(list.current().count(), 1);
    assert_eq!(list.without(two, Timestamp::from_secs(6)), Err(ChangeError::Unknown(two)));
    assert_eq!(list.with(new(2)), Err(ChangeError::Removed(two)));
    let list = list.with(new(3)).unwrap();
    assert_eq!(list.member(new(3).node()).unwrap().number, 3);
}

#[test]
fn a_member_is_described_anew_under_its_number() {
    let ca = ca(1);
    let list = founded(&ca).with(new(2)).unwrap();
    assert_eq!(list.describing(NewMember { added: Timestamp::from_secs(9), ..new(2) }), Ok(None));
    let next = list.describing(NewMember { has_aes: false, ..new(2) }).unwrap().unwrap();
    let two = new(2).node();
    assert_eq!((next.epoch, next.members.len()), (3, 2));
    assert_eq!(next.member(two), Some(&Member { has_aes: false, ..list.member(two).unwrap().clone() }));
    assert_eq!(list.describing(new(3)), Err(ChangeError::Unknown(new(3).node())));
}

#[test]
fn rows_that_lie_are_refused_even_when_signed() {
    let ca = ca(1);
    let good = founded(&ca);
    let mut stolen = good.clone();
    stolen.members[0].node = new(7).node();
    let mut twice = good.clone();
    twice.members.push(good.members[0].clone());
    let mut zero = good.clone();
    zero.members[0].number = 0;
    let mut long = good.clone();
    long.members[0].name = "n".repeat(64);
    for wrong in [stolen, twice, zero, long] {
        assert!(SignedList::sign(wrong.clone(), &ca).is_err());
        let body = postcard::to_allocvec(&wrong).unwrap();
        let bytes = [&[VERSION], ca.sign(LABEL, &body).as_slice(), &body].concat();
        let refused = SignedList::verify(&bytes, &ca.public_key()).unwrap_err();
        assert!(matches!(refused, ListError::Row(_) | ListError::Content(_)), "{refused}");
    }
    assert!(matches!(good.with(NewMember { public_key: vec![1; 31], ..new(4) }), Err(ChangeError::Row(_))));
}

#[test]
fn other_versions_are_named() {
    let ca = ca(1);
    let mut bytes = SignedList::sign(founded(&ca), &ca).unwrap().bytes().to_vec();
    bytes[0] = 2;
    assert_eq!(SignedList::verify(&bytes, &ca.public_key()), Err(ListError::Version(2)));
    assert!(SignedList::verify(&[], &ca.public_key()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_refused_in_words(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let ca = ca(1);
        prop_assert!(SignedList::verify_pinned(&bytes, &ca.pin()).is_err());
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        prop_assert!(SignedList::verify(&bytes, &ca.public_key()).is_err());
    }

    #[test]
    fn a_flipped_bit_anywhere_is_refused(at: proptest::sample::Index, bit in 0_u8..8) {
        let ca = ca(1);
        let mut bytes = SignedList::sign(founded(&ca), &ca).unwrap().bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(SignedList::verify(&bytes, &ca.public_key()).is_err());
        prop_assert!(SignedList::verify_pinned(&bytes, &ca.pin()).is_err());
    }
}
