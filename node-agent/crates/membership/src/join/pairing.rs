//! Joining without a ticket: a person compares a short code on both nodes.
//!
//! Both sides commit to a nonce before either reveals one; the code is cut from a hash over both keys, the grid's pin and
//! both nonces. Whoever sits between has two connections with two codes, and cannot choose nonces that make them equal:
//! each try succeeds with one in a million. One pairing at a time, few tries an hour.

use std::fmt;
use std::time::Duration;

use grid_types::{ErrorCode, NodeId};
use rpc::{Caller, RpcError};
use serde::{Deserialize, Serialize};
use sys::Random;

use super::applicant::{self, Admission, Applicant, Door, JoinError};
use super::wire::{self, ApplicantData};
use crate::grid_ca::{self, CaPin, sha256};
use crate::member_list::SignedList;

const COMMIT_LABEL: &[u8] = b"shoal pair commit 1";
const CODE_LABEL: &[u8] = b"shoal pair code 1";
/// Pairings that may begin in one hour, on one member.
pub const PAIRINGS_MAX: u32 = 5;
const PAIRINGS_WINDOW: Duration = Duration::from_secs(3_600);
/// A person has so long to compare.
pub const PAIRING_LIFETIME: Duration = Duration::from_secs(300);
/// A node reveals its nonce at once: until then it holds the place no longer than this.
const REVEAL_LIFETIME: Duration = Duration::from_secs(15);
/// 32 signs that are not taken for each other.
const SIGNS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// 20 bits that both nodes show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairingCode(u32);

impl fmt::Display for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in [15, 10, 5, 0] {
            write!(f, "{}", char::from(SIGNS[(self.0 >> shift & 31) as usize]))?;
        }
        Ok(())
    }
}

/// A node that waits for a person's word, as a member shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingPairing {
    /// The node.
    pub node: NodeId,
    /// What it calls itself.
    pub name: String,
    /// What it must show too; none until it revealed its nonce.
    pub code: Option<PairingCode>,
}

/// `/join/pair`: the joiner's commitment and what it says of itself.
#[derive(Serialize, Deserialize)]
pub(super) struct Begin {
    commitment: [u8; 32],
    applicant: ApplicantData,
}

/// Keys and nonces of one pairing.
struct Secrets {
    joiner: [u8; 32],
    server: [u8; 32],
    pin: CaPin,
}

fn commitment(key: &[u8; 32], nonce: &[u8; 32]) -> [u8; 32] {
    sha256(&[COMMIT_LABEL, key, nonce].concat())
}

impl Secrets {
    fn code(&self, joiner_nonce: &[u8; 32], server_nonce: &[u8; 32]) -> PairingCode {
        let hash =
            sha256(&[CODE_LABEL, &self.joiner, &self.server, &self.pin, joiner_nonce, server_nonce].concat());
        PairingCode(u32::from_be_bytes([0, hash[0], hash[1], hash[2]]) >> 4)
    }
}

/// The pairings of one member.
#[derive(Default)]
pub(super) struct Pairings {
    current: Option<Pairing>,
    /// When the window of `begun` began.
    since: Duration,
    begun: u32,
}

struct Pairing {
    key: [u8; 32],
    node: NodeId,
    exporter: [u8; 32],
    commitment: [u8; 32],
    nonce: [u8; 32],
    applicant: ApplicantData,
    code: Option<PairingCode>,
    confirmed: bool,
    until: Duration,
}

impl Pairings {
    /// A node wants to pair: answers with this side's commitment.
    pub(super) fn begin(
        &mut self,
        caller: &Caller,
        key: [u8; 32],
        server_key: &[u8; 32],
        begin: Begin,
        random: &dyn Random,
        now: Duration,
    ) -> Result<[u8; 32], RpcError> {
        if self.current.as_ref().is_some_and(|current| now < current.until) {
            return Err(RpcError::new(
                ErrorCode::SlowDown,
                "another node is pairing: wait until that is done",
            ));
        }
        if now >= self.since + PAIRINGS_WINDOW {
            (self.since, self.begun) = (now, 0);
        }
        if self.begun >= PAIRINGS_MAX {
            return Err(RpcError::new(ErrorCode::SlowDown, "too many pairings were tried: wait an hour"));
        }
        self.begun += 1;
        let mut nonce = [0; 32];
        random.fill(&mut nonce);
        self.current = Some(Pairing {
            key,
            node: caller.node,
            exporter: caller.exporter,
            commitment: begin.commitment,
            nonce,
            applicant: begin.applicant.checked()?,
            code: None,
            confirmed: false,
            until: now + REVEAL_LIFETIME,
        });
        Ok(commitment(server_key, &nonce))
    }

    /// The node reveals its nonce: answers with this side's. A wrong one ends the pairing.
    pub(super) fn reveal(
        &mut self,
        caller: &Caller,
        server_key: &[u8; 32],
        pin: CaPin,
        nonce: &[u8; 32],
        now: Duration,
    ) -> Result<[u8; 32], RpcError> {
        let pairing = self.of(caller, now)?;
        if pairing.code.is_some() || commitment(&pairing.key, nonce) != pairing.commitment {
            self.current = None;
            return Err(RpcError::new(ErrorCode::AccessDenied, "not what was committed to"));
        }
        let secrets = Secrets { joiner: pairing.key, server: *server_key, pin };
        pairing.code = Some(secrets.code(nonce, &pairing.nonce));
        pairing.until = now + PAIRING_LIFETIME;
        Ok(pairing.nonce)
    }

    /// What the node said of itself, once a person confirmed it.
    pub(super) fn confirmed(
        &mut self,
        caller: &Caller,
        now: Duration,
    ) -> Result<Option<ApplicantData>, RpcError> {
        let pairing = self.of(caller, now)?;
        Ok(pairing.confirmed.then(|| pairing.applicant.clone()))
    }

    fn of(&mut self, caller: &Caller, now: Duration) -> Result<&mut Pairing, RpcError> {
        self.current
            .as_mut()
            .filter(|pairing| {
                pairing.node == caller.node && pairing.exporter == caller.exporter && now < pairing.until
            })
            .ok_or_else(|| {
                RpcError::new(ErrorCode::AccessDenied, "this pairing was refused or took too long")
            })
    }

    pub(super) fn pending(&self, now: Duration) -> Option<PendingPairing> {
        let pairing = self.current.as_ref().filter(|pairing| now < pairing.until)?;
        Some(PendingPairing { node: pairing.node, name: pairing.applicant.name.clone(), code: pairing.code })
    }

    /// A person saw this code on the node. False: it is not the one that waits.
    pub(super) fn confirm(&mut self, node: NodeId, code: PairingCode, now: Duration) -> bool {
        match &mut self.current {
            Some(pairing) if now < pairing.until && pairing.node == node && pairing.code == Some(code) => {
                pairing.confirmed = true;
                true
            }
            _ => false,
        }
    }

    pub(super) fn end(&mut self) {
        self.current = None;
    }
}

/// A node that revealed its nonce and waits for a person. Dropping it gives up.
pub struct PairingApplicant<'a> {
    door: &'a dyn Door,
    greeted: applicant::Greeted,
    code: PairingCode,
}

/// Begins to pair through this door. The code must be shown; only a person who sees the same one on the member may
/// confirm there.
pub async fn pair<'a>(
    door: &'a dyn Door,
    me: &Applicant,
    random: &dyn Random,
) -> Result<PairingApplicant<'a>, JoinError> {
    let peer = door.peer();
    let failed = |source: RpcError| JoinError::Call { peer, source };
    // Any grid: the code covers its pin.
    let (pin, greeted) = applicant::greet_any(door, me).await?;
    let mut nonce = [0; 32];
    random.fill(&mut nonce);
    let begin = Begin { commitment: commitment(&greeted.own_key, &nonce), applicant: applicant::data(me) };
    let theirs: [u8; 32] = applicant::exchange(door, wire::PAIR, &begin).await?;
    let their_nonce: [u8; 32] = applicant::exchange(door, wire::REVEAL, &nonce).await?;
    if commitment(&greeted.peer_key, &their_nonce) != theirs {
        return Err(failed(RpcError::new(
            ErrorCode::AccessDenied,
            "the peer revealed another nonce than it committed to",
        )));
    }
    let secrets = Secrets { joiner: greeted.own_key, server: greeted.peer_key, pin };
    Ok(PairingApplicant { door, code: secrets.code(&nonce, &their_nonce), greeted })
}

impl PairingApplicant<'_> {
    /// To be shown.
    pub fn code(&self) -> PairingCode {
        self.code
    }

    /// The grid that would be joined.
    pub fn list(&self) -> &SignedList {
        &self.greeted.list
    }

    /// Asks whether a person confirmed: `None` while nobody did. To be repeated every few seconds.
    pub async fn admitted(&self) -> Result<Option<Admission>, JoinError> {
        let question =
            wire::encode(&()).map_err(|source| JoinError::Call { peer: self.door.peer(), source })?;
        match applicant::ask(self.door, wire::PAIRED, question, &self.greeted).await {
            Ok(admission) => Ok(Some(admission)),
            Err(JoinError::Call { source, .. }) if source.code == ErrorCode::ConditionalConflict => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The pin of the grid that a list says it is of.
pub(super) fn pin_of(list: &SignedList) -> CaPin {
    grid_ca::pin(&list.ca_public_key)
}
