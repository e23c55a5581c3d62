//! What members tell each other of their time: docs/formats/time-rpc.md.

use std::time::Duration;

use grid_types::Timestamp;
use rpc::Method;
use serde::{Deserialize, Serialize};

use super::source::{Strength, TimeSource};

pub(super) const READ: Method = Method::control("/time/read");
/// Before question and answer.
const VERSION: u8 = 1;
/// A question, and what follows the version in later releases.
pub(super) const QUESTION_BYTES_MAX: usize = 64;

/// Bytes that are no answer, or one that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("time of version {0}, this release speaks {VERSION}: update the older of the two nodes")]
    Version(u8),
    #[error("time that cannot be read")]
    Content,
}

/// What a member says of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// At the moment of the answer.
    pub(super) time: Timestamp,
    pub(super) source: TimeSource,
    /// What the proof is worth; `None` without one.
    pub(super) strength: Option<Strength>,
    /// How often the proof was handed on.
    pub(super) hops: u8,
    pub(super) uncertainty_micros: u64,
    /// The time before which it cannot be.
    pub(super) floor: Timestamp,
}

impl Told {
    pub(super) fn uncertainty(&self) -> Duration {
        Duration::from_micros(self.uncertainty_micros)
    }
}

pub(super) fn question() -> Vec<u8> {
    vec![VERSION]
}

pub(super) fn check_question(bytes: &[u8]) -> Result<(), WireError> {
    match bytes.first() {
        Some(&VERSION) => Ok(()),
        Some(version) => Err(WireError::Version(*version)),
        None => Err(WireError::Content),
    }
}

pub(super) fn encode(told: &Told) -> Vec<u8> {
    // Cannot fail: the output grows, and every field has its bytes.
    postcard::to_extend(told, vec![VERSION]).unwrap_or_default()
}

/// A strength without a proof, or a proof without one, is no answer.
pub(super) fn decode(bytes: &[u8]) -> Result<Told, WireError> {
    check_question(bytes)?;
    let (told, rest) = postcard::take_from_bytes::<Told>(&bytes[1..]).map_err(|_| WireError::Content)?;
    let proven = told.source.trust() == sys::TimeTrust::Proven;
    if rest.is_empty() && proven == told.strength.is_some() { Ok(told) } else { Err(WireError::Content) }
}

#[cfg(test)]
mod tests {
    use grid_types::NodeId;

    use super::*;

    proptest::proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..64)) {
            let versioned = [&[VERSION], bytes.as_slice()].concat();
            if let Ok(told) = decode(&versioned) {
                let proven = told.source.trust() == sys::TimeTrust::Proven;
                proptest::prop_assert_eq!(proven, told.strength.is_some());
                proptest::prop_assert_eq!(decode(&encode(&told)), Ok(told));
            }
        }
    }

    #[test]
    fn answers_are_read_as_they_were_written_and_nothing_else_is() {
        let peer = TimeSource::Peer(NodeId::from_bytes([7; 16]));
        let told = Told {
            time: Timestamp(1_795_000_000_000_000),
            source: peer,
            strength: Some(Strength::Reference),
            hops: 2,
            uncertainty_micros: 1_500,
            floor: Timestamp(1_794_000_000_000_000),
        };
        let bytes = encode(&told);
        assert_eq!(decode(&bytes), Ok(told));
        for cut in 0..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "{cut} bytes");
        }
        assert_eq!(decode(&[bytes.as_slice(), &[0]].concat()), Err(WireError::Content));
        let mut other = bytes;
        other[0] = 2;
        assert_eq!(decode(&other), Err(WireError::Version(2)));
        for (source, strength) in [
            (TimeSource::Unproven, Some(Strength::Rtc)),
            (TimeSource::Grid, Some(Strength::Reference)),
            (TimeSource::Host, None),
        ] {
            assert_eq!(decode(&encode(&Told { source, strength, ..told })), Err(WireError::Content));
        }
        assert!(decode(&encode(&Told { source: TimeSource::Grid, strength: None, ..told })).is_ok());
    }
}
