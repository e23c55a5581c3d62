//! What the operator's door needs of the node behind it. The agent implements it; tests implement a small one.

use futures_util::future::BoxFuture;
use grid_types::{DriveId, NodeId};

use crate::types::{
    AddDrive, ClockInfo, ConfirmPairing, CreateEnrolment, CreateKey, CreateTicket, DriveInfo, EnrolmentInfo,
    JobInfo, JobOrder, KeyInfo, Locate, Located, NewKey, NewTicket, NodeInfo, Pairing, QuarantineChoice,
    QuarantineDone, QuarantinedInfo, Readiness, ReleaseQuarantined, ReplaceDrive, RootKeyInfo, SetClock,
    Status, TakeBackup, TicketInfo, VerifyReport,
};
use crate::{AdminError, ByteStream, NodeSample, OperatorKeyHash};

/// The answer of the node.
pub type NodeAnswer<'a, T> = BoxFuture<'a, Result<T, AdminError>>;

/// The node behind the door. Reads are safe to drop; orders run to completion.
pub trait Node: Send + Sync + 'static {
    /// Can it serve GET and PUT now? Cheap: load balancers ask each second.
    fn readiness(&self) -> Readiness;
    /// The whole picture.
    fn status(&self) -> NodeAnswer<'_, Status>;
    /// Figures for the metrics page.
    fn sample(&self) -> NodeAnswer<'_, NodeSample>;

    /// Drives, foreign and missing ones included.
    fn drives(&self) -> NodeAnswer<'_, Vec<DriveInfo>>;
    /// Makes a folder a drive.
    fn add_drive(&self, order: AddDrive) -> NodeAnswer<'_, DriveInfo>;
    /// Makes a drive of a node of this grid that is gone one of this node, with its chunks.
    fn adopt_drive(&self, order: AddDrive) -> NodeAnswer<'_, DriveInfo>;
    /// Retires `drive` and adds another in its place.
    fn replace_drive(&self, drive: DriveId, order: ReplaceDrive) -> NodeAnswer<'_, DriveInfo>;
    /// Locks (no new chunks) or unlocks a drive, durably.
    fn lock_drive(&self, drive: DriveId, locked: bool) -> NodeAnswer<'_, DriveInfo>;

    /// Lets a drive's chunks move away; then it leaves.
    fn drain_drive(&self, drive: DriveId) -> NodeAnswer<'_, DriveInfo>;
    /// Where the chunks of an object are.
    fn locate(&self, order: Locate) -> NodeAnswer<'_, Located>;
    /// Goes on without the other voter of a grid of two, which is lost.
    fn continue_without(&self, node: NodeId) -> NodeAnswer<'_, ()>;

    /// Reads and checks every chunk of a drive. Long; safe to drop.
    fn verify_drive(&self, drive: DriveId) -> NodeAnswer<'_, VerifyReport>;

    /// Background workers.
    fn jobs(&self) -> NodeAnswer<'_, Vec<JobInfo>>;
    /// Steers one.
    fn order_job(&self, name: &str, order: JobOrder) -> NodeAnswer<'_, JobInfo>;

    /// Which time it has.
    fn clock(&self) -> NodeAnswer<'_, ClockInfo>;
    /// The operator vouches for a time.
    fn set_clock(&self, order: SetClock) -> NodeAnswer<'_, ClockInfo>;

    /// Members of the grid.
    fn nodes(&self) -> NodeAnswer<'_, Vec<NodeInfo>>;
    /// Takes a member out of the grid, for good.
    fn remove_node(&self, node: NodeId) -> NodeAnswer<'_, ()>;
    /// The node that waits to be paired here, if one does.
    fn pairing(&self) -> NodeAnswer<'_, Pairing>;
    /// Makes it a member where the code is the one that it shows, too.
    fn confirm_pairing(&self, order: ConfirmPairing) -> NodeAnswer<'_, ()>;
    /// Sends it away.
    fn refuse_pairing(&self) -> NodeAnswer<'_, ()>;
    /// Tickets, used-up and expired ones too.
    fn tickets(&self) -> NodeAnswer<'_, Vec<TicketInfo>>;
    /// Makes one.
    fn create_ticket(&self, order: CreateTicket) -> NodeAnswer<'_, NewTicket>;
    /// Nobody joins with it any more.
    fn delete_ticket(&self, id: &str) -> NodeAnswer<'_, ()>;

    /// Keys of nodes that may join, expired and used ones too.
    fn enrolments(&self) -> NodeAnswer<'_, Vec<EnrolmentInfo>>;
    /// Lets the node with this key join.
    fn enrol(&self, order: CreateEnrolment) -> NodeAnswer<'_, EnrolmentInfo>;
    /// Not any more.
    fn withdraw_enrolment(&self, node: NodeId) -> NodeAnswer<'_, ()>;

    /// Access keys.
    fn keys(&self) -> NodeAnswer<'_, Vec<KeyInfo>>;
    /// Makes one.
    fn create_key(&self, order: CreateKey) -> NodeAnswer<'_, NewKey>;
    /// Enables or disables one.
    fn set_key_active(&self, id: &str, active: bool) -> NodeAnswer<'_, ()>;
    /// Deletes one.
    fn delete_key(&self, id: &str) -> NodeAnswer<'_, ()>;

    /// What a rebuild of the metadata could not place.
    fn quarantined(&self) -> NodeAnswer<'_, Vec<QuarantinedInfo>>;
    /// Makes quarantined segments an object.
    fn release_quarantined(&self, order: ReleaseQuarantined) -> NodeAnswer<'_, QuarantineDone>;
    /// Deletes quarantined segments.
    fn delete_quarantined(&self, choice: QuarantineChoice) -> NodeAnswer<'_, QuarantineDone>;

    /// Metadata and keys as the bytes of one backup file.
    fn take_backup(&self, order: TakeBackup) -> NodeAnswer<'_, ByteStream>;

    /// Generations of the root key, and how far a rotation is.
    fn root_key(&self) -> NodeAnswer<'_, RootKeyInfo>;
    /// Orders a rotation of the root key; it goes on by itself.
    fn rotate_root_key(&self) -> NodeAnswer<'_, ()>;

    /// Stores the hash of a new operator key, durably.
    fn set_operator_key(&self, hash: OperatorKeyHash) -> NodeAnswer<'_, ()>;
    /// Fresh random bytes for one.
    fn random_bytes(&self) -> [u8; 32];
}
