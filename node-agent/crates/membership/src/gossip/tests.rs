//! The task around the core, and bytes that are not believed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grid_types::{
    DriveId, DriveSnapshot, DriveState, ErrorCode, FailureDomain, GridId, NodeId, Score, Timestamp,
};
use proptest::prelude::*;
use rpc::memory::MemoryNet;
use rpc::{Network, NetworkExt, Services};
use sys::{RealClock, SeededRandom};

use super::core::Core;
use super::wire::{self, StateVersion};
use super::*;
use crate::grid_ca::node_id;
use crate::member_list::{MemberList, NewMember};

const PATIENCE: Duration = Duration::from_secs(20);

fn quick() -> GossipConfig {
    GossipConfig {
        probe_period: Duration::from_millis(60),
        probe_rtt: Duration::from_millis(30),
        suspect_for: Duration::from_millis(150),
        gossip_period: Duration::from_millis(20),
        call_period: Duration::from_millis(50),
        unheard_for: Duration::from_millis(400),
        publish_period: Duration::from_millis(10),
    }
}

fn new(key: u8) -> NewMember {
    NewMember {
        public_key: vec![key; 32],
        name: String::new(),
        addresses: Vec::new(),
        has_aes: true,
        has_drives: true,
        added: Timestamp(0),
    }
}

fn node(key: u8) -> NodeId {
    node_id(&[key; 32])
}

fn list(keys: &[u8]) -> MemberList {
    let founded = MemberList::found(GridId::from_bytes([1; 16]), [0; 32], new(keys[0])).unwrap();
    keys[1..].iter().fold(founded, |list, key| list.with(new(*key)).unwrap())
}

fn state(key: u8, incarnation: u64) -> NodeState {
    NodeState { incarnation, ..NodeState::new(node(key), Timestamp::from_secs(u64::from(key))) }
}

fn drive(key: u8) -> DriveSnapshot {
    DriveSnapshot {
        id: DriveId::from_bytes([key; 16]),
        node: node(key),
        file_system: FailureDomain("fs".to_owned()),
        state: DriveState::Active,
        read_score: Score::BEST,
        write_score: Score::BEST,
        total_bytes: 100,
        free_bytes: 50,
    }
}

async fn start(net: &MemoryNet, key: u8, incarnation: u64) -> (Gossip, Arc<dyn Network>) {
    let services = Services::default();
    let network = net.join(node(key), services.clone());
    let random = Arc::new(SeededRandom::new(u64::from(key)));
    let me = state(key, incarnation);
    let gossip = Gossip::start(me, network.clone(), &services, Arc::new(RealClock), random, quick());
    gossip.set_members(&list(&[1, 2, 3])).await;
    (gossip, network)
}

/// Waits until the view is as wanted.
async fn until(gossip: &Gossip, what: &str, wanted: impl Fn(&GridView) -> bool) {
    let mut changed = gossip.changed();
    let seen = changed.wait_for(|view| wanted(view));
    tokio::time::timeout(PATIENCE, seen)
        .await
        .unwrap_or_else(|_| panic!("{what}: {:#?}", gossip.view()))
        .unwrap();
}

fn all_alive(view: &GridView) -> bool {
    view.members.len() == 3 && view.members.values().all(|member| member.liveness == Liveness::Alive)
}

#[tokio::test]
async fn nodes_find_each_other_and_learn_of_news_deaths_and_returns() {
    let net = MemoryNet::default();
    let mut all = Vec::new();
    for key in 1..=3 {
        all.push(start(&net, key, 1).await.0);
    }
    for gossip in &all {
        until(gossip, "all find all", all_alive).await;
    }
    all[2].publish(NodeState { drives: vec![drive(3)], load_percent: 40, ..state(3, 1) }).await;
    for gossip in &all {
        until(gossip, "all hear of the drive", |view| {
            let state = view.members[&node(3)].state.as_ref();
            state.is_some_and(|state| {
                state.drives.len() == 1 && state.version == 1 && state.load_percent == 40
            })
        })
        .await;
    }
    // Killed, without a goodbye.
    net.leave(node(3));
    drop(all.pop());
    for gossip in &all {
        until(gossip, "the death", |view| view.liveness(node(3)) == Liveness::Down).await;
    }
    all.push(start(&net, 3, 2).await.0);
    for gossip in &all {
        until(gossip, "the return", |view| {
            let state = view.members[&node(3)].state.as_ref();
            all_alive(view) && state.is_some_and(|state| state.incarnation == 2)
        })
        .await;
    }
    all[2].shutdown().await;
    until(&all[0], "the goodbye", |view| view.liveness(node(3)) == Liveness::Down).await;
    let view = all[0].view();
    assert_eq!(view.liveness(node(2)), Liveness::Alive);
    assert_eq!(view.liveness(node(9)), Liveness::Down, "no member");
}

#[tokio::test]
async fn strangers_packets_change_nothing_and_large_ones_are_refused() {
    let net = MemoryNet::default();
    let (gossip, _) = start(&net, 1, 1).await;
    let stranger = net.join(node(9), Services::default());
    let packet = Bytes::from_static(b"\x01\x00\x00anything");
    stranger.call(node(1), wire::PACKET, packet, PATIENCE).await.unwrap();
    let large = Bytes::from(vec![1; 5_000]);
    let refused = stranger.call(node(1), wire::PACKET, large, PATIENCE).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TooLarge);
    let other = rpc::Method::control("/gossip/other");
    assert!(stranger.call(node(1), other, Bytes::new(), PATIENCE).await.is_err());
    let own = stranger.call(node(1), wire::STATE, Bytes::new(), PATIENCE).await.unwrap();
    assert_eq!(wire::decode_state(node(1), &own).unwrap().started, Timestamp::from_secs(1));
    assert!(!gossip.view().members.contains_key(&node(9)));
    gossip.shutdown().await;
    assert!(stranger.call(node(1), wire::STATE, Bytes::new(), PATIENCE).await.is_err());
    gossip.publish(state(1, 1)).await;
}

#[test]
fn states_are_believed_from_their_node_alone() {
    let own = NodeState { drives: vec![drive(1)], temperature: Some(-3), ..state(1, 4) };
    let bytes = wire::encode_state(&own).unwrap();
    assert_eq!(wire::decode_state(node(1), &bytes), Ok(own.clone()));
    assert_eq!(wire::decode_state(node(2), &bytes), Err(StateError::Other(node(2), node(1))));
    let stolen = NodeState { drives: vec![drive(2)], ..own.clone() };
    assert_eq!(wire::encode_state(&stolen), Err(StateError::Other(node(1), node(2))));
    let many = NodeState { drives: vec![drive(1); NODE_STATE_DRIVES_MAX + 1], ..own };
    assert_eq!(wire::encode_state(&many), Err(StateError::TooLarge));
    let mut newer = bytes.clone();
    newer[0] = 2;
    assert_eq!(wire::decode_state(node(1), &newer), Err(StateError::Version(2)));
    assert_eq!(wire::decode_state(node(1), &bytes[..bytes.len() - 1]), Err(StateError::Content));
    assert_eq!(wire::decode_state(node(1), &[bytes, vec![0]].concat()), Err(StateError::Content));
}

fn core() -> Core {
    let now = Duration::from_secs(1);
    let mut core =
        Core::new(node(1), 1, state(1, 1), GossipConfig::default(), Arc::new(SeededRandom::new(1)), now);
    core.set_members(&list(&[1, 2, 3]), now);
    core
}

#[test]
fn a_packet_in_another_members_name_is_refused() {
    let now = Duration::from_secs(1);
    let mut two =
        Core::new(node(2), 1, state(2, 1), GossipConfig::default(), Arc::new(SeededRandom::new(1)), now);
    two.set_members(&list(&[1, 2, 3]), now);
    let packets: Vec<_> = two
        .commands()
        .into_iter()
        .filter_map(|command| match command {
            super::core::Command::Send(to, bytes) if to == node(1) => Some(bytes),
            _ => None,
        })
        .collect();
    assert!(!packets.is_empty());
    let mut core = core();
    let forged = core.packet(node(3), &packets[0], now);
    assert_eq!(forged, Err(StateError::Other(node(3), node(2))));
    assert_eq!(core.view().liveness(node(2)), Liveness::Suspect);
    core.packet(node(2), &packets[0], now).unwrap();
    core.tick(now + Duration::from_secs(1));
    assert_eq!(core.view().liveness(node(2)), Liveness::Alive);
}

#[test]
fn states_of_others_are_not_taken() {
    let mut core = core();
    let now = Duration::from_secs(1);
    core.pulled(node(2), Some(state(2, 1)), now);
    assert_eq!(core.view().members[&node(2)].state.as_ref().unwrap().incarnation, 1);
    core.pulled(node(9), Some(state(9, 1)), now);
    core.pulled(node(3), Some(state(2, 7)), now);
    assert!(core.view().members[&node(3)].state.is_none(), "a state of another node");
    assert!(!core.view().members.contains_key(&node(9)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_bytes_are_a_packet_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200), framed: bool) {
        let mut core = core();
        let now = Duration::from_secs(2);
        let bytes = if framed {
            wire::encode_packet(StateVersion { incarnation: 1, version: 1 }, &bytes)
        } else {
            bytes
        };
        let _ = core.packet(node(2), &bytes, now);
        core.tick(now + Duration::from_secs(10));
        prop_assert_eq!(core.view().liveness(node(1)), Liveness::Alive);
        prop_assert_eq!(core.view().members.len(), 3);
        let _ = wire::decode_state(node(2), &bytes);
    }
}
