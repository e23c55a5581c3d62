use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::NodeId;
use rpc::Method;

use super::*;
use crate::group::types::{LogId, Vote};
use crate::peers::MetaMember;

/// Pieces of a body for the shards of a message.
type Rule = dyn Fn(&[u64]) -> Vec<Result<Bytes, RpcError>> + Send + Sync;

/// A peer that answers heartbeats by a rule, and counts messages.
struct Peer {
    rule: Box<Rule>,
    messages: Arc<Mutex<Vec<Vec<u64>>>>,
}

impl rpc::Network for Peer {
    fn send(
        &self,
        _: NodeId,
        method: Method,
        body: Body,
        _: Duration,
    ) -> BoxFuture<'static, Result<Body, RpcError>> {
        assert_eq!(method.path, "/meta/heartbeats");
        let message = rpc::collect(body, 1 << 16).now_or_never().unwrap().unwrap();
        let message = MetaPeers::alone().unframed(message).unwrap();
        let asked = wire::decode_heartbeats(message).unwrap();
        let shards: Vec<u64> = asked.into_iter().map(|one| one.unwrap().0.0).collect();
        let pieces = (self.rule)(&shards);
        self.messages.lock().push(shards);
        async move { Ok(stream::iter(pieces).boxed()) }.boxed()
    }
}

fn lanes(
    rule: impl Fn(&[u64]) -> Vec<Result<Bytes, RpcError>> + Send + Sync + 'static,
) -> (Heartbeats, Arc<Mutex<Vec<Vec<u64>>>>) {
    let messages = Arc::new(Mutex::new(Vec::new()));
    let network = Arc::new(Peer { rule: Box::new(rule), messages: messages.clone() });
    let member = MetaMember::healthy(2, NodeId::from_bytes([2; 16]));
    (Heartbeats::new(MetaPeers::new(1, network, vec![member])), messages)
}

fn heartbeat(term: u64) -> AppendEntriesRequest<Types> {
    let mut vote = Vote::new(term, 1);
    vote.committed = true;
    AppendEntriesRequest {
        vote,
        prev_log_id: Some(LogId::new_term_index(term, 7)),
        entries: Vec::new(),
        leader_commit: None,
    }
}

/// Shard 3 leads nobody here, shard 4 is not known, all others are fine.
fn answer_of(shard: u64) -> HeartbeatAnswer {
    let higher = Vote::new(9, 2);
    match shard {
        3 => Ok(AppendEntriesResponse::HigherVote(higher)).into(),
        4 => Err("this node does not hold it".to_owned()).into(),
        _ => Ok(AppendEntriesResponse::Success).into(),
    }
}

fn all_answers(shards: &[u64]) -> Bytes {
    let answers: Vec<_> = (0..).zip(shards).map(|(index, shard)| (index, answer_of(*shard))).collect();
    wire::encode_heartbeat_answers(&answers)
}

async fn send_all(lanes: &Heartbeats, shards: impl Iterator<Item = u64>) -> Vec<Answer> {
    join_all(shards.map(|shard| lanes.send(2, ShardId(shard), heartbeat(5)))).await
}

#[tokio::test]
async fn what_is_held_leaves_in_one_message_and_each_hears_its_own_answer() {
    // Byte by byte, as a network may cut it.
    let (lanes, messages) =
        lanes(|shards| all_answers(shards).chunks(1).map(|byte| Ok(Bytes::copy_from_slice(byte))).collect());
    let hold = lanes.hold(BTreeMap::from([(2, 200)]));
    let sending = send_all(&lanes, 0..100);
    tokio::pin!(sending);
    assert!(futures_util::poll!(&mut sending).is_pending());
    tokio::task::yield_now().await;
    assert_eq!(messages.lock().len(), 0, "not all that are expected came");
    drop(hold);
    let answers = sending.await;
    assert_eq!(*messages.lock(), [(0..100).collect::<Vec<_>>()]);
    for (shard, answer) in answers.into_iter().enumerate() {
        match shard {
            3 => assert_eq!(answer, Ok(AppendEntriesResponse::HigherVote(Vote::new(9, 2)))),
            4 => assert!(answer.unwrap_err().contains("does not hold it")),
            _ => assert_eq!(answer, Ok(AppendEntriesResponse::Success)),
        }
    }
}

#[tokio::test]
async fn a_lane_leaves_when_all_that_are_expected_came() {
    let (lanes, messages) = lanes(|shards| vec![Ok(all_answers(shards))]);
    let _hold = lanes.hold(BTreeMap::from([(2, 10)]));
    assert!(send_all(&lanes, 10..20).await.iter().all(Result::is_ok));
    assert_eq!(messages.lock().len(), 1);
    // And what comes then does not wait for the next beat.
    assert!(send_all(&lanes, 20..21).await[0].is_ok());
    assert_eq!(messages.lock().len(), 2);
}

#[tokio::test]
async fn many_heartbeats_fill_several_messages() {
    let (lanes, messages) = lanes(|shards| vec![Ok(all_answers(shards))]);
    let count = HEARTBEATS_MAX as u64 + 10;
    let hold = lanes.hold(BTreeMap::from([(2, usize::MAX)]));
    let sending = tokio::spawn({
        let lanes = lanes.clone();
        async move { send_all(&lanes, 10..10 + count).await }
    });
    while lanes.lanes.lock()[&2].waiting.len() < count as usize {
        tokio::task::yield_now().await;
    }
    drop(hold);
    assert!(sending.await.unwrap().iter().all(Result::is_ok));
    let sizes: Vec<usize> = messages.lock().iter().map(Vec::len).collect();
    assert_eq!(sizes, [HEARTBEATS_MAX, 10]);
}

#[tokio::test]
async fn an_answer_that_is_broken_off_or_does_not_decode_ends_in_errors() {
    let rules: [Box<Rule>; 5] = [
        Box::new(|_| Vec::new()),
        Box::new(|_| vec![Ok(Bytes::from_static(b"\x09\x01\0\0\0x"))]),
        Box::new(|_| vec![Ok(Bytes::from_static(b"\x01\xff\xff\xff\xffx"))]),
        Box::new(|shards| vec![Ok(all_answers(shards).slice(..8))]),
        Box::new(|_| vec![Err(RpcError::unknown("gone"))]),
    ];
    for rule in rules {
        let (lanes, _) = lanes(rule);
        assert!(send_all(&lanes, 10..12).await.iter().all(Result::is_err));
    }
    // Answers to what was not asked change nothing; the first answer counts.
    let (lanes, _) = lanes(|_| {
        let answers = [(9_999, answer_of(10)), (0, answer_of(10)), (0, answer_of(3))];
        vec![Ok(wire::encode_heartbeat_answers(&answers))]
    });
    assert_eq!(send_all(&lanes, 10..11).await, [Ok(AppendEntriesResponse::Success)]);
    let unknown = lanes.send(7, ShardId(1), heartbeat(5)).await;
    assert!(unknown.unwrap_err().contains("not a member"));
}

#[tokio::test]
async fn a_message_with_a_bad_entry_is_answered_for_each() {
    let message = wire::encode_heartbeats(&[(ShardId(1), heartbeat(1)), (ShardId(2), heartbeat(1))]);
    let mut spoilt = message.to_vec();
    // The version of the second one's vote.
    let vote = crate::group::encoding::encode_vote(&heartbeat(1).vote);
    let at = spoilt.windows(vote.len()).rposition(|window| window == &vote[..]).unwrap();
    spoilt[at] = 99;
    let nobody = |shard| Err(MetaError::Unavailable { shard, reason: "not here".to_owned() });
    let body = answer_heartbeats(spoilt.into(), nobody).unwrap();
    let mut received = BytesMut::from(&rpc::collect(body, 1 << 16).await.unwrap()[..]);
    let answers = wire::take_heartbeat_answers(&mut received).unwrap().unwrap();
    let mut reasons: Vec<(u32, String)> = answers
        .into_iter()
        .map(|(index, answer)| (index, answer.into_response().unwrap().unwrap_err()))
        .collect();
    reasons.sort();
    assert!(reasons[0].1.contains("not here") && reasons[1].1.contains("does not decode"), "{reasons:?}");

    let many = vec![(ShardId(1), heartbeat(1)); HEARTBEATS_MAX + 1];
    assert!(answer_heartbeats(wire::encode_heartbeats(&many), nobody).is_err());
}
