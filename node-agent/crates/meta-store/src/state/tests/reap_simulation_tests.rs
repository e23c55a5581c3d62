//! Reaping and committing exclude each other, in any order: what was declared dead is never referenced again, by a write, a
//! part or a re-coded segment, nor by a retry of one; what a row, an upload or garbage names is never declared dead.

use std::collections::{BTreeMap, BTreeSet};

use grid_types::{ErrorCode, SegmentId, Timestamp};
use sys::{Random, SeededRandom};

use super::fixture::{Machine, create_upload, delete, drive, put_on, put_part, replace, segment_id};
use crate::state::{Action, Answer, Proposal};
use crate::{Command, Outcome};

const SEEDS: u64 = 1_000;
/// Commands of a history.
const COMMANDS: u64 = 28;
/// So few that they meet.
const SEGMENTS: u64 = 10;
const KEYS: u64 = 5;

struct History {
    seed: u64,
    machine: Machine,
    dead: BTreeSet<SegmentId>,
    committed: BTreeSet<SegmentId>,
    /// The version and the segment that each key was last written with.
    written: BTreeMap<u64, (u64, u64)>,
    /// Commits, to be sent again, with the segment that each would name.
    sent: Vec<(Proposal, SegmentId)>,
    refused: u64,
}

impl History {
    fn commit(&mut self, command: Command, id: u64) -> bool {
        let proposal = self.machine.proposal(Action::Object(command));
        self.sent.push((proposal.clone(), segment_id(id)));
        self.apply(proposal, segment_id(id), false)
    }

    fn apply(&mut self, proposal: Proposal, id: SegmentId, again: bool) -> bool {
        let seed = self.seed;
        match self.machine.apply(&[proposal]).pop().unwrap() {
            Ok(Answer::Object(Outcome::Written { .. } | Outcome::PartWritten { .. } | Outcome::Done)) => {
                // A retry is told what the first one was told, and names nothing anew.
                assert!(again || !self.dead.contains(&id), "seed {seed}: {id} is dead and was committed");
                self.committed.insert(id);
                true
            }
            Err(refusal) => {
                self.refused += 1;
                match refusal.code {
                    ErrorCode::Unavailable => assert!(self.dead.contains(&id), "seed {seed}: {refusal:?}"),
                    // In use, garbage by now, dead as a successor, or its row changed.
                    ErrorCode::Conflict | ErrorCode::NoSuchKey => {}
                    _ => panic!("seed {seed}: {refusal:?}"),
                }
                false
            }
            other => panic!("seed {seed}: {other:?}"),
        }
    }

    fn reap(&mut self, first: u64) {
        let ids: Vec<SegmentId> = (0..3).map(|next| segment_id((first + next) % SEGMENTS)).collect();
        let named: Vec<SegmentId> = ids.iter().copied().filter(|id| self.is_named(*id)).collect();
        let reaped = self.machine.reap(&ids);
        assert!(named.iter().all(|id| !reaped.contains(id)), "seed {}: {named:?}, {reaped:?}", self.seed);
        self.dead.extend(reaped);
    }

    fn is_named(&self, id: SegmentId) -> bool {
        let in_row = self.machine.ask(|view| view.find_segment(id)).unwrap().is_some();
        in_row || self.machine.garbage_ids().contains(&id)
    }

    fn collect_garbage(&mut self) {
        let rows = self.machine.ask(|view| view.garbage(Timestamp(u64::MAX), 2)).unwrap();
        let sequences = rows.into_iter().map(|row| row.sequence).collect();
        assert_eq!(self.machine.command(Command::GarbageDone { sequences }), Ok(Outcome::Done));
    }

    fn step(&mut self, random: &SeededRandom, number: u64) {
        let (id, slot) = (random.below(SEGMENTS), random.below(KEYS));
        let key = format!("k{slot}");
        match random.below(10) {
            0..=2 => self.reap(id),
            3 => drop(self.machine.command(delete(&key))),
            4 => self.collect_garbage(),
            5 if !self.sent.is_empty() => {
                let at = usize::try_from(random.below(self.sent.len() as u64)).unwrap();
                let (proposal, id) = self.sent[at].clone();
                self.apply(proposal, id, true);
            }
            6 => {
                let part = 1 + u16::try_from(random.below(3)).unwrap();
                self.commit(put_part("up/1", 1, part, id, 5), id);
            }
            7 => {
                if let Some((version, old)) = self.written.get(&slot).copied()
                    && old != id
                    && self.commit(replace(&key, version, (old, old, id), &[1, 2]), id)
                {
                    // Sealed as before: it is not re-coded once more here.
                    self.written.remove(&slot);
                }
            }
            _ => {
                if self.commit(put_on(&key, number, id, 1, &[Some(drive(1))]), id) {
                    self.written.insert(slot, (number, id));
                }
            }
        }
    }
}

#[test]
fn reaping_and_committing_exclude_each_other_in_any_order() {
    let (mut committed, mut dead, mut refused) = (0, 0, 0);
    for seed in 0..SEEDS {
        let random = SeededRandom::new(1_000 + seed);
        let mut machine = Machine::with_bucket(1);
        machine.command(create_upload("up/1", 1)).unwrap();
        let mut history = History {
            seed,
            machine,
            dead: BTreeSet::new(),
            committed: BTreeSet::new(),
            written: BTreeMap::new(),
            sent: Vec::new(),
            refused: 0,
        };
        for number in 2..2 + COMMANDS {
            history.step(&random, number);
        }
        for id in &history.dead {
            assert!(!history.is_named(*id), "seed {seed}: {id} is dead and named");
        }
        if seed % 16 == 0 {
            history.machine.check();
        }
        committed += history.committed.len() as u64;
        dead += history.dead.len() as u64;
        refused += history.refused;
    }
    // The histories must do something: else the property holds of nothing.
    assert!(committed > 2 * SEEDS && dead > 2 * SEEDS && refused > SEEDS, "{committed} {dead} {refused}");
}
