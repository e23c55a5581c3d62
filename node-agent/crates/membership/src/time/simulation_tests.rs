//! Grids whose sources come, go and lie, on clocks that drift, over a net that loses messages, with nodes that restart.
//! A seed repeats its run.
//!
//! Lies: an RTC says anything; NTP servers say anything before the floor. Nobody can tell a lie of all servers ahead of it.

use std::sync::Arc;
use std::time::Duration;

use grid_types::{NodeId, Timestamp};
use sys::{Clock, Random, SeededRandom, SimClock, SteeredClock};

use super::config::{CLOCKS_APART_MAX, GRID_TIME_AFTER};
use super::core::{Anchor, Offer, PeerReading, ProvenTime, micros};
use super::source::{Strength, TimeSource};

const SECOND: Duration = Duration::from_secs(1);
const BEGIN: Timestamp = Timestamp::from_secs(1_900_000_000);
/// Between two rounds of questions.
const ROUND: u64 = 5;

struct Node {
    id: NodeId,
    up: bool,
    /// Never steps; runs by `drift` millionths too fast or too slow.
    host: SimClock,
    drift_ppm: i64,
    core: ProvenTime,
    clock: SteeredClock,
    stamp: Timestamp,
    /// On its drives.
    saved: Timestamp,
    /// Difference of its RTC from the true time, in seconds; `None` = no RTC.
    rtc: Option<i64>,
}

struct Simulation {
    random: SeededRandom,
    seconds: u64,
    nodes: Vec<Node>,
    lost_percent: u64,
    /// Nodes that reach NTP, and what it is off, in seconds.
    ntp: Vec<Option<i64>>,
    with_rtc: bool,
}

impl Simulation {
    fn new(seed: u64, count: u8, with_rtc: bool) -> Self {
        let random = SeededRandom::new(seed);
        let nodes = (0..count).map(|key| Node::new(key + 1, &random, with_rtc)).collect();
        Self { random, seconds: 0, nodes, lost_percent: 0, ntp: vec![None; usize::from(count)], with_rtc }
    }

    fn truth(&self) -> Timestamp {
        BEGIN.plus(Duration::from_secs(self.seconds))
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.seconds += 1;
            let truth = self.truth();
            for node in &mut self.nodes {
                let bent = 1_000_000 + node.drift_ppm;
                node.host.advance(Duration::from_micros(u64::try_from(bent).unwrap()));
            }
            let voters: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
            if self.seconds.is_multiple_of(ROUND) {
                self.ask(truth);
            }
            for node in self.nodes.iter_mut().filter(|node| node.up) {
                node.settle(&voters);
                node.check(truth);
            }
        }
    }

    fn ask(&mut self, truth: Timestamp) {
        for at in 0..self.nodes.len() {
            if !self.nodes[at].up {
                continue;
            }
            if let Some(off) = self.ntp[at] {
                self.nodes[at].hear(TimeSource::Ntp, Strength::Reference, moved(truth, off));
            }
            if let Some(off) = self.nodes[at].rtc.filter(|_| self.nodes[at].core.proof().is_none()) {
                self.nodes[at].hear(TimeSource::Rtc, Strength::Rtc, moved(truth, off));
            }
            for other in 0..self.nodes.len() {
                if other != at && self.nodes[other].up && self.random.below(100) >= self.lost_percent {
                    let reading = self.nodes[other].told(self.nodes[at].host.since_boot());
                    let boot = self.nodes[at].host.since_boot();
                    let id = self.nodes[other].id;
                    self.nodes[at].core.peer(id, reading, boot);
                }
            }
        }
    }

    fn restart(&mut self, at: usize) {
        let key = u8::try_from(at + 1).unwrap();
        let (saved, rtc) = (self.nodes[at].saved, self.nodes[at].rtc);
        self.nodes[at] = Node { saved, rtc, ..Node::new(key, &self.random, self.with_rtc) };
        self.nodes[at].begin();
    }

    fn sources(&self) -> Vec<TimeSource> {
        self.nodes.iter().map(|node| node.core.source()).collect()
    }

    fn all(&self, wanted: impl Fn(TimeSource) -> bool) -> bool {
        self.sources().into_iter().all(wanted)
    }
}

fn moved(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp(time.0.saturating_add_signed(seconds * 1_000_000))
}

impl Node {
    fn new(key: u8, random: &SeededRandom, with_rtc: bool) -> Self {
        let id = NodeId::from_bytes([key; 16]);
        // What the host believes is never read.
        let host = SimClock::new(Timestamp(random.below(u64::MAX / 2)));
        host.advance(Duration::from_secs(random.below(1_000)));
        let saved = Timestamp(BEGIN.0 - random.below(400 * 86_400 * 1_000_000));
        let base: Arc<dyn Clock> = Arc::new(host.clone());
        let mut node = Self {
            id,
            up: true,
            drift_ppm: i64::try_from(random.below(400)).unwrap() - 200,
            core: ProvenTime::new(id, Some(saved), host.since_boot()),
            clock: SteeredClock::new(base, saved),
            host,
            stamp: Timestamp(0),
            saved,
            rtc: with_rtc.then(|| match random.below(4) {
                0 => 0,
                1 => 3_600,
                2 => -900_000_000,
                _ => 500_000_000,
            }),
        };
        node.begin();
        node
    }

    fn begin(&mut self) {
        self.core = ProvenTime::new(self.id, Some(self.saved), self.host.since_boot());
        self.clock = SteeredClock::new(Arc::new(self.host.clone()), self.saved);
    }

    fn hear(&mut self, source: TimeSource, strength: Strength, time: Timestamp) {
        let boot = self.host.since_boot();
        let offer =
            Offer { source, strength, hops: 0, anchor: Anchor { boot, time }, uncertainty: SECOND / 50 };
        let before = self.core.floor().at_least(boot);
        let taken = self.core.offer(offer, boot).is_ok();
        assert!(!taken || time >= before, "{source} moved the time of {} below its floor", self.id);
    }

    fn told(&self, boot_of_reader: Duration) -> PeerReading {
        let boot = self.host.since_boot();
        PeerReading {
            anchor: Anchor { boot: boot_of_reader, time: self.core.estimate().at(boot) },
            uncertainty: self.core.uncertainty(boot).unwrap_or_default() + SECOND / 100,
            source: self.core.source(),
            strength: self.core.proof().map(|proof| proof.strength),
            hops: self.core.proof().map_or(0, |proof| proof.hops),
            floor: self.core.floor().at_least(boot),
        }
    }

    fn settle(&mut self, voters: &[NodeId]) {
        let boot = self.host.since_boot();
        self.core.tick(boot, voters);
        let estimate = self.core.estimate();
        self.clock.set(estimate.boot, estimate.time, self.core.source().trust());
        self.saved = self.core.floor().at_least(boot);
    }

    fn check(&mut self, truth: Timestamp) {
        let now = self.clock.now();
        assert!(now >= self.stamp, "stamps of {} went back from {:?} to {now:?}", self.id, self.stamp);
        self.stamp = now;
        let boot = self.host.since_boot();
        let (floor, shown) = (self.core.floor().at_least(boot), self.clock.reading().time);
        assert!(floor <= truth, "the floor {floor:?} of {} is ahead of the true time {truth:?}", self.id);
        assert!(shown >= floor, "{} shows {shown:?}, before its floor {floor:?}", self.id);
        match self.core.proof() {
            Some(proof) if proof.strength == Strength::Reference => {
                let off = Duration::from_micros(shown.0.abs_diff(truth.0));
                let sure = self.core.uncertainty(boot).unwrap() + CLOCKS_APART_MAX;
                assert!(off <= sure, "{} is {off:?} off by {:?}", self.id, proof.source);
            }
            // As far as members drift apart while they wait.
            None => assert!(shown.0 <= truth.0 + 1_000_000, "{} shows {shown:?} without a proof", self.id),
            Some(_) => {}
        }
    }
}

#[test]
fn a_majority_without_a_proof_gets_grid_time_and_one_proof_ends_it_for_all() {
    for seed in 0..30 {
        let count = 3 + u8::try_from(seed % 3).unwrap();
        let mut grid = Simulation::new(seed, count, false);
        grid.lost_percent = seed % 20;
        grid.run(GRID_TIME_AFTER.as_secs() - 2 * ROUND);
        assert!(grid.all(|source| source == TimeSource::Unproven), "seed {seed}: {:?}", grid.sources());
        grid.run(60);
        assert!(grid.all(|source| source == TimeSource::Grid), "seed {seed}: {:?}", grid.sources());
        let shown = || grid.nodes.iter().map(|node| node.clock.reading().time);
        let spread = shown().max().unwrap().since(shown().min().unwrap());
        assert!(spread < CLOCKS_APART_MAX, "seed {seed}: members are {spread:?} apart");
        // One that restarts takes it over, and does not wait again.
        grid.restart(1);
        grid.run(4 * ROUND);
        assert!(grid.all(|source| source == TimeSource::Grid), "seed {seed}: {:?}", grid.sources());
        grid.ntp[0] = Some(0);
        grid.run(8 * ROUND);
        assert!(
            grid.all(|source| source.trust() == sys::TimeTrust::Proven),
            "seed {seed}: {:?}",
            grid.sources()
        );
    }
}

#[test]
fn a_minority_never_has_grid_time() {
    for seed in 0..10 {
        let mut grid = Simulation::new(seed, 5, false);
        for at in 2..5 {
            grid.nodes[at].up = false;
        }
        grid.run(3 * GRID_TIME_AFTER.as_secs());
        let up = grid.nodes.iter().filter(|node| node.up);
        assert!(up.into_iter().all(|node| node.core.source() == TimeSource::Unproven), "seed {seed}");
    }
}

#[test]
fn whatever_lies_comes_and_goes_stamps_and_floors_hold() {
    let mut proven = 0;
    for seed in 0..40 {
        let mut grid = Simulation::new(seed, 4, true);
        for _ in 0..40 {
            grid.lost_percent = grid.random.below(60);
            let at = usize::try_from(grid.random.below(4)).unwrap();
            match grid.random.below(6) {
                0 => grid.ntp[at] = Some(0),
                1 => grid.ntp[at] = None,
                2 => grid.ntp[at] = Some(-i64::try_from(grid.random.below(40_000_000)).unwrap() - 40_000_000),
                3 => grid.restart(at),
                4 => grid.nodes[at].up = false,
                _ => grid.nodes.iter_mut().for_each(|node| node.up = true),
            }
            let span = 20 + grid.random.below(400);
            grid.run(span);
            proven += usize::from(grid.all(|source| source.trust() == sys::TimeTrust::Proven));
        }
        // In the end one true server is enough, whatever happened before.
        grid.nodes.iter_mut().for_each(|node| node.up = true);
        (grid.ntp, grid.lost_percent) = (vec![Some(0), None, None, None], 10);
        grid.run(20 * ROUND);
        assert!(
            grid.all(|source| source.trust() == sys::TimeTrust::Proven),
            "seed {seed}: {:?}",
            grid.sources()
        );
        let truth = grid.truth();
        for node in &grid.nodes {
            let off = node.clock.reading().time.0.abs_diff(truth.0);
            assert!(off < 2 * micros(CLOCKS_APART_MAX), "seed {seed}: {} is {off} µs off", node.id);
        }
    }
    assert!(proven > 100, "the lies won: only {proven} rounds ended with all proven");
}
