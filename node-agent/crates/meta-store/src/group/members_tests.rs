use std::collections::BTreeSet;

use grid_types::NodeId;
use proptest::prelude::*;

use super::{choose_voters, voters_wanted};
use crate::peers::MetaMember;

fn members(alive: &[bool]) -> Vec<MetaMember> {
    (1u8..)
        .zip(alive)
        .map(|(number, alive)| MetaMember {
            alive: *alive,
            ..MetaMember::healthy(u64::from(number), NodeId::from_bytes([number; 16]))
        })
        .collect()
}

fn set(numbers: &[u64]) -> BTreeSet<u64> {
    numbers.iter().copied().collect()
}

#[test]
fn a_grid_grows_its_voters_by_the_table() {
    let all = set(&[1, 2, 3, 4, 5, 6, 7]);
    let voters = |count: usize| choose_voters(&members(&vec![true; count]), &set(&[1]), &all);
    assert_eq!(voters(1), set(&[1]));
    assert_eq!(voters(2), set(&[1, 2]));
    assert_eq!(voters(3), set(&[1, 2, 3]));
    assert_eq!(voters(4), set(&[1, 2, 3]));
    assert_eq!(voters(5), set(&[1, 2, 3, 4, 5]));
    assert_eq!(voters(7), set(&[1, 2, 3, 4, 5]));
}

#[test]
fn a_silent_voter_goes_only_where_somebody_takes_its_place() {
    let now = set(&[1, 2, 3]);
    assert_eq!(choose_voters(&members(&[true, false, true]), &now, &now), now);
    let four = members(&[true, false, true, true]);
    assert_eq!(choose_voters(&four, &now, &set(&[1, 3, 4])), set(&[1, 3, 4]));
    assert_eq!(choose_voters(&four, &now, &set(&[1, 3])), now, "the fourth has not caught up");
}

#[test]
fn a_removed_member_loses_its_vote() {
    let two = members(&[true, true]);
    assert_eq!(choose_voters(&two, &set(&[1, 2, 9]), &set(&[1, 2])), set(&[1, 2]));
}

proptest! {
    /// Never more than wanted, never fewer than now where all of them are members, and only members.
    #[test]
    fn voters_stay_within_the_table(
        alive in proptest::collection::vec(any::<bool>(), 1..9),
        now in proptest::collection::btree_set(1u64..9, 1..5),
        caught_up in proptest::collection::btree_set(1u64..9, 0..9),
    ) {
        let members = members(&alive);
        let chosen = choose_voters(&members, &now, &caught_up);
        let wanted = voters_wanted(members.len());
        prop_assert!(chosen.len() <= wanted);
        prop_assert!(chosen.iter().all(|voter| *voter <= alive.len() as u64));
        let kept = now.iter().filter(|voter| **voter <= alive.len() as u64).count();
        prop_assert!(chosen.len() >= kept.min(wanted));
        for newcomer in chosen.difference(&now) {
            prop_assert!(caught_up.contains(newcomer));
            prop_assert!(alive[*newcomer as usize - 1]);
        }
    }
}
