//! Makes this host a member of a grid that exists: identity, ticket, admission, labels.
//!
//! Order: the folders are looked at before anybody is asked; nothing is proved to a grid that is not the ticket's; the
//! drives are labelled once the grid has admitted this node, and the node file comes last, as in a founding.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chunk_store::{DriveLabel, label};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grid_types::{DriveId, GridId, NodeId};
use keyring::RootKeys;
use membership::{
    Admission, Announcement, Applicant, CaPin, Discovery, DiscoveryConfig, Door, Interfaces, JoinError,
    PAIRING_LIFETIME, PairingCode, Presence, Ticket,
};
use rpc::{Method, NodeKey, NodeKeyError, RpcError, Stranger, dial_stranger};
use sys::{Clock, Random};

use super::MEMBERS_FILE;
use crate::founding::{Checked, Founding, FoundingError, check, warnings_of};
use crate::identity::{KnownDrive, NodeFile, PreparedKey};
use crate::root_keys::put_beside;

/// For a connection to one address.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);
/// Where all that is known is of another grid, others are looked for by multicast for so long.
const LOOK_AROUND: Duration = Duration::from_secs(5);
/// Between two words about waiting.
const TELL_EVERY: Duration = Duration::from_secs(30);
/// Between two rounds over all addresses.
const ROUND_PAUSE: Duration = Duration::from_secs(1);

/// What lets a node in.
pub enum JoinBy {
    /// A ticket.
    Ticket(Ticket),
    /// The key that was drawn in one of the folders and registered in the grid with this pin.
    Enrolment(CaPin),
    /// A person, who compares this code with the one that a member shows. Told the code and the grid.
    Pairing(Box<dyn Fn(PairingCode, GridId) + Send + Sync>),
}

impl JoinBy {
    fn grid(&self) -> Option<GridId> {
        match self {
            Self::Ticket(ticket) => Some(ticket.grid),
            Self::Enrolment(_) | Self::Pairing(_) => None,
        }
    }

    fn peers(&self) -> &[SocketAddr] {
        match self {
            Self::Ticket(ticket) => &ticket.peers,
            Self::Enrolment(_) | Self::Pairing(_) => &[],
        }
    }

    /// Asks one member; `None`: a person has not decided in time.
    async fn ask(
        &self,
        door: &dyn Door,
        me: &Applicant,
        random: &dyn Random,
    ) -> Result<Option<Admission>, JoinError> {
        match self {
            Self::Ticket(ticket) => membership::join(door, ticket, me).await.map(Some),
            Self::Enrolment(pin) => membership::enrol(door, pin, me).await.map(Some),
            Self::Pairing(show) => {
                let pairing = membership::pair(door, me, random).await?;
                show(pairing.code(), pairing.list().list().grid);
                let until = tokio::time::Instant::now() + PAIRING_LIFETIME;
                while tokio::time::Instant::now() < until {
                    if let Some(admission) = pairing.admitted().await? {
                        return Ok(Some(admission));
                    }
                    tokio::time::sleep(ROUND_PAUSE).await;
                }
                Ok(None)
            }
        }
    }
}

/// What to join with.
pub struct Joining {
    /// The folders, and where the root key goes: as in a founding.
    pub folders: Founding,
    /// What lets this node in.
    pub door: JoinBy,
    /// Members to ask, beside those that the ticket names: `HOST:PORT`.
    pub peers: Vec<String>,
    /// Look for members by multicast DNS, over these interfaces?
    pub multicast: Option<Interfaces>,
    /// Where this node will be reached.
    pub addresses: Vec<SocketAddr>,
    /// For people.
    pub name: String,
    /// How long members that do not answer are asked again.
    pub patience: Duration,
}

/// What this node became.
pub struct Joined {
    /// The grid.
    pub grid: GridId,
    /// This node.
    pub node: NodeId,
    /// Its number.
    pub number: u64,
    /// Where the root key lies.
    pub key_files: Vec<PathBuf>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// Why this host is no member.
#[derive(Debug, thiserror::Error)]
pub enum JoiningError {
    /// The folders, or writing to them.
    #[error(transparent)]
    Folders(#[from] FoundingError),
    /// The key pair of the node.
    #[error(transparent)]
    KeyPair(#[from] crate::identity::KeyPairError),
    /// The same.
    #[error(transparent)]
    Key(#[from] NodeKeyError),
    /// The key that waits in a folder.
    #[error("{path}: {source}")]
    PreparedKey {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Which of them is the one that was registered?
    #[error(
        "two of the folders hold a key that `shoal node key` drew, and not the same: delete the file `shoal-prepared-key` in one"
    )]
    TwoPreparedKeys,
    /// Nothing was registered, as far as this host knows.
    #[error(
        "no folder holds a key yet: `shoal node key --drive PATH` draws one; register it with `shoal node enrol` on a member"
    )]
    NoPreparedKey,
    /// Nobody to ask.
    #[error(
        "no member of the grid was found: is a member's port for nodes reachable from here? Name one with --peer HOST:PORT"
    )]
    NoPeer,
    /// The grid refused, or is a false one.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The codes were not confirmed.
    #[error("nobody confirmed the code on the member in time; run it again when somebody is there")]
    NotConfirmed,
    /// Nobody answered.
    #[error("no member of the grid answered: {0}")]
    Silence(RpcError),
    /// The root key that was sent.
    #[error("the root key that the grid sent: {0}")]
    RootKey(#[from] keyring::KeyringError),
    /// A file could not be written.
    #[error(
        "writing {path}: {source}; this node was admitted and lost its identity: remove it from the grid, and join again"
    )]
    Io {
        /// Which.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// A connection to a node whose key nobody has vouched for yet.
struct StrangersDoor(Stranger);

impl Door for StrangersDoor {
    fn peer(&self) -> NodeId {
        self.0.peer()
    }

    fn peer_public_key(&self) -> &[u8] {
        self.0.public_key()
    }

    fn exporter(&self) -> [u8; 32] {
        *self.0.exporter()
    }

    fn call(
        &self,
        method: Method,
        message: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'_, Result<Bytes, RpcError>> {
        self.0.call(method, message, deadline).boxed()
    }
}

/// Joins. Runs to completion; a crash after the admission costs one use of the ticket.
pub async fn join(
    order: &Joining,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
) -> Result<Joined, JoiningError> {
    let checked = check(&order.folders)?;
    let warnings = warnings_of(&checked);
    let known: Vec<KnownDrive> = checked
        .iter()
        .map(|drive| KnownDrive { id: DriveId::from(random.id()), path: drive.path.clone(), failed: None })
        .collect();
    // The grid is known for certain once it has admitted this node.
    let unknown = GridId::from_bytes([0; 16]);
    let grid = order.door.grid().unwrap_or(unknown);
    let mut identity = match prepared_key(&checked)? {
        Some(key) => NodeFile::with_key(&key, grid, known.clone()),
        None if matches!(order.door, JoinBy::Enrolment(_)) => return Err(JoiningError::NoPreparedKey),
        None => NodeFile::generate(grid, known.clone())?,
    };
    let key = NodeKey::from_pkcs8(&identity.key_document())?;
    let admission = ask(order, &key, clock.clone(), &*random).await?;
    let root_key = RootKeys::decode(&admission.root_key)?;

    let grid = admission.grid;
    identity.grid = grid;
    let mut key_files = Vec::new();
    if let Some(path) = &order.folders.key_file {
        root_key.save(path)?;
        key_files.push(path.clone());
    }
    for (drive, known) in checked.iter().zip(&known) {
        let failed = |name: &str| {
            let path = drive.path.join(name);
            move |source| JoiningError::Io { path, source }
        };
        if order.folders.key_file.is_none() {
            key_files.push(put_beside(&root_key, &drive.path)?);
        }
        let label =
            DriveLabel { grid, node: identity.node, drive: known.id, generation: 1, created: clock.now() };
        label::create(&*drive.disk, &label, true).map_err(failed(label::LABEL_FILE))?;
        let list = admission.list.bytes();
        drive.disk.write_atomic(MEMBERS_FILE, list, "member list").map_err(failed(MEMBERS_FILE))?;
    }
    for drive in &checked {
        let failed = |source| JoiningError::Io { path: drive.path.join(crate::identity::NODE_FILE), source };
        identity.write(&*drive.disk).map_err(failed)?;
    }
    for drive in &checked {
        let failed = |source| JoiningError::PreparedKey { path: drive.path.clone(), source };
        PreparedKey::remove(&*drive.disk).map_err(failed)?;
    }
    Ok(Joined { grid, node: identity.node, number: admission.number, key_files, warnings })
}

/// The key that `shoal node key` drew in one of these folders.
fn prepared_key(folders: &[Checked]) -> Result<Option<PreparedKey>, JoiningError> {
    let mut found: Option<PreparedKey> = None;
    for folder in folders {
        let failed = |source| JoiningError::PreparedKey { path: folder.path.clone(), source };
        let Some(key) = PreparedKey::read(&*folder.disk).map_err(failed)? else { continue };
        if found.as_ref().is_some_and(|other| other.public_key() != key.public_key()) {
            return Err(JoiningError::TwoPreparedKeys);
        }
        found = Some(key);
    }
    Ok(found)
}

/// Asks one member after the other until one admits this node or the grid refuses it.
async fn ask(
    order: &Joining,
    key: &NodeKey,
    clock: Arc<dyn Clock>,
    random: &dyn Random,
) -> Result<Admission, JoiningError> {
    let discovery = Discovery::start(
        Announcement {
            node: key.node(),
            grid: None,
            presence: Presence::New,
            release: env!("CARGO_PKG_VERSION").to_owned(),
            hardware: std::env::consts::ARCH.to_owned(),
            port: order.addresses.first().map_or(0, SocketAddr::port),
            api_port: None,
        },
        DiscoveryConfig {
            multicast: order.multicast.is_some(),
            interfaces: order.multicast.clone().unwrap_or(Interfaces::Usable),
            peers: order.peers.clone(),
            ..DiscoveryConfig::default()
        },
        clock,
    );
    let me = Applicant {
        public_key: key.public_key().to_vec(),
        name: order.name.clone(),
        addresses: order.addresses.clone(),
        has_aes: codec::cpu_has_aes(),
        has_drives: true,
        release: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let began = tokio::time::Instant::now();
    let (mut told, until) = (began, began + order.patience);
    let mut false_grids: BTreeMap<SocketAddr, JoinError> = BTreeMap::new();
    loop {
        let mut last = JoiningError::NoPeer;
        // Hints: whom a key makes a member of the ticket's grid is found out by asking.
        let found = discovery.found();
        let of_grid = found
            .iter()
            .filter(|one| one.grid.is_none_or(|grid| order.door.grid().is_none_or(|wanted| grid == wanted)));
        let mut known = BTreeSet::new();
        let peers = order.door.peers().iter().chain(of_grid.flat_map(|one| &one.addresses));
        let peers: Vec<SocketAddr> = peers.copied().filter(|peer| known.insert(*peer)).collect();
        if !peers.is_empty()
            && peers.iter().all(|peer| false_grids.contains_key(peer))
            && began.elapsed() >= LOOK_AROUND
            && let Some((_, error)) = false_grids.pop_first()
        {
            return Err(error.into());
        }
        for peer in peers {
            if false_grids.contains_key(&peer) {
                continue;
            }
            match dial_stranger(peer, key, DIAL_TIMEOUT).await {
                Ok(stranger) => match order.door.ask(&StrangersDoor(stranger), &me, random).await {
                    Ok(Some(admission)) => return Ok(admission),
                    Ok(None) => return Err(JoiningError::NotConfirmed),
                    Err(error @ (JoinError::Call { .. } | JoinError::Answer { .. })) => last = error.into(),
                    // Others may be of the right grid all the same.
                    Err(error @ (JoinError::FalseGrid { .. } | JoinError::NotAMember(_))) => {
                        tracing::warn!(%peer, %error, "not asked any further");
                        false_grids.insert(peer, error);
                        // The round goes on with the others.
                        last = JoiningError::NoPeer;
                    }
                    Err(error) => return Err(error.into()),
                },
                Err(error) => last = JoiningError::Silence(error),
            }
        }
        if tokio::time::Instant::now() + ROUND_PAUSE > until {
            return Err(last);
        }
        if told.elapsed() >= TELL_EVERY {
            told = tokio::time::Instant::now();
            tracing::warn!(reason = %last, "waiting for a grid to join");
        }
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}
