//! Takes the steps of a rotation: those of every member, and those of the root's leader.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use grid_types::{ErrorCode, NodeId, ShardId};
use keyring::{KeyringError, RootKeys};
use membership::MemberList;
use meta_store::root::{Expect, RecordKind};
use meta_store::{MetaError, MetaStore};
use object_engine::backup::MetadataBackup;
use parking_lot::RwLock;
use sys::{Clock, Random};

use super::reseal::{self, Pass};
use super::service::{self, RootKeyService};
use super::state::{HOLDERS, Holder, KnownKey, ROTATION, Rotation, WANTED, holder_key, setting, wanted};
use super::store::KeyPlaces;
use crate::grid::{GridLink, GridRegistry, RegistryFailure};
use crate::records::{self, RecordError};

/// Between two looks at the root shard while a rotation goes on.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Between two looks else: a thousand members ask the root shard 200 times a second.
const IDLE_LOOK_EVERY: Duration = Duration::from_secs(5);
/// The member that drew a key died before another one had it, if nobody who answers has it for so long: another is drawn.
const DRAWER_PATIENCE: Duration = Duration::from_secs(30);
/// Between two passes over all that is sealed, while members that are away keep the rotation from its end.
const PASS_EVERY: Duration = Duration::from_secs(10);
/// What a member sealed with an older key before it changed over has come to the root shard by then, or never does: longer
/// than any commit is waited for.
const IN_FLIGHT: Duration = Duration::from_secs(30);

/// Why a step was not taken; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The root shard.
    #[error(transparent)]
    Meta(#[from] MetaError),
    /// A record of another release.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A record cannot be written.
    #[error("writing a record: {0}")]
    Encode(#[from] serde_json::Error),
    /// The keys, or where they lie.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// The member list.
    #[error(transparent)]
    Members(#[from] RegistryFailure),
    /// No member that answers has it.
    #[error("no member that answers has root key {generation} yet ({last})")]
    NotTold {
        /// The key.
        generation: u32,
        /// Something may be sealed with it; else it is only being handed out.
        used: bool,
        /// What the last one asked said.
        last: String,
    },
    /// The metadata has no copy on the drives yet.
    #[error("copies of the metadata on the drives: {0}")]
    Backup(#[from] object_engine::EngineError),
}

/// What a keeper works with.
pub struct KeeperParts {
    /// This node.
    pub me: NodeId,
    /// Its keys.
    pub keys: RootKeys,
    /// Where they lie.
    pub places: KeyPlaces,
    /// The root shard.
    pub meta: MetaStore,
    /// Members.
    pub registry: GridRegistry,
    /// The way to them.
    pub link: Arc<GridLink>,
    /// For periods.
    pub clock: Arc<dyn Clock>,
    /// For new keys.
    pub random: Arc<dyn Random>,
}

/// Keeps this node's root keys, and rotates the grid's where this node leads.
pub struct KeyKeeper {
    me: NodeId,
    keys: RootKeys,
    meta: MetaStore,
    registry: GridRegistry,
    link: Arc<GridLink>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    known: Arc<RwLock<Option<Rotation>>>,
    backup: OnceLock<Arc<MetadataBackup>>,
    work: tokio::sync::Mutex<Work>,
    trouble: RwLock<Option<String>>,
}

struct Work {
    places: KeyPlaces,
    /// What the holder's record of this node says.
    told: Option<Holder>,
    /// Generation whose bag lies on this node's drives.
    bag: u32,
    /// All members seal with this generation since then.
    all_sealing: Option<(u32, Duration)>,
    passed: Option<Duration>,
    /// The leader lacks this generation, the newest one, since then.
    lacking: Option<(u32, Duration)>,
}

/// How far a rotation is.
#[derive(Debug, Clone)]
pub struct RotationView {
    /// The generation that seals.
    pub active: u32,
    /// All generations, the newest last.
    pub generations: Vec<u32>,
    /// A rotation was ordered and has not begun.
    pub wanted: bool,
    /// What is sealed with what.
    pub pass: Pass,
    /// What members have; none: not told yet.
    pub members: Vec<MemberKeys>,
    /// In words; empty where nothing goes on.
    pub waits_for: String,
    /// What this node failed with last.
    pub trouble: Option<String>,
}

/// A member's keys.
#[derive(Debug, Clone)]
pub struct MemberKeys {
    /// The member.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// What it has.
    pub generations: Vec<u32>,
    /// What it seals with.
    pub sealing: Option<u32>,
}

impl KeyKeeper {
    /// Takes no step yet.
    pub fn new(parts: KeeperParts) -> Self {
        let KeeperParts { me, keys, places, meta, registry, link, clock, random } = parts;
        let work = Work { places, told: None, bag: 0, all_sealing: None, passed: None, lacking: None };
        Self {
            me,
            keys,
            meta,
            registry,
            link,
            clock,
            random,
            known: Arc::default(),
            backup: OnceLock::new(),
            work: tokio::sync::Mutex::new(work),
            trouble: RwLock::default(),
        }
    }

    /// What answers other members.
    pub fn service(&self) -> RootKeyService {
        RootKeyService::new(self.keys.clone(), self.link.members().clone(), self.known.clone())
    }

    /// Copies of the metadata on the drives are refreshed through this.
    pub fn backed_up_by(&self, backup: Arc<MetadataBackup>) {
        // Told once, by the one who wires the node.
        let _ = self.backup.set(backup);
    }

    /// Orders a rotation. It is carried out by whoever leads the root shard, and survives everybody.
    pub async fn order(&self) -> Result<(), KeeperError> {
        Ok(self.meta.write_records(vec![wanted()?]).await?)
    }

    /// Works until it is dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            let rotating = self.known.read().as_ref().is_some_and(|known| known.keys.len() > 1);
            tokio::time::sleep(if rotating { LOOK_EVERY } else { IDLE_LOOK_EVERY }).await;
            let trouble = self.step().await.err().map(|error| error.to_string());
            let changed = *self.trouble.read() != trouble;
            if let Some(trouble) = trouble.as_ref().filter(|_| changed) {
                tracing::warn!(trouble, "a step with the root keys is tried again");
            }
            *self.trouble.write() = trouble;
        }
    }

    /// Gets what this node lacks: before it serves, too.
    pub async fn catch_up(&self) -> Result<(), KeeperError> {
        let mut work = self.work.lock().await;
        if let Some((rotation, _)) = self.rotation().await? {
            self.follow(&rotation, &mut work).await?;
        }
        Ok(())
    }

    async fn step(&self) -> Result<(), KeeperError> {
        let mut work = self.work.lock().await;
        let found = self.rotation().await?;
        let mut trouble = None;
        match &found {
            Some((rotation, _)) => match self.follow(rotation, &mut work).await {
                // The leader may have to draw another one.
                Err(error @ KeeperError::NotTold { used: false, .. }) => {
                    trouble = Some(error);
                }
                followed => followed?,
            },
            // A drive that came meanwhile has no copy, or an older one.
            None => work.places.write(&self.keys).await?,
        }
        if !self.meta.leads(ShardId::ROOT) {
            (work.all_sealing, work.passed, work.lacking) = (None, None, None);
            return trouble.map_or(Ok(()), Err);
        }
        match self.lead(found, &mut work).await {
            // Somebody else changed something: the next look tells.
            Err(KeeperError::Meta(error)) if error.code() == ErrorCode::Conflict => Ok(()),
            led => led.and(trouble.map_or(Ok(()), Err)),
        }
    }

    async fn rotation(&self) -> Result<Option<(Rotation, u64)>, KeeperError> {
        let Some(record) = self.meta.record(RecordKind::Setting, ROTATION).await? else { return Ok(None) };
        let rotation: Rotation = records::decode("root keys", &record.value)?;
        *self.known.write() = Some(rotation.clone());
        Ok(Some((rotation, record.generation)))
    }

    /// The steps of every member.
    async fn follow(&self, rotation: &Rotation, work: &mut Work) -> Result<(), KeeperError> {
        let mut lacking = None;
        for known in &rotation.keys {
            if self.keys.get(known.generation).is_some_and(|key| known.is(&key)) {
                continue;
            }
            match self.fetch(known, known.generation <= rotation.active).await {
                Ok(key) => self.keys.hold(key)?,
                // Its only holder may have died.
                Err(error @ KeeperError::NotTold { used: false, .. }) => {
                    lacking = Some(error);
                    continue;
                }
                Err(error) => return Err(error),
            }
            work.places.outdated();
            tracing::info!(generation = known.generation, "this node has a root key more");
        }
        // Nothing is used, or told to be here, that is not on the drives.
        work.places.write(&self.keys).await?;
        if self.keys.generation() != rotation.active {
            self.keys.seal_with(rotation.active);
            work.places.outdated();
            tracing::info!(generation = rotation.active, "this node seals with another root key");
        }
        if self.keys.forget_all_but(&self.kept(rotation)) {
            work.places.outdated();
            tracing::info!(generations = ?self.keys.generations(), "older root keys are forgotten");
        }
        work.places.write(&self.keys).await?;
        if rotation.resealed
            && work.bag != rotation.active
            && let Some(backup) = self.backup.get()
        {
            backup.refresh_now().await?;
            work.bag = rotation.active;
        }
        let mut generations = self.keys.generations();
        generations.sort_unstable();
        let holder = Holder { generations, sealing: self.keys.generation(), bag: work.bag };
        if work.told.as_ref() != Some(&holder) {
            let value = records::encode(&holder)?;
            self.meta.write_records(vec![setting(&holder_key(self.me), Expect::Any, Some(value))]).await?;
            work.told = Some(holder);
        }
        lacking.map_or(Ok(()), Err)
    }

    /// Those that the grid uses, and one that this node drew: the write that names it may still arrive.
    fn kept(&self, rotation: &Rotation) -> Vec<u32> {
        let newest = rotation.newest();
        let own = self.keys.generations().into_iter().filter(|generation| *generation > newest);
        rotation.generations().into_iter().chain(own).collect()
    }

    async fn fetch(&self, known: &KnownKey, used: bool) -> Result<keyring::RootKey, KeeperError> {
        let mut last = "there is nobody to ask".to_owned();
        let list = self.registry.current().await?;
        let network = self.link.network();
        for member in list.list().current().filter(|member| member.node != self.me) {
            match service::fetch(&*network, member.node, known).await {
                Ok(key) => return Ok(key),
                Err(error) => last = format!("{}: {error}", member.name),
            }
        }
        Err(KeeperError::NotTold { generation: known.generation, used, last })
    }

    /// The steps of who leads the root shard.
    async fn lead(&self, found: Option<(Rotation, u64)>, work: &mut Work) -> Result<(), KeeperError> {
        let ordered = self.meta.record(RecordKind::Setting, WANTED).await?.map(|record| record.generation);
        let room = found.as_ref().is_none_or(|(rotation, _)| rotation.has_room());
        if ordered.is_some() && room || self.died_with_its_drawer(found.as_ref(), work) {
            return self.begin(found, ordered, work).await;
        }
        let Some((rotation, generation)) = found else { return Ok(()) };
        if rotation.keys.len() < 2 {
            return Ok(());
        }
        let list = self.registry.current().await?;
        let holders = self.holders().await?;
        if rotation.active < rotation.newest() {
            if self.why_not_active(&rotation, list.list(), &holders).is_some() {
                return Ok(());
            }
            tracing::info!(
                generation = rotation.newest(),
                "the new root key is where it must be: it seals from now on"
            );
            let next = rotation.with_newest_active();
            return self.write(&next, Expect::Generation(generation)).await;
        }
        if !rotation.resealed {
            return self.seal_anew(rotation, generation, list.list(), &holders, work).await;
        }
        let behind = list
            .list()
            .current()
            .any(|member| holders.get(&member.node).is_none_or(|holder| holder.bag != rotation.active));
        if behind {
            return Ok(());
        }
        tracing::info!(generation = rotation.active, "the root key is rotated: older ones are forgotten");
        let mut writes: Vec<_> = holders
            .keys()
            .filter(|node| list.list().member(**node).is_none())
            .map(|node| setting(&holder_key(*node), Expect::Any, None))
            .collect();
        let keys = rotation.known(rotation.active).cloned().into_iter().collect();
        let next = records::encode(&Rotation { keys, ..rotation })?;
        writes.push(setting(ROTATION, Expect::Generation(generation), Some(next)));
        Ok(self.meta.write_records(writes).await?)
    }

    /// Whether nobody who answers has the newest key, which nothing is sealed with yet, for long.
    fn died_with_its_drawer(&self, found: Option<&(Rotation, u64)>, work: &mut Work) -> bool {
        let newest = found.map(|(rotation, _)| (rotation.active, rotation.newest()));
        let lacked = newest.filter(|(active, newest)| newest > active && self.keys.get(*newest).is_none());
        let Some((_, lacked)) = lacked else {
            work.lacking = None;
            return false;
        };
        let now = self.clock.since_boot();
        let since = work.lacking.filter(|(of, _)| *of == lacked).map_or(now, |(_, since)| since);
        work.lacking = Some((lacked, since));
        now.saturating_sub(since) >= DRAWER_PATIENCE
    }

    /// Draws the next key, in the place of one that is being handed out. Until the record names it, nobody else has heard of
    /// it; where that write fails, the next one names the same key, as the first may arrive later.
    async fn begin(
        &self,
        found: Option<(Rotation, u64)>,
        ordered: Option<u64>,
        work: &mut Work,
    ) -> Result<(), KeeperError> {
        let epoch = self.registry.current().await?.list().epoch;
        let (mut rotation, expect) = match found {
            Some((rotation, generation)) => (rotation, Expect::Generation(generation)),
            None => (Rotation::of(&self.keys, self.keys.generation(), 0), Expect::Absent),
        };
        let newest = rotation.newest();
        let drawn = self.keys.generations().into_iter().find(|generation| *generation > newest);
        let key = match drawn.and_then(|generation| self.keys.get(generation)) {
            Some(key) => key,
            None => self.keys.draw_next(newest, &*self.random)?,
        };
        work.places.outdated();
        if let Err(error) = work.places.write(&self.keys).await {
            self.keys.forget_all_but(&rotation.generations());
            return Err(error.into());
        }
        tracing::info!(generation = key.generation(), "a new root key is drawn, and handed to the members");
        rotation.hand_out(KnownKey::of(&key, epoch));
        let mut writes = vec![setting(ROTATION, expect, Some(records::encode(&rotation)?))];
        writes.extend(ordered.map(|ordered| setting(WANTED, Expect::Generation(ordered), None)));
        Ok(self.meta.write_records(writes).await?)
    }

    async fn seal_anew(
        &self,
        rotation: Rotation,
        generation: u64,
        list: &MemberList,
        holders: &BTreeMap<NodeId, Holder>,
        work: &mut Work,
    ) -> Result<(), KeeperError> {
        let now = self.clock.since_boot();
        let sealing =
            |node: &NodeId| holders.get(node).is_some_and(|holder| holder.sealing == rotation.active);
        let all = list.current().all(|member| sealing(&member.node));
        let since = work.all_sealing.filter(|(of, _)| *of == rotation.active).map(|(_, since)| since);
        work.all_sealing = all.then(|| (rotation.active, since.unwrap_or(now)));
        let settled = all && since.is_some_and(|since| now.saturating_sub(since) >= IN_FLIGHT);
        if !settled && work.passed.is_some_and(|passed| now.saturating_sub(passed) < PASS_EVERY) {
            return Ok(());
        }
        work.passed = Some(now);
        let pass = reseal::pass(&self.meta, &self.keys, &*self.random, true).await?;
        if pass.older > 0 {
            tracing::info!(
                records = pass.older,
                generation = rotation.active,
                "sealed anew with the new root key"
            );
        }
        if !settled || pass.older > 0 || pass.stuck > 0 {
            return Ok(());
        }
        // What a rebuild would read must open without the older keys, too.
        if let Some(backup) = self.backup.get() {
            backup.back_up_now().await?;
        }
        let next = Rotation { resealed: true, ..rotation };
        self.write(&next, Expect::Generation(generation)).await
    }

    async fn write(&self, rotation: &Rotation, expect: Expect) -> Result<(), KeeperError> {
        let value = Some(records::encode(rotation)?);
        Ok(self.meta.write_records(vec![setting(ROTATION, expect, value)]).await?)
    }

    async fn holders(&self) -> Result<BTreeMap<NodeId, Holder>, KeeperError> {
        let limit = membership::MEMBERS_MAX;
        let page = self.meta.records(RecordKind::Setting, Some(HOLDERS), limit).await?;
        let mut holders = BTreeMap::new();
        for record in page.iter().take_while(|record| record.key.starts_with(HOLDERS)) {
            let Some(node) = record.key[HOLDERS.len()..].try_into().ok().map(NodeId::from_bytes) else {
                continue;
            };
            holders.insert(node, records::decode("root key holder", &record.value)?);
        }
        Ok(holders)
    }

    /// Whose lack of the newest key keeps it from being used.
    fn why_not_active(
        &self,
        rotation: &Rotation,
        list: &MemberList,
        holders: &BTreeMap<NodeId, Holder>,
    ) -> Option<String> {
        let newest = rotation.newest();
        let holds =
            |node: NodeId| holders.get(&node).is_some_and(|holder| holder.generations.contains(&newest));
        let peers = self.meta.peers().members();
        let alive = |node: NodeId| peers.iter().any(|peer| peer.node == node && peer.alive);
        let (voters, _) = self.meta.root_voters();
        let needed = list.current().filter(|member| alive(member.node) || voters.contains(&member.number));
        let lacking: Vec<&str> =
            needed.filter(|member| !holds(member.node)).map(|member| member.name.as_str()).collect();
        if !lacking.is_empty() {
            return Some(format!("root key {newest} has to reach {}", lacking.join(", ")));
        }
        let (all, have) =
            (list.current().count(), list.current().filter(|member| holds(member.node)).count());
        (have * 2 <= all).then(|| format!("root key {newest} has to reach more than half of the members"))
    }

    /// How far a rotation is.
    pub async fn view(&self) -> Result<RotationView, KeeperError> {
        let found = self.rotation().await?;
        let wanted = self.meta.record(RecordKind::Setting, WANTED).await?.is_some();
        let list = self.registry.current().await?;
        let holders = self.holders().await?;
        let pass = reseal::pass(&self.meta, &self.keys, &*self.random, false).await?;
        let mut own = self.keys.generations();
        own.sort_unstable();
        let (active, generations) = match &found {
            Some((rotation, _)) => (rotation.active, rotation.generations()),
            None => (self.keys.generation(), own.clone()),
        };
        let names = |lack: &dyn Fn(&Holder) -> bool| {
            let behind = list.list().current().filter(|member| holders.get(&member.node).is_none_or(lack));
            behind.map(|member| member.name.clone()).collect::<Vec<_>>().join(", ")
        };
        let waits_for = match &found {
            Some((rotation, _)) if wanted && !rotation.has_room() => {
                let names = names(&|holder| holder.sealing != rotation.active);
                format!("room for one more root key: start these members, or remove them: {names}")
            }
            _ if wanted => "the root's leader: it draws the next root key".to_owned(),
            Some((rotation, _)) if rotation.active < rotation.newest() => {
                self.why_not_active(rotation, list.list(), &holders).unwrap_or_default()
            }
            Some((rotation, _)) if rotation.keys.len() > 1 && !rotation.resealed => {
                match names(&|holder| holder.sealing != rotation.active) {
                    _ if pass.older > 0 => {
                        format!("{} records are sealed with an older root key", pass.older)
                    }
                    names if names.is_empty() => {
                        "half a minute without anything sealed with an older root key".to_owned()
                    }
                    names => format!("these members must take up root key {}: {names}", rotation.active),
                }
            }
            Some((rotation, _)) if rotation.keys.len() > 1 => {
                format!(
                    "copies of the metadata on the drives of {}",
                    names(&|holder| holder.bag != rotation.active)
                )
            }
            _ => String::new(),
        };
        let members = list.list().current().map(|member| {
            let holder = holders.get(&member.node);
            MemberKeys {
                node: member.node,
                name: member.name.clone(),
                generations: match holder {
                    Some(holder) => holder.generations.clone(),
                    None if member.node == self.me => own.clone(),
                    None => Vec::new(),
                },
                sealing: holder.map(|holder| holder.sealing),
            }
        });
        Ok(RotationView {
            active,
            generations,
            wanted,
            pass,
            members: members.collect(),
            waits_for,
            trouble: self.trouble.read().clone(),
        })
    }
}
