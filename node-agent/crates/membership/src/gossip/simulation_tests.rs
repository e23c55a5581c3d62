//! Grids on a simulated clock and a lossy net: deaths are found in time, the living stay alive, bytes stay within bounds.
//!
//! A seed repeats its run. The net delays, loses and reorders packets; it never changes them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use grid_types::{GridId, NodeId, Timestamp};
use sys::{Random, SeededRandom};

use super::config::GossipConfig;
use super::core::{Command, Core};
use super::view::{Liveness, NodeState};
use super::wire::{self, StateVersion};
use crate::member_list::{Member, MemberList};

const DETECT: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Packet { from: usize, to: usize, bytes: Vec<u8> },
    Pulled { from: usize, to: usize },
    Tick(usize),
}

struct Node {
    core: Core,
    alive: bool,
    ticks_at: Duration,
}

struct Simulation {
    now: Duration,
    nodes: Vec<Node>,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    count: u64,
    random: Arc<SeededRandom>,
    lost_per_mille: u64,
    /// Both directions between these and the others are cut.
    isolated: BTreeSet<usize>,
    sent_bytes: u64,
    pulls: u64,
    /// Nodes that somebody held for down while they lived.
    false_deaths: u64,
}

fn id(at: usize) -> NodeId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(at as u64 + 1).to_be_bytes());
    NodeId::from_bytes(bytes)
}

fn list(nodes: usize, removed: &[usize]) -> MemberList {
    let member = |at: usize| Member {
        node: id(at),
        number: at as u64 + 1,
        public_key: Vec::new(),
        name: String::new(),
        addresses: Vec::new(),
        has_aes: true,
        has_drives: true,
        added: Timestamp(0),
        removed: removed.contains(&at).then_some(Timestamp(1)),
    };
    MemberList {
        grid: GridId::from_bytes([1; 16]),
        epoch: 1,
        ca_public_key: [0; 32],
        members: (0..nodes).map(member).collect(),
    }
}

impl Simulation {
    fn new(nodes: usize, seed: u64, lost_per_mille: u64) -> Self {
        let mut simulation = Self {
            now: Duration::from_secs(1_000),
            nodes: Vec::new(),
            events: BinaryHeap::new(),
            count: 0,
            random: Arc::new(SeededRandom::new(seed)),
            lost_per_mille,
            isolated: BTreeSet::new(),
            sent_bytes: 0,
            pulls: 0,
            false_deaths: 0,
        };
        let members = list(nodes, &[]);
        for at in 0..nodes {
            let node = simulation.node(at, 1);
            simulation.nodes.push(node);
        }
        for at in 0..nodes {
            let now = simulation.now;
            simulation.nodes[at].core.set_members(&members, now);
            simulation.after(at);
        }
        simulation
    }

    fn node(&self, at: usize, incarnation: u64) -> Node {
        let core = Core::new(
            id(at),
            incarnation,
            NodeState::new(id(at), Timestamp(0)),
            GossipConfig::default(),
            Arc::new(SeededRandom::new(self.random.below(u64::MAX))),
            self.now,
        );
        Node { core, alive: true, ticks_at: Duration::MAX }
    }

    fn put(&mut self, at: Duration, event: Event) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    fn lost(&self, from: usize, to: usize) -> bool {
        self.random.below(1_000) < self.lost_per_mille
            || self.isolated.contains(&from) != self.isolated.contains(&to)
    }

    fn delay(&self) -> Duration {
        Duration::from_micros(500 + self.random.below(20_000))
    }

    /// Carries out what a node wants after it was called.
    fn after(&mut self, at: usize) {
        for command in self.nodes[at].core.commands() {
            match command {
                Command::Send(to, bytes) => {
                    self.sent_bytes += bytes.len() as u64;
                    let to = index(to);
                    if !self.lost(at, to) {
                        let when = self.now + self.delay();
                        self.put(when, Event::Packet { from: at, to, bytes });
                    }
                }
                Command::Pull(from) => {
                    self.pulls += 1;
                    let when = self.now + self.delay() + self.delay();
                    self.put(when, Event::Pulled { from: index(from), to: at });
                }
            }
        }
        let next = self.nodes[at].core.next_tick(self.now).max(self.now + Duration::from_micros(1));
        if next != self.nodes[at].ticks_at {
            self.nodes[at].ticks_at = next;
            self.put(next, Event::Tick(at));
        }
    }

    fn step(&mut self, event: Event) {
        let now = self.now;
        let at = match event {
            Event::Packet { from, to, bytes } => {
                if self.nodes[to].alive {
                    self.nodes[to].core.packet(id(from), &bytes, now).unwrap();
                }
                to
            }
            Event::Pulled { from, to } => {
                let state = (self.nodes[from].alive && !self.lost(from, to)).then(|| {
                    let bytes = wire::encode_state(self.nodes[from].core.own()).unwrap();
                    wire::decode_state(id(from), &bytes).unwrap()
                });
                if self.nodes[to].alive {
                    self.nodes[to].core.pulled(id(from), state, now);
                }
                to
            }
            Event::Tick(at) => {
                if self.nodes[at].ticks_at != now {
                    return;
                }
                if self.nodes[at].alive {
                    self.nodes[at].core.tick(now);
                }
                at
            }
        };
        if self.nodes[at].alive {
            self.after(at);
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(Reverse((at, _, _))) = self.events.peek() {
            if *at > until {
                break;
            }
            let Some(Reverse((at, _, event))) = self.events.pop() else { break };
            self.now = at;
            self.step(event);
        }
        self.now = until;
    }

    /// Runs second by second and counts who is wrongly held for down.
    fn watch(&mut self, time: Duration) {
        for _ in 0..time.as_secs() {
            self.run(SECOND);
            let living = self.living();
            for at in &living {
                let view = self.nodes[*at].core.view();
                let wrong = living.iter().filter(|other| view.liveness(id(**other)) == Liveness::Down);
                self.false_deaths += wrong.count() as u64;
            }
        }
    }

    fn living(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].alive).collect()
    }

    fn kill(&mut self, at: usize) {
        self.nodes[at].alive = false;
    }

    fn start(&mut self, at: usize, incarnation: u64) {
        self.nodes[at] = self.node(at, incarnation);
        let (members, now) = (list(self.nodes.len(), &[]), self.now);
        self.nodes[at].core.set_members(&members, now);
        self.after(at);
    }

    /// Of the living, by what they think of node `of`.
    fn opinions(&self, of: usize) -> BTreeMap<Liveness, usize> {
        let mut opinions = BTreeMap::new();
        for at in self.living().into_iter().filter(|at| *at != of) {
            *opinions.entry(self.nodes[at].core.view().liveness(id(of))).or_default() += 1;
        }
        opinions
    }

    fn all_alive(&self) -> bool {
        let living = self.living();
        living.iter().all(|at| {
            living.iter().all(|other| self.nodes[*at].core.view().liveness(id(*other)) == Liveness::Alive)
        })
    }
}

fn index(node: NodeId) -> usize {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&node.as_bytes()[..8]);
    usize::try_from(u64::from_be_bytes(bytes)).unwrap() - 1
}

/// What a quiet grid may send, per node and second, without what carries the packets: a probe, its answer, and what others
/// ask of this node come to some 150 bytes; at 5 % loss suspicions and objections come to it.
const QUIET_BYTES_MAX: u64 = 1_000;

/// One death at 5 % loss: everybody knows in 10 s, nobody else is held for dead; then the dead one comes back.
fn death_and_return(nodes: usize, seed: u64) {
    let mut simulation = Simulation::new(nodes, seed, 50);
    simulation.watch(10 * SECOND);
    assert_eq!(simulation.false_deaths, 0, "{nodes} nodes, seed {seed}: a cold start");
    // The larger the grid, the longer it talks about its beginning.
    simulation.watch(if nodes < 100 { SECOND } else { 10 * SECOND });
    (simulation.sent_bytes, simulation.pulls) = (0, 0);
    simulation.watch(5 * SECOND);
    let bytes = simulation.sent_bytes / 5 / nodes as u64;
    println!("{nodes} nodes, seed {seed}: {bytes} bytes a node and second");
    assert!((1..=QUIET_BYTES_MAX).contains(&bytes), "{nodes} nodes, seed {seed}: {bytes} bytes");
    assert_eq!(simulation.pulls, 0, "{nodes} nodes, seed {seed}: nobody has news");
    let victim = nodes / 2;
    simulation.kill(victim);
    simulation.watch(DETECT);
    let all_down = BTreeMap::from([(Liveness::Down, nodes - 1)]);
    assert_eq!(simulation.opinions(victim), all_down, "{nodes} nodes, seed {seed}");
    simulation.start(victim, 2);
    simulation.run(5 * SECOND);
    assert!(!simulation.opinions(victim).contains_key(&Liveness::Down), "{nodes} nodes, seed {seed}");
    simulation.watch(if nodes < 100 { 10 * SECOND } else { SECOND });
    assert_eq!(simulation.false_deaths, 0, "{nodes} nodes, seed {seed}");
}

#[test]
fn three_nodes_find_a_death_and_a_return() {
    (0..60).chain([139]).for_each(|seed| death_and_return(3, seed));
}

#[test]
fn ten_nodes_find_a_death_and_a_return() {
    (0..10).for_each(|seed| death_and_return(10, seed));
}

#[test]
fn a_hundred_nodes_find_a_death_and_a_return() {
    death_and_return(100, 1);
}

#[test]
fn news_reach_everybody_and_are_pulled_once() {
    let mut simulation = Simulation::new(30, 3, 0);
    simulation.run(10 * SECOND);
    simulation.pulls = 0;
    let now = simulation.now;
    let news = NodeState { load_percent: 77, ..NodeState::new(id(4), Timestamp(0)) };
    simulation.nodes[4].core.publish(news, now);
    simulation.after(4);
    simulation.run(5 * SECOND);
    for node in &simulation.nodes {
        let state = node.core.view().members[&id(4)].state.clone().unwrap();
        assert_eq!((state.load_percent, state.version, state.incarnation), (77, 1, 1));
    }
    assert_eq!(simulation.pulls, 29);
}

#[test]
fn a_made_up_version_is_pulled_once_and_forgotten() {
    let mut simulation = Simulation::new(3, 3, 0);
    simulation.run(5 * SECOND);
    simulation.pulls = 0;
    let (version, now) = (StateVersion { incarnation: 1, version: 999 }, simulation.now);
    simulation.nodes[0].core.rumour(id(1), version, now);
    simulation.after(0);
    simulation.run(10 * SECOND);
    assert_eq!(simulation.pulls, 1);
    assert!(simulation.all_alive());
}

#[test]
fn publications_in_a_hurry_are_joined() {
    let mut simulation = Simulation::new(3, 3, 0);
    simulation.run(5 * SECOND);
    for load in 1..=50 {
        let now = simulation.now;
        let state = NodeState { load_percent: load, ..NodeState::new(id(0), Timestamp(0)) };
        simulation.nodes[0].core.publish(state, now);
        simulation.after(0);
        simulation.run(Duration::from_millis(10));
    }
    simulation.run(3 * SECOND);
    let state = simulation.nodes[2].core.view().members[&id(0)].state.clone().unwrap();
    assert_eq!((state.load_percent, state.version), (50, 2));
}

#[test]
fn two_halves_find_each_other_again() {
    let mut simulation = Simulation::new(6, 11, 0);
    simulation.run(10 * SECOND);
    simulation.isolated = BTreeSet::from([0, 1, 2]);
    simulation.run(15 * SECOND);
    assert_eq!(simulation.opinions(0)[&Liveness::Down], 3);
    assert_eq!(simulation.opinions(0)[&Liveness::Alive], 2);
    simulation.isolated.clear();
    simulation.run(10 * SECOND);
    assert!(simulation.all_alive());
}

#[test]
fn a_node_alone_holds_the_others_for_down_and_finds_them_again() {
    let mut simulation = Simulation::new(3, 5, 0);
    simulation.run(10 * SECOND);
    simulation.isolated = BTreeSet::from([0]);
    simulation.run(15 * SECOND);
    let view = simulation.nodes[0].core.view();
    assert!([1, 2].iter().all(|other| view.liveness(id(*other)) == Liveness::Down));
    assert_eq!(view.liveness(id(0)), Liveness::Alive);
    simulation.isolated.clear();
    simulation.run(10 * SECOND);
    assert!(simulation.all_alive());
}

/// A node that was cut off just so long that the others gave it up, and it not yet the last of them: it takes a new name while
/// it suspects somebody.
#[test]
fn after_a_cut_of_any_length_all_find_each_other_again() {
    for seed in 0..200 {
        for nodes in [3, 5] {
            let mut simulation = Simulation::new(nodes, seed, 0);
            simulation.run(10 * SECOND);
            simulation.isolated = BTreeSet::from([0]);
            simulation.run(Duration::from_millis(2_000 + 40 * seed));
            simulation.isolated.clear();
            simulation.run(20 * SECOND);
            assert!(simulation.all_alive(), "{nodes} nodes, seed {seed}");
        }
    }
}

#[test]
fn members_that_were_never_heard_are_suspect_then_down() {
    let mut simulation = Simulation::new(3, 5, 0);
    simulation.events.retain(|Reverse((_, _, event))| !matches!(event, Event::Packet { from: 2, .. }));
    simulation.kill(2);
    simulation.run(SECOND);
    assert_eq!(simulation.opinions(2), BTreeMap::from([(Liveness::Suspect, 2)]));
    simulation.run(9 * SECOND);
    assert_eq!(simulation.opinions(2), BTreeMap::from([(Liveness::Down, 2)]));
}

#[test]
fn who_says_goodbye_is_down_at_once() {
    let mut simulation = Simulation::new(5, 5, 0);
    simulation.run(10 * SECOND);
    let now = simulation.now;
    simulation.nodes[1].core.leave(now);
    simulation.after(1);
    simulation.kill(1);
    simulation.run(SECOND);
    assert_eq!(simulation.opinions(1), BTreeMap::from([(Liveness::Down, 4)]));
}

#[test]
fn removed_nodes_are_not_heard() {
    let mut simulation = Simulation::new(4, 5, 0);
    simulation.run(10 * SECOND);
    let (members, now) = (list(4, &[3]), simulation.now);
    // Node 2 has the old list and still talks to node 3.
    for at in [0, 1] {
        simulation.nodes[at].core.set_members(&members, now);
        simulation.after(at);
    }
    simulation.run(10 * SECOND);
    for at in [0, 1] {
        let view = simulation.nodes[at].core.view();
        assert!(!view.members.contains_key(&id(3)));
        assert_eq!(view.liveness(id(2)), Liveness::Alive);
    }
}
