//! Splitting without Raft: parent and child together hold what one shard would.

use grid_types::{ErrorCode, ShardId};
use sys::{Random, SeededRandom};

use super::fixture::{
    CACHE_BYTES, Machine, abort, bucket, complete, create_upload, delete, drive, put_inline, put_on,
    put_part, replace, segment_id,
};
use crate::query::{ListEntry, ListQuery, Usage};
use crate::state::{Action, Answer, Proposal, ShardFile, SplitCommand, Storage, StubCommand, routing_key};
use crate::{Command, WriteCondition};

const CHILD: ShardId = ShardId(2);

fn prepare(at: &str) -> Action {
    Action::Split(SplitCommand::Prepare { child: CHILD, at: routing_key(bucket(1), at) })
}

const COMMIT: Action = Action::Split(SplitCommand::Commit { child: CHILD });

/// The key of a plain PUT, so that what comes later may meet it.
fn plain_key(number: u64) -> String {
    format!("{:02}", number * 7 % 40)
}

fn history(random: &SeededRandom, number: u64) -> Command {
    let text = format!("{:02}", random.below(40));
    let upload = 10_000 + random.below(8);
    let upload_key = format!("{:02}", random.below(40));
    match random.below(10) {
        0..=2 => put_on(
            &plain_key(number),
            number,
            number * 10,
            2,
            &[Some(drive(1)), (!number.is_multiple_of(3)).then(|| drive(2))],
        ),
        3 => put_inline(&text, number, b"inline", WriteCondition::None),
        4 => delete(&text),
        5 => create_upload(&upload_key, upload),
        6 => put_part(&upload_key, upload, 1, number * 10 + 5, 10),
        7 => complete(&upload_key, upload, &[1], 0),
        8 => {
            let old = number.saturating_sub(random.below(6) + 1);
            replace(&plain_key(old), old, (old * 10, old * 10, number * 10 + 7), &[1, 3, 5])
        }
        _ => abort(&upload_key, upload),
    }
}

fn objects(machine: &Machine) -> Vec<ListEntry> {
    let query = ListQuery { limit: 1_000, ..ListQuery::default() };
    let range = machine.file.range().unwrap();
    let low = range.start.strip_prefix(bucket(1).as_bytes().as_slice()).unwrap_or_default().to_vec();
    machine.ask(|view| view.list(bucket(1), &query, low)).unwrap().page.entries
}

fn usage(machine: &Machine) -> Usage {
    machine.ask(|view| view.usage(bucket(1))).unwrap()
}

fn take_child(parent: &Machine) -> Machine {
    let writer = parent.file.writer().take_finished(CHILD).expect("the child was handed its range");
    Machine::of_file(ShardFile::from_writer(Storage::Memory, CACHE_BYTES, writer))
}

#[test]
fn parent_and_child_together_hold_what_one_shard_would() {
    for seed in 0..10 {
        let random = SeededRandom::new(seed);
        let (mut split, mut whole) = (Machine::with_bucket(1), Machine::with_bucket(1));
        let mut number = 0;
        let mut both = |split: &mut Machine, whole: &mut Machine, count| {
            for _ in 0..count {
                number += 1;
                let command = history(&random, number);
                // The steps of the split take stamps, too.
                split.advance(1_000);
                let proposal = split.proposal(Action::Object(command));
                let replies = split.apply(std::slice::from_ref(&proposal));
                assert_eq!(replies, whole.apply(std::slice::from_ref(&proposal)), "seed {seed}");
            }
        };
        both(&mut split, &mut whole, 150);
        let reaped = split.proposal(Action::Object(Command::Reap { segments: vec![segment_id(77_777)] }));
        split.apply(std::slice::from_ref(&reaped));
        whole.apply(std::slice::from_ref(&reaped));
        assert_eq!(split.run(prepare("20")), Ok(Answer::Done));
        assert_eq!(split.run(prepare("20")), Ok(Answer::Done), "a repeat is harmless");
        // Writes go on between the batches of the copy.
        while !split.file.writer().copy_step().unwrap() {
            both(&mut split, &mut whole, 3);
        }
        both(&mut split, &mut whole, 60);
        split.advance(1_000);
        let remembered = split.proposal(Action::Object(put_on("39", 5_000, 500_000, 1, &[Some(drive(1))])));
        let reply = split.apply(std::slice::from_ref(&remembered)).pop().unwrap();
        whole.apply(std::slice::from_ref(&remembered));
        assert_eq!(split.run(COMMIT), Ok(Answer::Done));
        assert_eq!(split.run(COMMIT), Ok(Answer::Done));
        let mut child = take_child(&split);

        assert_eq!([objects(&split), objects(&child)].concat(), objects(&whole), "seed {seed}");
        let (left, right, all) = (usage(&split), usage(&child), usage(&whole));
        assert_eq!((left.objects + right.objects, left.bytes + right.bytes), (all.objects, all.bytes));
        for drive_number in [1, 2] {
            let on = |machine: &Machine| {
                machine.ask(|view| view.segments_on_drive(drive(drive_number), None, 9_999)).unwrap().0.len()
            };
            assert_eq!(on(&split) + on(&child), on(&whole), "seed {seed}: rows to be swept must not show");
        }
        let moved = put_inline("30", 6_000, b"x", WriteCondition::None);
        assert_eq!(split.command(moved.clone()), Err(ErrorCode::WrongShard));
        assert!(child.command(moved).is_ok());
        assert_eq!(
            child.command(put_inline("10", 6_001, b"x", WriteCondition::None)),
            Err(ErrorCode::WrongShard)
        );
        // Operations, reaped ids and stubs went along.
        assert_eq!(child.apply(&[remembered]), [reply]);
        assert_eq!(child.command(put_on("31", 6_002, 77_777, 1, &[None])), Err(ErrorCode::Unavailable));
        child.check();

        let sweep = Action::Split(SplitCommand::Sweep { keys_max: 5 });
        let mut sweeps = 0;
        while split.run(sweep.clone()) == Ok(Answer::Swept { more: true }) {
            sweeps += 1;
        }
        assert!(sweeps >= 2, "seed {seed}: sweeping goes in small steps");
        split.check();
        assert_eq!(usage(&split), left);
        let beyond = split
            .dump()
            .iter()
            .filter(|line| line.starts_with("object") && line.contains("Blob([51,"))
            .count();
        assert_eq!(beyond, 0, "no key from \"30\" on is left");
        assert_eq!(split.run(prepare("10")), Ok(Answer::Done), "the next split may begin");
    }
}

#[test]
fn a_replay_gives_the_same_parent_whether_the_child_is_born_or_not() {
    let random = SeededRandom::new(5);
    let mut first = Machine::new();
    let mut log: Vec<Proposal> =
        vec![first.proposal(Action::Stub(StubCommand::Open { bucket: bucket(1), generation: 1 }))];
    for number in 1..200 {
        if number == 120 {
            log.push(first.proposal(prepare("15")));
        }
        log.push(first.proposal(Action::Object(history(&random, number))));
    }
    log.push(first.proposal(COMMIT));
    log.push(first.proposal(Action::Object(delete("03"))));
    for proposal in &log {
        first.apply(std::slice::from_ref(proposal));
        if first.file.writer().split().is_some() {
            first.file.writer().copy_step().unwrap();
        }
    }
    let child = take_child(&first);
    // Neither copied in the background: the hand-over alone must do it all.
    let mut unborn = Machine::new();
    unborn.apply(&log);
    assert_eq!(first.dump(), unborn.dump());
    assert_eq!(objects(&child), objects(&take_child(&unborn)));
    let mut born = Machine::new();
    born.children.born.lock().push(CHILD);
    born.apply(&log);
    assert_eq!(first.dump(), born.dump());
    assert!(born.file.writer().take_finished(CHILD).is_none(), "a living child is left alone");
}

#[test]
fn a_split_can_be_given_up_until_the_hand_over() {
    let mut machine = Machine::with_bucket(1);
    for number in 0..20 {
        machine.command(put_inline(&format!("{number:02}"), number, b"x", WriteCondition::None)).unwrap();
    }
    let before = objects(&machine);
    machine.run(prepare("10")).unwrap();
    machine.file.writer().copy_step().unwrap();
    let other = Action::Split(SplitCommand::Prepare { child: ShardId(3), at: routing_key(bucket(1), "05") });
    assert_eq!(machine.run(other).map_err(|refusal| refusal.code), Err(ErrorCode::Conflict));
    let cancel = Action::Split(SplitCommand::Cancel { child: CHILD });
    assert_eq!(machine.run(cancel.clone()), Ok(Answer::Done));
    assert_eq!(machine.run(COMMIT).map_err(|refusal| refusal.code), Err(ErrorCode::Conflict));
    assert_eq!(objects(&machine), before);
    for at in ["", "no such bucket"] {
        let at = Action::Split(SplitCommand::Prepare { child: CHILD, at: at.as_bytes().to_vec() });
        assert_eq!(machine.run(at).map_err(|refusal| refusal.code), Err(ErrorCode::InvalidArgument));
    }
    machine.run(prepare("10")).unwrap();
    assert_eq!(machine.run(COMMIT), Ok(Answer::Done));
    assert_eq!(machine.run(cancel).map_err(|refusal| refusal.code), Err(ErrorCode::Conflict));
}

#[test]
fn stubs_of_buckets_beyond_the_split_go_whole() {
    let mut machine = Machine::with_bucket(1);
    machine.open_bucket(9);
    machine.command(put_inline("a", 1, b"xx", WriteCondition::None)).unwrap();
    let mut far = put_inline("a", 2, b"xxx", WriteCondition::None);
    if let Command::PutVersion { bucket: target, .. } = &mut far {
        *target = bucket(9);
    }
    machine.command(far.clone()).unwrap();
    machine.run(prepare("m")).unwrap();
    machine.run(COMMIT).unwrap();
    let mut child = take_child(&machine);
    assert_eq!(machine.ask(|view| view.usage(bucket(9))).unwrap(), Usage::default());
    assert_eq!(child.ask(|view| view.usage(bucket(9))).unwrap(), Usage { objects: 1, bytes: 3 });
    assert_eq!(child.ask(|view| view.usage(bucket(1))).unwrap(), Usage::default());
    let close = |bucket| Action::Stub(StubCommand::Close { bucket });
    assert_eq!(child.run(close(bucket(1))), Ok(Answer::Closed { empty: true }));
    assert_eq!(child.run(close(bucket(9))), Ok(Answer::Closed { empty: false }));
    assert_eq!(machine.run(close(bucket(1))), Ok(Answer::Closed { empty: false }));
}

/// A shard of 20 keys that is split in the middle; four new keys, among the first of the child, are written before or
/// after the others were copied.
fn child_copied(first: bool) -> Machine {
    let mut parent = Machine::with_bucket(1);
    let put = |parent: &mut Machine, text: &str, number: u64, other: u64| {
        let drives = [Some(drive(1)), Some(drive(u8::try_from(other).unwrap()))];
        parent.command(put_on(text, number, number * 10, 2, &drives)).unwrap();
    };
    for number in 0..20u64 {
        put(&mut parent, &format!("{number:02}"), number, 2 + number % 7);
    }
    assert_eq!(parent.run(prepare("10")), Ok(Answer::Done));
    let copy = |parent: &Machine| while !parent.file.writer().copy_step().unwrap() {};
    if first {
        copy(&parent);
    }
    (20..24).for_each(|number| put(&mut parent, &format!("10-{number}"), number, 120 - number));
    copy(&parent);
    assert_eq!(parent.run(COMMIT), Ok(Answer::Done));
    take_child(&parent)
}

#[test]
fn what_is_on_a_drive_is_read_on_from_another_replica() {
    let replicas = [child_copied(true), child_copied(false)];
    let all =
        |machine: &Machine| machine.ask(|view| view.segments_on_drive(drive(1), None, 1_000)).unwrap().0;
    let (left, right) = (all(&replicas[0]), all(&replicas[1]));
    assert_eq!(left, right, "in the same order");
    assert_eq!(left.len(), 28);
    for page in 1..9 {
        let (mut seen, mut cursor) = (Vec::new(), None);
        for replica in replicas.iter().cycle() {
            let (rows, next) =
                replica.ask(|view| view.segments_on_drive(drive(1), cursor.clone(), page)).unwrap();
            seen.extend(rows);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, left, "pages of {page}");
    }
}

#[test]
fn the_first_founders_of_a_child_are_the_only_ones() {
    let mut machine = Machine::with_bucket(1);
    let found =
        |founders: &[u64]| Action::Split(SplitCommand::Found { child: CHILD, founders: founders.to_vec() });
    machine.run(prepare("20")).unwrap();
    let early = machine.run(found(&[1, 2]));
    assert_eq!(early.map_err(|refusal| refusal.code), Err(ErrorCode::Conflict), "nothing was handed over");
    machine.run(COMMIT).unwrap();
    for founders in [[1, 2], [2, 3]] {
        assert_eq!(machine.run(found(&founders)), Ok(Answer::Done));
        let kept = machine.ask(|view| view.split()).unwrap().unwrap();
        assert!(kept.committed && kept.founders == [1, 2]);
    }
    machine.run(Action::Split(SplitCommand::Sweep { keys_max: 10 })).unwrap();
    assert_eq!(machine.ask(|view| view.split()).unwrap(), None);
}
