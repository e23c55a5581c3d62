//! Keys that were registered before their nodes joined: the operator reads a board's public key, the board is told the
//! grid's pin, and neither carries a secret.
//!
//! Both travel as text that people copy: a prefix that says what it is and its version, then base32 (RFC 4648, lower case,
//! no padding) of 32 bytes and a checksum. The bytes are in docs/formats/ticket.md.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use grid_types::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::grid_ca::{CaPin, KEY_BYTES, node_id, sha256};
use crate::member_list::NAME_BYTES_MAX;
use crate::ticket::DrivePolicy;

const KEY_PREFIX: &str = "shoal-key-1-";
const PIN_PREFIX: &str = "shoal-grid-1-";
const CHECKSUM_BYTES: usize = 4;
const RECORD_VERSION: u8 = 1;

/// The public key of a node, as it is read off a board and typed at a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodePublicKey(pub [u8; KEY_BYTES]);

/// The pin of a grid, as it is read at a member and typed at a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridPin(pub CaPin);

/// Text that is no public key, or no pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    /// Something else.
    #[error("this is no {what}: one begins with `{prefix}`; {source_of}")]
    Other {
        /// What was wanted.
        what: &'static str,
        /// How it begins.
        prefix: &'static str,
        /// Where it comes from.
        source_of: &'static str,
    },
    /// Mistyped or cut short.
    #[error("the {0} was mistyped or cut short: copy it again, whole")]
    Mistyped(&'static str),
}

fn to_text(prefix: &str, bytes: &[u8; KEY_BYTES]) -> String {
    let mut all = bytes.to_vec();
    all.extend_from_slice(&checksum(prefix, bytes));
    format!("{prefix}{}", BASE32_NOPAD.encode(&all).to_ascii_lowercase())
}

fn from_text(prefix: &str, text: &str) -> Option<Option<[u8; KEY_BYTES]>> {
    let code = text.trim().to_ascii_lowercase();
    let code = code.strip_prefix(prefix)?.to_ascii_uppercase();
    let Ok(bytes) = BASE32_NOPAD.decode(code.as_bytes()) else { return Some(None) };
    let Some((key, sum)) = bytes.split_first_chunk::<KEY_BYTES>() else { return Some(None) };
    Some((sum == checksum(prefix, key)).then_some(*key))
}

/// The prefix counts, so that a pin that was typed as a key is noticed whatever its beginning.
fn checksum(prefix: &str, bytes: &[u8; KEY_BYTES]) -> [u8; CHECKSUM_BYTES] {
    let hash = sha256(&[prefix.as_bytes(), bytes].concat());
    [hash[0], hash[1], hash[2], hash[3]]
}

impl NodePublicKey {
    /// The node that has it.
    pub fn node(&self) -> NodeId {
        node_id(&self.0)
    }
}

impl fmt::Display for NodePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(KEY_PREFIX, &self.0))
    }
}

impl FromStr for NodePublicKey {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        const WHAT: &str = "public key of a node";
        let source_of = "`shoal node key` on the new board prints it";
        let other = KeyTextError::Other { what: WHAT, prefix: KEY_PREFIX, source_of };
        from_text(KEY_PREFIX, text).ok_or(other)?.map(Self).ok_or(KeyTextError::Mistyped(WHAT))
    }
}

impl fmt::Display for GridPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_text(PIN_PREFIX, &self.0))
    }
}

impl FromStr for GridPin {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        const WHAT: &str = "pin of a grid";
        let source_of = "`shoal node enrol` on a member prints it";
        let other = KeyTextError::Other { what: WHAT, prefix: PIN_PREFIX, source_of };
        from_text(PIN_PREFIX, text).ok_or(other)?.map(Self).ok_or(KeyTextError::Mistyped(WHAT))
    }
}

/// What the grid keeps of a key that was registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    /// Ed25519.
    pub public_key: [u8; KEY_BYTES],
    /// What people shall call the node; empty: what it calls itself.
    pub name: String,
    /// What it may take into service.
    pub drive_policy: DrivePolicy,
    /// When the key was registered.
    pub created: Timestamp,
    /// Afterwards it lets nobody in.
    pub expires: Option<Timestamp>,
    /// When its node joined.
    pub joined: Option<Timestamp>,
}

/// An enrolment that cannot be read, or not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnrolmentError {
    /// Another version.
    #[error("an enrolment has version {0}, this release reads {RECORD_VERSION}")]
    Version(u8),
    /// Not a record.
    #[error("an enrolment is damaged")]
    Content,
    /// The name.
    #[error("a name has at most {NAME_BYTES_MAX} bytes and no control characters")]
    Name,
}

impl Enrolment {
    /// The node that may join with it.
    pub fn node(&self) -> NodeId {
        node_id(&self.public_key)
    }

    /// May its node still join at `now`?
    pub fn open(&self, now: Timestamp) -> bool {
        self.joined.is_none() && self.expires.is_none_or(|expires| now < expires)
    }

    /// Refuses what no member list would take.
    pub fn check(&self) -> Result<(), EnrolmentError> {
        let good = self.name.len() <= NAME_BYTES_MAX && !self.name.chars().any(char::is_control);
        if good { Ok(()) } else { Err(EnrolmentError::Name) }
    }

    /// As the root shard stores it.
    pub fn encode(&self) -> Vec<u8> {
        // Cannot fail: the output grows, and no field refuses to be written.
        postcard::to_extend(self, vec![RECORD_VERSION]).unwrap_or_default()
    }

    /// Reads a stored record.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnrolmentError> {
        let (version, body) = bytes.split_first().ok_or(EnrolmentError::Content)?;
        if *version != RECORD_VERSION {
            return Err(EnrolmentError::Version(*version));
        }
        match postcard::take_from_bytes(body) {
            Ok((record, [])) => Ok(record),
            _ => Err(EnrolmentError::Content),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_pins_are_copied_by_hand() {
        let (key, pin) = (NodePublicKey([7; 32]), GridPin([7; 32]));
        let text = key.to_string();
        assert_eq!(text.parse(), Ok(key));
        assert_eq!(format!(" {}\n", text.to_uppercase()).parse(), Ok(key));
        assert_eq!(pin.to_string().parse(), Ok(pin));
        for at in KEY_PREFIX.len()..text.len() {
            let other = if &text[at..=at] == "a" { "b" } else { "a" };
            let wrong = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(matches!(wrong.parse::<NodePublicKey>(), Err(KeyTextError::Mistyped(_))), "{wrong}");
        }
        assert!(matches!(text[..text.len() - 1].parse::<NodePublicKey>(), Err(KeyTextError::Mistyped(_))));
        assert!(matches!(pin.to_string().parse::<NodePublicKey>(), Err(KeyTextError::Other { .. })));
        let renamed = pin.to_string().replace(PIN_PREFIX, KEY_PREFIX);
        assert!(matches!(renamed.parse::<NodePublicKey>(), Err(KeyTextError::Mistyped(_))));
        assert!(matches!("".parse::<GridPin>(), Err(KeyTextError::Other { .. })));
    }

    #[test]
    fn records_are_read_as_written_and_no_others() {
        let record = Enrolment {
            public_key: [3; 32],
            name: "shelf".to_owned(),
            drive_policy: DrivePolicy::BlankToo,
            created: Timestamp::from_secs(1),
            expires: Some(Timestamp::from_secs(9)),
            joined: None,
        };
        let bytes = record.encode();
        assert_eq!(Enrolment::decode(&bytes), Ok(record.clone()));
        assert_eq!(Enrolment::decode(&bytes[..bytes.len() - 1]), Err(EnrolmentError::Content));
        assert_eq!(Enrolment::decode(&[2, 0]), Err(EnrolmentError::Version(2)));
        assert!(record.open(Timestamp::from_secs(8)) && !record.open(Timestamp::from_secs(9)));
        assert!(
            !Enrolment { joined: Some(Timestamp::from_secs(2)), ..record.clone() }
                .open(Timestamp::from_secs(3))
        );
        assert_eq!(Enrolment { name: "a\nb".to_owned(), ..record }.check(), Err(EnrolmentError::Name));
    }
}
