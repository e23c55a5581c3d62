//! Voters that were away while a shard was split, and come back when the logs have forgotten it.

use std::time::Duration;

use grid_types::ShardId;

use super::fixture::{bucket, put_inline, runtime};
use super::grid::{Grid, keys, until};
use crate::MetaConfig;
use crate::root::Bucket;

const PARENT: ShardId = ShardId(1);
const KEYS: u64 = 20;

fn short_logs() -> MetaConfig {
    MetaConfig {
        checkpoint_tail_bytes: 20_000,
        log_entries_kept: 5,
        maintenance_period: Duration::from_millis(20),
        ..MetaConfig::default()
    }
}

async fn put(grid: &Grid, node: u64, bucket: &Bucket, number: u64, id: u64) {
    let store = grid.store(node);
    let command = put_inline(bucket, &format!("{number:02}"), id, &[7; 2_000]);
    store.commit(store.new_op(), command).await.unwrap();
}

async fn grid_with_keys() -> (Grid, Bucket) {
    let grid = Grid::of(3, short_logs()).await;
    let photos = bucket(1, "photos");
    grid.store(1).create_bucket(photos.clone(), vec![1]).await.unwrap();
    for number in 0..KEYS {
        put(&grid, 1, &photos, number, number).await;
    }
    (grid, photos)
}

/// Splits while `away` is down; it comes back when neither log has what it missed. Then another voter dies.
async fn split_without(mut grid: Grid, photos: Bucket, away: u64) {
    grid.kill(away).await;
    let alive: Vec<u64> = (1..=3).filter(|number| *number != away).collect();
    let missed = grid.store(alive[0]).inner.log.group(PARENT).state().last;
    let leader = grid.leader(PARENT).unwrap();
    let child = grid.store(leader).split_shard(PARENT).await.unwrap().expect("it has keys enough");
    for round in 0..12 {
        let puts = (0..16).map(|put| {
            let number = if put % 2 == 0 { 0 } else { KEYS - 1 };
            self::put(&grid, leader, &photos, number, 100 + 16 * round + put)
        });
        futures_util::future::join_all(puts).await;
    }
    let purged = |number: u64, shard| grid.store(number).inner.log.group(shard).state().purged.map(|at| at.0);
    until(|| alive.iter().all(|number| purged(*number, PARENT) > missed.map(|index| index + 10))).await;
    until(|| alive.iter().all(|number| purged(*number, child) > Some(10))).await;

    grid.restart(away).await;
    for shard in [PARENT, child] {
        grid.until_voters(shard, 3).await;
        let voters = || grid.store(away).inner.group(shard).and_then(|group| group.voters());
        until(|| voters().is_ok_and(|voters| voters.contains(&away))).await;
    }
    assert_eq!(keys(grid.store(away), photos.id).await.len(), KEYS as usize);

    // Its vote is the one that the majority needs.
    grid.kill(alive[0]).await;
    until(|| [PARENT, child].iter().all(|shard| grid.leader(*shard).is_some())).await;
    put(&grid, away, &photos, 0, 1_000).await;
    put(&grid, away, &photos, KEYS - 1, 1_001).await;
    grid.shutdown().await;
}

#[test]
fn a_voter_that_missed_a_split_votes_on_both_shards() {
    runtime().block_on(async {
        let (grid, photos) = grid_with_keys().await;
        let away = (1..=3).find(|number| grid.leader(PARENT) != Some(*number)).unwrap();
        split_without(grid, photos, away).await;
    });
}

#[test]
fn a_file_that_a_split_began_is_no_replica_and_gives_way_to_one() {
    runtime().block_on(async {
        let (grid, photos) = grid_with_keys().await;
        let leader = grid.leader(PARENT).unwrap();
        let away = (1..=3).find(|number| *number != leader).unwrap();
        assert!(grid.store(leader).inner.begin_split(PARENT).await.unwrap());
        let (file, _) = grid.store(away).inner.group(PARENT).unwrap().file().unwrap();
        until(|| file.writer().split().is_some()).await;
        let child = file.writer().split().unwrap().child;
        assert!(file.writer().copy_step().unwrap(), "all keys are one batch");
        drop(file);
        let inner = &grid.store(away).inner;
        assert!(inner.homes.storage(child).unwrap().1.exists().unwrap());
        assert!(!inner.holds(child), "the child does not have its range yet");
        split_without(grid, photos, away).await;
    });
}
