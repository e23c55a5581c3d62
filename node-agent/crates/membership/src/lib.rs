//! Which nodes belong to the grid, how one joins, which of them live, and where they are.
//!
//! - `member_list`: the signed list that TLS, Raft and placement ask.
//! - `ticket`, `enrolment`: what lets a new node in; `join`: how it gets in.
//! - `gossip`: who lives, and what each node says of itself.
//! - `discovery`: where others may be.
//! - `time`: which time it is, and who vouches for it.
//! - `merge`: all of it as the `GridSnapshot` that placement and reads use.
//!
//! Invariants: the member list is the only authority, everything else here is a hint or an observation; nothing becomes
//! a member but by a change of that list; what is kept of the root shard is reached through traits that row 8
//! implements. May import `grid-types`, `sys` and `rpc`.

mod discovery;
mod enrolment;
mod gossip;
mod grid_ca;
mod join;
mod member_list;
mod merge;
mod ticket;
mod time;

pub use discovery::{
    Announcement, Discovery, DiscoveryConfig, FOUND_MAX, Found, GRID_ADDRESSES_MAX, Interfaces, MDNS_PORT,
    PEERS_MAX, Presence, Source, usable_addresses,
};
pub use enrolment::{Enrolment, EnrolmentError, GridPin, KeyTextError, NodePublicKey};
pub use gossip::{
    Gossip, GossipConfig, GridView, Liveness, MemberView, NODE_STATE_BYTES_MAX, NODE_STATE_DRIVES_MAX,
    NodeState, SERVICE as GOSSIP_SERVICE, StateError,
};
pub use grid_ca::{CaKeyError, CaPin, CaPublicKey, GridCa, KEY_BYTES, SIGNATURE_BYTES, node_id, pin};
pub use join::{
    Admission, AdmitError, Applicant, Door, FAILURE_WINDOW, FAILURES_MAX, JOIN_MESSAGE_BYTES_MAX, JoinError,
    JoinSecrets, JoinService, PAIRING_LIFETIME, PAIRINGS_MAX, PairingApplicant, PairingCode, PendingPairing,
    ROOT_KEY_BYTES_MAX, Registry, RegistryError, SERVICE as JOIN_SERVICE, SETTINGS_BYTES_MAX,
    THROTTLED_SOURCES_MAX, enrol, join, pair,
};
pub use member_list::{
    ADDRESSES_MAX, ChangeError, LIST_BYTES_MAX, ListError, MEMBERS_MAX, Member, MemberList, NAME_BYTES_MAX,
    NewMember, SignedList,
};
pub use merge::merge;
pub use ticket::{
    DrivePolicy, TICKET_PEERS_MAX, TICKET_TEXT_MAX, TICKET_USES_MAX, Ticket, TicketError, TicketId,
    TicketIdError, TicketOrder, TicketRecord, TicketRecordError, UnknownDrivePolicy,
};
pub use time::{
    CLOCKS_APART_MAX, Electorate, FLOOR_EARLIEST, FLOOR_FILE, GRID_TIME_AFTER, KeeperStart, NTP_SERVERS_MAX,
    OperatorTime, PeerClock, Refusal as TimeRefusal, SERVICE as TIME_SERVICE, TimeConfig, TimeKeeper,
    TimeSource, TimeStatus, read_floor, write_floor,
};
