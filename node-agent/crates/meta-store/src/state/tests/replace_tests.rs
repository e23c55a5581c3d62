//! Re-coded segments: the exchange in the row, its refusals, the scan that finds what to re-code, and all of it in any order
//! with commits, deletes and reaping.

use std::collections::{BTreeMap, BTreeSet};

use grid_types::{ErrorCode, Profile, Segment, SegmentId, SegmentOwner, Timestamp};
use sys::{Random, SeededRandom};

use super::fixture::{
    Machine, bucket, complete, create_upload, delete, drive, key, put, put_on, put_part, replace, segment_id,
    version_id,
};
use crate::query::{ClassedSegment, SCAN_SEGMENTS_MAX};
use crate::{Command, Outcome};

fn relocate(text: &str, number: u64, of: u64, index: u8, from: u8, to: u8) -> Command {
    Command::Relocate {
        bucket: bucket(1),
        key: key(text),
        owner: SegmentOwner { version: version_id(number), part: 1, number: 0 },
        segment: segment_id(of),
        index,
        expected: Some(drive(from)),
        new: Some(drive(to)),
    }
}

fn found(machine: &Machine, id: u64) -> Option<Segment> {
    machine.ask(|view| view.find_segment(segment_id(id))).unwrap().map(|(_, _, row)| row.segment)
}

#[test]
fn a_recoded_segment_takes_the_place_of_the_old_one() {
    let mut machine = Machine::with_bucket(1);
    machine.command(put_on("a", 1, 10, 3, &[Some(drive(1)), None])).unwrap();
    machine.command(relocate("a", 1, 10, 0, 1, 4)).unwrap();
    assert_eq!(machine.command(replace("a", 1, (10, 10, 50), &[5, 6, 7])), Ok(Outcome::Done));
    let object = machine.object("a").unwrap();
    let now = &object.segments[0];
    assert_eq!((now.segment.id, now.segment.seal_id), (segment_id(50), segment_id(10)));
    assert_eq!(now.segment.profile, Profile::Copies(3));
    assert_eq!(now.segment.drives, [5, 6, 7].map(|number| Some(drive(number))));
    let offsets: Vec<u64> = object.segments.iter().map(|row| row.part_offset).collect();
    assert_eq!(offsets, [0, 100, 200]);
    assert_eq!((object.version.size, object.version.segment_count), (300, 3));
    // The garbage says where the old chunks really were.
    let garbage = machine.ask(|view| view.garbage(Timestamp(u64::MAX), 10)).unwrap();
    assert_eq!(garbage.len(), 1);
    assert_eq!(garbage[0].segment.id, segment_id(10));
    assert_eq!(garbage[0].segment.drives, [Some(drive(4)), None]);
    // All indexes follow.
    assert_eq!(found(&machine, 10), None);
    assert_eq!(found(&machine, 50).as_ref(), Some(&now.segment));
    let on = |number| machine.ask(|view| view.segments_on_drive(drive(number), None, 10)).unwrap().0.len();
    assert_eq!([on(1), on(4), on(5), on(6), on(7)], [2, 0, 1, 1, 1]);
    assert_eq!(machine.ask(|view| view.incomplete_segments(None, 10)).unwrap().0.len(), 2);
    machine.check();
    // It may move, be re-coded again, and go like any other.
    machine.command(relocate("a", 1, 50, 2, 7, 8)).unwrap();
    assert_eq!(machine.command(replace("a", 1, (10, 50, 60), &[1, 2])), Ok(Outcome::Done));
    machine.command(delete("a")).unwrap();
    assert_eq!(machine.garbage_ids(), [10, 50, 60, 11, 12].map(segment_id));
    machine.check();
}

#[test]
fn an_exchange_that_does_not_fit_changes_nothing() {
    let mut machine = Machine::with_bucket(1);
    machine.command(put("a", 1, 10, 1)).unwrap();
    machine.command(put("b", 2, 20, 1)).unwrap();
    machine.command(put("c", 3, 30, 1)).unwrap();
    machine.command(delete("c")).unwrap();
    machine.reap(&[segment_id(40)]);
    let with = |change: &dyn Fn(&mut Segment)| {
        let mut command = replace("a", 1, (10, 10, 50), &[3, 4]);
        if let Command::ReplaceSegment { new, .. } = &mut command {
            change(new);
        }
        command
    };
    let before: Vec<String> = machine.dump().into_iter().filter(|line| !line.starts_with("meta")).collect();
    for (what, command, code) in [
        ("another segment by now", replace("a", 1, (10, 11, 50), &[3, 4]), ErrorCode::Conflict),
        ("another version by now", replace("a", 9, (10, 10, 50), &[3, 4]), ErrorCode::Conflict),
        ("deleted", replace("c", 3, (30, 30, 50), &[3, 4]), ErrorCode::Conflict),
        ("reaped", replace("a", 1, (10, 10, 40), &[3, 4]), ErrorCode::Conflict),
        ("in use", replace("a", 1, (10, 10, 20), &[3, 4]), ErrorCode::Conflict),
        ("garbage", replace("a", 1, (10, 10, 30), &[3, 4]), ErrorCode::Conflict),
        ("itself", replace("a", 1, (10, 10, 10), &[3, 4]), ErrorCode::InvalidArgument),
        ("sealed anew", replace("a", 1, (11, 10, 50), &[3, 4]), ErrorCode::InvalidArgument),
        ("length", with(&|new| new.length = 99), ErrorCode::InvalidArgument),
        ("key", with(&|new| new.key_generation = 2), ErrorCode::InvalidArgument),
        ("cipher", with(&|new| new.cipher = grid_types::Cipher::Aes256Gcm), ErrorCode::InvalidArgument),
        ("blocks", with(&|new| new.block_packets = 0), ErrorCode::InvalidArgument),
        ("drives", with(&|new| new.drives.push(None)), ErrorCode::InvalidArgument),
        ("nothing", with(&|new| new.drives = vec![None, None]), ErrorCode::InvalidArgument),
        (
            "empty",
            with(&|new| (new.profile, new.drives) = (Profile::Copies(0), vec![])),
            ErrorCode::InvalidArgument,
        ),
    ] {
        assert_eq!(machine.command(command), Err(code), "{what}");
    }
    let after: Vec<String> = machine.dump().into_iter().filter(|line| !line.starts_with("meta")).collect();
    assert_eq!(before, after);
}

#[test]
fn parts_of_an_open_upload_are_exchanged_and_completed() {
    let mut machine = Machine::with_bucket(1);
    machine.command(create_upload("u", 7)).unwrap();
    machine.command(put_part("u", 7, 1, 70, 100)).unwrap();
    assert_eq!(machine.command(replace("u", 7, (70, 70, 80), &[1, 2])), Ok(Outcome::Done));
    machine.command(complete("u", 7, &[1], 0)).unwrap();
    assert_eq!(machine.object("u").unwrap().segments[0].segment.id, segment_id(80));
    // The same part stored once more throws the re-coded one away.
    machine.command(create_upload("v", 8)).unwrap();
    machine.command(put_part("v", 8, 1, 90, 100)).unwrap();
    machine.command(replace("v", 8, (90, 90, 95), &[1, 2])).unwrap();
    machine.command(put_part("v", 8, 1, 99, 100)).unwrap();
    assert_eq!(machine.garbage_ids(), [70, 90, 95].map(segment_id));
    machine.check();
}

#[test]
fn a_scan_finds_what_is_wanted_page_by_page() {
    let mut machine = Machine::with_bucket(1);
    let many = u32::try_from(SCAN_SEGMENTS_MAX).unwrap() + 70;
    machine.command(put("many", 1, 1_000, many)).unwrap();
    machine.command(create_upload("u", 7)).unwrap();
    machine.command(put_part("u", 7, 1, 70, 100)).unwrap();
    let scan = |machine: &Machine, wanted: &dyn Fn(&Segment) -> bool, limit| {
        let (mut all, mut cursor, mut pages): (Vec<ClassedSegment>, _, _) = (Vec::new(), None, 0);
        loop {
            let (page, next) = machine.ask(|view| view.segments_that(wanted, cursor, limit)).unwrap();
            assert!(page.len() <= limit);
            all.extend(page);
            pages += 1;
            cursor = next;
            if cursor.is_none() {
                return (all, pages);
            }
        }
    };
    let (all, _) = scan(&machine, &|_| true, 100);
    assert_eq!(all.len(), SCAN_SEGMENTS_MAX + 71);
    let ids: BTreeSet<SegmentId> = all.iter().map(|found| found.row.segment.id).collect();
    assert_eq!(ids.len(), all.len(), "each once");
    let (few, pages) = scan(&machine, &|segment| segment.profile == Profile::Copies(1), 100);
    assert_eq!(few.len(), 1, "the upload's part is of one drive");
    assert_eq!((few[0].key.as_str(), few[0].storage_class.as_str()), ("u", "STANDARD"));
    assert_eq!(few[0].row.owner, SegmentOwner { version: version_id(7), part: 1, number: 0 });
    assert_eq!(pages, 2, "an empty page does not end it");
    // What is exchanged under the cursor neither ends the scan nor comes twice.
    machine.command(replace("many", 1, (1_000, 1_000, 5), &[3])).unwrap();
    let (thin, _) = scan(&machine, &|segment| segment.profile == Profile::Copies(1), 1);
    assert_eq!(thin.len(), 2);
    assert!(machine.ask(|view| view.segments_that(&|_| true, Some(vec![1, 2]), 9)).is_err(), "no cursor");
}

/// Commits, exchanges, deletes and reaping in any order: what was reaped is in no row, what is in a row was not reaped,
/// every segment that ever stood in a row is there, garbage, or dead, and seal ids stay with their rows.
#[test]
fn commit_exchange_and_reap_exclude_each_other_in_any_order() {
    let mut exchanged = 0;
    for seed in 0..200 {
        let random = SeededRandom::new(7_000 + seed);
        let mut machine = Machine::with_bucket(1);
        let mut dead: BTreeSet<SegmentId> = BTreeSet::new();
        let mut stood: BTreeSet<SegmentId> = BTreeSet::new();
        // By key: version, seal, segment, as the last accepted command left it.
        let mut rows: BTreeMap<u64, (u64, u64, u64)> = BTreeMap::new();
        for number in 2..100u64 {
            let (name, id) = (random.below(4), random.below(100) + 1);
            let text = format!("k{name}");
            match random.below(8) {
                0 | 1 => {
                    let ids: Vec<SegmentId> = (0..4).map(|next| segment_id((id + next) % 101)).collect();
                    for reaped in machine.reap(&ids) {
                        let held = machine.ask(|view| view.find_segment(reaped)).unwrap();
                        assert!(held.is_none(), "seed {seed}: a referenced segment was reaped");
                        dead.insert(reaped);
                    }
                }
                2 => {
                    machine.command(delete(&text)).unwrap();
                    rows.remove(&name);
                }
                3 => match machine.command(put(&text, number, id, 1)) {
                    Ok(_) => {
                        assert!(!dead.contains(&segment_id(id)) && stood.insert(segment_id(id)));
                        rows.insert(name, (number, id, id));
                    }
                    Err(ErrorCode::Unavailable) => assert!(dead.contains(&segment_id(id))),
                    Err(ErrorCode::Conflict) => assert!(stood.contains(&segment_id(id))),
                    other => panic!("seed {seed}: {other:?}"),
                },
                4 => {
                    let garbage = machine.ask(|view| view.garbage(Timestamp(u64::MAX), 1)).unwrap();
                    let sequences = garbage.iter().map(|row| row.sequence).collect();
                    machine.command(Command::GarbageDone { sequences }).unwrap();
                    for row in garbage {
                        stood.remove(&row.segment.id);
                    }
                }
                _ => {
                    let Some(&(version, seal, old)) = rows.get(&name) else { continue };
                    // Sometimes by a row that was read long ago.
                    let expected = if random.below(4) == 0 { random.below(100) + 1 } else { old };
                    let answer = machine.command(replace(&text, version, (seal, expected, id), &[1, 2, 3]));
                    match answer {
                        Ok(_) => {
                            assert_eq!(expected, old, "seed {seed}");
                            assert!(!dead.contains(&segment_id(id)) && stood.insert(segment_id(id)));
                            rows.insert(name, (version, seal, id));
                            exchanged += 1;
                        }
                        Err(ErrorCode::Conflict) => assert!(
                            expected != old
                                || dead.contains(&segment_id(id))
                                || stood.contains(&segment_id(id)),
                            "seed {seed}: refused without a reason"
                        ),
                        Err(ErrorCode::InvalidArgument) => assert_eq!(id, old),
                        other => panic!("seed {seed}: {other:?}"),
                    }
                }
            }
            for (name, (version, seal, id)) in &rows {
                let object = machine.object(&format!("k{name}")).unwrap();
                let now = &object.segments[0].segment;
                assert_eq!(
                    (object.version.version, now.seal_id, now.id),
                    (version_id(*version), segment_id(*seal), segment_id(*id)),
                    "seed {seed}"
                );
            }
        }
        let waste: BTreeSet<SegmentId> = machine.garbage_ids().into_iter().collect();
        let named: BTreeSet<SegmentId> = rows.values().map(|(_, _, id)| segment_id(*id)).collect();
        let accounted: BTreeSet<SegmentId> = waste.union(&named).copied().collect();
        assert_eq!(accounted, stood, "seed {seed}: a segment got lost between row and garbage");
        machine.check();
    }
    assert!(exchanged > 500, "only {exchanged} exchanges happened");
}
