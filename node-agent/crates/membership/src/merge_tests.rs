//! Whose word counts for which drive.

use std::sync::Arc;
use std::time::Duration;

use grid_types::{FailureDomain, GridId, Timestamp};

use super::*;
use crate::gossip::{MemberView, NodeState};
use crate::grid_ca::node_id;
use crate::member_list::NewMember;

fn node(key: u8) -> NodeId {
    node_id(&[key; 32])
}

fn list(keys: &[u8], without_aes: u8) -> MemberList {
    let new = |key: u8| NewMember {
        public_key: vec![key; 32],
        name: String::new(),
        addresses: Vec::new(),
        has_aes: key != without_aes,
        has_drives: true,
        added: Timestamp(0),
    };
    let founded = MemberList::found(GridId::from_bytes([1; 16]), [0; 32], new(keys[0])).unwrap();
    keys[1..].iter().fold(founded, |list, key| list.with(new(*key)).unwrap())
}

fn drive(id: u8, key: u8, state: DriveState) -> DriveSnapshot {
    DriveSnapshot {
        id: DriveId::from_bytes([id; 16]),
        node: node(key),
        file_system: FailureDomain("fs".to_owned()),
        state,
        read_score: Score::BEST,
        write_score: Score::BEST,
        total_bytes: 100,
        free_bytes: 50,
    }
}

fn member(key: u8, liveness: Liveness, drives: Vec<DriveSnapshot>) -> (NodeId, MemberView) {
    let state = NodeState { drives, has_aes: true, ..NodeState::new(node(key), Timestamp(0)) };
    (node(key), MemberView { liveness, since: Duration::ZERO, state: Some(Arc::new(state)) })
}

fn view(members: impl IntoIterator<Item = (NodeId, MemberView)>) -> GridView {
    GridView { epoch: 20, members: members.into_iter().collect() }
}

fn own(drives: Vec<DriveSnapshot>) -> GridSnapshot {
    GridSnapshot { epoch: 300, drives, all_have_aes: true }
}

#[test]
fn own_drives_come_from_the_table_and_others_from_gossip() {
    let (list, ours) = (list(&[1, 2], 0), drive(5, 1, DriveState::Active));
    // What this node told others a moment ago is older than what it knows.
    let told = vec![drive(5, 1, DriveState::Failing), drive(6, 1, DriveState::Active)];
    let theirs = vec![
        drive(3, 2, DriveState::Active),
        drive(2, 2, DriveState::Removed),
        drive(4, 9, DriveState::Active),
        drive(5, 2, DriveState::Active),
    ];
    let view = view([member(1, Liveness::Alive, told), member(2, Liveness::Alive, theirs)]);
    let merged = merge(&list, &view, node(1), &own(vec![ours.clone()]));
    assert_eq!(merged.drives, [drive(3, 2, DriveState::Active), ours]);
    assert_eq!(merged.epoch, 322);
    assert!(merged.all_have_aes);
}

#[test]
fn drives_of_suspects_take_no_chunks_and_those_of_the_dead_are_not_read() {
    let list = list(&[1, 2, 3], 0);
    let drives =
        |key: u8| vec![drive(key, key, DriveState::Active), drive(key + 10, key, DriveState::Draining)];
    let view = view([member(2, Liveness::Suspect, drives(2)), member(3, Liveness::Down, drives(3))]);
    let merged = merge(&list, &view, node(1), &own(Vec::new()));
    let seen: Vec<_> = merged.drives.iter().map(|d| (d.state, d.writable(), d.readable())).collect();
    let (suspect, draining) = (DriveState::Suspect, DriveState::Draining);
    assert_eq!(
        seen,
        [(suspect, false, true), (suspect, false, false), (draining, false, true), (draining, false, false)]
    );
}

#[test]
fn who_is_not_in_the_list_has_no_drives() {
    let theirs = || vec![drive(3, 2, DriveState::Active)];
    let gone = list(&[1, 2], 0).without(node(2), Timestamp(1)).unwrap();
    let heard = view([member(2, Liveness::Alive, theirs())]);
    assert!(merge(&gone, &heard, node(1), &own(Vec::new())).drives.is_empty());
    assert!(merge(&list(&[1], 0), &heard, node(1), &own(Vec::new())).drives.is_empty());
    let unheard = merge(&list(&[1, 2], 0), &view([]), node(1), &own(Vec::new()));
    assert!(unheard.drives.is_empty());
}

#[test]
fn a_drive_that_moved_is_with_the_living_node() {
    let list = list(&[1, 2, 3], 0);
    for (two, three) in [(Liveness::Down, Liveness::Alive), (Liveness::Alive, Liveness::Suspect)] {
        let view = view([
            member(2, two, vec![drive(7, 2, DriveState::Active)]),
            member(3, three, vec![drive(7, 3, DriveState::Active)]),
        ]);
        let merged = merge(&list, &view, node(1), &own(Vec::new()));
        assert_eq!(merged.drives.len(), 1);
        assert_eq!(merged.drives[0].node, if two == Liveness::Alive { node(2) } else { node(3) });
        assert!(merged.drives[0].writable());
    }
}

#[test]
fn one_member_without_aes_is_enough() {
    let all = || view([member(2, Liveness::Alive, Vec::new())]);
    assert!(merge(&list(&[1, 2], 0), &all(), node(1), &own(Vec::new())).all_have_aes);
    assert!(!merge(&list(&[1, 2], 2), &all(), node(1), &own(Vec::new())).all_have_aes, "another member");
    assert!(!merge(&list(&[1, 2], 1), &all(), node(1), &own(Vec::new())).all_have_aes, "this node");
    let here = GridSnapshot { all_have_aes: false, ..own(Vec::new()) };
    assert!(!merge(&list(&[1, 2], 0), &all(), node(1), &here).all_have_aes, "switched off here");
    let (id, mut moved) = member(2, Liveness::Alive, Vec::new());
    let state = NodeState { has_aes: false, ..NodeState::new(id, Timestamp(0)) };
    moved.state = Some(Arc::new(state));
    assert!(
        !merge(&list(&[1, 2], 0), &view([(id, moved)]), node(1), &own(Vec::new())).all_have_aes,
        "another board"
    );
    let gone = list(&[1, 2], 2).without(node(2), Timestamp(1)).unwrap();
    assert!(merge(&gone, &all(), node(1), &own(Vec::new())).all_have_aes, "removed members do not count");
}
