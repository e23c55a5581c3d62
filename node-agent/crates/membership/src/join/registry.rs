//! What joining needs of the root shard; the agent implements it there.

use futures_util::future::BoxFuture;
use grid_types::NodeId;
use zeroize::Zeroizing;

use crate::enrolment::Enrolment;
use crate::member_list::{ChangeError, Member, NewMember, SignedList};
use crate::ticket::{TicketId, TicketRecord};

/// The root shard did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the root shard: {0}")]
pub struct RegistryError(pub String);

/// Nobody was admitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// Ticket or list changed since they were read: read them again.
    #[error("the ticket or the member list changed meanwhile")]
    Conflict,
    /// The list does not take this node.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The root shard did not answer, or the list cannot be signed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// What a new member is given besides the list.
#[derive(Clone, Default)]
pub struct JoinSecrets {
    /// The root key in the form that its owner reads, at most `ROOT_KEY_BYTES_MAX`.
    pub root_key: Zeroizing<Vec<u8>>,
    /// Settings of Raft and whatever else every member must know, at most `SETTINGS_BYTES_MAX`.
    pub settings: Vec<u8>,
}

/// Tickets and members, as the root shard has them. Reads are linearizable: an old answer could admit once too often.
pub trait Registry: Send + Sync + 'static {
    /// The record of a ticket and its generation for `admit`.
    fn ticket(&self, id: TicketId) -> BoxFuture<'_, Result<Option<(TicketRecord, u64)>, RegistryError>>;

    /// In one step: replaces the record, if it still has this generation, and adds the member to the list under the
    /// next number. Carried out or not even where the future is dropped.
    fn admit(
        &self,
        generation: u64,
        record: TicketRecord,
        member: NewMember,
    ) -> BoxFuture<'_, Result<Member, AdmitError>>;

    /// What an operator registered for the key of this node, and its generation for `admit_enrolled`.
    fn enrolment(&self, node: NodeId) -> BoxFuture<'_, Result<Option<(Enrolment, u64)>, RegistryError>>;

    /// As `admit`, with an enrolment.
    fn admit_enrolled(
        &self,
        generation: u64,
        record: Enrolment,
        member: NewMember,
    ) -> BoxFuture<'_, Result<Member, AdmitError>>;

    /// Adds the member to the list under the next number, by order of an operator. A node that is a member already is
    /// answered with its row. Carried out or not even where the future is dropped.
    fn admit_by_order(&self, member: NewMember) -> BoxFuture<'_, Result<Member, AdmitError>>;

    /// Makes the list say this of a member, besides its key, number and date; no change where it does already. Carried out
    /// or not even where the future is dropped.
    fn describe(&self, member: NewMember) -> BoxFuture<'_, Result<Member, AdmitError>>;

    /// The member list.
    fn list(&self) -> BoxFuture<'_, Result<SignedList, RegistryError>>;

    /// What the new member is given.
    fn secrets(&self) -> BoxFuture<'_, Result<JoinSecrets, RegistryError>>;
}
