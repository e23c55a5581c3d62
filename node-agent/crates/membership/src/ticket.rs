//! A ticket: text that lets new nodes into one grid, and the record that the grid keeps of it.
//!
//! Invariants: the secret is in the text alone, is wiped from memory and never printed; the record holds only what
//! verifies proofs; a ticket gives membership and nothing else. The bytes are in docs/formats/ticket.md.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use grid_types::{GridId, NodeId, Timestamp};
use ring::hmac;
use serde::{Deserialize, Serialize};
use sys::Random;
use zeroize::{Zeroize, Zeroizing};

use crate::grid_ca::{CaPin, sha256};

const PREFIX: &str = "shoal-ticket-";
const TEXT_VERSION: &str = "1";
const CHECKSUM_LABEL: &[u8] = b"shoal ticket text 1";
const MAC_LABEL: &[u8] = b"shoal ticket mac";
const RECORD_VERSION: u8 = 1;
const LENGTH_BYTES: usize = 2;
const CHECKSUM_BYTES: usize = 4;
/// Characters of a ticket: 106 bytes, 8 peers of 20, in base32 some 440; the rest is white space.
pub const TICKET_TEXT_MAX: usize = 2_048;
/// Hints of a ticket.
pub const TICKET_PEERS_MAX: usize = 8;
/// Nodes that one ticket lets in at most: their ids stand in its record.
pub const TICKET_USES_MAX: u32 = 256;

/// Names a ticket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TicketId(pub [u8; 16]);

impl fmt::Display for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

/// Text that is no ticket id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no ticket id: 32 hexadecimal digits are wanted")]
pub struct TicketIdError(String);

impl FromStr for TicketId {
    type Err = TicketIdError;

    fn from_str(text: &str) -> Result<Self, TicketIdError> {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let id = bytes.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
        id.map(Self).ok_or_else(|| TicketIdError(text.to_owned()))
    }
}

impl fmt::Debug for TicketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ticket:{self}")
    }
}

/// Which drives a node that joins may take into service without another order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DrivePolicy {
    /// The data partition of the image that it booted from.
    ImageData,
    /// That, and drives that are blank: no table, no signature in the first and last MiB.
    BlankToo,
    /// None: the operator says which.
    Ask,
}

impl DrivePolicy {
    /// As it is written on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ImageData => "image-data",
            Self::BlankToo => "blank-too",
            Self::Ask => "ask",
        }
    }
}

impl fmt::Display for DrivePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no drive policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no drive policy: image-data, blank-too or ask")]
pub struct UnknownDrivePolicy(String);

impl FromStr for DrivePolicy {
    type Err = UnknownDrivePolicy;

    fn from_str(text: &str) -> Result<Self, UnknownDrivePolicy> {
        [Self::ImageData, Self::BlankToo, Self::Ask]
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or_else(|| UnknownDrivePolicy(text.to_owned()))
    }
}

/// What a new node is given.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// The grid's CA: checked before anything is proved.
    pub ca_pin: CaPin,
    /// Names the record.
    pub id: TicketId,
    secret: [u8; 32],
    /// The grid.
    pub grid: GridId,
    /// By the clock of the grid.
    pub expires: Timestamp,
    /// What the new node may take into service.
    pub drive_policy: DrivePolicy,
    /// Where the grid may be found.
    pub peers: Vec<SocketAddr>,
}

/// What the grid keeps of a ticket.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketRecord {
    /// Names the ticket.
    pub id: TicketId,
    mac_key: [u8; 32],
    /// Nodes that may still join.
    pub uses_left: u32,
    /// Afterwards nobody joins.
    pub expires: Timestamp,
    /// What the new node may take into service.
    pub drive_policy: DrivePolicy,
    /// When it was made.
    pub created: Timestamp,
    /// Who joined with it.
    pub joined: Vec<NodeId>,
}

/// What is asked for when a ticket is made.
#[derive(Debug, Clone)]
pub struct TicketOrder {
    /// Pin of the grid's CA.
    pub ca_pin: CaPin,
    /// The grid.
    pub grid: GridId,
    /// Nodes that may join, 1 to `TICKET_USES_MAX`.
    pub uses: u32,
    /// From now.
    pub valid: Duration,
    /// What the new nodes may take into service.
    pub drive_policy: DrivePolicy,
    /// Hints where the grid is; those beyond `TICKET_PEERS_MAX` are left out.
    pub peers: Vec<SocketAddr>,
}

/// Why a text is no ticket, or an order none that can be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Something else.
    #[error("this is no ticket: one begins with `{PREFIX}{TEXT_VERSION}-`; `shoal ticket create` makes one")]
    NotATicket,
    /// Of a newer release.
    #[error("this ticket is of version {0}, this release reads {TEXT_VERSION}: update this node")]
    Version(String),
    /// A character that no ticket has.
    #[error(
        "the ticket was mistyped: its character {at} is `{character}`, which no ticket has (letters and 2 to 7)"
    )]
    Character {
        /// Counted from 1, white space not counted.
        at: usize,
        /// The character.
        character: char,
    },
    /// The end is missing.
    #[error("the ticket was cut short: {have} of its {want} characters are there; copy it whole")]
    Truncated {
        /// Characters found.
        have: usize,
        /// Characters announced.
        want: usize,
    },
    /// More than a ticket.
    #[error("something follows the ticket, or parts of it were pasted twice: copy it alone")]
    TooLong,
    /// The checksum is wrong.
    #[error("the ticket was mistyped: its checksum is wrong; copy it again")]
    Checksum,
    /// Well copied, and no ticket all the same.
    #[error("the ticket cannot be read: it was not made by `shoal ticket create`")]
    Content,
    /// The order.
    #[error("a ticket is for 1 to {TICKET_USES_MAX} nodes, not for {0}")]
    Uses(u32),
}

/// A stored record that this release cannot read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketRecordError {
    /// Another version.
    #[error("a ticket record has version {0}, this release reads {RECORD_VERSION}")]
    Version(u8),
    /// Not a record.
    #[error("a ticket record is damaged")]
    Content,
}

impl Ticket {
    /// Draws a ticket, and the record that the root shard must hold before the ticket is given away.
    pub fn create(
        order: TicketOrder,
        now: Timestamp,
        random: &dyn Random,
    ) -> Result<(Self, TicketRecord), TicketError> {
        if !(1..=TICKET_USES_MAX).contains(&order.uses) {
            return Err(TicketError::Uses(order.uses));
        }
        let mut secret = [0; 32];
        random.fill(&mut secret);
        let mut peers = order.peers;
        peers.truncate(TICKET_PEERS_MAX);
        let ticket = Self {
            ca_pin: order.ca_pin,
            id: TicketId(random.id()),
            secret,
            grid: order.grid,
            expires: now.plus(order.valid),
            drive_policy: order.drive_policy,
            peers,
        };
        secret.zeroize();
        let record = TicketRecord {
            id: ticket.id,
            mac_key: *ticket.mac_key(),
            uses_left: order.uses,
            expires: ticket.expires,
            drive_policy: ticket.drive_policy,
            created: now,
            joined: Vec::new(),
        };
        Ok((ticket, record))
    }

    fn mac_key(&self) -> Zeroizing<[u8; 32]> {
        let input = Zeroizing::new([MAC_LABEL, self.secret.as_slice()].concat());
        Zeroizing::new(sha256(&input))
    }

    /// HMAC-SHA256 over `message`: what shows that the holder has the secret.
    pub(crate) fn prove(&self, message: &[u8]) -> [u8; 32] {
        let mut proof = [0; 32];
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.mac_key().as_slice());
        proof.copy_from_slice(hmac::sign(&key, message).as_ref());
        proof
    }

    /// The text that is given away. The caller wipes it.
    pub fn to_text(&self) -> Zeroizing<String> {
        // Cannot fail: the output grows, and no field refuses to be written.
        let body = Zeroizing::new(postcard::to_allocvec(self).unwrap_or_default());
        let mut bytes = Zeroizing::new(Vec::with_capacity(LENGTH_BYTES + body.len() + CHECKSUM_BYTES));
        bytes.extend_from_slice(&u16::try_from(body.len()).unwrap_or(u16::MAX).to_be_bytes());
        bytes.extend_from_slice(&body);
        bytes.extend_from_slice(&checksum(&body));
        let mut text = Zeroizing::new(BASE32_NOPAD.encode(&bytes));
        text.make_ascii_lowercase();
        Zeroizing::new(format!("{PREFIX}{TEXT_VERSION}-{}", text.as_str()))
    }
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let input = Zeroizing::new([CHECKSUM_LABEL, body].concat());
    let hash = sha256(&input);
    [hash[0], hash[1], hash[2], hash[3]]
}

/// Characters of base32 for so many bytes.
fn characters(bytes: usize) -> usize {
    (bytes * 8).div_ceil(5)
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        if text.len() > TICKET_TEXT_MAX {
            return Err(TicketError::TooLong);
        }
        let compact: Zeroizing<String> = Zeroizing::new(
            text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect(),
        );
        let rest = compact.strip_prefix(PREFIX).ok_or(TicketError::NotATicket)?;
        let (version, code) = rest.split_once('-').ok_or(TicketError::NotATicket)?;
        if version != TEXT_VERSION {
            let known = !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit());
            return Err(if known {
                TicketError::Version(version.to_owned())
            } else {
                TicketError::NotATicket
            });
        }
        let bytes = decode_code(code, compact.len() - code.len())?;
        let want = usize::from(u16::from_be_bytes([bytes[0], bytes[1]])) + LENGTH_BYTES + CHECKSUM_BYTES;
        if characters(want) > code.len() {
            return Err(TicketError::Truncated { have: code.len(), want: characters(want) });
        }
        if characters(want) < code.len() || bytes.len() != want {
            return Err(TicketError::TooLong);
        }
        let (body, sum) = bytes[LENGTH_BYTES..].split_at(want - LENGTH_BYTES - CHECKSUM_BYTES);
        if sum != checksum(body) {
            return Err(TicketError::Checksum);
        }
        match postcard::take_from_bytes::<Self>(body) {
            Ok((ticket, [])) if ticket.peers.len() <= TICKET_PEERS_MAX => Ok(ticket),
            _ => Err(TicketError::Content),
        }
    }
}

/// The bytes of the code, whole or not; at least the length. Bits that fill no byte are left out.
fn decode_code(code: &str, before: usize) -> Result<Zeroizing<Vec<u8>>, TicketError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(code.len() * 5 / 8));
    let (mut bits, mut count) = (0_u32, 0_u32);
    for (at, character) in code.chars().enumerate() {
        let value = match character {
            'a'..='z' => u32::from(character) - u32::from('a'),
            '2'..='7' => u32::from(character) - u32::from('2') + 26,
            _ => return Err(TicketError::Character { at: before + at + 1, character }),
        };
        bits = (bits << 5) | value;
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).unwrap_or_default());
            bits &= (1 << count) - 1;
        }
    }
    if bytes.len() < LENGTH_BYTES {
        return Err(TicketError::Truncated {
            have: code.len(),
            want: characters(LENGTH_BYTES + CHECKSUM_BYTES),
        });
    }
    // What remains of the last character is zero, or that character is a wrong one.
    if bits != 0 && code.len() == characters(bytes.len()) {
        return Err(TicketError::Checksum);
    }
    Ok(bytes)
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("id", &self.id)
            .field("grid", &self.grid)
            .field("expires", &self.expires)
            .field("drive_policy", &self.drive_policy)
            .field("peers", &self.peers)
            .finish_non_exhaustive()
    }
}

impl TicketRecord {
    /// As the root shard stores it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![RECORD_VERSION];
        // Cannot fail: the output grows, and no field refuses to be written.
        bytes.extend_from_slice(&Zeroizing::new(postcard::to_allocvec(self).unwrap_or_default()));
        bytes
    }

    /// Reads a stored record.
    pub fn decode(bytes: &[u8]) -> Result<Self, TicketRecordError> {
        let (version, body) = bytes.split_first().ok_or(TicketRecordError::Content)?;
        if *version != RECORD_VERSION {
            return Err(TicketRecordError::Version(*version));
        }
        match postcard::take_from_bytes(body) {
            Ok((record, [])) => Ok(record),
            _ => Err(TicketRecordError::Content),
        }
    }

    /// May somebody still join with it at `now`?
    pub fn open(&self, now: Timestamp) -> bool {
        self.uses_left > 0 && now < self.expires
    }

    /// The record after this node joined.
    pub(crate) fn used_by(mut self, node: NodeId) -> Self {
        self.uses_left = self.uses_left.saturating_sub(1);
        self.joined.push(node);
        self
    }

    /// Was `proof` made over `message` with the secret? In constant time.
    pub(crate) fn verifies(&self, message: &[u8], proof: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.mac_key);
        hmac::verify(&key, message, proof).is_ok()
    }
}

impl Drop for TicketRecord {
    fn drop(&mut self) {
        self.mac_key.zeroize();
    }
}

impl fmt::Debug for TicketRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketRecord")
            .field("id", &self.id)
            .field("uses_left", &self.uses_left)
            .field("expires", &self.expires)
            .field("drive_policy", &self.drive_policy)
            .field("created", &self.created)
            .field("joined", &self.joined)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "ticket_tests.rs"]
mod tests;
