//! Multipart uploads.

use grid_types::ErrorCode;

use super::fixture::{
    Machine, abort, bucket, complete, create_upload, delete, put, put_part, segment_id, upload_id, version_id,
};
use crate::Outcome;
use crate::state::Action;

#[test]
fn an_upload_becomes_a_version_with_offsets_and_unnamed_parts_become_garbage() {
    let mut machine = Machine::with_bucket(1);
    machine.command(put("a", 99, 900, 1)).unwrap();
    machine.command(create_upload("a", 1)).unwrap();
    for part in [1u16, 2, 3, 5] {
        machine.command(put_part("a", 1, part, u64::from(part) * 10, 1_000 + u64::from(part))).unwrap();
    }
    // Part 2 again: its first segment becomes garbage.
    machine.command(put_part("a", 1, 2, 21, 2_000)).unwrap();
    assert_eq!(machine.garbage_ids(), [segment_id(20)]);
    assert_eq!(
        machine.object("a").unwrap().version.version,
        version_id(99),
        "nothing is visible before Complete"
    );
    let Ok(Outcome::Written { version }) = machine.command(complete("a", 1, &[1, 2, 5], 1_000)) else {
        panic!("refused")
    };
    assert_eq!((version.size, version.part_count, version.segment_count), (1_001 + 2_000 + 1_005, 3, 3));
    assert_eq!(machine.garbage_ids(), [20, 30, 900].map(segment_id));
    let parts = machine.ask(|view| view.parts(bucket(1), "a", version_id(1), 0, 100)).unwrap();
    let places: Vec<(u16, u64)> = parts.iter().map(|part| (part.number, part.offset)).collect();
    assert_eq!(places, [(1, 0), (2, 1_001), (5, 3_001)]);
    let at = |offset| {
        machine
            .ask(|view| view.part_at(bucket(1), "a", version_id(1), offset))
            .unwrap()
            .map(|part| part.number)
    };
    assert_eq!(
        [0, 1_000, 1_001, 3_000, 3_001, 4_005, 4_006].map(at),
        [Some(1), Some(1), Some(2), Some(2), Some(5), Some(5), None]
    );
    let rows = machine.ask(|view| view.segments(bucket(1), "a", version_id(1), (2, 0))).unwrap();
    assert_eq!(rows.iter().map(|row| row.segment.id).collect::<Vec<_>>(), [21, 50].map(segment_id));
    machine.check();
    machine.command(delete("a")).unwrap();
    machine.check();
    assert_eq!(machine.garbage_ids().len(), 6);
}

#[test]
fn complete_is_idempotent_by_op_and_by_upload() {
    let mut machine = Machine::with_bucket(1);
    machine.command(create_upload("a", 1)).unwrap();
    machine.command(put_part("a", 1, 1, 10, 100)).unwrap();
    let first = machine.proposal(Action::Object(complete("a", 1, &[1], 5)));
    let answer = machine.apply(std::slice::from_ref(&first)).pop().unwrap();
    assert_eq!(machine.apply(std::slice::from_ref(&first)).pop().unwrap(), answer);
    let another = machine.command(complete("a", 1, &[1], 5)).unwrap();
    assert_eq!(answer, Ok(crate::state::Answer::Object(another)));
    assert_eq!(machine.command(abort("a", 1)), Err(ErrorCode::NoSuchUpload));
    machine.command(delete("a")).unwrap();
    assert_eq!(machine.command(complete("a", 1, &[1], 5)), Err(ErrorCode::NoSuchUpload));
}

#[test]
fn what_complete_refuses_leaves_the_upload_open() {
    let mut machine = Machine::with_bucket(1);
    machine.command(create_upload("a", 1)).unwrap();
    for part in [1u16, 2, 4] {
        machine.command(put_part("a", 1, part, u64::from(part), 100)).unwrap();
    }
    for (parts, code) in [
        (&[][..], ErrorCode::InvalidArgument),
        (&[2, 1], ErrorCode::InvalidPartOrder),
        (&[1, 1], ErrorCode::InvalidPartOrder),
        (&[1, 3], ErrorCode::InvalidPart),
        (&[1, 2, 5], ErrorCode::InvalidPart),
        (&[1, 2], ErrorCode::PartTooSmall),
    ] {
        assert_eq!(machine.command(complete("a", 1, parts, 101)), Err(code), "{parts:?}");
    }
    assert_eq!(machine.garbage_ids(), []);
    assert!(machine.command(complete("a", 1, &[1], 101)).is_ok(), "the last part may be small");
    assert_eq!(machine.command(put_part("a", 1, 7, 70, 100)), Err(ErrorCode::NoSuchUpload));
}

#[test]
fn an_aborted_upload_leaves_garbage_alone_and_an_empty_bucket() {
    let mut machine = Machine::with_bucket(1);
    machine.command(create_upload("a", 1)).unwrap();
    machine.command(put_part("a", 1, 1, 10, 100)).unwrap();
    assert!(machine.ask(|view| view.upload(bucket(1), "a", upload_id(1))).unwrap().is_some());
    machine.command(abort("a", 1)).unwrap();
    assert_eq!(machine.garbage_ids(), [segment_id(10)]);
    assert!(machine.ask(|view| view.upload(bucket(1), "a", upload_id(1))).unwrap().is_none());
    machine.check();
    assert!(machine.dump().iter().all(|line| !line.starts_with("part:") && !line.starts_with("owner:")));
}

#[test]
fn ten_thousand_parts_complete() {
    let mut machine = Machine::with_bucket(1);
    machine.command(create_upload("big", 1)).unwrap();
    let all: Vec<u16> = (1..=10_000).collect();
    for chunk in all.chunks(500) {
        let proposals: Vec<_> = chunk
            .iter()
            .map(|part| machine.proposal(Action::Object(put_part("big", 1, *part, u64::from(*part), 5))))
            .collect();
        assert!(machine.apply(&proposals).iter().all(Result::is_ok));
    }
    assert_eq!(machine.command(put_part("big", 1, 10_001, 1, 5)), Err(ErrorCode::InvalidArgument));
    let Ok(Outcome::Written { version }) = machine.command(complete("big", 1, &all, 5)) else {
        panic!("refused")
    };
    assert_eq!((version.part_count, version.segment_count, version.size), (10_000, 10_000, 50_000));
    let part = machine.ask(|view| view.part_at(bucket(1), "big", version_id(1), 49_999)).unwrap().unwrap();
    assert_eq!((part.number, part.offset), (10_000, 49_995));
    let part = machine.ask(|view| view.part_at(bucket(1), "big", version_id(1), 25_004)).unwrap().unwrap();
    assert_eq!(part.number, 5_001);
}
