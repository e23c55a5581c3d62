//! Leaders spread over the nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use grid_types::{Score, ShardId};

use super::fixture::{bucket, put_inline, runtime};
use super::grid::{Grid, keys, until};
use crate::MetaConfig;

const SETTLE: Duration = Duration::from_millis(500);

/// How many shards each node leads, the root shard aside.
fn led(grid: &Grid) -> BTreeMap<u64, usize> {
    let shards = grid.store(1).shards();
    let led = |number: u64| shards.iter().filter(|shard| grid.store(number).leads(**shard)).count();
    grid.nodes.iter().map(|node| (node.number, led(node.number))).collect()
}

fn even(grid: &Grid) -> bool {
    let led = led(grid);
    let (least, most) = (led.values().min().unwrap(), led.values().max().unwrap());
    most - least <= 1 && led.values().sum::<usize>() == grid.store(1).shards().len()
}

#[test]
fn leaders_spread_and_leave_whom_they_should_while_writes_go_on() {
    runtime().block_on(async {
        let config = MetaConfig { leader_settle: SETTLE, ..MetaConfig::default() };
        let mut grid = Grid::of_many_shards(6, config).await;
        until(|| even(&grid)).await;

        // A node that is suspected is given nothing; a node that should lead nothing gives all away.
        let photos = bucket(1, "photos");
        grid.change(3, |member| member.suspected = true);
        grid.change(1, |member| member.score = Score::LOCKED);
        let before = led(&grid)[&3];
        let mut stored = 0;
        until(|| led(&grid)[&1] == 0 && !grid.store(1).leads(ShardId::ROOT)).await;
        for number in 0..10u64 {
            let op = grid.store(1).new_op();
            let text = format!("new {number}");
            grid.store(1).commit(op, put_inline(&photos, &text, 1_000 + number, b"x")).await.unwrap();
            stored += 1;
        }
        assert_eq!(keys(grid.store(3), photos.id).await.len(), 100 + stored);
        assert!(led(&grid)[&3] <= before, "to a suspect");
        grid.shutdown().await;
    });
}

#[test]
fn a_voter_that_does_not_answer_takes_nothing_over() {
    runtime().block_on(async {
        let grid = Grid::of(3, MetaConfig { leader_settle: Duration::MAX, ..MetaConfig::default() }).await;
        let shard = ShardId(1);
        let leader = grid.leader(shard).unwrap();
        let other = (1..=3).find(|number| *number != leader).unwrap();
        let group = grid.store(leader).inner.group(shard).unwrap();
        until(|| group.could_take_over(other, &grid.members)).await;
        assert!(!group.could_take_over(leader + 10, &grid.members), "no voter");
        let suspected = |number: u64| {
            let mut members = grid.members.clone();
            members
                .iter_mut()
                .filter(|member| member.number == number)
                .for_each(|member| member.suspected = true);
            members
        };
        assert!(!group.could_take_over(other, &suspected(other)));
        // Nobody has told that it is gone yet.
        grid.net.leave(super::grid::id(other));
        until(|| !group.could_take_over(other, &grid.members)).await;
        assert!(group.leads());
        grid.shutdown().await;
    });
}
