//! Members and tickets as the root shard has them.
//!
//! | record (kind 7) | value |
//! |---|---|
//! | `member-list` | the signed list (docs/formats/member-list.md) |
//! | `grid-ca` | version 1, then the seed of the grid CA, sealed with the root key |
//! | `ticket/` ‖ id | the ticket's record (docs/formats/ticket.md) |
//! | `enrolment/` ‖ node id | the key of a node that may join (the same page) |

use std::sync::Arc;

use data_encoding::HEXLOWER;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{ErrorCode, GridId, NodeId};
use keyring::{KeyringError, RootKeys, SealedValue};
use membership::{
    AdmitError, CaPin, ChangeError, Enrolment, EnrolmentError, GridCa, JoinSecrets, ListError, Member,
    MemberList, NewMember, Registry, RegistryError, SignedList, Ticket, TicketError, TicketId, TicketOrder,
    TicketRecord, TicketRecordError,
};
use meta_store::root::{Expect, RecordKind, RecordWrite};
use meta_store::{MetaError, MetaStore};
use sys::{Clock, Random};
use tokio::sync::watch;
use zeroize::Zeroizing;

use crate::records::{self, NodeRecord};

const LIST: &[u8] = b"member-list";
/// Key of the record with the grid CA.
pub const CA_SETTING: &[u8] = b"grid-ca";
const CA_LABEL: &str = "grid ca";
const CA_VERSION: u8 = 1;
const TICKETS: &[u8] = b"ticket/";
const ENROLMENTS: &[u8] = b"enrolment/";
/// Tickets, or enrolments, read at once, and shown at most.
const TICKETS_PAGE: usize = 256;
/// A change of the list that meets another one is tried again so often.
const CHANGES_TRIED: usize = 16;

/// Why members or tickets cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryFailure {
    /// The root shard.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// The list cannot be read or signed.
    #[error(transparent)]
    List(#[from] ListError),
    /// The list does not allow the change.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The key of the CA cannot be opened.
    #[error("the key of the grid's CA: {0}")]
    Keyring(#[from] KeyringError),
    /// The ticket cannot be made as ordered.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// A ticket's record cannot be read.
    #[error(transparent)]
    TicketRecord(#[from] TicketRecordError),
    /// An enrolment cannot be read, or not be made as ordered.
    #[error(transparent)]
    Enrolment(#[from] EnrolmentError),
    /// A record cannot be encoded.
    #[error("writing a record: {0}")]
    Encode(#[from] serde_json::Error),
    /// Something that every grid has is missing.
    #[error("the root shard has no {0}")]
    Missing(&'static str),
    /// Damaged, or of a newer release.
    #[error("the {0} in the root shard cannot be read")]
    Damaged(&'static str),
    /// Others changed the list again and again.
    #[error("the member list changes too often now: try again")]
    Busy,
}

/// Members and tickets. Cheap to clone.
#[derive(Clone)]
pub struct GridRegistry {
    meta: MetaStore,
    root_keys: RootKeys,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// The newest list that went through here.
    newest: watch::Sender<Option<SignedList>>,
}

fn setting(key: &[u8], expect: Expect, value: Option<Vec<u8>>) -> RecordWrite {
    RecordWrite { kind: RecordKind::Setting, key: key.to_vec(), expect, value }
}

fn ticket_key(id: TicketId) -> Vec<u8> {
    [TICKETS, &id.0].concat()
}

fn enrolment_key(node: NodeId) -> Vec<u8> {
    [ENROLMENTS, node.as_bytes()].concat()
}

impl GridRegistry {
    /// Over the root shard.
    pub fn new(meta: MetaStore, root_keys: RootKeys, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self { meta, root_keys, clock, random, newest: watch::Sender::new(None) }
    }

    /// Tells of lists that this node wrote or read.
    pub fn changed(&self) -> watch::Receiver<Option<SignedList>> {
        self.newest.subscribe()
    }

    /// The list of a grid; where it has none yet, it is of one node, and gets its CA and list now.
    pub async fn ensure_founded(
        &self,
        grid: GridId,
        founder: NewMember,
    ) -> Result<SignedList, RegistryFailure> {
        if let Some((list, _)) = self.stored().await? {
            return Ok(list);
        }
        let ca = GridCa::generate(&*self.random).map_err(|_| RegistryFailure::Missing("randomness"))?;
        let SealedValue(sealed) = self.root_keys.seal_value(CA_LABEL, ca.seed(), &*self.random);
        let list = SignedList::sign(MemberList::found(grid, ca.public_key(), founder)?, &ca)?;
        let writes = vec![
            setting(CA_SETTING, Expect::Absent, Some([&[CA_VERSION], sealed.as_slice()].concat())),
            setting(LIST, Expect::Absent, Some(list.bytes().to_vec())),
        ];
        self.meta.write_records(writes).await?;
        self.newest.send_replace(Some(list.clone()));
        Ok(list)
    }

    /// The list as it is now.
    pub async fn current(&self) -> Result<SignedList, RegistryFailure> {
        let (list, _) = self.stored().await?.ok_or(RegistryFailure::Missing("member list"))?;
        self.newest.send_if_modified(|known| {
            let newer = known.as_ref().is_none_or(|known| known.list().epoch < list.list().epoch);
            if newer {
                *known = Some(list.clone());
            }
            newer
        });
        Ok(list)
    }

    async fn stored(&self) -> Result<Option<(SignedList, u64)>, RegistryFailure> {
        let Some(record) = self.meta.record(RecordKind::Setting, LIST).await? else { return Ok(None) };
        Ok(Some((SignedList::verify_any(&record.value)?, record.generation)))
    }

    async fn ca(&self) -> Result<GridCa, RegistryFailure> {
        let record = self.meta.record(RecordKind::Setting, CA_SETTING).await?;
        let record = record.ok_or(RegistryFailure::Missing("grid CA"))?;
        let damaged = RegistryFailure::Damaged("grid CA");
        let Some((&CA_VERSION, sealed)) = record.value.split_first() else { return Err(damaged) };
        let seed = Zeroizing::new(self.root_keys.open_value(CA_LABEL, &SealedValue(sealed.to_vec()))?);
        let Ok(seed) = seed.as_slice().try_into() else { return Err(damaged) };
        GridCa::from_seed(seed).map_err(|_| damaged)
    }

    /// Makes a ticket. `peers`: where a joiner may ask first.
    pub async fn create_ticket(&self, order: TicketOrder) -> Result<Ticket, RegistryFailure> {
        let order = TicketOrder { ca_pin: self.ca().await?.pin(), ..order };
        let (ticket, record) = Ticket::create(order, self.clock.now(), &*self.random)?;
        let write = setting(&ticket_key(ticket.id), Expect::Absent, Some(record.encode()));
        self.meta.write_records(vec![write]).await?;
        Ok(ticket)
    }

    /// Tickets that were not deleted, used-up and expired ones too.
    pub async fn tickets(&self) -> Result<Vec<TicketRecord>, RegistryFailure> {
        let page = self.meta.records(RecordKind::Setting, Some(TICKETS), TICKETS_PAGE).await?;
        let tickets = page.iter().take_while(|record| record.key.starts_with(TICKETS));
        tickets.map(|record| Ok(TicketRecord::decode(&record.value)?)).collect()
    }

    /// Nobody joins with it any more. False where there is none.
    pub async fn delete_ticket(&self, id: TicketId) -> Result<bool, RegistryFailure> {
        let key = ticket_key(id);
        if self.meta.record(RecordKind::Setting, &key).await?.is_none() {
            return Ok(false);
        }
        self.meta.write_records(vec![setting(&key, Expect::Any, None)]).await?;
        Ok(true)
    }

    /// Lets the node with this key join; replaces what was registered for it before. A member, or one that was, is refused.
    pub async fn enrol(&self, record: Enrolment) -> Result<(), RegistryFailure> {
        record.check()?;
        let node = record.node();
        match self.current().await?.list().row(node) {
            Some(row) if row.removed.is_some() => return Err(ChangeError::Removed(node).into()),
            Some(_) => return Err(ChangeError::Member(node).into()),
            None => {}
        }
        let write = setting(&enrolment_key(node), Expect::Any, Some(record.encode()));
        Ok(self.meta.write_records(vec![write]).await?)
    }

    /// Keys that were registered and not withdrawn, expired and used ones too.
    pub async fn enrolments(&self) -> Result<Vec<Enrolment>, RegistryFailure> {
        let page = self.meta.records(RecordKind::Setting, Some(ENROLMENTS), TICKETS_PAGE).await?;
        let enrolments = page.iter().take_while(|record| record.key.starts_with(ENROLMENTS));
        enrolments.map(|record| Ok(Enrolment::decode(&record.value)?)).collect()
    }

    /// The node with that key joins no more; a member stays one. False where there is none.
    pub async fn withdraw(&self, node: NodeId) -> Result<bool, RegistryFailure> {
        let key = enrolment_key(node);
        if self.meta.record(RecordKind::Setting, &key).await?.is_none() {
            return Ok(false);
        }
        self.meta.write_records(vec![setting(&key, Expect::Any, None)]).await?;
        Ok(true)
    }

    /// What a node must be told to know this grid.
    pub async fn pin(&self) -> Result<CaPin, RegistryFailure> {
        Ok(membership::pin(&self.current().await?.list().ca_public_key))
    }

    /// Takes a member out of the list, for good, and orders a rotation of the root key: it has seen this one.
    pub async fn remove(&self, node: NodeId) -> Result<(), RegistryFailure> {
        let (now, rotation) = (self.clock.now(), crate::root_keys::wanted()?);
        self.change(|list| list.without(node, now).map(Some), vec![rotation]).await.map(|_| ())
    }

    /// Puts this list into the place of the one that a backup had. The grid's other nodes do not run.
    pub async fn put_restored(&self, list: MemberList) -> Result<SignedList, RegistryFailure> {
        let list = SignedList::sign(list, &self.ca().await?)?;
        self.meta.write_records(vec![setting(LIST, Expect::Any, Some(list.bytes().to_vec()))]).await?;
        Ok(list)
    }

    /// Changes the list; other records change with it or not at all.
    async fn change(
        &self,
        next: impl Fn(&MemberList) -> Result<Option<MemberList>, ChangeError>,
        others: Vec<RecordWrite>,
    ) -> Result<SignedList, RegistryFailure> {
        for _ in 0..CHANGES_TRIED {
            let (list, generation) = self.stored().await?.ok_or(RegistryFailure::Missing("member list"))?;
            let Some(next) = next(list.list())? else { return Ok(list) };
            let next = SignedList::sign(next, &self.ca().await?)?;
            let mut writes = others.clone();
            writes.push(setting(LIST, Expect::Generation(generation), Some(next.bytes().to_vec())));
            match self.meta.write_records(writes).await {
                Ok(()) => {
                    self.newest.send_replace(Some(next.clone()));
                    return Ok(next);
                }
                Err(error) if error.code() == ErrorCode::Conflict => {
                    // The list changed under this, or one of the others is not as expected: a second look tells.
                    if self.stored().await?.is_some_and(|(_, now)| now == generation) {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(RegistryFailure::Busy)
    }

    /// A member's row, after a change that must have made or kept it.
    async fn changed_row(
        &self,
        node: NodeId,
        next: impl Fn(&MemberList) -> Result<Option<MemberList>, ChangeError>,
        others: Vec<RecordWrite>,
    ) -> Result<Member, RegistryFailure> {
        let list = self.change(next, others).await?;
        list.list().member(node).cloned().ok_or(RegistryFailure::Missing("member"))
    }

    async fn try_admit(
        &self,
        ticket_generation: u64,
        record: TicketRecord,
        new: NewMember,
    ) -> Result<Member, AdmitError> {
        let ticket = ticket_key(record.id);
        let used = setting(&ticket, Expect::Generation(ticket_generation), Some(record.encode()));
        self.admit_new(vec![used], new).await
    }

    /// Adds a member that is not in the list yet, together with other records; one that is has its row for an answer.
    async fn admit_new(&self, mut others: Vec<RecordWrite>, new: NewMember) -> Result<Member, AdmitError> {
        let node = new.node();
        let record_of_node = NodeRecord {
            public_key: HEXLOWER.encode(&new.public_key),
            incarnation: 0,
            nonce: String::new(),
            added: new.added,
            restored: false,
        };
        let encoded = records::encode(&record_of_node).map_err(|error| failed(error.into()))?;
        others.push(RecordWrite {
            kind: RecordKind::Node,
            key: node.as_bytes().to_vec(),
            expect: Expect::Absent,
            value: Some(encoded),
        });
        let by_order = others.len() == 1;
        let next = |list: &MemberList| match list.member(node) {
            Some(_) if by_order => Ok(None),
            _ => list.with(new.clone()).map(Some),
        };
        self.changed_row(node, next, others).await.map_err(failed)
    }
}

/// The value that the record of the CA gets where the current root key is to seal it; `None` where it does already.
pub fn resealed_ca(
    root_keys: &RootKeys,
    value: &[u8],
    random: &dyn Random,
) -> Result<Option<Vec<u8>>, RegistryFailure> {
    let Some((&CA_VERSION, sealed)) = value.split_first() else {
        return Err(RegistryFailure::Damaged("grid CA"));
    };
    let again = root_keys.reseal_value(CA_LABEL, &SealedValue(sealed.to_vec()), random)?;
    Ok(again.map(|SealedValue(sealed)| [&[CA_VERSION], sealed.as_slice()].concat()))
}

fn failed(failure: RegistryFailure) -> AdmitError {
    match failure {
        RegistryFailure::Change(change) => AdmitError::Change(change),
        RegistryFailure::Meta(error) if error.code() == ErrorCode::Conflict => AdmitError::Conflict,
        other => AdmitError::Registry(RegistryError(other.to_string())),
    }
}

fn told(error: impl std::fmt::Display) -> RegistryError {
    RegistryError(error.to_string())
}

impl Registry for GridRegistry {
    fn ticket(&self, id: TicketId) -> BoxFuture<'_, Result<Option<(TicketRecord, u64)>, RegistryError>> {
        async move {
            let record = self.meta.record(RecordKind::Setting, &ticket_key(id)).await.map_err(told)?;
            let decode = |record: meta_store::root::Record| {
                TicketRecord::decode(&record.value).map(|ticket| (ticket, record.generation)).map_err(told)
            };
            record.map(decode).transpose()
        }
        .boxed()
    }

    fn admit(
        &self,
        generation: u64,
        record: TicketRecord,
        member: NewMember,
    ) -> BoxFuture<'_, Result<Member, AdmitError>> {
        // A task of its own: carried out or not, whoever waits for it.
        let this = self.clone();
        let task = tokio::spawn(async move { this.try_admit(generation, record, member).await });
        async move { task.await.map_err(|error| AdmitError::Registry(told(error)))? }.boxed()
    }

    fn enrolment(&self, node: NodeId) -> BoxFuture<'_, Result<Option<(Enrolment, u64)>, RegistryError>> {
        async move {
            let record = self.meta.record(RecordKind::Setting, &enrolment_key(node)).await.map_err(told)?;
            let decode = |record: meta_store::root::Record| {
                Enrolment::decode(&record.value).map(|read| (read, record.generation)).map_err(told)
            };
            record.map(decode).transpose()
        }
        .boxed()
    }

    fn admit_enrolled(
        &self,
        generation: u64,
        record: Enrolment,
        member: NewMember,
    ) -> BoxFuture<'_, Result<Member, AdmitError>> {
        let this = self.clone();
        let key = enrolment_key(record.node());
        let used = setting(&key, Expect::Generation(generation), Some(record.encode()));
        let task = tokio::spawn(async move { this.admit_new(vec![used], member).await });
        async move { task.await.map_err(|error| AdmitError::Registry(told(error)))? }.boxed()
    }

    fn admit_by_order(&self, member: NewMember) -> BoxFuture<'_, Result<Member, AdmitError>> {
        let this = self.clone();
        let task = tokio::spawn(async move { this.admit_new(Vec::new(), member).await });
        async move { task.await.map_err(|error| AdmitError::Registry(told(error)))? }.boxed()
    }

    fn describe(&self, member: NewMember) -> BoxFuture<'_, Result<Member, AdmitError>> {
        let this = self.clone();
        let task = tokio::spawn(async move {
            let next = |list: &MemberList| list.describing(member.clone());
            this.changed_row(member.node(), next, Vec::new()).await.map_err(failed)
        });
        async move { task.await.map_err(|error| AdmitError::Registry(told(error)))? }.boxed()
    }

    fn list(&self) -> BoxFuture<'_, Result<SignedList, RegistryError>> {
        async move { self.current().await.map_err(told) }.boxed()
    }

    fn secrets(&self) -> BoxFuture<'_, Result<JoinSecrets, RegistryError>> {
        let secrets = JoinSecrets { root_key: self.root_keys.encode(), settings: Vec::new() };
        async move { Ok(secrets) }.boxed()
    }
}
