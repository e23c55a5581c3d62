//! A seeded grid whose members join, die, return and are removed, with a model of what Raft lets a group do.
//!
//! The model: a group can do something while a majority of its voters answers. A change of voters is joint: once begun,
//! it ends when a majority of the old ones *and* one of the new ones answers, and meanwhile nothing happens without both.
//! Members join and leave by an entry of the root shard, so they need the group, too. A dead member is known to be dead
//! after a while, a newcomer or returned one has caught up after a while.
//!
//! Property: where a majority of the members is always alive and deaths are far enough apart, the group never stops, has
//! no more than five voters, and none that was removed.

use std::collections::{BTreeMap, BTreeSet};

use grid_types::NodeId;
use sys::{Random, SeededRandom};

use super::members::{choose_voters, voters_wanted};
use super::types::Voter;
use crate::peers::MetaMember;

const SEEDS: u64 = 1_000;
const MEMBERS_MAX: usize = 9;
const SECONDS: u64 = 900;
/// The rest of the grid finds out that a member is down ...
const DETECTION_SECONDS: u64 = 5;
/// ... and replaces it as a voter when it was so for as long as this (`VOTER_GRACE` of the agent).
const GRACE_SECONDS: u64 = 30;
/// A newcomer has the entries.
const CATCH_UP_SECONDS: u64 = 8;
/// The group's leader looks at the members so often.
const FOLLOW_EVERY_SECONDS: u64 = 2;
/// Enough for a dead voter to be replaced.
const DEATHS_APART_SECONDS: u64 = DETECTION_SECONDS + GRACE_SECONDS + 3 * FOLLOW_EVERY_SECONDS;
/// Enough for the voters to follow any other change.
const CHANGES_APART_SECONDS: u64 = CATCH_UP_SECONDS + 3 * FOLLOW_EVERY_SECONDS;

struct Member {
    /// Since when it answers, or does not.
    since: u64,
    alive: bool,
}

/// How much time there is at least between a death and what came before it.
#[derive(Clone, Copy)]
struct Pace {
    after_death: u64,
    after_change: u64,
}

struct Grid {
    random: SeededRandom,
    now: u64,
    members: BTreeMap<Voter, Member>,
    next_number: Voter,
    voters: BTreeSet<Voter>,
    /// A change that was begun and is not committed.
    joint: Option<BTreeSet<Voter>>,
    last_death: u64,
    /// Of members that came, came back or were removed.
    last_change: u64,
    pace: Pace,
    /// When a majority of the members was alive and the group could do nothing.
    stuck: Option<u64>,
    changes: u64,
    deaths: u64,
}

fn is_majority(count: usize, of: usize) -> bool {
    2 * count > of
}

impl Grid {
    fn new(seed: u64, pace: Pace) -> Self {
        Self {
            random: SeededRandom::new(seed),
            now: 1_000,
            members: BTreeMap::from([(1, Member { since: 0, alive: true })]),
            next_number: 2,
            voters: BTreeSet::from([1]),
            joint: None,
            last_death: 0,
            last_change: 0,
            pace,
            stuck: None,
            changes: 0,
            deaths: 0,
        }
    }

    fn alive(&self) -> Vec<Voter> {
        self.members.iter().filter(|(_, member)| member.alive).map(|(number, _)| *number).collect()
    }

    /// A removed member's connections are closed: it counts for nothing.
    fn answers(&self, voter: Voter) -> bool {
        self.members.get(&voter).is_some_and(|member| member.alive)
    }

    fn quorum(&self, voters: &BTreeSet<Voter>) -> bool {
        is_majority(voters.iter().filter(|voter| self.answers(**voter)).count(), voters.len())
    }

    fn can_act(&self) -> bool {
        self.quorum(&self.voters) && self.joint.as_ref().is_none_or(|joint| self.quorum(joint))
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).unwrap()
    }

    /// One step of the leader, as `Group::follow_members` does it.
    fn follow(&mut self) {
        if !self.can_act() {
            return;
        }
        if let Some(joint) = self.joint.take() {
            self.voters = joint;
            self.changes += 1;
            return;
        }
        let seen: Vec<MetaMember> = self
            .members
            .iter()
            .map(|(number, member)| MetaMember {
                alive: member.alive || self.now - member.since < DETECTION_SECONDS + GRACE_SECONDS,
                ..MetaMember::healthy(*number, NodeId::from_bytes([u8::try_from(number % 256).unwrap(); 16]))
            })
            .collect();
        // A follower that died a moment ago had all entries a moment ago.
        let caught_up = self
            .members
            .iter()
            .filter(|(_, member)| match member.alive {
                true => self.now - member.since >= CATCH_UP_SECONDS,
                false => self.now - member.since < DETECTION_SECONDS + GRACE_SECONDS,
            })
            .map(|(number, _)| *number)
            .collect();
        let wanted = choose_voters(&seen, &self.voters, &caught_up);
        assert!(wanted.len() <= voters_wanted(self.members.len()));
        if !wanted.is_empty() && wanted != self.voters {
            self.joint = Some(wanted);
        }
    }

    fn join(&mut self) {
        if self.members.len() < MEMBERS_MAX && self.can_act() {
            self.members.insert(self.next_number, Member { since: self.now, alive: true });
            self.next_number += 1;
            self.last_change = self.now;
        }
    }

    fn come_back(&mut self) {
        let dead: Vec<Voter> =
            self.members.iter().filter(|(_, member)| !member.alive).map(|(number, _)| *number).collect();
        if !dead.is_empty() {
            let number = dead[self.below(dead.len())];
            self.members.insert(number, Member { since: self.now, alive: true });
            self.last_change = self.now;
        }
    }

    fn may_lose(&self) -> bool {
        self.now - self.last_death >= self.pace.after_death
            && self.now - self.last_change >= self.pace.after_change
    }

    /// Would a majority of the members, and of each set of voters, answer without these?
    fn bears(&self, lost: &BTreeSet<Voter>, members: usize) -> bool {
        let alive = self.alive().iter().filter(|number| !lost.contains(number)).count();
        let minority = |voters: &BTreeSet<Voter>| 2 * voters.intersection(lost).count() < voters.len();
        is_majority(alive, members) && minority(&self.voters) && self.joint.as_ref().is_none_or(minority)
    }

    /// Some die at the same moment: at most a minority of the voters, and never most of the members.
    fn die(&mut self) {
        if !self.may_lose() {
            return;
        }
        let mut lost = BTreeSet::new();
        for number in self.alive() {
            let mut more = lost.clone();
            more.insert(number);
            if self.random.below(2) == 0 && self.bears(&more, self.members.len()) {
                lost = more;
            }
        }
        for number in &lost {
            self.members.insert(*number, Member { since: self.now, alive: false });
        }
        if !lost.is_empty() {
            self.deaths += lost.len() as u64;
            self.last_death = self.now;
        }
    }

    /// The operator removes a member. One that is alive is lost to the group like one that dies.
    fn remove(&mut self) {
        let numbers: Vec<Voter> = self.members.keys().copied().collect();
        let number = numbers[self.below(numbers.len())];
        if numbers.len() < 2 || !self.can_act() {
            return;
        }
        if self.answers(number) {
            if !self.may_lose() || !self.bears(&BTreeSet::from([number]), numbers.len() - 1) {
                return;
            }
            self.last_death = self.now;
        }
        self.members.remove(&number);
        self.last_change = self.now;
    }

    fn run(&mut self) {
        let end = self.now + SECONDS;
        while self.now < end {
            self.now += 1;
            match self.random.below(120) {
                0 | 1 => self.join(),
                2 => self.come_back(),
                3..=12 => self.die(),
                13 | 14 => self.remove(),
                _ => {}
            }
            if self.now.is_multiple_of(FOLLOW_EVERY_SECONDS) {
                self.follow();
            }
            assert!(self.voters.len() <= 5, "{:?}", self.voters);
            if is_majority(self.alive().len(), self.members.len()) && !self.can_act() {
                self.stuck.get_or_insert(self.now);
            }
        }
    }

    /// Nothing happens any more: the voters become what they should be.
    fn settle(&mut self) {
        for _ in 0..DETECTION_SECONDS + GRACE_SECONDS + CATCH_UP_SECONDS {
            self.now += FOLLOW_EVERY_SECONDS;
            self.follow();
        }
    }
}

#[test]
fn a_group_goes_on_while_most_members_live() {
    let (mut changes, mut deaths) = (0, 0);
    for seed in 0..SEEDS {
        let mut grid =
            Grid::new(seed, Pace { after_death: DEATHS_APART_SECONDS, after_change: CHANGES_APART_SECONDS });
        grid.run();
        assert_eq!(grid.stuck, None, "seed {seed}: voters {:?}, alive {:?}", grid.voters, grid.alive());
        grid.settle();
        assert!(grid.can_act() && grid.joint.is_none(), "seed {seed}");
        let strangers: Vec<&Voter> =
            grid.voters.iter().filter(|voter| !grid.members.contains_key(voter)).collect();
        assert!(strangers.is_empty(), "seed {seed}: {strangers:?} were removed and vote");
        // All that live have a vote, or as many as should.
        let voting = grid.voters.iter().filter(|voter| grid.answers(**voter)).count();
        let able = grid.alive().len().min(voters_wanted(grid.members.len()));
        assert_eq!(voting, able, "seed {seed}: voters {:?}, alive {:?}", grid.voters, grid.alive());
        changes += grid.changes;
        deaths += grid.deaths;
    }
    assert!(changes > 10 * SEEDS && deaths > 2 * SEEDS, "{changes} changes, {deaths} deaths");
}

#[test]
fn deaths_within_the_grace_can_stop_a_group_and_returns_mend_it() {
    let mut stopped = 0;
    for seed in 0..SEEDS {
        // A second minority of the voters dies before the first was replaced.
        let mut grid =
            Grid::new(seed, Pace { after_death: GRACE_SECONDS, after_change: CHANGES_APART_SECONDS });
        grid.run();
        stopped += u64::from(grid.stuck.is_some());
        while grid.alive().len() < grid.members.len() {
            grid.come_back();
        }
        grid.settle();
        assert!(grid.can_act() && grid.joint.is_none(), "seed {seed}: all live and nothing goes");
        assert!(grid.voters.iter().all(|voter| grid.members.contains_key(voter)), "seed {seed}");
        assert_eq!(grid.voters.len(), voters_wanted(grid.members.len()), "seed {seed}");
    }
    assert!(stopped > 0, "the model must be able to stop: else the other test shows nothing");
}
