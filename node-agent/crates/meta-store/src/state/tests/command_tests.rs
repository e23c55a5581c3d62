//! Commands one by one: conditions, generations, op ids, garbage, reaping, relocation, records, stubs.

use grid_types::{ErrorCode, SegmentOwner, Timestamp};

use super::fixture::{Machine, bucket, delete, drive, key, put, put_inline, put_on, segment_id, version_id};
use crate::root::{Expect, RecordKind, RecordWrite};
use crate::state::{Action, Answer, Limits, Proposal, StubCommand};
use crate::{Command, Outcome, WriteCondition};

#[test]
fn a_put_replaces_the_version_and_its_segments_become_garbage() {
    let mut machine = Machine::with_bucket(1);
    machine.command(put("a", 1, 10, 3)).unwrap();
    assert_eq!(machine.object("a").unwrap().segments.len(), 3);
    let Ok(Outcome::Written { version }) = machine.command(put("a", 2, 20, 1)) else { panic!("refused") };
    assert_eq!((version.version, version.segment_count), (version_id(2), 1));
    assert!(version.stamp > Timestamp(0));
    assert_eq!(machine.garbage_ids(), [10, 11, 12].map(segment_id));
    let usage = machine.ask(|view| view.usage(bucket(1))).unwrap();
    assert_eq!((usage.objects, usage.bytes), (1, 100));
    machine.check();
}

#[test]
fn part_offsets_and_inline_bodies_come_back_as_written() {
    let mut machine = Machine::with_bucket(1);
    machine.command(put("a", 1, 10, 3)).unwrap();
    let offsets: Vec<u64> = machine.object("a").unwrap().segments.iter().map(|row| row.part_offset).collect();
    assert_eq!(offsets, [0, 100, 200]);
    machine.command(put_inline("b", 2, b"body", WriteCondition::None)).unwrap();
    assert_eq!(machine.object("b").unwrap().inline, Some(b"body".to_vec()));
    machine.command(put_inline("c", 3, b"", WriteCondition::None)).unwrap();
    assert_eq!(machine.object("c").unwrap().inline, Some(Vec::new()));
}

#[test]
fn conditions_are_checked_at_the_commit() {
    let mut machine = Machine::with_bucket(1);
    let etag = |text: &str| WriteCondition::ETag(text.to_owned());
    let first = format!("{:032x}", 1);
    assert_eq!(machine.command(put_inline("a", 9, b"x", etag(&first))), Err(ErrorCode::NoSuchKey));
    assert!(machine.command(put_inline("a", 1, b"x", WriteCondition::Absent)).is_ok());
    assert_eq!(
        machine.command(put_inline("a", 2, b"x", WriteCondition::Absent)),
        Err(ErrorCode::PreconditionFailed)
    );
    assert_eq!(machine.command(put_inline("a", 2, b"x", etag("other"))), Err(ErrorCode::PreconditionFailed));
    assert!(machine.command(put_inline("a", 2, b"x", etag(&first))).is_ok());
    assert!(machine.command(put_inline("a", 3, b"x", etag("*"))).is_ok());
    machine.command(delete("a")).unwrap();
    assert!(machine.command(put_inline("a", 4, b"x", WriteCondition::Absent)).is_ok());
}

#[test]
fn a_refused_command_changes_nothing() {
    let mut machine = Machine::with_bucket(1);
    machine.command(put("a", 1, 10, 2)).unwrap();
    let before: Vec<String> = machine.dump().into_iter().filter(|line| !line.starts_with("meta")).collect();
    let mut twice = put("a", 2, 20, 2);
    if let Command::PutVersion { segments, .. } = &mut twice {
        segments[1].1.id = segments[0].1.id;
    }
    let mut short = put("a", 2, 20, 2);
    if let Command::PutVersion { version, .. } = &mut short {
        version.size = 1;
    }
    let mut stale = put("a", 2, 20, 2);
    if let Command::PutVersion { bucket_generation, .. } = &mut stale {
        *bucket_generation = 2;
    }
    let mut elsewhere = put("a", 2, 20, 2);
    if let Command::PutVersion { bucket: target, .. } = &mut elsewhere {
        *target = bucket(7);
    }
    for (command, code) in [
        (twice, ErrorCode::InvalidArgument),
        (short, ErrorCode::InvalidArgument),
        (stale, ErrorCode::StaleGeneration),
        (elsewhere, ErrorCode::NoSuchBucket),
        (put("b", 3, 10, 1), ErrorCode::Conflict),
    ] {
        assert_eq!(machine.command(command), Err(code));
    }
    let after: Vec<String> = machine.dump().into_iter().filter(|line| !line.starts_with("meta")).collect();
    assert_eq!(before, after);
}

#[test]
fn a_repeat_under_the_same_op_id_is_answered_and_not_executed() {
    let mut machine = Machine::with_bucket(1);
    let first = machine.proposal(Action::Object(put("a", 1, 10, 1)));
    let answer = machine.apply(std::slice::from_ref(&first)).pop().unwrap();
    machine.command(delete("a")).unwrap();
    let repeated = machine.apply(&[Proposal { stamp: Timestamp(9_000_000), ..first }]).pop().unwrap();
    assert_eq!(repeated, answer);
    assert!(machine.object("a").is_none(), "the repeat must not write again");
    assert_eq!(machine.garbage_ids(), [segment_id(10)]);
}

#[test]
fn the_op_table_keeps_what_its_limits_say_and_refuses_what_is_older() {
    let mut machine = Machine::with(Limits { op_ids_min: 100, op_id_micros: 1_000 });
    machine.open_bucket(1);
    let old = machine.proposal(Action::Object(put_inline("old", 1, b"x", WriteCondition::None)));
    machine.apply(std::slice::from_ref(&old));
    for number in 0..300 {
        machine.advance(100);
        machine.command(put_inline("k", 10 + number, b"x", WriteCondition::None)).unwrap();
    }
    let kept = machine.dump().iter().filter(|line| line.starts_with("operation")).count();
    assert!((100..=100 + 64).contains(&kept), "{kept} operations are kept");
    let late = machine.apply(&[old]).pop().unwrap();
    assert_eq!(late.map_err(|refusal| refusal.code), Err(ErrorCode::Unavailable));
    // Few operations in a long time are kept; many in a short time, too.
    let mut calm = Machine::with(Limits { op_ids_min: 10, op_id_micros: 1_000_000 });
    calm.open_bucket(1);
    for number in 0..300 {
        calm.advance(10);
        calm.command(put_inline("k", number, b"x", WriteCondition::None)).unwrap();
    }
    assert_eq!(calm.dump().iter().filter(|line| line.starts_with("operation")).count(), 301);
}

#[test]
fn stamps_never_step_back_and_versions_follow_the_log() {
    let mut machine = Machine::with_bucket(1);
    let stamp_of = |reply| match reply {
        Some(Ok(Answer::Object(Outcome::Written { version }))) => version.stamp,
        other => panic!("{other:?}"),
    };
    let mut later = machine.proposal(Action::Object(put_inline("a", 1, b"x", WriteCondition::None)));
    later.stamp = Timestamp(50_000_000);
    let first = stamp_of(machine.apply(&[later]).pop());
    let mut earlier = machine.proposal(Action::Object(put_inline("a", 2, b"x", WriteCondition::None)));
    earlier.stamp = Timestamp(10);
    let second = stamp_of(machine.apply(&[earlier]).pop());
    assert_eq!((first, second), (Timestamp(50_000_000), Timestamp(50_000_001)));
    assert_eq!(machine.object("a").unwrap().version.version, version_id(2));
}

#[test]
fn attributes_change_only_from_what_was_read() {
    let mut machine = Machine::with_bucket(1);
    machine.command(put_inline("a", 1, b"x", WriteCondition::None)).unwrap();
    let set = |expected: &[u8], attributes: &[u8]| Command::SetAttributes {
        bucket: bucket(1),
        key: key("a"),
        version: version_id(1),
        expected: expected.to_vec(),
        attributes: attributes.to_vec(),
    };
    assert_eq!(machine.command(set(b"wrong", b"new")), Err(ErrorCode::Conflict));
    assert_eq!(machine.command(set(&1u64.to_le_bytes(), b"new")), Ok(Outcome::Done));
    let row = machine.object("a").unwrap();
    assert_eq!((row.version.attributes.as_slice(), row.inline), (b"new".as_slice(), Some(b"x".to_vec())));
}

#[test]
fn reaped_ids_are_never_committed_and_referenced_ones_never_reaped() {
    let mut machine = Machine::with_bucket(1);
    machine.command(put("a", 1, 10, 1)).unwrap();
    assert_eq!(machine.reap(&[segment_id(10), segment_id(11)]), [segment_id(11)]);
    assert_eq!(machine.command(put("b", 2, 11, 1)), Err(ErrorCode::Unavailable));
    machine.command(delete("a")).unwrap();
    // Garbage waits for readers; its time comes through its own row.
    assert_eq!(machine.reap(&[segment_id(10)]), []);
    let row = machine.ask(|view| view.garbage(Timestamp(u64::MAX), 10)).unwrap().pop().unwrap();
    machine.command(Command::GarbageDone { sequences: vec![row.sequence] }).unwrap();
    assert_eq!(machine.reap(&[segment_id(10)]), [segment_id(10)]);
    assert_eq!(machine.reap(&[segment_id(10)]), [segment_id(10)], "dead stays dead");
}

#[test]
fn reaped_ids_are_forgotten_after_a_week() {
    let mut machine = Machine::with_bucket(1);
    machine.reap(&[segment_id(1)]);
    machine.advance(6 * 24 * 3_600 * 1_000_000);
    machine.reap(&[segment_id(2)]);
    assert_eq!(machine.command(put("a", 1, 1, 1)), Err(ErrorCode::Unavailable));
    machine.advance(2 * 24 * 3_600 * 1_000_000);
    machine.reap(&[segment_id(3)]);
    let rows = machine.dump().iter().filter(|line| line.starts_with("reaped")).count();
    assert_eq!(rows, 2, "the first is forgotten, the second and third are not");
}

#[test]
fn a_chunk_moves_by_compare_and_set() {
    let mut machine = Machine::with_bucket(1);
    machine.command(put_on("a", 1, 10, 1, &[Some(drive(1)), None])).unwrap();
    let relocate = |index, expected, new| Command::Relocate {
        bucket: bucket(1),
        key: key("a"),
        owner: SegmentOwner { version: version_id(1), part: 1, number: 0 },
        segment: segment_id(10),
        index,
        expected,
        new,
    };
    let incomplete =
        |machine: &Machine| machine.ask(|view| view.incomplete_segments(None, 10)).unwrap().0.len();
    let on = |machine: &Machine, number| {
        machine.ask(|view| view.segments_on_drive(drive(number), None, 10)).unwrap().0.len()
    };
    assert_eq!((incomplete(&machine), on(&machine, 1)), (1, 1));
    assert_eq!(machine.command(relocate(0, Some(drive(9)), Some(drive(3)))), Err(ErrorCode::Conflict));
    assert_eq!(machine.command(relocate(7, Some(drive(1)), Some(drive(3)))), Err(ErrorCode::Conflict));
    assert_eq!(machine.command(relocate(1, None, Some(drive(2)))), Ok(Outcome::Done));
    assert_eq!((incomplete(&machine), on(&machine, 2)), (0, 1));
    assert_eq!(machine.command(relocate(0, Some(drive(1)), Some(drive(3)))), Ok(Outcome::Done));
    assert_eq!((on(&machine, 1), on(&machine, 2), on(&machine, 3)), (0, 1, 1));
    assert_eq!(machine.object("a").unwrap().segments[0].segment.drives, [Some(drive(3)), Some(drive(2))]);
    assert_eq!(machine.command(relocate(0, Some(drive(3)), None)), Ok(Outcome::Done));
    assert_eq!((incomplete(&machine), on(&machine, 3)), (1, 0));
    // Back to where the set says it is: found once, not twice.
    assert_eq!(machine.command(relocate(0, None, Some(drive(1)))), Ok(Outcome::Done));
    assert_eq!(on(&machine, 1), 1);
    machine.command(delete("a")).unwrap();
    machine.check();
    assert_eq!((on(&machine, 1), on(&machine, 2)), (0, 0));
}

#[test]
fn segments_of_a_drive_come_page_by_page_without_gaps() {
    let mut machine = Machine::with_bucket(1);
    for number in 0..40u64 {
        let other = u8::try_from(2 + number % 5).unwrap();
        let text = format!("k{number}");
        machine
            .command(put_on(&text, number, 100 * number, 3, &[Some(drive(1)), Some(drive(other))]))
            .unwrap();
    }
    for drive_number in [1, 4] {
        let mut cursor = None;
        let mut seen = std::collections::BTreeSet::new();
        loop {
            let (page, next) =
                machine.ask(|view| view.segments_on_drive(drive(drive_number), cursor, 7)).unwrap();
            for (_, key, row) in page {
                assert!(row.segment.drives.contains(&Some(drive(drive_number))));
                assert!(seen.insert((key, row.owner)), "a segment came twice");
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen.len(), if drive_number == 1 { 120 } else { 24 });
    }
    let found = machine.ask(|view| view.find_segment(segment_id(1_702))).unwrap().unwrap();
    assert_eq!((found.1, found.2.owner.number, found.2.owner.version), (key("k17"), 2, version_id(17)));
    assert_eq!(machine.ask(|view| view.find_segment(segment_id(999_999))).unwrap(), None);
}

#[test]
fn records_are_written_all_or_none() {
    let mut machine = Machine::new();
    let write = |key: &str, expect, value: Option<&str>| RecordWrite {
        kind: RecordKind::Setting,
        key: key.as_bytes().to_vec(),
        expect,
        value: value.map(|value| value.as_bytes().to_vec()),
    };
    let run =
        |machine: &mut Machine, writes| machine.run(Action::Records(writes)).map_err(|refusal| refusal.code);
    assert_eq!(run(&mut machine, vec![write("a", Expect::Absent, Some("1"))]), Ok(Answer::Done));
    assert_eq!(
        run(&mut machine, vec![write("b", Expect::Any, Some("1")), write("a", Expect::Absent, Some("2"))]),
        Err(ErrorCode::Conflict)
    );
    let get = |machine: &Machine, key: &str| {
        machine.ask(|view| view.record(RecordKind::Setting, key.as_bytes())).unwrap()
    };
    assert_eq!(get(&machine, "b"), None);
    assert_eq!(run(&mut machine, vec![write("a", Expect::Generation(1), Some("2"))]), Ok(Answer::Done));
    assert_eq!(
        run(&mut machine, vec![write("a", Expect::Generation(1), Some("3"))]),
        Err(ErrorCode::Conflict)
    );
    let row = get(&machine, "a").unwrap();
    assert_eq!((row.generation, row.value.as_slice()), (2, b"2".as_slice()));
    assert_eq!(run(&mut machine, vec![write("a", Expect::Generation(2), None)]), Ok(Answer::Done));
    assert_eq!(get(&machine, "a"), None);
}

#[test]
fn a_closing_bucket_takes_no_writes_and_is_dropped_only_when_empty() {
    let mut machine = Machine::with_bucket(1);
    machine.command(put("a", 1, 10, 1)).unwrap();
    let stub =
        |machine: &mut Machine, command| machine.run(Action::Stub(command)).map_err(|refusal| refusal.code);
    let close = StubCommand::Close { bucket: bucket(1) };
    let drop = StubCommand::Drop { bucket: bucket(1) };
    assert_eq!(stub(&mut machine, close.clone()), Ok(Answer::Closed { empty: false }));
    assert_eq!(machine.command(put("b", 2, 20, 1)), Err(ErrorCode::Unavailable));
    assert_eq!(stub(&mut machine, drop.clone()), Err(ErrorCode::BucketNotEmpty));
    let open = StubCommand::Open { bucket: bucket(1), generation: 3 };
    assert_eq!(stub(&mut machine, open), Ok(Answer::Done));
    assert_eq!(machine.command(delete("a")), Err(ErrorCode::StaleGeneration));
    let mut delete = delete("a");
    if let Command::DeleteVersion { bucket_generation, .. } = &mut delete {
        *bucket_generation = 3;
    }
    machine.command(delete).unwrap();
    assert_eq!(stub(&mut machine, close), Ok(Answer::Closed { empty: true }));
    assert_eq!(stub(&mut machine, drop), Ok(Answer::Done));
    assert_eq!(machine.command(put("b", 2, 20, 1)), Err(ErrorCode::NoSuchBucket));
}
