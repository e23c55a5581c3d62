//! A node's drives while the node does not run: what `rebuild-metadata` and `restore` work on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use chunk_store::{ChunkStore, Drive, DriveConfig};
use grid_types::{DriveId, DriveState, MemoryBudget};
use keyring::RootKeys;
use membership::{MemberList, SignedList};
use meta_store::home::HomeDrive;
use meta_store::{FOUNDER, MetaConfig, VoterNumber};
use object_engine::rebuild::Rebuild;
use rpc::{NodeKey, dial_stranger};
use segment_store::{GridView, SegmentConfig, SegmentStore};
use sys::{Clock, Disk, Random, RealClock, RealRandom};
use tokio::task::JoinSet;

use super::Failure;
use crate::config::Config;
use crate::drives::{Discovered, DriveLock, DriveTable, WatchedDrive, discover};
use crate::grid::Members;
use crate::identity::NodeFile;
use crate::node::{lock_drives, open_drives};

/// A member that lives answers sooner.
const ANSWER_PATIENCE: Duration = Duration::from_secs(3);

/// A node's drives, locked: the node cannot start meanwhile.
pub struct Offline {
    /// Who the node is.
    pub identity: NodeFile,
    /// Its drives, those that failed too.
    pub found: Discovered,
    /// Folders that are not in service, with the reason.
    pub missing: Vec<String>,
    /// The newest member list on the drives.
    pub members: Option<Arc<SignedList>>,
    opened: Vec<Drive>,
    _locks: BTreeMap<DriveId, DriveLock>,
}

impl Offline {
    /// Finds, locks and opens the drives.
    pub async fn open(config: &Config) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let found = discover(&config.drives)?;
        let locks = lock_drives(&found.drives)?;
        let mut problems = found.problems.clone();
        let opened = open_drives(&found.drives, &clock, &DriveConfig::default(), &mut problems).await?;
        let missing = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.path.display(), problem.reason))
            .collect();
        let disks: Vec<Arc<dyn Disk>> = opened.iter().map(Drive::disk).collect();
        let members = Members::read(found.identity.grid, &disks).list();
        Ok(Self { identity: found.identity.clone(), found, missing, members, opened, _locks: locks })
    }

    /// The drives that could be opened.
    pub fn disks(&self) -> Vec<Arc<dyn Disk>> {
        self.opened.iter().map(Drive::disk).collect()
    }

    /// This node's number in the grid, as its drives know it.
    pub fn number(&self) -> VoterNumber {
        let list = self.members.as_ref().map(|list| list.list());
        list.and_then(|list| list.member(self.identity.node)).map_or(FOUNDER, |member| member.number)
    }

    /// What a rebuild works on.
    pub fn rebuild(&self, config: &Config, root_keys: RootKeys, number: VoterNumber) -> Rebuild {
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let random: Arc<dyn Random> = Arc::new(RealRandom);
        let mut table = DriveTable::new(self.identity.node, true, codec::cpu_has_aes());
        for (drive, open) in self.found.drives.iter().filter_map(|drive| {
            self.opened.iter().find(|open| open.id() == drive.label.drive).map(|open| (drive, open))
        }) {
            let mut watched = WatchedDrive::new(drive.label.drive, drive.path.clone(), DriveState::Waiting);
            watched.present(open.summary());
            table.insert(watched);
        }
        let grid = GridView::default();
        if let Some(snapshot) = table.changed_snapshot() {
            grid.publish(snapshot);
        }
        let chunks = ChunkStore::new(self.opened.clone());
        let budget = MemoryBudget::new("rebuild", config.memory.0, 64);
        let segments =
            SegmentStore::new(chunks.clone(), grid, random.clone(), budget, SegmentConfig::default());
        Rebuild {
            chunks,
            segments,
            home: self.home(),
            root_keys,
            number,
            meta_config: MetaConfig::default(),
            clock,
            random,
        }
    }

    /// Failed drives are read for what they know; new metadata rests on the others.
    pub fn home(&self) -> Vec<HomeDrive> {
        let failed: Vec<_> = self
            .found
            .drives
            .iter()
            .filter(|drive| drive.failure.is_some())
            .map(|drive| drive.label.drive)
            .collect();
        let all_failed = self.opened.iter().all(|open| failed.contains(&open.id()));
        self.opened
            .iter()
            .filter(|open| all_failed || !failed.contains(&open.id()))
            .map(|open| HomeDrive { id: open.id(), disk: open.disk() })
            .collect()
    }
}

/// A grid that lives has its metadata: a member that answers and proves its key ends this.
pub async fn nobody_answers(list: &MemberList) -> Result<(), Failure> {
    let (key, _) = NodeKey::generate()?;
    let mut asking = JoinSet::new();
    for member in list.current() {
        for address in member.addresses.clone() {
            let (key, node, name) = (key.clone(), member.node, member.name.clone());
            asking.spawn(async move {
                let answered = dial_stranger(address, &key, ANSWER_PATIENCE).await;
                answered.is_ok_and(|stranger| stranger.peer() == node).then_some((name, address))
            });
        }
    }
    while let Some(asked) = asking.join_next().await {
        if let Ok(Some((name, address))) = asked {
            return Err(running(&name, address).into());
        }
    }
    Ok(())
}

fn running(name: &str, address: SocketAddr) -> String {
    format!(
        "member {name} of this grid runs and answers at {address}: its metadata is not lost. Stop every member first if it is; \
         a node that lost its drives joins the grid anew with a ticket (`shoal join`)"
    )
}
