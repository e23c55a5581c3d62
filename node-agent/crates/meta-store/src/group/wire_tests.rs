use bytes::Bytes;
use grid_types::ShardId;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use proptest::prelude::*;

use super::*;
use crate::group::types::{EntryPayload, Payload, RaftEntry, Vote};

fn vote(term: u64) -> Vote {
    let mut vote = Vote::new(term, 3);
    vote.committed = true;
    vote
}

#[test]
fn messages_come_back_as_they_went() {
    let entries = vec![
        RaftEntry { log_id: LogId::new_term_index(2, 7), payload: EntryPayload::Blank },
        RaftEntry {
            log_id: LogId::new_term_index(2, 8),
            payload: EntryPayload::Normal(Payload(Bytes::from(vec![9; 100_000]))),
        },
    ];
    let request = AppendEntriesRequest {
        vote: vote(2),
        prev_log_id: Some(LogId::new_term_index(1, 6)),
        entries: entries.clone(),
        leader_commit: None,
    };
    let (shard, back) = decode_append(encode_append(ShardId(5), &request)).unwrap();
    assert_eq!(
        (shard, back.vote, back.prev_log_id, back.leader_commit),
        (ShardId(5), vote(2), request.prev_log_id, None)
    );
    assert_eq!(back.entries, entries);

    for answer in [
        AppendEntriesResponse::Success,
        AppendEntriesResponse::Conflict,
        AppendEntriesResponse::PartialSuccess(Some(LogId::new_term_index(2, 7))),
        AppendEntriesResponse::HigherVote(vote(9)),
    ] {
        assert_eq!(decode_append_answer(encode_append_answer(&answer)).unwrap(), answer);
    }
    let asked = VoteRequest::new(vote(4), Some(LogId::new_term_index(3, 3)));
    assert_eq!(decode_vote_request(encode_vote_request(ShardId(1), &asked)).unwrap(), (ShardId(1), asked));
    let answer: VoteResponse<Types> = VoteResponse::new(vote(4), None, true);
    assert_eq!(decode_vote_answer(encode_vote_answer(&answer)).unwrap(), answer);
}

proptest! {
    #[test]
    fn hostile_messages_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut framed = vec![VERSION];
        framed.extend_from_slice(&(bytes.len() as u32 / 2).to_le_bytes());
        framed.extend_from_slice(&bytes);
        for message in [Bytes::from(bytes), Bytes::from(framed)] {
            let _ = decode_append(message.clone());
            let _ = decode_append_answer(message.clone());
            let _ = decode_heartbeats(message.clone());
            let _ = take_heartbeat_answers(&mut BytesMut::from(&message[..]));
            let _ = decode_vote_request(message.clone());
            let _ = decode_vote_answer(message.clone());
            let refused = decode_proposal(message.slice(..message.len().min(4)));
            prop_assert!(refused.is_err());
        }
    }
}
