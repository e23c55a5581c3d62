//! Random histories: replicas stay equal, tables stay consistent.

use grid_types::SegmentOwner;
use sys::{Random, SeededRandom};

use super::fixture::{
    Machine, abort, bucket, complete, create_upload, delete, drive, key, put_inline, put_on, put_part,
    replace, segment_id, version_id,
};
use crate::state::{Action, Proposal, StubCommand};
use crate::{Command, WriteCondition};

fn pick(random: &SeededRandom, below: u64) -> u8 {
    u8::try_from(random.below(below)).unwrap()
}

/// The key of a plain PUT, so that what comes later may meet it.
fn key_of(number: u64) -> String {
    format!("key/{}", number * 7 % 12)
}

/// A command that may or may not be accepted.
fn arbitrary(random: &SeededRandom, number: u64) -> Command {
    let text = format!("key/{}", random.below(12));
    let upload = random.below(6) + 10_000;
    let upload_key = format!("up/{upload}");
    let part = u16::from(pick(random, 4)) + 1;
    match random.below(16) {
        0..=3 => {
            let second = (random.below(4) > 0).then(|| drive(pick(random, 5)));
            let count = u32::from(pick(random, 4));
            put_on(&key_of(number), number, number * 100, count, &[Some(drive(7)), second])
        }
        4 | 5 => {
            let condition = match random.below(3) {
                0 => WriteCondition::Absent,
                1 => WriteCondition::ETag("*".to_owned()),
                _ => WriteCondition::None,
            };
            put_inline(&text, number, &vec![1; usize::from(pick(random, 200))], condition)
        }
        6 | 7 => delete(&text),
        8 => create_upload(&upload_key, upload),
        9 | 10 => put_part(&upload_key, upload, part, number * 100 + 50, 10 + random.below(10)),
        11 => complete(&upload_key, upload, &[1, 2], 0),
        12 => abort(&upload_key, upload),
        13 | 14 => {
            // By the segment that the version was written with or a later one.
            let old = number.saturating_sub(random.below(12) + 1);
            let from = old * 100 + [0, 61, 62][usize::from(pick(random, 3))];
            let ids = (old * 100, from, old * 100 + 61 + random.below(3));
            replace(&key_of(old), old, ids, &[1, pick(random, 5) + 2])
        }
        _ => {
            let old = random.below(number.max(1));
            Command::Relocate {
                bucket: bucket(1),
                key: key(&text),
                owner: SegmentOwner { version: version_id(old), part: 1, number: 0 },
                segment: segment_id(old * 100),
                index: 0,
                expected: Some(drive(7)),
                new: (random.below(4) > 0).then(|| drive(pick(random, 5))),
            }
        }
    }
}

#[test]
fn replicas_that_apply_the_same_log_are_equal_whatever_the_batches() {
    for seed in 0..8 {
        let random = SeededRandom::new(seed);
        let (mut one, mut other) = (Machine::new(), Machine::new());
        let mut log: Vec<Proposal> =
            vec![one.proposal(Action::Stub(StubCommand::Open { bucket: bucket(1), generation: 1 }))];
        for number in 1..400 {
            one.advance(random.below(1_000_000));
            let proposal = one.proposal(Action::Object(arbitrary(&random, number)));
            log.push(proposal);
            if random.below(20) == 0 {
                // A retry of something earlier.
                let again = usize::try_from(random.below(log.len() as u64)).unwrap();
                log.push(log[again].clone());
            }
        }
        let mut replies = Vec::new();
        for proposal in &log {
            replies.extend(one.apply(std::slice::from_ref(proposal)));
        }
        let mut other_replies = Vec::new();
        let mut rest = log.as_slice();
        while !rest.is_empty() {
            let take = usize::try_from(1 + random.below(40)).unwrap().min(rest.len());
            other_replies.extend(other.apply(&rest[..take]));
            rest = &rest[take..];
        }
        assert_eq!(replies, other_replies, "seed {seed}");
        assert_eq!(one.dump(), other.dump(), "seed {seed}");
        assert!(
            replies.iter().filter(|reply| reply.is_ok()).count() > 150,
            "most of the history must do something"
        );
        one.check();
        check_usage(&one);
    }
}

/// Counters of the stub, and rows, against what listing shows.
fn check_usage(machine: &Machine) {
    let query = crate::query::ListQuery { limit: 10_000, ..Default::default() };
    let page = machine.ask(|view| view.list(bucket(1), &query, Vec::new())).unwrap().page;
    let (mut objects, mut bytes) = (0, 0);
    for entry in &page.entries {
        let crate::query::ListEntry::Object { key, version } = entry else { panic!("{entry:?}") };
        objects += 1;
        bytes += version.size;
        let row = machine.object(key.as_str()).unwrap();
        assert_eq!(row.segments.len(), usize::try_from(version.segment_count).unwrap());
        if row.inline.is_none() {
            assert_eq!(row.segments.iter().map(|row| row.segment.length).sum::<u64>(), version.size);
        }
        for segment in &row.segments {
            assert_eq!(segment.owner.version, version.version);
            let found = machine.ask(|view| view.find_segment(segment.segment.id)).unwrap().unwrap();
            assert_eq!((&found.1, &found.2), (key, segment));
        }
    }
    let usage = machine.ask(|view| view.usage(bucket(1))).unwrap();
    assert_eq!((usage.objects, usage.bytes), (objects, bytes));
}
