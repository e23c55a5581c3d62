//! The whole table of the drive states.

use super::DriveEvent::{self, Accepted, DrainOrdered, Emptied, Failed, ForeignLabel, Lost, Probed};
use super::DriveState::{self, Active, Draining, Failing, Foreign, Removed, Suspect, Waiting};

const STATES: [DriveState; 7] = [Waiting, Active, Suspect, Failing, Draining, Removed, Foreign];
const EVENTS: [DriveEvent; 7] = [Accepted, Lost, Probed, Failed, DrainOrdered, Emptied, ForeignLabel];

#[test]
fn only_the_drawn_arrows_exist() {
    let mut arrows = vec![
        (Waiting, Accepted, Active),
        (Foreign, Accepted, Active),
        (Failing, Accepted, Active),
        (Active, Lost, Suspect),
        (Suspect, Probed, Active),
        (Active, Failed, Failing),
        (Suspect, Failed, Failing),
        (Active, DrainOrdered, Draining),
        (Suspect, DrainOrdered, Draining),
        (Failing, DrainOrdered, Draining),
        (Draining, Emptied, Removed),
        (Failing, Emptied, Removed),
    ];
    arrows.extend(
        STATES.iter().filter(|state| **state != Removed).map(|state| (*state, ForeignLabel, Foreign)),
    );
    for state in STATES {
        for event in EVENTS {
            let drawn =
                arrows.iter().find(|(from, on, _)| (*from, *on) == (state, event)).map(|(_, _, to)| *to);
            assert_eq!(state.after(event), drawn, "{state:?} on {event:?}");
        }
    }
}

#[test]
fn only_active_drives_take_chunks_and_doubtful_ones_are_still_read() {
    let writable: Vec<_> = STATES.into_iter().filter(|state| state.writable()).collect();
    let readable: Vec<_> = STATES.into_iter().filter(|state| state.readable()).collect();
    assert_eq!(writable, [Active]);
    assert_eq!(readable, [Active, Suspect, Draining]);
}

#[test]
fn a_drive_that_left_never_returns_by_itself() {
    assert!(EVENTS.into_iter().all(|event| Removed.after(event).is_none()));
}
