//! The side of the grid: answers strangers.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ErrorCode, NodeId};
use parking_lot::Mutex;
use rpc::{Body, Caller, RpcError, Service, Services, collect, once};
use sys::{Clock, Random, Reading, TimeTrust};

use super::pairing::{PairingCode, Pairings, PendingPairing, pin_of};
use super::registry::{AdmitError, Registry, RegistryError};
use super::throttle::Throttle;
use super::wire::{
    self, Admitted, ApplicantData, JOIN_MESSAGE_BYTES_MAX, Prove, ROOT_KEY_BYTES_MAX, SETTINGS_BYTES_MAX,
};
use crate::enrolment::Enrolment;
use crate::grid_ca::{KEY_BYTES, node_id};
use crate::member_list::{ChangeError, Member, NewMember};
use crate::ticket::DrivePolicy;

/// Name under which the door is registered.
pub const SERVICE: &str = "join";
/// Others may change ticket or list between reading and admitting: so often it is tried again.
const ADMIT_TRIES: u32 = 16;
/// Said to everybody without a good ticket, whatever is wrong with it.
const REFUSAL: &str = "the ticket is unknown there, expired or used up";

/// Lets strangers with a ticket in. Registered open, on every member.
pub struct JoinService {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Arc<dyn Registry>,
    clock: Arc<dyn Clock>,
    public_key: [u8; KEY_BYTES],
    throttle: Mutex<Throttle>,
    pairings: Mutex<Pairings>,
    random: Arc<dyn Random>,
}

impl JoinService {
    /// `public_key` is this node's: the one that TLS shows to strangers.
    pub fn new(
        registry: Arc<dyn Registry>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        public_key: [u8; KEY_BYTES],
    ) -> Self {
        let (throttle, pairings) = (Mutex::default(), Mutex::default());
        Self { inner: Arc::new(Inner { registry, clock, public_key, throttle, pairings, random }) }
    }

    /// The node that waits for a person to compare codes.
    pub fn pending_pairing(&self) -> Option<PendingPairing> {
        self.inner.pairings.lock().pending(self.inner.clock.since_boot())
    }

    /// A person saw this code on that node: it may join. False: no such node waits.
    pub fn confirm_pairing(&self, node: NodeId, code: PairingCode) -> bool {
        self.inner.pairings.lock().confirm(node, code, self.inner.clock.since_boot())
    }

    /// The codes differ, or nobody wants the node.
    pub fn refuse_pairing(&self) {
        self.inner.pairings.lock().end();
    }

    /// Opens the door: strangers reach it from now on, until `Services::remove(SERVICE)`.
    pub fn open(self, services: &Services) -> Arc<Self> {
        let service = Arc::new(self);
        services.add_open(SERVICE, Arc::clone(&service) as Arc<dyn Service>);
        service
    }
}

impl Service for JoinService {
    fn answer(&self, caller: Caller, method: &str, body: Body) -> BoxFuture<'static, Result<Body, RpcError>> {
        let (inner, method) = (Arc::clone(&self.inner), method.to_owned());
        async move {
            let message = collect(body, JOIN_MESSAGE_BYTES_MAX).await?;
            let answer = match method.as_str() {
                "hello" => inner.hello(&message).await?,
                // A task of its own: a joiner that goes away leaves nothing half done.
                "prove" => tokio::spawn(async move { inner.prove(&caller, &message).await })
                    .await
                    .map_err(|error| RpcError::unknown(format!("joining broke off: {error}")))??,
                "enrol" => tokio::spawn(async move { inner.enrol(&caller, &message).await })
                    .await
                    .map_err(|error| RpcError::unknown(format!("joining broke off: {error}")))??,
                "pair" => inner.pair(&caller, &message)?,
                "reveal" => inner.reveal(&caller, &message).await?,
                "paired" => tokio::spawn(async move { inner.paired(&caller, &message).await })
                    .await
                    .map_err(|error| RpcError::unknown(format!("joining broke off: {error}")))??,
                _ => {
                    return Err(RpcError::new(
                        ErrorCode::InvalidArgument,
                        "joining knows hello, prove, enrol, pair, reveal and paired alone",
                    ));
                }
            };
            Ok(once(answer))
        }
        .boxed()
    }
}

impl Inner {
    async fn hello(&self, message: &[u8]) -> Result<Bytes, RpcError> {
        let () = wire::decode(message)?;
        let list = self.registry.list().await.map_err(unavailable)?;
        Ok(Bytes::copy_from_slice(list.bytes()))
    }

    async fn prove(&self, caller: &Caller, message: &[u8]) -> Result<Bytes, RpcError> {
        let from = caller.address.ip();
        if !self.throttle.lock().open(from, self.clock.since_boot()) {
            return Err(RpcError::new(
                ErrorCode::SlowDown,
                "too many failed proofs from this address: wait a minute",
            ));
        }
        let prove: Prove = wire::decode(message)?;
        let key = key_of(caller)?;
        let data = ApplicantData::decode(&prove.applicant)?;
        let proved = wire::proved(&caller.exporter, &key, &self.public_key, prove.ticket, &prove.applicant);
        for _ in 0..ADMIT_TRIES {
            match self.admit(caller, &prove, &proved, &data).await {
                Ok((member, policy)) => return self.welcome(member, policy).await,
                Err(Refusal::Conflict) => {}
                Err(Refusal::Ticket(reason)) => {
                    self.throttle.lock().failed(from, self.clock.since_boot());
                    tracing::warn!(
                        node = %caller.node, address = %caller.address, ticket = %prove.ticket, reason,
                        "refused a node that wanted to join"
                    );
                    return Err(RpcError::new(ErrorCode::AccessDenied, REFUSAL));
                }
                Err(Refusal::Node(error)) => {
                    tracing::warn!(
                        node = %caller.node, address = %caller.address, ticket = %prove.ticket, %error,
                        "refused a node that wanted to join"
                    );
                    return Err(RpcError::new(ErrorCode::Conflict, error.to_string()));
                }
                Err(Refusal::Registry(error)) => return Err(unavailable(error)),
                Err(Refusal::Time) => return Err(time_not_proven(caller)),
            }
        }
        Err(RpcError::new(ErrorCode::SlowDown, "many nodes join at once: try again"))
    }

    async fn admit(
        &self,
        caller: &Caller,
        prove: &Prove,
        proved: &[u8],
        data: &ApplicantData,
    ) -> Result<(Member, DrivePolicy), Refusal> {
        let Some((record, generation)) = self.registry.ticket(prove.ticket).await? else {
            return Err(Refusal::Ticket("unknown ticket"));
        };
        if !record.verifies(proved, &prove.proof) {
            return Err(Refusal::Ticket("wrong secret, or a proof made for another connection"));
        }
        let list = self.registry.list().await?;
        match list.row(caller.node) {
            // Its first answer was lost: the same answer again, at no further use.
            Some(member) if member.removed.is_none() && record.joined.contains(&caller.node) => {
                return Ok((member.clone(), record.drive_policy));
            }
            Some(member) if member.removed.is_some() => {
                return Err(Refusal::Node(ChangeError::Removed(caller.node)));
            }
            _ => {}
        }
        // A clock that nobody vouches for may be behind: by it, what is over may not be.
        let Reading { time: now, trust } = self.clock.reading();
        if trust == TimeTrust::Unproven {
            return Err(Refusal::Time);
        }
        if now >= record.expires {
            return Err(Refusal::Ticket("expired ticket"));
        }
        if record.uses_left == 0 {
            return Err(Refusal::Ticket("used-up ticket"));
        }
        let member = data.member(caller.public_key.clone(), now);
        let (record, policy) = (record.clone().used_by(caller.node), record.drive_policy);
        let left = record.uses_left;
        match self.registry.admit(generation, record, member).await {
            Ok(member) => {
                tracing::info!(
                    node = %member.node, number = member.number, name = member.name, release = data.release,
                    address = %caller.address, ticket = %prove.ticket, uses_left = left,
                    "a node joined the grid"
                );
                Ok((member, policy))
            }
            Err(AdmitError::Conflict) => Err(Refusal::Conflict),
            Err(AdmitError::Change(error)) => Err(Refusal::Node(error)),
            Err(AdmitError::Registry(error)) => Err(Refusal::Registry(error)),
        }
    }

    /// A node whose key an operator registered takes up its place. TLS proved the key, so that the reason of a refusal is
    /// told to nobody but its owner.
    async fn enrol(&self, caller: &Caller, message: &[u8]) -> Result<Bytes, RpcError> {
        let data = wire::decode::<ApplicantData>(message)?.checked()?;
        let member = data.member(key_of(caller)?.to_vec(), self.clock.now());
        for _ in 0..ADMIT_TRIES {
            match self.admit_enrolled(caller, member.clone()).await {
                Ok((member, policy)) => return self.welcome(member, policy).await,
                Err(Refusal::Conflict) => {}
                Err(Refusal::Ticket(reason)) => {
                    tracing::warn!(
                        node = %caller.node, address = %caller.address, reason,
                        "refused a node that wanted to join"
                    );
                    return Err(RpcError::new(ErrorCode::AccessDenied, reason));
                }
                Err(Refusal::Node(error)) => {
                    return Err(RpcError::new(ErrorCode::Conflict, error.to_string()));
                }
                Err(Refusal::Registry(error)) => return Err(unavailable(error)),
                Err(Refusal::Time) => return Err(time_not_proven(caller)),
            }
        }
        Err(RpcError::new(ErrorCode::SlowDown, "the member list changes all the time: try again"))
    }

    async fn admit_enrolled(
        &self,
        caller: &Caller,
        member: NewMember,
    ) -> Result<(Member, DrivePolicy), Refusal> {
        let found = self.registry.enrolment(caller.node).await?;
        let list = self.registry.list().await?;
        let outcome = match (list.row(caller.node), found) {
            (Some(row), _) if row.removed.is_some() => {
                return Err(Refusal::Node(ChangeError::Removed(caller.node)));
            }
            // Its first answer was lost: the same answer again, with what it says of itself now.
            (Some(row), Some((record, _))) if record.joined.is_some() => {
                let described = NewMember { name: row.name.clone(), ..member };
                (self.registry.describe(described).await, record.drive_policy)
            }
            (Some(row), _) => return Err(Refusal::Node(ChangeError::Member(row.node))),
            (None, None) => {
                return Err(Refusal::Ticket("its key is not enrolled there, or was withdrawn"));
            }
            (None, Some((record, generation))) => {
                if self.clock.reading().trust == TimeTrust::Unproven {
                    return Err(Refusal::Time);
                }
                if !record.open(member.added) {
                    return Err(Refusal::Ticket("the enrolment of its key expired"));
                }
                let name = if record.name.is_empty() { member.name } else { record.name.clone() };
                let (member, policy) = (NewMember { name, ..member }, record.drive_policy);
                let record = Enrolment { joined: Some(member.added), ..record };
                (self.registry.admit_enrolled(generation, record, member).await, policy)
            }
        };
        match outcome {
            (Ok(member), policy) => {
                tracing::info!(
                    node = %member.node, number = member.number, name = member.name, address = %caller.address,
                    "a node whose key was enrolled joined the grid"
                );
                Ok((member, policy))
            }
            (Err(AdmitError::Conflict), _) => Err(Refusal::Conflict),
            (Err(AdmitError::Change(error)), _) => Err(Refusal::Node(error)),
            (Err(AdmitError::Registry(error)), _) => Err(Refusal::Registry(error)),
        }
    }

    fn pair(&self, caller: &Caller, message: &[u8]) -> Result<Bytes, RpcError> {
        let (key, begin, now) = (key_of(caller)?, wire::decode(message)?, self.clock.since_boot());
        let commitment =
            self.pairings.lock().begin(caller, key, &self.public_key, begin, self.random.as_ref(), now)?;
        Ok(wire::encode(&commitment)?.into())
    }

    async fn reveal(&self, caller: &Caller, message: &[u8]) -> Result<Bytes, RpcError> {
        let nonce: [u8; 32] = wire::decode(message)?;
        let list = self.registry.list().await.map_err(unavailable)?;
        let (pin, now) = (pin_of(&list), self.clock.since_boot());
        let own = self.pairings.lock().reveal(caller, &self.public_key, pin, &nonce, now)?;
        tracing::info!(node = %caller.node, address = %caller.address, "a node wants to pair: compare the codes");
        Ok(wire::encode(&own)?.into())
    }

    async fn paired(&self, caller: &Caller, message: &[u8]) -> Result<Bytes, RpcError> {
        let () = wire::decode(message)?;
        let confirmed = self.pairings.lock().confirmed(caller, self.clock.since_boot())?;
        let Some(data) = confirmed else {
            return Err(RpcError::new(ErrorCode::ConditionalConflict, "nobody confirmed the code yet"));
        };
        let member = data.member(key_of(caller)?.to_vec(), self.clock.now());
        // Until its time is up the pairing stays, so that a retry after a lost answer succeeds.
        match self.registry.admit_by_order(member).await {
            Ok(member) => {
                tracing::info!(node = %member.node, number = member.number, "a node joined the grid by pairing");
                self.welcome(member, DrivePolicy::Ask).await
            }
            Err(AdmitError::Conflict) => {
                Err(RpcError::new(ErrorCode::ConditionalConflict, "the list changed meanwhile: ask again"))
            }
            Err(AdmitError::Change(error)) => Err(RpcError::new(ErrorCode::Conflict, error.to_string())),
            Err(AdmitError::Registry(error)) => Err(unavailable(error)),
        }
    }

    async fn welcome(&self, member: Member, drive_policy: DrivePolicy) -> Result<Bytes, RpcError> {
        let secrets = self.registry.secrets().await.map_err(unavailable)?;
        let list = self.registry.list().await.map_err(unavailable)?;
        if secrets.root_key.len() > ROOT_KEY_BYTES_MAX || secrets.settings.len() > SETTINGS_BYTES_MAX {
            return Err(RpcError::new(
                ErrorCode::Internal,
                "root key or settings are longer than a joiner reads",
            ));
        }
        let admitted = Admitted {
            number: member.number,
            list: list.bytes().to_vec(),
            root_key: secrets.root_key.to_vec(),
            settings: secrets.settings,
            drive_policy,
        };
        Ok(wire::encode(&admitted)?.into())
    }
}

fn key_of(caller: &Caller) -> Result<[u8; KEY_BYTES], RpcError> {
    match caller.public_key.as_slice().try_into() {
        Ok(key) if node_id(&caller.public_key) == caller.node => Ok(key),
        _ => Err(RpcError::new(ErrorCode::InvalidArgument, "a key that is not Ed25519")),
    }
}

/// Why a node is not let in, as this side knows it.
enum Refusal {
    /// Something is wrong with the ticket, told in the log alone; or with the enrolment of the key that TLS proved.
    Ticket(&'static str),
    /// Ticket or enrolment are good, the node is not.
    Node(ChangeError),
    /// Somebody else was faster.
    Conflict,
    /// The root shard does not answer.
    Registry(RegistryError),
    /// Nobody vouches for the time here: whether the ticket is over is not known.
    Time,
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

fn time_not_proven(caller: &Caller) -> RpcError {
    tracing::warn!(node = %caller.node, "nobody joins through this member while its time is not proven");
    RpcError::new(
        ErrorCode::Unavailable,
        "the time of this member is not proven yet: try again, or `shoal clock set` on it",
    )
}

fn unavailable(error: RegistryError) -> RpcError {
    RpcError::new(ErrorCode::Unavailable, error.to_string())
}
