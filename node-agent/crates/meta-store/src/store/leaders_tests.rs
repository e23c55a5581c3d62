//! Seeded grids whose nodes decide by themselves on what they saw a moment ago.

use std::collections::BTreeSet;

use grid_types::NodeId;
use sys::{Random, SeededRandom};

use super::*;

const SEEDS: u64 = 60;
const SETTLE: Duration = Duration::from_secs(10);

struct Grid {
    random: SeededRandom,
    now: u64,
    members: Vec<MetaMember>,
    deciders: BTreeMap<VoterNumber, Leaders>,
    shards: Vec<Led>,
    /// What was true a second ago, as the nodes see it.
    seen: Vec<Led>,
    moves: u64,
    /// Of ten take-overs so many fail.
    failing: u64,
}

impl Grid {
    /// All nodes vote on all shards, and the first leads them.
    fn new(seed: u64, nodes: u64, shards: u64, failing: u64) -> Self {
        let members: Vec<MetaMember> = (1..=nodes)
            .map(|number| {
                MetaMember::healthy(number, NodeId::from_bytes([u8::try_from(number).unwrap(); 16]))
            })
            .collect();
        let voters: BTreeSet<VoterNumber> = (1..=nodes).collect();
        let shards: Vec<Led> = (0..=shards)
            .map(|shard| Led { shard: ShardId(shard), leader: 1, voters: voters.clone() })
            .collect();
        Self {
            random: SeededRandom::new(seed),
            now: 1_000,
            deciders: (1..=nodes).map(|number| (number, Leaders::new(number, SETTLE))).collect(),
            members,
            seen: shards.clone(),
            shards,
            moves: 0,
            failing,
        }
    }

    fn second(&mut self) {
        let (now, seen) = (Duration::from_secs(self.now), self.shards.clone());
        let mut moves = Vec::new();
        for member in self.members.iter().filter(|member| member.alive) {
            let decider = self.deciders.get_mut(&member.number).unwrap();
            let shards = &self.shards;
            let leads =
                |one: Move| shards.iter().any(|led| led.shard == one.shard && led.leader == member.number);
            let alive = |one: Move| self.members.iter().any(|other| other.number == one.to && other.alive);
            if let Some(one) = decider.next(now, &self.members, &self.seen, |one| leads(one) && alive(one)) {
                moves.push((member.number, one));
            }
        }
        for (from, one) in moves {
            if self.random.below(10) < self.failing {
                self.deciders.get_mut(&from).unwrap().not_taken(now, one.shard);
                continue;
            }
            self.shards.iter_mut().find(|led| led.shard == one.shard).unwrap().leader = one.to;
            self.moves += 1;
        }
        self.seen = seen;
        self.now += 1;
    }

    fn seconds(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| self.second());
    }

    /// Nobody looks for so long that all may rise to what they are worth.
    fn calm_down(&mut self) {
        self.now += CALM.as_secs();
    }

    /// A follower takes over what the dead one led.
    fn die(&mut self, number: VoterNumber) {
        self.member(number).alive = false;
        let living: Vec<VoterNumber> =
            self.members.iter().filter(|member| member.alive).map(|member| member.number).collect();
        for led in self.shards.iter_mut().filter(|led| led.leader == number) {
            led.leader = living[usize::try_from(self.random.below(living.len() as u64)).unwrap()];
        }
    }

    fn member(&mut self, number: VoterNumber) -> &mut MetaMember {
        self.members.iter_mut().find(|member| member.number == number).unwrap()
    }

    fn any(&self) -> VoterNumber {
        1 + self.random.below(self.members.len() as u64)
    }

    fn root(&self) -> VoterNumber {
        self.shards[0].leader
    }

    fn leads(&self, number: VoterNumber) -> usize {
        self.shards[1..].iter().filter(|led| led.leader == number).count()
    }

    /// Least and most that one of the living leads.
    fn spread(&self) -> (usize, usize) {
        let counts =
            self.members.iter().filter(|member| member.alive).map(|member| self.leads(member.number));
        let counts: Vec<usize> = counts.collect();
        (counts.iter().copied().min().unwrap(), counts.iter().copied().max().unwrap())
    }
}

#[test]
fn leaders_are_even_after_any_history_and_then_nothing_moves() {
    for seed in 0..SEEDS {
        let draw = SeededRandom::new(seed + 7);
        let (nodes, shards) = (2 + draw.below(6), 1 + draw.below(24));
        let mut grid = Grid::new(seed, nodes, shards, draw.below(4));
        for _ in 0..4 {
            let number = grid.any();
            match draw.below(3) {
                0 if grid.members.iter().filter(|member| member.alive).count() > 1 => grid.die(number),
                1 => grid.member(number).alive = true,
                _ => grid.member(number).score = Score::new(u8::try_from(draw.below(101)).unwrap()),
            }
            grid.seconds(draw.below(60));
        }
        for number in 1..=nodes {
            (grid.member(number).alive, grid.member(number).score) = (true, Score::BEST);
        }
        grid.failing = 0;
        grid.calm_down();
        grid.seconds(250);
        let (least, most) = grid.spread();
        assert!(most - least <= 1, "seed {seed}: {least} to {most} of {shards} on {nodes} nodes");
        let moves = grid.moves;
        grid.seconds(20);
        assert_eq!(grid.moves, moves, "seed {seed}: it is even and something moves");
    }
}

#[test]
fn a_new_spread_takes_no_more_moves_than_it_must() {
    for seed in 0..SEEDS / 2 {
        let (nodes, shards) = (3 + seed % 3, 1 + seed % 30);
        let mut grid = Grid::new(seed, nodes, shards, 0);
        grid.seconds(100);
        let kept = shards.div_ceil(nodes);
        assert!(grid.moves <= shards - kept + 1, "seed {seed}: {} moves", grid.moves);
        assert_eq!(grid.root(), 1, "the root shard stays where it is");
    }
}

#[test]
fn a_wobbling_score_moves_little() {
    for seed in 0..SEEDS / 2 {
        let (nodes, shards) = (3, 12);
        let mut grid = Grid::new(seed, nodes, shards, 0);
        grid.seconds(60);
        let moves = grid.moves;
        let wobbling = grid.any();
        // Around every bound, and over all of them.
        let (low, high) = if seed % 2 == 0 { (65, 75) } else { (10, 100) };
        for _ in 0..200 {
            let score = low + grid.random.below(high - low + 1);
            grid.member(wobbling).score = Score::new(u8::try_from(score).unwrap());
            grid.seconds(1);
        }
        // Once away from it, at most.
        assert!(grid.moves - moves <= 8, "seed {seed}: {} moves", grid.moves - moves);
    }
}

#[test]
fn a_node_that_should_lead_nothing_leads_nothing_and_a_slower_one_less() {
    let mut grid = Grid::new(1, 3, 9, 0);
    grid.seconds(60);
    assert_eq!(grid.spread(), (3, 3));
    grid.member(1).score = Score::LOCKED;
    grid.seconds(60);
    assert_eq!((grid.leads(1), grid.leads(2) + grid.leads(3)), (0, 9));
    assert_ne!(grid.root(), 1, "not the root shard either");

    grid.member(1).score = Score::BEST;
    grid.member(2).score = Score::new(50);
    grid.calm_down();
    grid.seconds(60);
    assert_eq!((grid.leads(2), grid.spread()), (2, (2, 4)), "by what each is worth");
    // If none should, the shards stay where they are.
    (1..=3).for_each(|number| grid.member(number).score = Score::LOCKED);
    let moves = grid.moves;
    grid.seconds(100);
    assert_eq!(grid.moves, moves);
}

#[test]
fn who_should_move_first_and_does_not_holds_nobody_up_for_long() {
    let mut grid = Grid::new(1, 4, 9, 0);
    // The first leads most; the second has some.
    grid.shards.iter_mut().skip(7).for_each(|led| led.leader = 2);
    let mut second = Leaders::new(2, SETTLE);
    let mut moved = None;
    for now in 0..200 {
        let chosen = second.next(Duration::from_secs(now), &grid.members, &grid.shards, |_| true);
        moved = moved.or(chosen.map(|_| now));
    }
    let at = moved.expect("it goes on");
    assert!((STALL.as_secs()..=STALL.as_secs() + 2 * SETTLE.as_secs()).contains(&at), "after {at} s");
}
