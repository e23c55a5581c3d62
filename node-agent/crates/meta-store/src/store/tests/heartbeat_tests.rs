//! Heartbeats of many shards.

use std::time::Duration;

use futures_util::FutureExt;
use grid_types::ShardId;

use super::fixture::runtime;
use super::grid::{Grid, until};
use crate::group::BEAT;
use crate::{MetaConfig, MetaStore};

const SHARDS: usize = 8;
/// What the test looks at.
const BEATS: u32 = 8;

/// Nothing moves between its nodes.
async fn grid_of_many_shards() -> Grid {
    Grid::of_many_shards(SHARDS, MetaConfig { leader_settle: Duration::MAX, ..MetaConfig::default() }).await
}

fn fresh(store: &MetaStore) -> Vec<ShardId> {
    let groups = store.inner.groups.read();
    groups.iter().filter(|(_, group)| group.fresh(4 * BEAT).is_some()).map(|(shard, _)| *shard).collect()
}

#[test]
fn an_idle_grid_sends_a_message_a_beat_however_many_shards_it_has() {
    runtime().block_on(async {
        let grid = grid_of_many_shards().await;
        let begun = tokio::time::Instant::now();
        let (beats, appends) = (grid.calls.of("/meta/heartbeats"), grid.calls.of("/meta/append"));
        tokio::time::sleep(BEAT * BEATS).await;
        let passed = begun.elapsed().as_secs_f64() / BEAT.as_secs_f64();
        // Nine groups by themselves would send nine times as many.
        let messages = grid.calls.of("/meta/heartbeats") - beats;
        let leaders: std::collections::BTreeSet<_> =
            grid.store(1).shards().into_iter().filter_map(|shard| grid.leader(shard)).collect();
        let ways = 2.0 * (leaders.len() + 1) as f64;
        assert!(
            messages > 0 && (messages as f64) < 2.0 * ways * (passed + 1.0),
            "{messages} in {passed} beats"
        );
        assert_eq!(grid.calls.of("/meta/append"), appends, "nothing else says that a leader lives");
        for node in &grid.nodes {
            assert_eq!(fresh(&node.store).len(), node.store.shards().len() + 1, "node {}", node.number);
        }
        grid.shutdown().await;
    });
}

#[test]
fn a_replica_that_stands_still_leaves_the_others_their_heartbeats() {
    runtime().block_on(async {
        let grid = grid_of_many_shards().await;
        let still = ShardId(1);
        let follower = (1..=3).find(|number| grid.leader(still) != Some(*number)).unwrap();
        let group = grid.store(follower).inner.group(still).unwrap();
        let (go_on, stands) = tokio::sync::oneshot::channel::<()>();
        let standing = tokio::spawn(async move {
            let work = async move {
                let _ = stands.await;
                Ok(())
            };
            group.exchange(work.boxed()).await
        });
        until(|| !fresh(grid.store(follower)).contains(&still)).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(fresh(grid.store(follower)).len(), grid.store(follower).shards().len(), "all but one");
        go_on.send(()).unwrap();
        standing.await.unwrap().unwrap();
        until(|| fresh(grid.store(follower)).contains(&still)).await;
        grid.shutdown().await;
    });
}
