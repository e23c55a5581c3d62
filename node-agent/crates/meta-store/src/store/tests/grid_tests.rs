//! Grids that grow, lose members and get them back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use grid_types::{ErrorCode, ShardId};
use rpc::Services;
use sys::{FaultDisk, PowerSupply, RealClock, RealRandom};

use super::fixture::{Folders, bucket, key, put_inline, runtime};
use super::grid::{Grid, PATIENCE, id, keys, until};
use crate::log::LogConfig;
use crate::root::{Expect, RecordKind, RecordWrite};
use crate::{MetaConfig, MetaError, MetaMember, MetaPeers, MetaStore};

fn setting(key: &[u8]) -> RecordWrite {
    RecordWrite { kind: RecordKind::Setting, key: key.to_vec(), expect: Expect::Absent, value: Some(vec![1]) }
}

#[test]
fn a_grid_grows_from_one_to_four_and_every_node_answers_the_same() {
    runtime().block_on(async {
        let mut grid = Grid::found(MetaConfig::default()).await;
        let photos = bucket(1, "photos");
        grid.store(1).create_bucket(photos.clone(), vec![1]).await.unwrap();
        let mut stored = Vec::new();
        for number in 1..=4u64 {
            if number > 1 {
                grid.add(false).await;
            }
            for writer in 1..=number {
                let text = format!("{number}-{writer}");
                let op = grid.store(writer).new_op();
                let written =
                    grid.store(writer).commit(op, put_inline(&photos, &text, number * 10 + writer, b"x"));
                written.await.unwrap();
                stored.push(text);
                for reader in 1..=number {
                    assert_eq!(
                        keys(grid.store(reader), photos.id).await,
                        stored,
                        "from {reader} by {writer}"
                    );
                }
            }
        }
        grid.until_voters(ShardId(1), 3).await;
        grid.until_voters(ShardId::ROOT, 3).await;

        // A bucket made through the last node is there on the first at once, and gone at once.
        let videos = bucket(2, "videos");
        grid.store(4).create_bucket(videos.clone(), vec![2]).await.unwrap();
        assert_eq!(grid.store(1).bucket(&videos.name).await.unwrap().unwrap().id, videos.id);
        grid.store(2).delete_bucket(&videos.name).await.unwrap();
        for other in [3, 4, 1] {
            // A replica may answer from what it knew a moment ago, but not for long.
            while grid.store(other).bucket(&videos.name).await.unwrap().is_some() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        grid.shutdown().await;
    });
}

#[test]
fn writes_go_on_when_the_leader_dies_and_it_catches_up_when_it_is_back() {
    runtime().block_on(async {
        let mut grid = Grid::of(3, MetaConfig::default()).await;
        let photos = bucket(1, "photos");
        grid.store(1).create_bucket(photos.clone(), vec![1]).await.unwrap();
        let mut stored = Vec::new();
        for round in 0..3u64 {
            let dead = grid.leader(ShardId(1)).unwrap();
            grid.kill(dead).await;
            let alive = if dead == 1 { 2 } else { 1 };
            let text = format!("round {round}");
            let op = grid.store(alive).new_op();
            grid.store(alive).commit(op, put_inline(&photos, &text, round, b"x")).await.unwrap();
            stored.push(text);
            grid.restart(dead).await;
            assert_eq!(keys(grid.store(dead), photos.id).await, stored);
        }
        grid.shutdown().await;
    });
}

#[test]
fn a_leader_that_stops_hands_over_before_it_goes() {
    runtime().block_on(async {
        let grid = Grid::of(3, MetaConfig::default()).await;
        let stopping = grid.leader(ShardId::ROOT).unwrap();
        grid.store(stopping).shutdown().await;
        let successors =
            (1..=3).filter(|number| *number != stopping && grid.store(*number).leads(ShardId::ROOT));
        assert_eq!(successors.count(), 1, "there is a leader already, without a timeout");
        grid.shutdown().await;
    });
}

#[test]
fn a_node_that_is_cut_off_neither_writes_nor_reads() {
    runtime().block_on(async {
        let grid = Grid::of(3, MetaConfig::default()).await;
        let photos = bucket(1, "photos");
        grid.store(1).create_bucket(photos.clone(), vec![1]).await.unwrap();
        let cut = grid.leader(ShardId(1)).unwrap();
        grid.net.isolate(&[id(cut)]);
        let other = if cut == 1 { 2 } else { 1 };
        let op = grid.store(other).new_op();
        grid.store(other).commit(op, put_inline(&photos, "new", 1, b"x")).await.unwrap();

        let lonely = grid.store(cut);
        let (op, new) = (lonely.new_op(), key("new"));
        let (write, read) = tokio::join!(
            lonely.commit(op, put_inline(&photos, "lonely", 2, b"y")),
            lonely.object(photos.id, &new, None)
        );
        assert!(lonely.ready().is_err(), "a node without a majority must not say that it is ready");
        assert_eq!(write.unwrap_err().code(), ErrorCode::Unavailable);
        assert_eq!(read.unwrap_err().code(), ErrorCode::Unavailable);

        grid.net.heal();
        assert!(lonely.object(photos.id, &key("new"), None).await.unwrap().is_some());
        grid.shutdown().await;
    });
}

#[test]
fn a_replica_that_missed_what_was_purged_goes_on_from_a_snapshot() {
    runtime().block_on(async {
        let config = MetaConfig {
            checkpoint_tail_bytes: 20_000,
            log_entries_kept: 5,
            maintenance_period: Duration::from_millis(20),
            log: LogConfig::default(),
            ..MetaConfig::default()
        };
        let mut grid = Grid::of(3, config).await;
        let photos = bucket(1, "photos");
        grid.store(1).create_bucket(photos.clone(), vec![1]).await.unwrap();
        let away = (1..=3).find(|number| grid.leader(ShardId(1)) != Some(*number)).unwrap();
        grid.kill(away).await;
        let writer = grid.leader(ShardId(1)).unwrap();
        for number in 0..200u64 {
            let op = grid.store(writer).new_op();
            let text = format!("{:03}", number % 10);
            grid.store(writer).commit(op, put_inline(&photos, &text, number, &[7; 2_000])).await.unwrap();
        }
        let purged = |number: u64| grid.store(number).inner.log.group(ShardId(1)).state().purged;
        until(|| purged(writer).is_some_and(|(index, _)| index > 100)).await;

        grid.restart(away).await;
        assert_eq!(keys(grid.store(away), photos.id).await.len(), 10);
        let log = grid.store(away).inner.log.group(ShardId(1)).state();
        assert!(log.purged.is_some_and(|(index, _)| index > 100), "it came by a snapshot");

        // And it is a full voter again: the other follower may go.
        let other = (1..=3).find(|number| *number != away && *number != writer).unwrap();
        grid.kill(other).await;
        let op = grid.store(away).new_op();
        grid.store(away).commit(op, put_inline(&photos, "last", 999, b"x")).await.unwrap();
        grid.shutdown().await;
    });
}

/// A leader sends entries while its own log still writes them. Killed then, it no longer knows what it sent: were it to go
/// on in its old term, it would give the same place of the log to another entry, and the replicas would differ for good.
#[test]
fn a_leader_that_was_killed_does_not_go_on_in_its_old_term() {
    runtime().block_on(async {
        let (power, shard) = (PowerSupply::new(), ShardId(1));
        let disk = FaultDisk::with_power(1, &power);
        let config = MetaConfig { leader_settle: Duration::MAX, ..MetaConfig::default() };
        let mut grid = Grid::led_from(disk.clone(), 3, config).await;
        let photos = bucket(1, "photos");
        grid.store(1).create_bucket(photos.clone(), vec![1]).await.unwrap();
        assert_eq!(grid.leader(shard), Some(1));
        let last = |grid: &Grid, number| grid.store(number).inner.log.group(shard).state().last;
        let before = last(&grid, 1);
        until(|| [2, 3].iter().all(|number| last(&grid, *number) == before)).await;

        disk.stall();
        let (store, first) = (grid.store(1).clone(), put_inline(&photos, "first", 1, b"x"));
        let sent = tokio::spawn(async move { store.commit(store.new_op(), first).await });
        until(|| [2, 3].iter().all(|number| last(&grid, *number) > before)).await;
        power.cut();
        grid.kill(1).await;
        sent.abort();
        grid.nodes[0].disk = Some(disk.restarted(&PowerSupply::new()));
        grid.restart(1).await;
        assert_eq!(last(&grid, 1), before, "its log lacks what it sent");

        for number in 1..=3 {
            let store = grid.store(number);
            let command = put_inline(&photos, &format!("then {number}"), number, b"x");
            store.commit(store.new_op(), command).await.unwrap();
        }
        for number in 1..=3 {
            let held = keys(grid.store(number), photos.id).await;
            assert_eq!(held, ["first", "then 1", "then 2", "then 3"], "node {number}");
        }
        grid.shutdown().await;
    });
}

#[test]
fn a_dead_voter_is_replaced_by_a_replica() {
    runtime().block_on(async {
        let mut grid = Grid::of(4, MetaConfig::default()).await;
        let photos = bucket(1, "photos");
        grid.store(1).create_bucket(photos.clone(), vec![1]).await.unwrap();
        for dead in [2, 3] {
            grid.kill(dead).await;
            if dead == 2 {
                until(|| {
                    let group = grid.store(1).inner.groups.read().get(&ShardId(1)).cloned().unwrap();
                    group.voters().is_ok_and(|voters| voters == BTreeSet::from([1, 3, 4]))
                })
                .await;
                let root = grid.store(1).inner.groups.read().get(&ShardId::ROOT).cloned().unwrap();
                until(|| root.voters().is_ok_and(|voters| voters == BTreeSet::from([1, 3, 4]))).await;
            }
        }
        let op = grid.store(4).new_op();
        grid.store(4).commit(op, put_inline(&photos, "still", 1, b"x")).await.unwrap();
        assert_eq!(keys(grid.store(1), photos.id).await, ["still"]);
        grid.shutdown().await;
    });
}

#[test]
fn a_voter_that_lost_its_metadata_does_not_vote_again_under_its_number() {
    runtime().block_on(async {
        let mut grid = Grid::of(3, MetaConfig::default()).await;
        let lost = (1..=3).find(|number| grid.leader(ShardId::ROOT) != Some(*number)).unwrap();
        grid.kill(lost).await;
        let empty = Folders::new(1);
        let network = grid.net.join(id(lost), Services::default());
        let peers = MetaPeers::new(lost, network, grid.members.clone());
        let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
        let joined = MetaStore::join(empty.home(), grid.config.clone(), clock, random, peers).await;
        assert_eq!(joined.err().map(|error| error.code()), Some(ErrorCode::Corrupt));
        grid.shutdown().await;
    });
}

#[test]
fn one_of_two_goes_on_alone_by_order_with_all_that_was_acknowledged() {
    runtime().block_on(async {
        let mut grid = Grid::of(2, MetaConfig::default()).await;
        let photos = bucket(1, "photos");
        grid.store(1).create_bucket(photos.clone(), vec![1]).await.unwrap();
        let mut stored = Vec::new();
        for number in 0..20u64 {
            let text = format!("{number:02}");
            let op = grid.store(1).new_op();
            grid.store(1).commit(op, put_inline(&photos, &text, number, b"x")).await.unwrap();
            stored.push(text);
        }
        let lost = grid.leader(ShardId(1)).unwrap();
        let left = 3 - lost;
        grid.kill(lost).await;
        let op = grid.store(left).new_op();
        let refused = grid.store(left).commit(op, put_inline(&photos, "alone", 99, b"x")).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Unavailable, "one of two does not decide by itself");
        // What was refused may lie in the log of a leader that is alone: then what it has applied is not all there is.
        let readable = grid.store(left).object(photos.id, &key("00"), None).await;
        assert!(readable.is_ok_and(|row| row.is_some()), "but it can be read");

        grid.members.retain(|member| member.number == left);
        grid.tell();
        grid.store(left).continue_alone().await.unwrap();
        assert_eq!(keys(grid.store(left), photos.id).await, stored);
        let op = grid.store(left).new_op();
        grid.store(left).commit(op, put_inline(&photos, "after", 100, b"x")).await.unwrap();
        grid.shutdown().await;
    });
}

#[test]
fn one_of_three_never_goes_on_alone() {
    runtime().block_on(async {
        let grid = Grid::of(3, MetaConfig::default()).await;
        let refused = grid.store(1).continue_alone().await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Conflict);
        grid.shutdown().await;
    });
}

#[test]
fn a_shard_splits_on_all_its_replicas_while_writes_go_on() {
    runtime().block_on(async {
        let grid = Grid::of(3, MetaConfig::default()).await;
        let photos = bucket(1, "photos");
        grid.store(2).create_bucket(photos.clone(), vec![1]).await.unwrap();
        for number in 0..300u64 {
            let op = grid.store(1).new_op();
            grid.store(1)
                .commit(op, put_inline(&photos, &format!("{number:03}"), number, b"x"))
                .await
                .unwrap();
        }
        let leader = grid.leader(ShardId(1)).unwrap();
        let writes = async {
            for number in 300..400u64 {
                let store = grid.store(number % 3 + 1);
                let op = store.new_op();
                store
                    .commit(op, put_inline(&photos, &format!("{:03}x", number % 300), number, b"x"))
                    .await
                    .unwrap();
            }
        };
        let (split, ()) = tokio::join!(grid.store(leader).split_shard(ShardId(1)), writes);
        let child = split.unwrap().expect("it has keys enough");
        grid.until_voters(child, 3).await;
        for number in 1..=3 {
            assert_eq!(keys(grid.store(number), photos.id).await.len(), 400, "from node {number}");
        }
        // A bucket made after the split has its stub in both, from whichever node.
        let videos = bucket(2, "videos");
        grid.store(3).create_bucket(videos.clone(), vec![1]).await.unwrap();
        let op = grid.store(2).new_op();
        grid.store(2).commit(op, put_inline(&videos, "v", 1, b"x")).await.unwrap();
        let refused = grid.store(1).delete_bucket(&videos.name).await.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::BucketNotEmpty);
        grid.shutdown().await;
    });
}

#[test]
fn a_leader_without_a_majority_refuses_in_time_and_shuts_down() {
    runtime().block_on(async {
        let mut grid = Grid::of(3, MetaConfig::default()).await;
        let leader = grid.leader(ShardId::ROOT).unwrap();
        grid.net.leave(id(leader));
        // A change of replicas begins that cannot end.
        let newcomer = MetaMember::healthy(4, id(4));
        grid.members.push(newcomer);
        grid.tell();
        let written = grid.store(leader).write_records(vec![setting(b"alone")]);
        let refused = tokio::time::timeout(PATIENCE, written).await.expect("it says so in time");
        assert!(matches!(refused, Err(MetaError::Unavailable { .. })), "{refused:?}");
        tokio::time::timeout(PATIENCE, grid.store(leader).shutdown()).await.expect("it ends");
    });
}

#[test]
fn two_generations_do_not_mix() {
    runtime().block_on(async {
        let mut grid = Grid::of(3, MetaConfig::default()).await;
        let (old, others) = (grid.nodes[2].number, grid.members.clone());
        grid.store(1).write_records(vec![setting(b"both")]).await.unwrap();
        // The metadata is made anew on another home of the first member, while the third one is away.
        for number in [1, 2, 3] {
            grid.kill(number).await;
        }
        let anew = Folders::new(1);
        let services = Services::default();
        let config = MetaConfig { generation: 1_001, ..MetaConfig::default() };
        let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
        let alone = MetaPeers::lone(1);
        let founding =
            MetaStore::found_among(anew.home(), config, clock.clone(), random.clone(), alone).await.unwrap();
        founding.shutdown().await;
        let peers = MetaPeers::new(1, grid.net.join(id(1), services.clone()), others.clone());
        let restored =
            MetaStore::open_among(anew.home(), MetaConfig::default(), clock, random, peers).await.unwrap();
        restored.serve(&services);
        restored.write_records(vec![setting(b"anew")]).await.unwrap();
        assert_eq!(MetaStore::home_generation(anew.home()).await.unwrap(), 1_001);

        // The old majority of two is up again: it has no part in the new, and hears of it.
        grid.restart(2).await;
        grid.restart(old).await;
        for number in [2, old] {
            let peers = grid.store(number).peers().clone();
            tokio::time::timeout(Duration::from_secs(20), peers.outdated())
                .await
                .expect("it hears of the newer one");
            assert_eq!(peers.generation(), 0);
        }
        assert_eq!(restored.voters(), [[1], [1]], "nobody of the older one votes");
        assert!(!restored.peers().is_outdated());
        assert!(restored.record(RecordKind::Setting, b"both").await.unwrap().is_none());

        // Set aside, it comes back blank.
        grid.kill(2).await;
        grid.kill(old).await;
        let home = grid.nodes.iter().find(|node| node.number == old).unwrap().home();
        assert_eq!(MetaStore::set_aside(home.clone()).await.unwrap().len(), 1);
        assert!(!MetaStore::exists(home.clone()).await.unwrap());
        let services = Services::default();
        let peers = MetaPeers::new(old, grid.net.join(id(old), services.clone()), others);
        let (clock, random) = (Arc::new(RealClock), Arc::new(RealRandom));
        let back = MetaStore::join(home.clone(), MetaConfig::default(), clock, random, peers).await.unwrap();
        back.serve(&services);
        assert_eq!(back.peers().generation(), 1_001);
        assert_eq!(MetaStore::home_generation(home).await.unwrap(), 1_001);
        let read = async {
            loop {
                match back.record(RecordKind::Setting, b"anew").await {
                    Ok(found) => return found,
                    // It has to hear of its leader first.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        assert!(tokio::time::timeout(PATIENCE, read).await.expect("it reads").is_some());
        back.shutdown().await;
        restored.shutdown().await;
    });
}

#[test]
fn a_node_that_was_away_while_a_shard_was_split_holds_both() {
    runtime().block_on(async {
        let mut grid = Grid::of(3, MetaConfig::default()).await;
        let photos = bucket(1, "photos");
        grid.store(1).create_bucket(photos.clone(), vec![1]).await.unwrap();
        for number in 0..20u64 {
            let op = grid.store(1).new_op();
            let command = put_inline(&photos, &format!("{number:02}"), number, b"x");
            grid.store(1).commit(op, command).await.unwrap();
        }
        let leader = grid.leader(ShardId(1)).unwrap();
        let away = if leader == 3 { 2 } else { 3 };
        grid.kill(away).await;
        let child = grid.store(leader).split_shard(ShardId(1)).await.unwrap().expect("it has keys enough");
        // It applies the hand-over and the sweep at once.
        grid.restart(away).await;
        until(|| {
            grid.store(away)
                .inner
                .group(child)
                .is_ok_and(|group| group.fresh(Duration::from_secs(1)).is_some())
        })
        .await;
        assert_eq!(keys(grid.store(away), photos.id).await.len(), 20);
        grid.shutdown().await;
    });
}
