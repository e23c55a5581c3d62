//! What is believed, what is not, and what replaces what: by table.

use std::time::Duration;

use grid_types::{NodeId, Timestamp};

use super::config::{
    AHEAD_MAX, FLOOR_EARLIEST, FLOOR_SLACK, GRID_TIME_AFTER, HOPS_MAX, PROOF_STALE_AFTER, TIME_MAX,
};
use super::core::{Anchor, Offer, PeerReading, ProvenTime, Refusal};
use super::source::{Strength, TimeSource};

const BOOT: Duration = Duration::from_secs(1_000);
/// What the drives kept.
const FLOOR: Timestamp = Timestamp::from_secs(1_800_000_000);
const SECOND: Duration = Duration::from_secs(1);

fn node(key: u8) -> NodeId {
    NodeId::from_bytes([key; 16])
}

fn core() -> ProvenTime {
    ProvenTime::new(node(1), Some(FLOOR), BOOT)
}

/// So many seconds after the floor.
fn after(seconds: u64) -> Timestamp {
    FLOOR.plus(Duration::from_secs(seconds))
}

fn offer(source: TimeSource, time: Timestamp) -> Offer {
    let (strength, hops) = match source {
        TimeSource::Rtc => (Strength::Rtc, 0),
        TimeSource::Operator => (Strength::Operator, 0),
        TimeSource::Peer(_) => (Strength::Reference, 1),
        _ => (Strength::Reference, 0),
    };
    Offer { source, strength, hops, anchor: Anchor { boot: BOOT, time }, uncertainty: SECOND / 100 }
}

fn told(source: TimeSource, time: Timestamp, boot: Duration) -> PeerReading {
    let strength = match source {
        TimeSource::Unproven | TimeSource::Grid => None,
        TimeSource::Rtc => Some(Strength::Rtc),
        TimeSource::Operator => Some(Strength::Operator),
        _ => Some(Strength::Reference),
    };
    let hops = u8::from(matches!(source, TimeSource::Peer(_)));
    let uncertainty = SECOND / 100;
    PeerReading { anchor: Anchor { boot, time }, uncertainty, source, strength, hops, floor: FLOOR_EARLIEST }
}

#[test]
fn a_time_before_the_floor_is_never_believed() {
    let boot = BOOT + Duration::from_secs(100);
    let sources = [TimeSource::Rtc, TimeSource::Ntp, TimeSource::Peer(node(2)), TimeSource::Operator];
    for source in sources {
        let mut core = core();
        let before = Timestamp(FLOOR.0 - 1_000_000);
        let refusal = core.offer(offer(source, before), BOOT).unwrap_err();
        assert_eq!(refusal, Refusal::BelowFloor { offered: before, floor: FLOOR }, "{source}");
        assert_eq!((core.source(), core.estimate().at(boot)), (TimeSource::Unproven, after(100)));
        assert_eq!(core.refused().get(source.word()), Some(&refusal));
        core.offer(offer(source, FLOOR), BOOT).unwrap();
        assert_eq!((core.source(), core.refused().len()), (source, 0));
        assert_eq!(core.estimate().at(boot), after(100));
    }
    let never = ProvenTime::new(node(1), None, BOOT);
    assert_eq!(never.floor().time, FLOOR_EARLIEST);
    assert_eq!(ProvenTime::new(node(1), Some(Timestamp(5)), BOOT).floor().time, FLOOR_EARLIEST);
}

#[test]
fn the_floor_follows_proofs_and_what_passes_but_no_rtc() {
    let hour = Duration::from_secs(3_600);
    let mut core = core();
    assert_eq!(core.floor().at_least(BOOT + hour), FLOOR.plus(hour - hour / 1_000));
    core.offer(offer(TimeSource::Rtc, after(1_000_000)), BOOT).unwrap();
    assert_eq!(core.floor().at_least(BOOT), FLOOR, "an RTC an hour ahead would shut out what is right");
    core.offer(offer(TimeSource::Ntp, after(5_000)), BOOT).unwrap();
    assert_eq!(core.floor().at_least(BOOT), after(5_000 - FLOOR_SLACK.as_secs()));
    core.offer(offer(TimeSource::Ntp, after(4_999)), BOOT).unwrap();
    assert_eq!(core.floor().at_least(BOOT), after(5_000 - FLOOR_SLACK.as_secs()), "it does not sink");
}

#[test]
fn what_replaces_what() {
    let peer = TimeSource::Peer(node(2));
    let order = [TimeSource::Rtc, TimeSource::Operator, peer, TimeSource::Ntp];
    for (have, first) in order.into_iter().enumerate() {
        for (get, second) in order.into_iter().enumerate() {
            let mut core = core();
            core.offer(offer(first, after(10)), BOOT).unwrap();
            let answer = core.offer(offer(second, after(20)), BOOT);
            assert_eq!(
                answer,
                if get >= have { Ok(()) } else { Err(Refusal::Worse(first)) },
                "{second} after {first}"
            );
            assert_eq!(core.source(), if get >= have { second } else { first });
            assert_eq!(core.estimate().at(BOOT), after(if get >= have { 20 } else { 10 }));
        }
    }
    // A proof of yesterday is replaced by any.
    let mut core = core();
    core.offer(offer(TimeSource::Ntp, after(10)), BOOT).unwrap();
    let later = Offer {
        anchor: Anchor { boot: BOOT + PROOF_STALE_AFTER, time: after(10).plus(PROOF_STALE_AFTER) },
        ..offer(TimeSource::Rtc, FLOOR)
    };
    assert_eq!(core.offer(later, BOOT + PROOF_STALE_AFTER - SECOND), Err(Refusal::Worse(TimeSource::Ntp)));
    core.offer(later, BOOT + PROOF_STALE_AFTER).unwrap();
    assert_eq!(core.source(), TimeSource::Rtc);
}

#[test]
fn mad_times_are_refused_and_an_operator_overrules() {
    let mut core = core();
    let far = FLOOR.plus(AHEAD_MAX + SECOND);
    for source in [TimeSource::Rtc, TimeSource::Ntp, TimeSource::Peer(node(2))] {
        assert_eq!(core.offer(offer(source, far), BOOT), Err(Refusal::TooFarAhead), "{source}");
    }
    let never = offer(TimeSource::Operator, TIME_MAX.plus(SECOND));
    assert_eq!(core.offer(never, BOOT), Err(Refusal::TooFarAhead));
    assert_eq!(core.overrule(never, BOOT), Err(Refusal::TooFarAhead));
    core.offer(offer(TimeSource::Ntp, after(10)), BOOT).unwrap();
    let jump = core.offer(offer(TimeSource::Ntp, after(1_100)), BOOT);
    assert_eq!(jump, Err(Refusal::Jump(Duration::from_secs(1_090))));
    let back = core.offer(offer(TimeSource::Ntp, after(9)), BOOT);
    assert_eq!((back, core.estimate().at(BOOT)), (Ok(()), after(9)), "small steps are taken, back as well");
    assert_eq!(
        core.offer(offer(TimeSource::Operator, after(10)), BOOT),
        Err(Refusal::Worse(TimeSource::Ntp))
    );

    // Everybody was wrong by a year: an operator lowers the floor, and then all others are held against that.
    let year = Duration::from_secs(365 * 86_400);
    let right = Timestamp(FLOOR.0 - u64::try_from(year.as_micros()).unwrap());
    core.overrule(offer(TimeSource::Operator, right), BOOT).unwrap();
    assert_eq!((core.source(), core.estimate().at(BOOT)), (TimeSource::Operator, right));
    core.offer(offer(TimeSource::Ntp, right.plus(SECOND)), BOOT).unwrap();
    assert_eq!(core.estimate().at(BOOT), right.plus(SECOND));
}

#[test]
fn the_hosts_clock_counts_where_it_is_told_to() {
    let mut core = core();
    core.follow_host(Anchor { boot: BOOT, time: Timestamp::from_secs(1) });
    assert_eq!((core.source(), core.estimate().at(BOOT)), (TimeSource::Host, Timestamp::from_secs(1)));
    for source in [TimeSource::Ntp, TimeSource::Operator] {
        assert_eq!(core.offer(offer(source, after(10)), BOOT), Err(Refusal::Host));
    }
    assert_eq!(core.overrule(offer(TimeSource::Operator, after(1)), BOOT), Err(Refusal::Host));
    core.peer(node(2), told(TimeSource::Ntp, after(10), BOOT), BOOT);
    assert_eq!(
        (core.source(), core.peers().len()),
        (TimeSource::Host, 1),
        "others are compared, not followed"
    );
}

#[test]
fn members_prove_the_time_where_most_of_the_strongest_agree() {
    let check = |readings: &[(u8, TimeSource, u64)], expected: Option<(u8, u64)>| {
        let mut core = core();
        for (key, source, seconds) in readings {
            core.peer(node(*key), told(*source, after(*seconds), BOOT), BOOT);
        }
        let source = expected.map_or(TimeSource::Unproven, |(key, _)| TimeSource::Peer(node(key)));
        assert_eq!(core.source(), source, "{readings:?}");
        if let Some((_, seconds)) = expected {
            assert_eq!(core.estimate().at(BOOT), after(seconds), "{readings:?}");
        }
    };
    check(&[(2, TimeSource::Unproven, 50)], None);
    check(&[(2, TimeSource::Grid, 50)], None);
    check(&[(2, TimeSource::Ntp, 50)], Some((2, 50)));
    check(&[(2, TimeSource::Rtc, 50)], Some((2, 50)));
    check(&[(2, TimeSource::Rtc, 50), (3, TimeSource::Rtc, 50), (4, TimeSource::Host, 90)], Some((4, 90)));
    check(&[(2, TimeSource::Peer(node(1)), 50)], None);
    check(&[(2, TimeSource::Peer(node(3)), 50)], Some((2, 50)));
    check(&[(1, TimeSource::Ntp, 50)], None);

    // Two that contradict each other from the beginning: who came first was believed, who contradicts it is refused.
    let mut core = core();
    core.peer(node(2), told(TimeSource::Ntp, after(50), BOOT), BOOT);
    core.peer(node(3), told(TimeSource::Host, after(5_000), BOOT), BOOT);
    assert_eq!(core.estimate().at(BOOT), after(50));
    core.peer(node(4), told(TimeSource::Ntp, after(50), BOOT), BOOT);
    assert_eq!(core.estimate().at(BOOT), after(50));
    assert_eq!(core.refused().len(), 0);

    let mut core = self::core();
    let handed_on = PeerReading { hops: HOPS_MAX, ..told(TimeSource::Ntp, after(50), BOOT) };
    core.peer(node(2), handed_on, BOOT);
    assert_eq!(core.source(), TimeSource::Unproven);
}

#[test]
fn a_majority_without_a_proof_agrees_on_grid_time_and_a_proof_ends_it() {
    let voters = [node(1), node(2), node(3)];
    let mut core = core();
    let silent = |core: &mut ProvenTime, boot: Duration, floor: u64| {
        let reading = PeerReading { floor: after(floor), ..told(TimeSource::Unproven, after(0), boot) };
        core.peer(node(2), reading, boot);
        core.tick(boot, &voters);
    };
    // Alone of three nothing is agreed upon, however long.
    core.tick(BOOT, &voters);
    core.tick(BOOT + GRID_TIME_AFTER * 2, &voters);
    assert_eq!(core.source(), TimeSource::Unproven);
    let begin = BOOT + GRID_TIME_AFTER * 2;
    let mut boot = begin;
    while boot < begin + GRID_TIME_AFTER {
        silent(&mut core, boot, 90_000);
        assert_eq!(core.source(), TimeSource::Unproven, "{:?}", boot - begin);
        boot += Duration::from_secs(5);
    }
    silent(&mut core, boot, 90_000);
    assert_eq!((core.source(), core.estimate().at(boot)), (TimeSource::Grid, after(90_000)));
    // It runs on, takes over whoever is further, and stays where the majority is lost.
    silent(&mut core, boot + SECOND, 0);
    assert_eq!(core.estimate().at(boot + SECOND), after(90_001));
    core.peer(node(3), told(TimeSource::Grid, after(90_100), boot), boot);
    core.tick(boot + SECOND, &voters);
    assert_eq!(core.estimate().at(boot + SECOND), after(90_101));
    let lost = boot + GRID_TIME_AFTER;
    core.tick(lost, &voters);
    assert_eq!(core.source(), TimeSource::Grid);
    let proof =
        Offer { anchor: Anchor { boot: lost, time: after(200_000) }, ..offer(TimeSource::Ntp, FLOOR) };
    core.offer(proof, lost).unwrap();
    assert_eq!((core.source(), core.estimate().at(lost)), (TimeSource::Ntp, after(200_000)));
}

#[test]
fn grid_time_waits_for_any_proof_and_a_start_takes_it_over() {
    let voters = [node(1), node(2), node(3)];
    let mut core = core();
    let mut boot = BOOT;
    // A proof that is not believed (before the floor) still is a proof: somebody must look.
    while boot < BOOT + GRID_TIME_AFTER * 2 {
        core.peer(node(2), told(TimeSource::Ntp, Timestamp(FLOOR.0 - 5_000_000_000), boot), boot);
        core.tick(boot, &voters);
        boot += Duration::from_secs(5);
    }
    assert_eq!(core.source(), TimeSource::Unproven);
    assert!(matches!(core.refused().get("peer"), Some(Refusal::BelowFloor { .. })));

    let mut core = self::core();
    core.peer(node(9), told(TimeSource::Grid, after(700), BOOT), BOOT);
    core.tick(BOOT, &voters);
    assert_eq!(core.source(), TimeSource::Unproven, "not a voter's, and no majority");
    core.peer(node(2), told(TimeSource::Grid, after(800), BOOT), BOOT);
    core.tick(BOOT, &voters);
    assert_eq!((core.source(), core.estimate().at(BOOT)), (TimeSource::Grid, after(800)));

    // A grid of one agrees with itself.
    let mut core = self::core();
    core.tick(BOOT, &[node(1)]);
    core.tick(BOOT + GRID_TIME_AFTER, &[node(1)]);
    assert_eq!((core.source(), core.estimate().at(BOOT)), (TimeSource::Grid, FLOOR));
    let mut core = self::core();
    core.tick(BOOT, &[]);
    core.tick(BOOT + GRID_TIME_AFTER, &[]);
    assert_eq!(core.source(), TimeSource::Unproven, "nobody is known to vote");
}

#[test]
fn who_is_no_member_any_more_does_not_count() {
    let mut core = core();
    core.peer(node(2), told(TimeSource::Unproven, after(0), BOOT), BOOT);
    core.forget_peers_but(&[node(1), node(3)]);
    assert_eq!(core.peers().len(), 0);
}
