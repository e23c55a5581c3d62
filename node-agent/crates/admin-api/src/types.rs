//! The JSON that goes over the operator's door. The CLI reads the same types. Fields are added, never renamed.

use grid_types::{DriveId, DriveState, GridId, NodeId, SegmentId, Timestamp, VersionId};
use serde::{Deserialize, Serialize};

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the agent.
    pub version: String,
    /// The grid.
    pub grid: GridId,
    /// This node.
    pub node: NodeId,
    /// Starts of this node that its grid registered.
    pub incarnation: u64,
    /// Seconds since start.
    pub uptime_seconds: u64,
    /// S3 endpoints, as URLs.
    pub s3: Vec<String>,
    /// Admin endpoints, as URLs.
    pub admin: Vec<String>,
    /// The region that S3 clients are told.
    pub region: String,
    /// The profile of STANDARD.
    pub profile: String,
    /// What an acknowledgement is worth now: the lesser of data and metadata, in words.
    pub promise: String,
    /// Can it serve GET and PUT now?
    pub readiness: Readiness,
    /// Drives in service, of those known.
    pub drives_in_service: u32,
    /// Drives known, foreign ones not counted.
    pub drives_known: u32,
    /// Bytes of the drives in service.
    pub total_bytes: u64,
    /// Bytes that clients may still fill, before copies and parity.
    pub free_bytes: u64,
    /// Segments with fewer chunks in service than their profile wants; repair works on them. Large numbers are cut.
    pub segments_incomplete: u64,
    /// Segments that repair found with too few good chunks to read: lost unless a drive comes back.
    pub segments_unrecoverable: u64,
    /// What the operator should look at.
    pub warnings: Vec<String>,
    /// Which time it has; absent in answers of releases that did not say.
    #[serde(default)]
    pub clock: Option<ClockInfo>,
    /// On a board that runs an image: what its card's `status.txt` says, a line each, among them what of the card was applied,
    /// ignored or wrong.
    #[serde(default)]
    pub board: Vec<String>,
}

/// `GET /v1/clock`: which time a node has, and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockInfo {
    /// Its time, when it was asked.
    pub time: Timestamp,
    /// `unproven`, `grid` or `proven`.
    pub trust: String,
    /// `unproven`, `grid`, `host`, `rtc`, `ntp`, `operator` or `peer`.
    pub source: String,
    /// The member that proved it, with `peer`.
    pub peer: Option<NodeId>,
    /// It may be off so far, in microseconds, where it is proven.
    pub uncertainty_us: Option<u64>,
    /// The time before which it cannot be; absent where the clock of the host counts as proven.
    pub floor: Option<Timestamp>,
    /// Sources that said something that was not believed, and why.
    pub refused: Vec<ClockTrouble>,
    /// Sources that were asked and said nothing of use, and why.
    pub silent: Vec<ClockTrouble>,
    /// The clocks of members that were asked lately.
    pub members: Vec<MemberClock>,
}

/// A source of time that is no help.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockTrouble {
    /// `rtc`, `ntp`, `ntp HOST`, `peer` or `operator`.
    pub source: String,
    /// Why, in words.
    pub reason: String,
}

/// The clock of a member against that of the node that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberClock {
    /// Whose.
    pub node: NodeId,
    /// As in `ClockInfo`.
    pub source: String,
    /// Microseconds that it is ahead; negative where it is behind.
    pub ahead_us: i64,
    /// The measurement may be off so far.
    pub uncertainty_us: u64,
    /// Further apart than clocks of members should be.
    pub apart: bool,
}

/// `POST /v1/clock`: the operator vouches for the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetClock {
    /// The time now.
    pub time: Timestamp,
    /// What the node took for the earliest possible time is wrong: this counts whatever there was, and stamps may go back.
    #[serde(default)]
    pub lower_floor: bool,
}

/// `GET /health/ready`: true = can serve GET and PUT now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// No reason against it.
    pub ready: bool,
    /// What stands against it, in words.
    pub reasons: Vec<String>,
}

impl Readiness {
    /// Ready when nothing stands against it.
    pub fn of(reasons: Vec<String>) -> Self {
        Self { ready: reasons.is_empty(), reasons }
    }
}

/// `GET /health/live`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Live {
    /// Always true: the answer is the message.
    pub live: bool,
}

/// One drive or one configured folder that is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveInfo {
    /// Its id; `None` where no label could be read and none was ever known.
    pub id: Option<DriveId>,
    /// The folder.
    pub path: String,
    /// Where it stands.
    pub state: DriveState,
    /// Locked by the operator?
    pub locked: bool,
    /// What is wrong with it, in words.
    pub problem: Option<String>,
    /// 0..=100; 0 = takes none.
    pub read_score: u8,
    /// 0..=100; 0 = takes none.
    pub write_score: u8,
    /// Names its file system.
    pub file_system: String,
    /// Bytes of the file system.
    pub total_bytes: u64,
    /// Bytes that clients may still fill.
    pub free_bytes: u64,
    /// Frames, headers or records that did not match their hash, since start.
    pub corruptions: u64,
    /// p95 of the last reads, microseconds.
    pub read_p95_us: u64,
    /// p95 of the last syncs, microseconds.
    pub sync_p95_us: u64,
}

/// `GET /v1/drives`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriveList {
    /// Ordered by path.
    pub drives: Vec<DriveInfo>,
}

/// `POST /v1/drives`: makes a folder a drive of this node. This is the explicit order that a new drive needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddDrive {
    /// An existing folder, empty unless `allow_not_empty`; or one that carries this node's label and was away.
    pub path: String,
    /// Take a folder that holds other files; they stay.
    #[serde(default)]
    pub allow_not_empty: bool,
    /// Take a folder on the file system of another drive: both are then one failure domain.
    #[serde(default)]
    pub same_file_system_ok: bool,
}

/// `POST /v1/drives/{id}/replace`: retires a drive that is lost or failing and puts a new folder in its place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplaceDrive {
    /// The folder of the new drive; see `AddDrive`.
    pub path: String,
    /// See `AddDrive`.
    #[serde(default)]
    pub allow_not_empty: bool,
    /// See `AddDrive`.
    #[serde(default)]
    pub same_file_system_ok: bool,
}

/// `POST /v1/drives/{id}/verify`: every chunk of the drive was read and checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Chunks read.
    pub checked: u64,
    /// Chunks of stored objects that do not match their hashes; repair mends them.
    pub damaged: u64,
    /// The same of chunks that nothing names any more: they go by themselves.
    pub damaged_garbage: u64,
    /// The first of them, as `segment.index`.
    pub first_damaged: Vec<String>,
}

/// One background worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobInfo {
    /// Its name, as in `/v1/jobs/{name}/pause`.
    pub name: String,
    /// `idle`, `running`, `paused` or `failing`.
    pub state: String,
    /// What it does, in a sentence.
    pub purpose: String,
    /// What it does now or did last, in words.
    pub detail: String,
    /// Items done since start.
    pub done: u64,
    /// Items that failed since start.
    pub failed: u64,
    /// Items known to wait.
    pub waiting: u64,
    /// How much of the current pass is done, 0 to 1, where that is known.
    pub pass: Option<f64>,
    /// Items a second, lately.
    pub items_per_second: f64,
    /// Until the pass ends, where that can be told.
    pub eta_seconds: Option<u64>,
    /// The last failure, in words.
    pub last_error: Option<String>,
}

/// `GET /v1/jobs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobList {
    /// Ordered by name.
    pub jobs: Vec<JobInfo>,
}

/// What an operator asks of a background worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOrder {
    /// Finish the item at hand, then wait.
    Pause,
    /// Go on.
    Resume,
    /// Begin a round now, without waiting for its time.
    Run,
}

/// An access key without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyInfo {
    /// The public id.
    pub id: String,
    /// The user it acts for.
    pub user: String,
    /// `active` or `disabled`.
    pub state: String,
    /// When it was made.
    pub created: Timestamp,
}

/// `GET /v1/keys`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyList {
    /// Ordered by id.
    pub keys: Vec<KeyInfo>,
}

/// `POST /v1/keys`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateKey {
    /// The user it acts for.
    pub user: String,
    /// Both given or both drawn: the public id ...
    #[serde(default)]
    pub id: Option<String>,
    /// ... and the secret.
    #[serde(default)]
    pub secret: Option<String>,
}

/// The only answer that carries a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// The public id.
    pub id: String,
    /// The secret; not shown again.
    pub secret: String,
    /// The user it acts for.
    pub user: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).field("user", &self.user).finish_non_exhaustive()
    }
}

/// `POST /v1/operator-key`: the old one ends with this answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOperatorKey {
    /// The bearer token; not shown again.
    pub operator_key: String,
}

/// `GET /v1/quarantine`: segments that a rebuild of the metadata found and could not place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineList {
    /// By bucket, key, version, part and number; those of unknown origin last.
    pub segments: Vec<QuarantinedInfo>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedInfo {
    /// Its id.
    pub segment: SegmentId,
    /// Bytes of plaintext.
    pub bytes: u64,
    /// `None` where no bucket key opens it: then it can only be deleted.
    pub origin: Option<QuarantinedOrigin>,
}

/// Where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantinedOrigin {
    /// The bucket; its id where it has no name any more.
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The version that it is a piece of ...
    pub version: VersionId,
    /// ... the part ...
    pub part: u16,
    /// ... and the place within the part, from 0.
    pub number: u32,
}

/// Which ones an order means: all of a version, or these in this order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuarantineChoice {
    /// All of one version.
    #[serde(default)]
    pub version: Option<VersionId>,
    /// These.
    #[serde(default)]
    pub segments: Vec<SegmentId>,
}

/// `POST /v1/quarantine/release`: makes them an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseQuarantined {
    /// Which.
    pub choice: QuarantineChoice,
    /// The bucket, which must be there.
    pub bucket: String,
    /// The key, which must not.
    pub key: String,
}

/// What became of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineDone {
    /// Segments taken out of quarantine.
    pub segments: u64,
    /// Bytes of the object made of them; 0 where they were deleted.
    pub bytes: u64,
}

/// `GET /v1/nodes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeList {
    /// Ordered by number.
    pub nodes: Vec<NodeInfo>,
}

/// One member of the grid, as the node asked sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its id.
    pub node: NodeId,
    /// Its number within the grid.
    pub number: u64,
    /// What people call it.
    pub name: String,
    /// Where other nodes reach it.
    pub addresses: Vec<String>,
    /// `alive`, `suspect` or `down`.
    pub state: String,
    /// Seconds in that state.
    pub since_seconds: u64,
    /// This is the node that was asked.
    pub here: bool,
    /// Votes on the root shard.
    pub votes: bool,
    /// Leads the root shard.
    pub leads: bool,
    /// Its drives, as it told.
    pub drives: u32,
    /// Bytes of its drives.
    pub total_bytes: u64,
    /// Bytes that clients may still fill.
    pub free_bytes: u64,
    /// When it joined.
    pub added: Timestamp,
    /// Its clock against that of the node asked, where it was compared lately.
    #[serde(default)]
    pub clock: Option<MemberClock>,
}

/// `POST /v1/locate`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locate {
    /// The bucket.
    pub bucket: String,
    /// The key.
    pub key: String,
}

/// Where an object is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Located {
    /// Its current version.
    pub version: VersionId,
    /// Plaintext bytes.
    pub size: u64,
    /// The body lies in the metadata row, on the nodes that replicate it.
    pub inline: bool,
    /// Its segments, in order.
    pub segments: Vec<LocatedSegment>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocatedSegment {
    /// Its id.
    pub segment: SegmentId,
    /// Plaintext bytes.
    pub bytes: u64,
    /// How it is protected.
    pub profile: String,
    /// Its chunks, by index.
    pub chunks: Vec<LocatedChunk>,
}

/// One chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocatedChunk {
    /// The drive; `None`: nowhere now, to be rebuilt.
    pub drive: Option<DriveId>,
    /// The drive's node, where the grid knows the drive.
    pub node: Option<NodeId>,
    /// Can it be read from there now?
    pub readable: bool,
}

/// `POST /v1/tickets`: lets new nodes join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTicket {
    /// So many nodes may use it.
    pub uses: u32,
    /// Seconds until it expires.
    pub valid_seconds: u64,
    /// Which drives a board takes into service: `image-data`, `blank-too` or `ask`.
    pub drives: String,
}

/// The only answer that carries a ticket.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTicket {
    /// Its public id.
    pub id: String,
    /// The ticket: a secret, not shown again.
    pub ticket: String,
    /// When it ends.
    pub expires: Timestamp,
}

impl std::fmt::Debug for NewTicket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewTicket").field("id", &self.id).finish_non_exhaustive()
    }
}

/// `GET /v1/pairing`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairing {
    /// The node that waits; one at a time.
    pub waiting: Option<WaitingNode>,
}

/// A node that wants to become a member without a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingNode {
    /// Its id.
    pub node: NodeId,
    /// What it calls itself.
    pub name: String,
    /// What it must show, too; none for a moment.
    pub code: Option<String>,
}

/// `POST /v1/pairing/confirm`: a person has seen the same code on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmPairing {
    /// The node.
    pub node: NodeId,
    /// The code.
    pub code: String,
}

/// `GET /v1/tickets`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketList {
    /// Newest first.
    pub tickets: Vec<TicketInfo>,
}

/// A ticket without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TicketInfo {
    /// Its public id.
    pub id: String,
    /// `open`, `used up` or `expired`.
    pub state: String,
    /// Nodes that may still join with it.
    pub uses_left: u32,
    /// Nodes that did.
    pub joined: Vec<NodeId>,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Timestamp,
}

/// `POST /v1/enrolments`: lets the node with this key join.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateEnrolment {
    /// As `shoal node key` printed it.
    pub public_key: String,
    /// What people shall call the node; empty: what it calls itself.
    pub name: String,
    /// Which drives a board takes into service: `image-data`, `blank-too` or `ask`.
    pub drives: String,
    /// Seconds until it expires; absent: never.
    pub valid_seconds: Option<u64>,
}

/// `GET /v1/enrolments`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentList {
    /// Newest first.
    pub enrolments: Vec<EnrolmentInfo>,
}

/// A key that was registered before its node joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrolmentInfo {
    /// The node that has the key.
    pub node: NodeId,
    /// The key.
    pub public_key: String,
    /// `open`, `joined` or `expired`.
    pub state: String,
    /// What people shall call the node.
    pub name: String,
    /// Which drives it takes into service.
    pub drives: String,
    /// When it was registered.
    pub created: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
    /// What the node must be told, so that it knows the right grid. No secret.
    pub grid_pin: String,
}

/// `GET /v1/root-key`: the key that all others hang on, and how far its rotation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootKeyInfo {
    /// The generation that seals.
    pub active: u32,
    /// All that something may be sealed with, and the one that is being handed out.
    pub generations: Vec<u32>,
    /// A rotation goes on.
    pub rotating: bool,
    /// Records that are sealed with a root key.
    pub records: u64,
    /// Of them, with another one than the node asked uses.
    pub records_of_older: u64,
    /// Of them, cannot be opened.
    pub records_stuck: u64,
    /// What each member has.
    pub members: Vec<RootKeyHolder>,
    /// What the rotation waits for; empty where none goes on.
    pub waits_for: String,
    /// What the node asked failed with last.
    pub trouble: Option<String>,
}

/// The root keys of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootKeyHolder {
    /// The member.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// What it has; empty: it was not heard of.
    pub generations: Vec<u32>,
    /// What it seals with, where a rotation asked.
    pub sealing: Option<u32>,
}

/// `POST /v1/backup`: metadata and keys as one file, sealed with this key. The passphrase stays with who knows it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeBackup {
    /// The salt that was drawn for this file, hex.
    pub salt: String,
    /// What Argon2id made of passphrase and salt, hex: a secret ...
    pub key: String,
    /// ... with so much memory, KiB ...
    pub memory_kib: u32,
    /// ... passes ...
    pub passes: u32,
    /// ... and lanes.
    pub lanes: u32,
}

impl std::fmt::Debug for TakeBackup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TakeBackup").field("salt", &self.salt).finish_non_exhaustive()
    }
}

/// `GET /v1/operations`: the table itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationList {
    /// In the order of the table.
    pub operations: Vec<OperationInfo>,
}

/// One row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationInfo {
    /// Its name.
    pub name: String,
    /// Its method.
    pub method: String,
    /// Its path, `{…}` for a parameter.
    pub path: String,
    /// What it does.
    pub purpose: String,
    /// True where TCP needs no operator key.
    pub public: bool,
}

/// An order was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Always true.
    pub done: bool,
}
