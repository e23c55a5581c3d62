//! What a Raft entry asks of a shard: op id, stamps, action. Encoded as version ‖ postcard.

use grid_types::{BucketId, COMMAND_BYTES_MAX, ErrorCode, OpId, ShardId, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::{Refusal, StateError};
use crate::peers::VoterNumber;
use crate::root::RecordWrite;
use crate::{Command, Outcome};

/// Version of encoded proposals that this release writes.
const PROPOSAL_VERSION: u8 = 1;

/// One proposal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal {
    /// The same for each retry of one request.
    pub op: OpId,
    /// When the request was born: refused where the op table no longer reaches back so far.
    pub birth: Timestamp,
    /// The leader's clock when it proposed; raised to last + 1 µs by apply.
    pub stamp: Timestamp,
    /// What to do.
    pub action: Action,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "nearly all are of the large kind, and none is kept")]
pub(crate) enum Action {
    /// A command of a caller.
    Object(Command),
    /// A step of the bucket protocols.
    Stub(StubCommand),
    /// A batch of root records.
    Records(Vec<RecordWrite>),
    /// A step of a split.
    Split(SplitCommand),
}

/// Steps of the bucket protocols, executed by every shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum StubCommand {
    /// Makes the stub, reopens it, or raises its generation.
    Open { bucket: BucketId, generation: u64 },
    /// Refuses writes from now on; answers whether the bucket is empty here.
    Close { bucket: BucketId },
    /// Forgets the bucket; refused while something is left.
    Drop { bucket: BucketId },
}

/// Steps of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SplitCommand {
    /// Begin: the range from `at` on goes to `child`.
    Prepare { child: ShardId, at: Vec<u8> },
    /// Give the copy up.
    Cancel { child: ShardId },
    /// The child owns its range from here on.
    Commit { child: ShardId },
    /// Delete up to so many keys that are no longer owned.
    Sweep { keys_max: u32 },
    /// These found the child's group, unless it was decided before.
    Found { child: ShardId, founders: Vec<VoterNumber> },
}

/// What a proposal did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// Of a caller's command.
    Object(Outcome),
    /// Of `StubCommand::Close`: is the bucket empty in this shard?
    Closed { empty: bool },
    /// Of `SplitCommand::Sweep`: is more left?
    Swept { more: bool },
    /// Of everything else.
    Done,
}

/// The answer of the state machine, as it travels back to the proposer.
pub(crate) type Reply = Result<Answer, Refusal>;

impl Proposal {
    /// Encodes; refuses what is larger than a command may be.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Refusal> {
        let bytes = postcard::to_extend(self, vec![PROPOSAL_VERSION])
            .map_err(|error| Refusal::new(ErrorCode::InvalidArgument, format!("command: {error}")))?;
        if bytes.len() > COMMAND_BYTES_MAX {
            let detail = format!("a command of {} bytes; {COMMAND_BYTES_MAX} are allowed", bytes.len());
            return Err(Refusal::new(ErrorCode::TooLarge, detail));
        }
        Ok(bytes)
    }

    /// Decodes what a leader of this or an older release proposed.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        match bytes.split_first() {
            Some((&PROPOSAL_VERSION, body)) => postcard::from_bytes(body)
                .map_err(|error| StateError::Damaged(format!("a log entry does not decode: {error}"))),
            Some((version, _)) => Err(StateError::Damaged(format!(
                "a log entry has version {version}; a newer release wrote it"
            ))),
            None => Err(StateError::Damaged("an empty log entry".to_owned())),
        }
    }
}
