//! Who belongs to the grid: the authority that TLS, Raft and placement ask.
//!
//! Invariants: a `SignedList` exists only after its signature was verified against a key that the holder trusts; a node
//! id is the hash of the member's key; numbers and keys of removed members never come back; a higher epoch replaces a
//! lower one, never the reverse. The bytes are in docs/formats/member-list.md.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use grid_types::{GridId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::grid_ca::{self, CaPin, CaPublicKey, GridCa, KEY_BYTES, SIGNATURE_BYTES, node_id};

const VERSION: u8 = 1;
const LABEL: &[u8] = b"shoal member list 1";
/// Rows of a list, removed members included: ten times the largest grid that is tested.
pub const MEMBERS_MAX: usize = 1_024;
/// Bytes of a signed list: 1,024 rows of at most 600 bytes, and room.
pub const LIST_BYTES_MAX: usize = 1 << 20;
/// Bytes of a member's name: a host name's label.
pub const NAME_BYTES_MAX: usize = 63;
/// Addresses of a member: a few interfaces, IPv4 and IPv6.
pub const ADDRESSES_MAX: usize = 16;

/// One node that belongs, or belonged, to the grid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Hash of its public key.
    pub node: NodeId,
    /// Its number as a Raft voter. The founder has 1; never used twice.
    pub number: u64,
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    /// For people.
    pub name: String,
    /// Where it was reached when it joined; gossip knows newer ones.
    pub addresses: Vec<SocketAddr>,
    /// Its processor has AES instructions.
    pub has_aes: bool,
    /// A node without drives may vote as a witness.
    pub has_drives: bool,
    /// When it joined.
    pub added: Timestamp,
    /// When it was removed.
    pub removed: Option<Timestamp>,
}

/// A node that is about to become a member: all but its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    /// For people.
    pub name: String,
    /// Where it is reached.
    pub addresses: Vec<SocketAddr>,
    /// Its processor has AES instructions.
    pub has_aes: bool,
    /// It brings drives.
    pub has_drives: bool,
    /// Now.
    pub added: Timestamp,
}

impl NewMember {
    /// Its id.
    pub fn node(&self) -> NodeId {
        node_id(&self.public_key)
    }

    fn numbered(self, number: u64) -> Member {
        Member {
            node: self.node(),
            number,
            public_key: self.public_key,
            name: self.name,
            addresses: self.addresses,
            has_aes: self.has_aes,
            has_drives: self.has_drives,
            added: self.added,
            removed: None,
        }
    }
}

/// All members of one grid at one epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberList {
    /// The grid.
    pub grid: GridId,
    /// Grows by one with each change.
    pub epoch: u64,
    /// Public half of the grid CA.
    pub ca_public_key: CaPublicKey,
    /// Ordered by number; removed ones stay.
    pub members: Vec<Member>,
}

/// A change that the list does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Belongs to the grid already.
    #[error("node {0} is a member already")]
    Member(NodeId),
    /// Its key is spent.
    #[error("node {0} was removed from this grid: give it a new identity before it joins again")]
    Removed(NodeId),
    /// Not in the list.
    #[error("the grid has no member {0}")]
    Unknown(NodeId),
    /// `MEMBERS_MAX` rows.
    #[error("a grid has at most {MEMBERS_MAX} members, removed ones included")]
    Full,
    /// The row breaks a limit.
    #[error("the new member's {0}")]
    Row(&'static str),
}

impl MemberList {
    /// The list of a grid of one.
    pub fn found(grid: GridId, ca: CaPublicKey, founder: NewMember) -> Result<Self, ChangeError> {
        let empty = Self { grid, epoch: 0, ca_public_key: ca, members: Vec::new() };
        empty.with(founder)
    }

    /// The next list, with one member more. Its number is the next one that was never used.
    pub fn with(&self, new: NewMember) -> Result<Self, ChangeError> {
        let node = new.node();
        match self.row(node) {
            Some(Member { removed: None, .. }) => return Err(ChangeError::Member(node)),
            Some(_) => return Err(ChangeError::Removed(node)),
            None if self.members.len() >= MEMBERS_MAX => return Err(ChangeError::Full),
            None => {}
        }
        let number = self.members.iter().map(|member| member.number).max().unwrap_or(0) + 1;
        let member = new.numbered(number);
        check_row(&member).map_err(ChangeError::Row)?;
        let mut next = self.clone();
        next.epoch += 1;
        next.members.push(member);
        Ok(next)
    }

    /// The next list, which says this of a member, besides its key, number and date. `None` where this one does already.
    pub fn describing(&self, new: NewMember) -> Result<Option<Self>, ChangeError> {
        let node = new.node();
        let known = self.member(node).ok_or(ChangeError::Unknown(node))?;
        let member = Member { added: known.added, ..new.numbered(known.number) };
        check_row(&member).map_err(ChangeError::Row)?;
        if member == *known {
            return Ok(None);
        }
        let mut next = self.clone();
        next.epoch += 1;
        next.members.iter_mut().filter(|row| row.node == node).for_each(|row| *row = member.clone());
        Ok(Some(next))
    }

    /// The next list, without this member.
    pub fn without(&self, node: NodeId, at: Timestamp) -> Result<Self, ChangeError> {
        let mut next = self.clone();
        next.epoch += 1;
        match next.members.iter_mut().find(|member| member.node == node && member.removed.is_none()) {
            Some(member) => member.removed = Some(at),
            None => return Err(ChangeError::Unknown(node)),
        }
        Ok(next)
    }

    /// The member with this id, if it belongs to the grid now.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.row(node).filter(|member| member.removed.is_none())
    }

    /// The row of this id, removed or not.
    pub fn row(&self, node: NodeId) -> Option<&Member> {
        self.members.iter().find(|member| member.node == node)
    }

    /// All that belong to the grid now.
    pub fn current(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.removed.is_none())
    }

    fn check(&self) -> Result<(), ListError> {
        if self.members.len() > MEMBERS_MAX {
            return Err(ListError::Content("has too many rows"));
        }
        let (mut nodes, mut before) = (BTreeSet::new(), 0);
        for member in &self.members {
            check_row(member).map_err(ListError::Row)?;
            if member.number <= before || !nodes.insert(member.node) {
                return Err(ListError::Content("names a node or a number twice"));
            }
            before = member.number;
        }
        Ok(())
    }
}

fn check_row(member: &Member) -> Result<(), &'static str> {
    if member.public_key.len() != KEY_BYTES {
        return Err("key is not the 32 bytes of an Ed25519 key");
    }
    if node_id(&member.public_key) != member.node {
        return Err("id is not the hash of its key");
    }
    if member.name.len() > NAME_BYTES_MAX || member.name.chars().any(char::is_control) {
        return Err("name is longer than 63 bytes or holds control characters");
    }
    if member.addresses.len() > ADDRESSES_MAX {
        return Err("addresses are more than 16");
    }
    Ok(())
}

/// Bytes that are no member list, or none that may be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Another version.
    #[error("the member list has version {0}, this release reads {VERSION}: update this node")]
    Version(u8),
    /// Cut short, too long, not in the format.
    #[error("the member list {0}")]
    Content(&'static str),
    /// A row breaks a rule.
    #[error("the member list is refused: a member's {0}")]
    Row(&'static str),
    /// Signed by another CA, or by none.
    #[error("the member list is not signed by the CA of this grid")]
    Signature,
    /// The CA is not the one that the ticket names.
    #[error("this is not the grid of the ticket: its CA is another one")]
    Pin,
    /// Of another grid.
    #[error("the member list belongs to grid {0}")]
    Grid(GridId),
    /// Older than what is known.
    #[error("the member list is of epoch {offered}, epoch {known} is known")]
    Older {
        /// Epoch of the refused list.
        offered: u64,
        /// Epoch of the list in use.
        known: u64,
    },
    /// Two lists of one epoch.
    #[error("there are two different member lists of epoch {0}: the grid CA signed twice")]
    Forked(u64),
}

/// A list whose signature was verified. Cheap to read, compared by its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedList {
    list: MemberList,
    bytes: Vec<u8>,
}

impl SignedList {
    /// Signs a list. It must name this CA.
    pub fn sign(list: MemberList, ca: &GridCa) -> Result<Self, ListError> {
        list.check()?;
        if list.ca_public_key != ca.public_key() {
            return Err(ListError::Signature);
        }
        let body = postcard::to_allocvec(&list).map_err(|_| ListError::Content("cannot be encoded"))?;
        let mut bytes = Vec::with_capacity(1 + SIGNATURE_BYTES + body.len());
        bytes.push(VERSION);
        bytes.extend_from_slice(&ca.sign(LABEL, &body));
        bytes.extend_from_slice(&body);
        if bytes.len() > LIST_BYTES_MAX {
            return Err(ListError::Content("is longer than 1 MiB"));
        }
        Ok(Self { list, bytes })
    }

    /// Reads a list that this CA must have signed.
    pub fn verify(bytes: &[u8], ca: &CaPublicKey) -> Result<Self, ListError> {
        let (signature, body) = split(bytes)?;
        if !grid_ca::signed_by(ca, LABEL, body, signature) {
            return Err(ListError::Signature);
        }
        let (list, rest) = postcard::take_from_bytes::<MemberList>(body)
            .map_err(|_| ListError::Content("is cut short or damaged"))?;
        if !rest.is_empty() {
            return Err(ListError::Content("is followed by other bytes"));
        }
        if list.ca_public_key != *ca {
            return Err(ListError::Signature);
        }
        list.check()?;
        Ok(Self { list, bytes: bytes.to_vec() })
    }

    /// Reads a list signed by the CA with this pin. The list itself says the key; the pin says whether to believe it.
    pub fn verify_pinned(bytes: &[u8], pin: &CaPin) -> Result<Self, ListError> {
        let ca = claimed_ca(bytes)?;
        if grid_ca::pin(&ca) != *pin {
            return Err(ListError::Pin);
        }
        Self::verify(bytes, &ca)
    }

    /// Reads a list signed by whatever CA it names: of some grid, which somebody else must say is the right one. For this
    /// node's own copy and the root shard's, where it finds damage, and no forgery by who can write there.
    pub fn verify_any(bytes: &[u8]) -> Result<Self, ListError> {
        Self::verify(bytes, &claimed_ca(bytes)?)
    }

    /// What to use after somebody offered `bytes`: `Some` if that is newer than this one, `None` if it is the same.
    pub fn newer(&self, bytes: &[u8]) -> Result<Option<Self>, ListError> {
        if bytes == self.bytes {
            return Ok(None);
        }
        let offered = Self::verify(bytes, &self.list.ca_public_key)?;
        if offered.grid != self.list.grid {
            return Err(ListError::Grid(offered.grid));
        }
        match offered.epoch.cmp(&self.list.epoch) {
            std::cmp::Ordering::Greater => Ok(Some(offered)),
            std::cmp::Ordering::Equal => Err(ListError::Forked(self.list.epoch)),
            std::cmp::Ordering::Less => {
                Err(ListError::Older { offered: offered.epoch, known: self.list.epoch })
            }
        }
    }

    /// The list.
    pub fn list(&self) -> &MemberList {
        &self.list
    }

    /// As it is stored and sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl std::ops::Deref for SignedList {
    type Target = MemberList;

    fn deref(&self) -> &MemberList {
        &self.list
    }
}

/// The CA that a list names. Grid, epoch, then the key: enough of the format to find it before anything is trusted.
fn claimed_ca(bytes: &[u8]) -> Result<CaPublicKey, ListError> {
    let (_, body) = split(bytes)?;
    let ((_, _, ca), _) = postcard::take_from_bytes::<(GridId, u64, CaPublicKey)>(body)
        .map_err(|_| ListError::Content("is cut short or damaged"))?;
    Ok(ca)
}

fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), ListError> {
    if bytes.len() > LIST_BYTES_MAX {
        return Err(ListError::Content("is longer than 1 MiB"));
    }
    match bytes.split_first() {
        None => Err(ListError::Content("is empty")),
        Some((&VERSION, rest)) => {
            rest.split_at_checked(SIGNATURE_BYTES).ok_or(ListError::Content("is cut short or damaged"))
        }
        Some((version, _)) => Err(ListError::Version(*version)),
    }
}

#[cfg(test)]
#[path = "member_list_tests.rs"]
mod tests;
