//! A seeded grid of shards that split while their replicas lag, restart from older files and copy when they like.
//!
//! The model: one log a shard, a leader that applies each entry at once, two followers that do so later, in batches, and
//! may begin anew from an older image. One machine that never splits says what each command has to answer.
//!
//! Properties: no key has two owners, and a key has one whenever the map can be asked; replicas of a shard that applied
//! the same entries hold the same rows; what all shards declared dead is never referenced again.

mod nodes;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use grid_types::{ErrorCode, SegmentId, ShardId};
use sys::{Random, SeededRandom};

use self::nodes::{Image, Logs, Node, Seat, image_of, restore, rows};
use super::fixture::{
    Children, LIMITS, Machine, abort, bucket, complete, create_upload, delete, drive, put_inline, put_on,
    put_part, segment_id,
};
use crate::query::{ListEntry, ListQuery, Usage};
use crate::state::{Action, Answer, Proposal, Reply, ShardRange, SplitCommand, StubCommand, routing_key};
use crate::{Command, Outcome, WriteCondition};

const SEEDS: u64 = 200;
/// More than one step of a copy takes.
const KEYS: u64 = 100;
const STEPS: u64 = 100;
const ROOT: ShardId = ShardId(1);

fn objects(machine: &Machine) -> Vec<ListEntry> {
    let query = ListQuery { limit: 1_000, ..ListQuery::default() };
    let range = machine.file.range().unwrap();
    let low = range.start.strip_prefix(bucket(1).as_bytes().as_slice()).unwrap_or_default().to_vec();
    machine.ask(|view| view.list(bucket(1), &query, low)).unwrap().page.entries
}

fn usage(machine: &Machine) -> Usage {
    machine.ask(|view| view.usage(bucket(1))).unwrap()
}

fn key_text(number: u64) -> String {
    format!("{number:03}")
}

/// The image that all nodes and the whole machine begin with: a bucket with many keys.
fn base() -> Image {
    let mut machine = Machine::with(LIMITS);
    let mut log =
        vec![machine.proposal(Action::Stub(StubCommand::Open { bucket: bucket(1), generation: 1 }))];
    for number in 0..KEYS {
        let drives = [Some(drive(u8::try_from(number % 5).unwrap())), Some(drive(7))];
        let command = put_on(&key_text(number), number + 1, (number + 1) * 10, 1, &drives);
        log.push(machine.proposal(Action::Object(command)));
    }
    assert!(machine.apply(&log).iter().all(Result::is_ok));
    machine.file.forget_log().unwrap();
    image_of(&machine, 0)
}

struct Simulation {
    seed: u64,
    random: SeededRandom,
    logs: Logs,
    leader: Node,
    followers: Vec<Node>,
    whole: Machine,
    /// What every node knows of owners: start of the range → shard.
    map: BTreeMap<Vec<u8>, ShardId>,
    /// The shards that a node knows of which does not lead the splits: an older map.
    old_map: Vec<ShardId>,
    /// Handed over and not mapped yet.
    unmapped: Option<ShardId>,
    /// Of proposals: operation, key, what the leader answered.
    history: Vec<(Proposal, String, Reply)>,
    /// Attempts of writes whose segment may be collected before they come: key number and segment.
    pending: Vec<(u64, SegmentId)>,
    dead: BTreeSet<SegmentId>,
    /// Answers that an old map made worthless.
    discarded: u64,
    numbers: u64,
    splits: u64,
    accepted: u64,
}

impl Simulation {
    fn new(seed: u64, base: &Image) -> Self {
        Self {
            seed,
            random: SeededRandom::new(seed),
            logs: BTreeMap::from([(ROOT, Vec::new())]),
            leader: Node::new(base),
            followers: vec![Node::new(base), Node::new(base)],
            whole: restore(base, &Arc::new(Children::default())),
            map: BTreeMap::from([(Vec::new(), ROOT)]),
            old_map: vec![ROOT],
            unmapped: None,
            history: Vec::new(),
            pending: Vec::new(),
            dead: BTreeSet::new(),
            discarded: 0,
            numbers: 1_000,
            splits: 0,
            accepted: 0,
        }
    }

    fn below(&self, bound: usize) -> usize {
        usize::try_from(self.random.below(bound as u64)).unwrap()
    }

    fn pick(&self, shards: &[ShardId]) -> ShardId {
        shards[self.below(shards.len())]
    }

    fn mapped(&self, routing: &[u8]) -> ShardId {
        *self.map.range(..=routing.to_vec()).next_back().unwrap().1
    }

    /// The leader's shards that own a key now.
    fn owners(&self, routing: &[u8]) -> Vec<ShardId> {
        let owns = |seat: &Seat| seat.machine.file.range().unwrap().contains(routing);
        self.leader.seats.iter().filter(|(_, seat)| owns(seat)).map(|(shard, _)| *shard).collect()
    }

    fn proposal(&mut self, action: Action) -> Proposal {
        self.whole.advance(1_000);
        self.whole.proposal(action)
    }

    fn append(&mut self, shard: ShardId, proposal: &Proposal) -> Reply {
        self.logs.get_mut(&shard).unwrap().push(proposal.encode().unwrap());
        self.leader.apply(&self.logs, shard, 1, false).pop().unwrap()
    }

    /// A command of a client, to the shard that the map names; the same to the machine that never splits.
    fn client(&mut self, key: u64, proposal: &Proposal) -> Reply {
        let seed = self.seed;
        let routing = routing_key(bucket(1), &key_text(key));
        let (shard, owners) = (self.mapped(&routing), self.owners(&routing));
        let reply = self.append(shard, proposal);
        if owners == [shard] {
            let expected = self.whole.apply(std::slice::from_ref(proposal)).pop().unwrap();
            assert_eq!(reply, expected, "seed {seed}: {proposal:?}");
            self.accepted += u64::from(reply.is_ok());
        } else {
            // Handed over and not mapped: it is asked again later.
            let again = self.history.iter().any(|(other, _, _)| other.op == proposal.op);
            assert!(self.unmapped.is_some(), "seed {seed}: {key} is owned by {owners:?}, mapped to {shard}");
            let code = reply.as_ref().map_err(|refusal| refusal.code);
            assert!(again || code == Err(ErrorCode::WrongShard), "seed {seed}: {reply:?}");
        }
        reply
    }

    fn command(&mut self) {
        self.numbers += 1;
        let number = self.numbers;
        let key = self.random.below(KEYS);
        let text = key_text(key);
        // Uploads live on few keys, so that their steps meet.
        let upload_key = 10 + 25 * self.random.below(4);
        let upload = 50_000 + upload_key;
        let upload_text = key_text(upload_key);
        let second = (!number.is_multiple_of(3)).then(|| drive(u8::try_from(number % 6).unwrap()));
        let (key, command) = match self.random.below(10) {
            0..=2 => (key, put_on(&text, number, number * 10, 2, &[Some(drive(1)), second])),
            3 => (key, put_inline(&text, number, b"inline", WriteCondition::None)),
            4 => (key, delete(&text)),
            5 => (upload_key, create_upload(&upload_text, upload)),
            6 | 7 => (upload_key, put_part(&upload_text, upload, 1, number * 10 + 5, 10)),
            8 => (upload_key, complete(&upload_text, upload, &[1], 0)),
            _ => (upload_key, abort(&upload_text, upload)),
        };
        let proposal = self.proposal(Action::Object(command));
        let reply = self.client(key, &proposal);
        if reply.is_ok() {
            self.history.push((proposal, key_text(key), reply));
        }
    }

    /// A request is sent once more, because its answer was lost.
    fn retry(&mut self) {
        if self.history.is_empty() {
            return;
        }
        let (proposal, key, first) = self.history[self.below(self.history.len())].clone();
        let key = key.parse().unwrap();
        let routing = routing_key(bucket(1), &key_text(key));
        let served = self.owners(&routing) == [self.mapped(&routing)];
        let reply = self.client(key, &proposal);
        if served {
            assert_eq!(reply, first, "seed {}: a retry is answered as the request was", self.seed);
        }
    }

    /// A write begins: its segment is on the drives and in no row. It is committed, or collected, or both are tried.
    fn begin_write(&mut self) {
        self.numbers += 1;
        self.pending.push((self.random.below(KEYS), segment_id(self.numbers * 10)));
    }

    fn end_write(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let (key, segment) = self.pending[self.below(self.pending.len())];
        let raw = u64::from_be_bytes(segment.as_bytes()[..8].try_into().unwrap());
        let command = put_on(&key_text(key), raw / 10, raw, 1, &[Some(drive(1))]);
        let proposal = self.proposal(Action::Object(command));
        let reply = self.client(key, &proposal);
        if reply.is_ok() {
            assert!(!self.dead.contains(&segment), "seed {}: a dead id was committed", self.seed);
            self.pending.retain(|(_, other)| *other != segment);
            self.history.push((proposal, key_text(key), reply));
        }
    }

    /// Every shard has to agree. The node that asks may have an old map, or ask in the middle of a hand-over: it believes the
    /// answers only where the shards that it asked own all keys *afterwards*. (A split that comes later takes reaped ids
    /// along; one that came before leaves a gap.)
    fn reap(&mut self) {
        let mut ids: Vec<SegmentId> = self.pending.iter().map(|(_, segment)| *segment).collect();
        // Some that are in use.
        ids.extend((0..4).map(|_| segment_id((self.random.below(self.numbers) + 1) * 10)));
        let taken: Vec<SegmentId> = ids.into_iter().filter(|_| self.random.below(2) == 0).collect();
        let mut dead = taken.clone();
        for shard in self.old_map.clone() {
            let proposal = self.proposal(Action::Object(Command::Reap { segments: dead }));
            dead = match self.append(shard, &proposal) {
                Ok(Answer::Object(Outcome::Reaped(dead))) => dead,
                other => panic!("seed {}: {other:?}", self.seed),
            };
        }
        if !self.owns_all(&self.old_map) {
            dead.clear();
            self.discarded += 1;
        }
        let proposal = self.proposal(Action::Object(Command::Reap { segments: dead.clone() }));
        let expected = Ok(Answer::Object(Outcome::Reaped(dead.clone())));
        let whole = self.whole.apply(std::slice::from_ref(&proposal)).pop().unwrap();
        assert_eq!(whole, expected, "seed {}: what one shard holds is not dead", self.seed);
        // What one shard refused and another one recorded will not be committed by the caller either.
        self.pending.retain(|(_, segment)| !taken.contains(segment) || dead.contains(segment));
        self.dead.extend(dead);
    }

    fn owns_all(&self, shards: &[ShardId]) -> bool {
        let mut ranges: Vec<ShardRange> =
            shards.iter().map(|shard| self.leader.seats[shard].machine.file.range().unwrap()).collect();
        ranges.sort_by(|one, other| one.start.cmp(&other.start));
        ranges[0].start.is_empty()
            && ranges.last().unwrap().end.is_none()
            && ranges.windows(2).all(|pair| pair[0].end.as_ref() == Some(&pair[1].start))
    }

    /// Some step of a split, whether it is its time or not.
    fn split(&mut self) {
        let shards: Vec<ShardId> = self.leader.seats.keys().copied().collect();
        let shard = self.pick(&shards);
        let state = self.leader.seats[&shard].machine.file.writer().split().cloned();
        let action = match (&state, self.random.below(8)) {
            (None, 0..=5) => {
                // A cancelled split is begun again with the same child's number, or with another one.
                let child = ShardId(2 + self.splits);
                if self.splits >= 3 || self.unmapped.is_some() {
                    return;
                }
                self.logs.entry(child).or_default();
                SplitCommand::Prepare {
                    child,
                    at: routing_key(bucket(1), &key_text(self.random.below(KEYS))),
                }
            }
            (Some(split), 0) => SplitCommand::Cancel { child: split.child },
            (Some(split), 1..=3) => SplitCommand::Commit { child: split.child },
            _ => SplitCommand::Sweep { keys_max: 1 + u32::try_from(self.random.below(60)).unwrap() },
        };
        let range = self.leader.seats[&shard].machine.file.range().unwrap();
        match (&action, &state) {
            // Two shards never split off the same child: the number is drawn by the leader of one of them.
            (SplitCommand::Prepare { child, .. }, None) if self.is_splitting(*child) => return,
            // One hand-over at a time; rows are swept once the map names the child.
            (SplitCommand::Commit { .. }, Some(split)) if self.unmapped.is_some() && !split.committed => {
                return;
            }
            (SplitCommand::Sweep { .. }, Some(split)) if self.unmapped == Some(split.child) => return,
            _ => {}
        }
        let proposal = self.proposal(Action::Split(action.clone()));
        let reply = self.append(shard, &proposal);
        match (action, state) {
            (SplitCommand::Prepare { at, .. }, None) => {
                assert_eq!(reply.is_ok(), range.contains(&at) && at > range.start, "seed {}", self.seed);
            }
            (SplitCommand::Commit { child }, Some(split)) if !split.committed => {
                assert_eq!(reply, Ok(Answer::Done), "seed {}", self.seed);
                assert!(self.leader.seats.contains_key(&child), "seed {}: the child is not born", self.seed);
                self.unmapped = Some(child);
                self.splits += 1;
            }
            _ => {}
        }
    }

    fn is_splitting(&self, child: ShardId) -> bool {
        let splits =
            |seat: &Seat| seat.machine.file.writer().split().is_some_and(|split| split.child == child);
        self.leader.seats.values().any(splits)
    }

    fn map_child(&mut self) {
        if let Some(child) = self.unmapped.take() {
            let range = self.leader.seats[&child].machine.file.range().unwrap();
            self.map.insert(range.start, child);
        }
    }

    /// Something happens on one of the nodes, with nobody's leave.
    fn background(&mut self) {
        let which = self.below(3);
        let (choice, image) = (self.random.below(8), self.below(10));
        let count = 1 + self.below(12);
        let dies = self.random.below(3) == 0;
        let follower = which.checked_sub(1);
        let shards: Vec<ShardId> = match follower {
            Some(follower) => self.followers[follower].seats.keys().copied().collect(),
            None => self.leader.seats.keys().copied().collect(),
        };
        let shard = self.pick(&shards);
        let Some(follower) = follower else {
            self.leader.seats[&shard].machine.file.writer().copy_step().unwrap();
            return;
        };
        let node = &mut self.followers[follower];
        match choice {
            0..=2 => drop(node.apply(&self.logs, shard, count, dies)),
            3 | 4 => drop(node.seats[&shard].machine.file.writer().copy_step().unwrap()),
            5 => {
                let seat = node.seats.get_mut(&shard).unwrap();
                let image = image_of(&seat.machine, seat.at);
                seat.images.push(image);
            }
            6 => node.restart(shard, image),
            _ => {
                // An image of the leader's replica, as one that lags too far is sent; children come the same way where the
                // parent's log can no longer give them.
                let missing = self.leader.seats.keys().filter(|child| !node.seats.contains_key(child));
                for sent in missing.copied().chain([shard]).collect::<Vec<_>>() {
                    let of_leader = &self.leader.seats[&sent];
                    let image = image_of(&of_leader.machine, of_leader.at);
                    let machine = restore(&image, &node.children);
                    node.seats.insert(sent, Seat { machine, at: image.at, images: vec![image] });
                    node.children.born.lock().push(sent);
                }
            }
        }
    }

    /// No key has two owners; each has one, which the map names, unless a hand-over is under way.
    fn check_owners(&self) {
        for key in 0..KEYS {
            let routing = routing_key(bucket(1), &key_text(key));
            let owners = self.owners(&routing);
            assert_eq!(owners.len(), 1, "seed {}: owners of {key}: {owners:?}", self.seed);
            if self.unmapped.is_none() {
                assert_eq!(owners, [self.mapped(&routing)], "seed {}: key {key}", self.seed);
            }
        }
        // A follower that has all entries owns what its leader owns; one that lags still owns what it will hand over.
        for node in &self.followers {
            let ranges: BTreeMap<ShardId, ShardRange> = node
                .seats
                .iter()
                .filter(|(shard, seat)| seat.at == self.logs[shard].len())
                .map(|(shard, seat)| (*shard, seat.machine.file.range().unwrap()))
                .collect();
            for (shard, range) in &ranges {
                assert_eq!(
                    range,
                    &self.leader.seats[shard].machine.file.range().unwrap(),
                    "seed {}: the range of {shard}",
                    self.seed
                );
            }
        }
    }

    /// Brings a follower up to its leader and compares all rows of all replicas.
    fn compare(&mut self, follower: usize) {
        let node = &mut self.followers[follower];
        // Parents first: their children are born from them, and so on.
        while let Some(shard) =
            node.seats.iter().find(|(shard, seat)| seat.at < self.logs[shard].len()).map(|(shard, _)| *shard)
        {
            node.apply(&self.logs, shard, 7, false);
        }
        let shards = |node: &Node| node.seats.keys().copied().collect::<Vec<_>>();
        assert_eq!(shards(node), shards(&self.leader), "seed {}", self.seed);
        for (shard, seat) in &node.seats {
            let expected = &self.leader.seats[shard].machine;
            if *shard == ROOT {
                assert_eq!(seat.machine.dump(), expected.dump(), "seed {}: {shard}", self.seed);
            } else {
                assert_eq!(rows(&seat.machine), rows(expected), "seed {}: {shard}", self.seed);
            }
        }
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            match self.random.below(20) {
                0..=6 => self.command(),
                7 => self.retry(),
                8 | 9 => self.begin_write(),
                10 => self.end_write(),
                11 => self.reap(),
                12 | 13 => self.split(),
                14 => self.map_child(),
                15 => self.old_map = self.map.values().copied().collect(),
                _ => self.background(),
            }
            self.check_ranges();
        }
        self.check_owners();
        if self.seed.is_multiple_of(4) {
            self.compare(0);
        }
        self.map_child();
        self.finish();
    }

    /// Ranges of the leader's shards tile the key space.
    fn check_ranges(&self) {
        let shards: Vec<ShardId> = self.leader.seats.keys().copied().collect();
        assert!(self.owns_all(&shards), "seed {}: a gap or an overlap", self.seed);
    }

    /// All shards together hold what the machine holds that never split, swept or not.
    fn finish(&mut self) {
        for swept in [false, true] {
            let shards: Vec<ShardId> = self.map.values().copied().collect();
            let (mut all, mut used) = (Vec::new(), Usage::default());
            for shard in shards {
                if swept {
                    let sweep = Action::Split(SplitCommand::Sweep { keys_max: 1_000 });
                    let proposal = self.proposal(sweep);
                    self.append(shard, &proposal).unwrap();
                    self.leader.seats[&shard].machine.check();
                }
                let machine = &self.leader.seats[&shard].machine;
                all.extend(objects(machine));
                let of_shard = usage(machine);
                used.objects += of_shard.objects;
                used.bytes += of_shard.bytes;
            }
            assert_eq!(all, objects(&self.whole), "seed {}", self.seed);
            assert_eq!(used, usage(&self.whole), "seed {}", self.seed);
        }
        for segment in &self.dead {
            for (shard, seat) in &self.leader.seats {
                let found = seat.machine.ask(|view| view.find_segment(*segment)).unwrap();
                assert!(found.is_none(), "seed {}: {segment} is dead and in {shard}", self.seed);
            }
        }
        self.check_owners();
        self.compare(0);
        self.compare(1);
    }
}

#[test]
fn shards_that_split_at_any_moment_stay_one_store() {
    let base = base();
    let (mut splits, mut accepted, mut dead, mut discarded) = (0, 0, 0, 0);
    for seed in 0..SEEDS {
        let mut simulation = Simulation::new(seed, &base);
        simulation.run();
        splits += simulation.splits;
        accepted += simulation.accepted;
        dead += simulation.dead.len() as u64;
        discarded += simulation.discarded;
    }
    // The histories must do something: else the properties hold of nothing.
    assert!(splits > SEEDS / 2, "{splits} splits");
    assert!(accepted > SEEDS * 20, "{accepted} commands");
    assert!(
        dead > SEEDS / 2 && discarded > SEEDS / 10,
        "{dead} dead segments, {discarded} answers discarded"
    );
}
