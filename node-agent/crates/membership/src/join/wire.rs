//! The messages of joining: a version byte, then postcard. See docs/formats/ticket.md, "Proof".

use std::net::SocketAddr;

use grid_types::{ErrorCode, Timestamp};
use rpc::{Method, RpcError};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::member_list::NewMember;
use crate::ticket::{DrivePolicy, TicketId};

pub(super) const HELLO: Method = Method::control("/join/hello");
pub(super) const PROVE: Method = Method::control("/join/prove");
pub(super) const PAIR: Method = Method::control("/join/pair");
pub(super) const REVEAL: Method = Method::control("/join/reveal");
pub(super) const PAIRED: Method = Method::control("/join/paired");
pub(super) const ENROL: Method = Method::control("/join/enrol");

const VERSION: u8 = 1;
const PROOF_LABEL: &[u8] = b"shoal join 1";
/// Bytes of what a stranger may send: an applicant with 16 addresses has some 700.
pub const JOIN_MESSAGE_BYTES_MAX: usize = 4_096;
/// Bytes of a root key as it is handed over: a key file has 80 for each of at most 8 keys.
pub const ROOT_KEY_BYTES_MAX: usize = 1_024;
/// Bytes of the settings that a new member is given.
pub const SETTINGS_BYTES_MAX: usize = 64 << 10;
const RELEASE_BYTES_MAX: usize = 64;

/// What a node that joins says of itself; also the question of `/join/enrol`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ApplicantData {
    pub(super) name: String,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) has_aes: bool,
    pub(super) has_drives: bool,
    pub(super) release: String,
}

/// `/join/prove`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Prove {
    pub(super) ticket: TicketId,
    pub(super) proof: [u8; 32],
    /// Postcard of `ApplicantData`, as it was proved.
    pub(super) applicant: Vec<u8>,
}

/// Answer of `/join/prove` and `/join/enrol`.
#[derive(Serialize, Deserialize)]
pub(super) struct Admitted {
    pub(super) number: u64,
    pub(super) list: Vec<u8>,
    pub(super) root_key: Vec<u8>,
    pub(super) settings: Vec<u8>,
    pub(super) drive_policy: DrivePolicy,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.root_key.zeroize();
    }
}

impl ApplicantData {
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RpcError> {
        match postcard::take_from_bytes::<Self>(bytes) {
            Ok((data, [])) => data.checked(),
            _ => Err(invalid("an application that cannot be read")),
        }
    }

    pub(super) fn checked(self) -> Result<Self, RpcError> {
        if self.release.len() <= RELEASE_BYTES_MAX { Ok(self) } else { Err(invalid("the name of a release")) }
    }

    pub(super) fn member(&self, public_key: Vec<u8>, added: Timestamp) -> NewMember {
        NewMember {
            public_key,
            name: self.name.clone(),
            addresses: self.addresses.clone(),
            has_aes: self.has_aes,
            has_drives: self.has_drives,
            added,
        }
    }
}

/// What is proved: this ticket, on this connection, between these two keys, for this applicant. All but the last have
/// fixed lengths, so that no two sets of fields give the same bytes.
pub(super) fn proved(
    exporter: &[u8; 32],
    joiner: &[u8; 32],
    server: &[u8; 32],
    ticket: TicketId,
    applicant: &[u8],
) -> Vec<u8> {
    [PROOF_LABEL, exporter, joiner, server, &ticket.0, applicant].concat()
}

pub(super) fn encode(message: &impl Serialize) -> Result<Vec<u8>, RpcError> {
    postcard::to_extend(message, vec![VERSION])
        .map_err(|error| RpcError::not_sent(format!("a message that cannot be encoded: {error}")))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RpcError> {
    let (version, body) = bytes.split_first().ok_or_else(|| invalid("an empty message"))?;
    if *version != VERSION {
        let detail = format!(
            "joining speaks version {version} there and {VERSION} here: update the older of the two nodes"
        );
        return Err(RpcError::new(ErrorCode::InvalidArgument, detail));
    }
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        _ => Err(invalid("a message that cannot be read")),
    }
}

fn invalid(what: &str) -> RpcError {
    RpcError::new(ErrorCode::InvalidArgument, what)
}
