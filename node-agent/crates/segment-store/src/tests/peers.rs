//! Peers that are slow, stand still, or say what is not so: nobody gets a wrong byte, nobody waits for ever, and what was
//! acknowledged does not rest on them.

use std::time::Duration;

use bytes::Bytes;
use chunk_store::ChunkError;
use futures_util::{StreamExt, stream};
use grid_types::{ErrorCode, ProfileChoice, Segment};
use rpc::{Body, Method, RpcError};

use super::nodes_rig::*;
use super::rig::{fixed, forge, pattern};
use crate::remote::wire::{self, Failure, Kind};
use crate::{ChunkServiceConfig, SegmentConfig};

/// What a peer says to some questions, whatever is so; it answers the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    /// Ends an answer before it says anything.
    Nothing,
    /// No message at all.
    Noise,
    /// Frames of zeros.
    Zeros,
    /// Frames as long as any may be, without end.
    LongFrames,
    /// A word that does not belong there.
    WrongWord,
    /// It is not ready yet, without end.
    WaitForEver,
    /// The chunk is not there.
    Missing,
    /// There is no room.
    Full,
    /// All is well: written, synced, good. Nothing is.
    AllIsWell,
}

const LIES: [Lie; 9] = [
    Lie::Nothing,
    Lie::Noise,
    Lie::Zeros,
    Lie::LongFrames,
    Lie::WrongWord,
    Lie::WaitForEver,
    Lie::Missing,
    Lie::Full,
    Lie::AllIsWell,
];

fn say(pieces: Vec<Bytes>) -> Body {
    stream::iter(pieces.into_iter().map(Ok)).boxed()
}

fn claim(code: ErrorCode) -> Body {
    let failure = Failure { code, detail: "so it says".to_owned() };
    say(vec![wire::value(Kind::Failed, &failure).unwrap()])
}

/// Takes the whole request, then says that it is done.
fn swallow(request: Body) -> Body {
    let accepted = stream::once(async { Ok(wire::message(Kind::Accepted, &[])) });
    let done = stream::once(async move {
        request.for_each(|_| async {}).await;
        Ok::<_, RpcError>(wire::message(Kind::Done, &[]))
    });
    accepted.chain(done).boxed()
}

impl Lie {
    /// Its answer; the request again where it has nothing of its own to say.
    pub(super) fn answer(self, method: Method, request: Body) -> Result<Body, Body> {
        let streamed = [wire::READ, wire::WRITE].contains(&method);
        let asked = [wire::INFO, wire::VERIFY, wire::CONTAINS].contains(&method);
        Ok(match self {
            Self::Nothing => say(Vec::new()),
            Self::Noise => say(vec![Bytes::from(pattern(1_000))]),
            Self::Zeros if streamed => say(vec![wire::message(Kind::Frame, &[0; 131_104]); 8]),
            Self::LongFrames if streamed => {
                let frame = wire::message(Kind::Frame, &vec![0; wire::FRAME_MESSAGE_BYTES_MAX]);
                stream::repeat_with(move || Ok(frame.clone())).boxed()
            }
            Self::WrongWord if streamed => say(vec![wire::message(Kind::Done, &[])]),
            Self::WaitForEver if streamed => {
                let wait = |()| async {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    Some((Ok(wire::message(Kind::Wait, &[])), ()))
                };
                stream::unfold((), wait).boxed()
            }
            Self::Missing if streamed => claim(ErrorCode::SegmentLost),
            Self::Full if streamed => claim(ErrorCode::StorageFull),
            Self::AllIsWell if method == wire::WRITE => swallow(request),
            // The unit value, and `true`.
            Self::AllIsWell if method == wire::VERIFY => say(Vec::new()),
            Self::AllIsWell if method == wire::CONTAINS => say(vec![Bytes::from_static(&[1])]),
            Self::Zeros | Self::LongFrames if asked => say(vec![Bytes::from(vec![0; 600])]),
            _ => return Err(request),
        })
    }
}

/// Short times, none of which a node that is there exceeds for long.
fn impatient() -> SegmentConfig {
    let mut config = brisk();
    config.finish_grace_min = Duration::from_millis(200);
    config.finish_grace_max = Duration::from_millis(200);
    config.remote.begin_max = Duration::from_secs(1);
    config.remote.finish_max = Duration::from_secs(1);
    config.remote.read_max = Duration::from_millis(500);
    config.remote.ask_max = Duration::from_millis(500);
    config.remote.verify_max = Duration::from_millis(500);
    config
}

const LIAR: usize = 1;

fn names_liar(rig: &Nodes, segment: &Segment) -> bool {
    segment.drives.iter().flatten().any(|drive| rig.node_of(*drive) == LIAR)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_lies_is_not_believed() {
    let choices = [("copies:3", 90_000), ("copies:3", 700_000), ("ec:2+2", 90_000), ("ec:2+2", 2_000_000)];
    for lie in LIES {
        let rig = Nodes::with(4, 1, 21, impatient(), ChunkServiceConfig::default());
        for (profile, size) in choices {
            let plain = pattern(size);
            let before = rig.put(2, fixed(profile), &plain).await.unwrap();
            rig.fault(0, LIAR, Some(Fault::Lie(lie)));
            assert!(rig.reads(0, &before, &plain).await, "{profile} of {size} while it says {lie:?}");
            let during = rig.put(0, fixed(profile), &plain).await.unwrap();
            // No other word than "done" counts.
            assert!(!names_liar(&rig, &during) || lie == Lie::AllIsWell, "{lie:?}: {during:?}");
            assert!(
                rig.reads(0, &during, &plain).await,
                "{profile} of {size}, written while it says {lie:?}"
            );
            rig.fault(0, LIAR, None);
            assert!(
                rig.reads(3, &during, &plain).await,
                "{profile} of {size}, written while it says {lie:?}"
            );
            // And when it is found out, its chunk is made anew.
            if names_liar(&rig, &during) {
                let (chunk, drive) = during.chunks().find(|(_, drive)| rig.node_of(*drive) == LIAR).unwrap();
                let remote = rig.nodes[0].store.drives().drive(drive).unwrap();
                assert!(matches!(remote.verify(chunk).await, Err(ChunkError::Missing { .. })));
                rig.nodes[0].store.rebuild_chunk(&during, chunk.index, drive).await.unwrap();
                remote.verify(chunk).await.unwrap();
            }
        }
        rig.until_budget_is_back(0).await;
    }
}

/// Frames whose hashes are right around bytes that were never written: the packets' tags tell.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_chunks_of_another_node_are_read_around() {
    let rig = Nodes::new(4, 1);
    for (profile, size) in [("copies:3", 500_000), ("ec:2+1", 700_000), ("ec:2+2", 1_000_000)] {
        let plain = pattern(size);
        let mut forged = 0;
        while forged < 2 {
            let segment = rig.put(0, fixed(profile), &plain).await.unwrap();
            let Some((chunk, drive)) = segment.chunks().find(|(_, drive)| rig.node_of(*drive) == LIAR) else {
                continue;
            };
            forged += 1;
            forge(&rig.nodes[LIAR].chunks.drive(drive).unwrap(), &segment, chunk).await;
            let remote = rig.nodes[0].store.drives().drive(drive).unwrap();
            remote.verify(chunk).await.unwrap();
            for reader in 0..4 {
                assert!(rig.reads(reader, &segment, &plain).await, "{profile} by {reader}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_whose_answers_stand_still_is_left_behind() {
    for after in [0, 5, 200, 140_000] {
        let rig = Nodes::with(4, 1, 22, impatient(), ChunkServiceConfig::default());
        for profile in ["copies:3", "ec:2+2"] {
            let plain = pattern(1_500_000);
            let before = rig.put(2, fixed(profile), &plain).await.unwrap();
            rig.fault(0, LIAR, Some(Fault::StallAnswer(after)));
            assert!(rig.reads(0, &before, &plain).await, "{profile}, stands still after {after}");
            let during = rig.put(0, fixed(profile), &plain).await.unwrap();
            assert!(!names_liar(&rig, &during) || after > 5, "{profile}: it never said that it was done");
            rig.fault(0, LIAR, None);
            rig.kill_alone(LIAR);
            assert!(rig.reads(0, &during, &plain).await, "{profile}, written while it stood still");
            rig.nodes.iter().for_each(|node| node.faults.lock().clear());
        }
        rig.until_budget_is_back(0).await;
    }
}

/// Where nobody else can serve, standing still is an error, and soon.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_cannot_be_done_without_stands_still_for_so_long_and_no_longer() {
    let mut config = impatient();
    config.stall_max = Duration::from_millis(300);
    let rig = Nodes::with(2, 1, 23, config, ChunkServiceConfig::default());
    let plain = pattern(700_000);
    // On the other node alone.
    let alone = loop {
        let segment = rig.put(LIAR, fixed("copies:1"), &plain).await.unwrap();
        if names_liar(&rig, &segment) {
            break segment;
        }
    };
    let (chunk, drive) = alone.chunks().next().unwrap();
    let kept = rig.stored(0).await;
    let remote = rig.nodes[0].store.drives().drive(drive).unwrap();
    for after in [0, 5] {
        rig.fault(0, LIAR, Some(Fault::StallAnswer(after)));
        let error = rig.get(0, &alone, 0..alone.length).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unavailable, "{after}: {error}");
        let error = rig.put(0, fixed("copies:2"), &plain).await.unwrap_err();
        assert!(matches!(error.code(), ErrorCode::Unavailable | ErrorCode::DriveFailed), "{after}: {error}");
        if after == 0 {
            let info = remote.info(chunk).await.map(drop);
            let contains = remote.contains(chunk).await.map(drop);
            let list = remote.list(None, 10).await.map(drop);
            for answer in [info, contains, list] {
                assert!(matches!(answer, Err(ChunkError::Unreachable { .. })), "{answer:?}");
            }
        }
        rig.fault(0, LIAR, None);
        rig.until_stored(0, kept).await;
        rig.until_budget_is_back(0).await;
    }
    assert!(rig.reads(0, &alone, &plain).await, "and when it moves again, all is well");
}

/// A peer that takes its time is waited for where it is needed, and left behind where it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_peer_is_waited_for_only_where_it_is_needed() {
    let config = SegmentConfig {
        lag_patience: Duration::from_millis(50),
        finish_grace_min: Duration::from_millis(50),
        finish_grace_max: Duration::from_millis(50),
        ..brisk()
    };
    let slow = Some(Fault::Slow(Duration::from_millis(30)));
    let rig = Nodes::with(4, 1, 24, config.clone(), ChunkServiceConfig::default());
    let plain = pattern(4_000_000);
    rig.fault(0, LIAR, slow);
    let segment = rig.put(0, fixed("ec:2+2"), &plain).await.unwrap();
    assert!(!names_liar(&rig, &segment), "{segment:?}");
    assert!(rig.reads(0, &segment, &plain).await);
    rig.fault(0, LIAR, None);
    let segment = rig.put(0, fixed("ec:2+2"), &plain).await.unwrap();
    rig.fault(0, LIAR, slow);
    assert!(rig.reads(0, &segment, &plain).await);
    assert!(rig.nodes[0].store.take_damaged().is_empty(), "slowness is no damage");

    let rig = Nodes::with(2, 1, 25, config, ChunkServiceConfig::default());
    rig.fault(0, LIAR, slow);
    let segment = rig.put(0, ProfileChoice::Auto, &plain[..1_000_000]).await.unwrap();
    assert!(names_liar(&rig, &segment), "there is no other place");
    rig.kill(0);
    assert!(rig.reads(LIAR, &segment, &plain[..1_000_000]).await);
}
