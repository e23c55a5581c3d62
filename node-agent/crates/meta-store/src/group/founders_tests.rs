use std::collections::BTreeSet;
use std::time::Duration;

use grid_types::NodeId;

use super::{MAJORITY_PATIENCE, STRAGGLER_PATIENCE, choose_founders};
use crate::peers::MetaMember;

fn chosen(voters: &[u64], holders: &[u64], dead: &[u64], waited: Duration) -> Option<Vec<u64>> {
    let members: Vec<MetaMember> = (1u8..=9)
        .map(|number| MetaMember {
            alive: !dead.contains(&u64::from(number)),
            ..MetaMember::healthy(u64::from(number), NodeId::from_bytes([number; 16]))
        })
        .collect();
    let set = |numbers: &[u64]| numbers.iter().copied().collect::<BTreeSet<u64>>();
    let founders = choose_founders(&set(voters), &set(holders), &members, waited);
    founders.map(|founders| founders.into_iter().collect())
}

const AT_ONCE: Duration = Duration::ZERO;

#[test]
fn the_parents_voters_found_the_child_once_they_hold_it() {
    assert_eq!(chosen(&[1, 2, 3], &[1, 2, 3, 4], &[], AT_ONCE), Some(vec![1, 2, 3]));
    assert_eq!(chosen(&[1, 2, 3], &[1, 2, 4], &[], AT_ONCE), None, "the third is on its way");
}

#[test]
fn a_voter_that_is_away_is_no_founder() {
    assert_eq!(chosen(&[1, 2, 3], &[1, 2], &[3], AT_ONCE), Some(vec![1, 2]));
    assert_eq!(chosen(&[1, 2, 3], &[1, 2, 7], &[3], AT_ONCE), Some(vec![1, 2, 7]));
    assert_eq!(chosen(&[1, 2, 3], &[1, 2], &[], STRAGGLER_PATIENCE), Some(vec![1, 2]));
}

#[test]
fn fewer_than_a_majority_found_it_only_where_no_others_come() {
    assert_eq!(chosen(&[1, 2, 3], &[1], &[2, 3], STRAGGLER_PATIENCE), None);
    assert_eq!(chosen(&[1, 2], &[1], &[2], STRAGGLER_PATIENCE), None);
    assert_eq!(chosen(&[1, 2, 3], &[1], &[], MAJORITY_PATIENCE), Some(vec![1]));
    assert_eq!(chosen(&[1, 2, 3], &[], &[], MAJORITY_PATIENCE), None);
}
