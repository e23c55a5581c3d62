//! How a node that starts becomes part of its grid again: metadata, member list, root keys, the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chunk_store::Drive;
use data_encoding::HEXLOWER;
use membership::Registry;
use meta_store::home::HomeDrive;
use meta_store::root::{Expect, RecordKind, RecordWrite};
use meta_store::{MetaConfig, MetaStore};
use sys::{Clock, Random};

use super::{StartError, host_name};
use crate::drives::OurDrive;
use crate::grid::{Following, GridLink, GridRegistry, RegistryFailure};
use crate::identity::NodeFile;
use crate::incarnation;
use crate::records::{self, DriveRecord};
use crate::root_keys::{KeeperError, KeyKeeper};

/// Between two tries to reach the others at start.
const GRID_RETRY_PAUSE: Duration = Duration::from_millis(500);
/// For other members to say which drives they have, before clients are let in.
const HEARING_MAX: Duration = Duration::from_secs(2);

/// Opens the metadata from the drives in service. Where these do not suffice, failed drives may tell what they know; the
/// mirrors move off them at once.
pub(super) async fn open_metadata(
    link: &GridLink,
    opened: &[Drive],
    failed: &[OurDrive],
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<MetaStore, StartError> {
    let home: Vec<HomeDrive> =
        opened.iter().map(|drive| HomeDrive { id: drive.id(), disk: drive.disk() }).collect();
    let open = |home| {
        MetaStore::open_among(home, MetaConfig::default(), clock.clone(), random.clone(), link.meta_peers())
    };
    let mut exists = MetaStore::exists(home.clone()).await?;
    if exists && link.has_others() {
        let own = MetaStore::home_generation(home.clone()).await?;
        let newest = link.meta_peers().newest_of_others().await;
        if let Some(newest) = newest.filter(|newest| *newest > own) {
            tracing::warn!(
                own,
                newest,
                "the grid's metadata was restored on another member: what this node has of it is set aside, and fetched anew"
            );
            for (drive, to) in MetaStore::set_aside(home.clone()).await? {
                tracing::warn!(%drive, to, "metadata set aside");
            }
            exists = false;
        }
    }
    if link.has_others() && !exists {
        return Ok(join_metadata(link, home, clock, random).await);
    }
    match open(home.clone()).await {
        Err(error) if !failed.is_empty() => {
            tracing::error!(%error, "the metadata wants the drives that failed: they are read once more");
            let more =
                failed.iter().map(|drive| HomeDrive { id: drive.label.drive, disk: drive.disk.clone() });
            let meta = open(home.iter().cloned().chain(more).collect()).await?;
            meta.set_home(home).await?;
            Ok(meta)
        }
        answer => Ok(answer?),
    }
}

/// A new member fetches the metadata from the others, however long they take to be there.
async fn join_metadata(
    link: &GridLink,
    home: Vec<HomeDrive>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> MetaStore {
    loop {
        let peers = link.meta_peers();
        let joined =
            MetaStore::join(home.clone(), MetaConfig::default(), clock.clone(), random.clone(), peers);
        match joined.await {
            Ok(meta) => return meta,
            Err(error) => {
                tracing::warn!(%error, "the metadata cannot be fetched from other nodes now; it is tried again");
                link.point_at_found(BTreeMap::new());
                tokio::time::sleep(GRID_RETRY_PAUSE).await;
            }
        }
    }
}

/// Puts a question of the start to the metadata, however long its shards have no majority: the other nodes may be starting,
/// too, or be slow. Nobody else can end that for a grid of one, which is told at once.
pub(super) async fn patiently<T, E: Into<StartError>>(
    link: &GridLink,
    meta: &MetaStore,
    mut question: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, StartError> {
    loop {
        if meta.peers().is_outdated() {
            return Err(StartError::Outdated);
        }
        match question().await.map_err(Into::into) {
            Err(error) if link.has_others() && error.is_for_now() => {
                tracing::warn!(%error, "waiting for the other nodes of the grid");
                link.look_if_shut_out().await;
                link.point_at_found(BTreeMap::new());
                tokio::time::sleep(GRID_RETRY_PAUSE).await;
            }
            answer => return answer,
        }
    }
}

/// Registers this start, and reads the member list; a grid of one gets its list now.
pub(super) async fn enter_grid(
    link: &GridLink,
    meta: &MetaStore,
    registry: &GridRegistry,
    mut identity: NodeFile,
    opened: &[Drive],
    clock: &dyn Clock,
    random: &dyn Random,
) -> Result<NodeFile, StartError> {
    let nonce = HEXLOWER.encode(&random.id());
    patiently(link, meta, async || {
        incarnation::register(meta, &mut identity, &nonce, async |file| write_node_file(file, opened).await)
            .await
    })
    .await?;
    let founder = link.founder(host_name(), codec::cpu_has_aes(), clock.now());
    let list =
        patiently(link, meta, async || registry.ensure_founded(identity.grid, founder.clone()).await).await?;
    if link.members().replace(list) {
        let disks: Vec<_> = opened.iter().map(Drive::disk).collect();
        let members = link.members().clone();
        let written = tokio::task::spawn_blocking(move || members.write(&disks)).await?;
        if let Err(error) = written {
            tracing::error!(%error, "a drive does not take the member list");
        }
    }
    if let Some(now) = link.describing_itself()
        && let Err(error) = registry.describe(now).await
    {
        tracing::warn!(%error, "the member list does not say yet where this node is");
    }
    patiently(link, meta, async || own_drives(meta, &identity, clock).await).await?;
    Ok(identity)
}

async fn write_node_file(file: &NodeFile, drives: &[Drive]) {
    let writing: Vec<_> = drives
        .iter()
        .map(|drive| {
            let (drive, file) = (drive.clone(), file.clone());
            tokio::task::spawn_blocking(move || {
                if let Err(error) = file.write(&*drive.disk()) {
                    drive.take_out_of_service(&format!("writing the node file: {error}"));
                }
            })
        })
        .collect();
    for task in writing {
        // A panic in there was logged; the drive then carries the older file, which is no harm.
        let _ = task.await;
    }
}

/// Drives of a node that joined have no records yet; their labels prove the order that made them.
async fn own_drives(meta: &MetaStore, identity: &NodeFile, clock: &dyn Clock) -> Result<(), StartError> {
    for drive in &identity.drives {
        let key = drive.id.as_bytes().to_vec();
        if meta.record(RecordKind::Drive, &key).await?.is_some() {
            continue;
        }
        let record = DriveRecord {
            node: identity.node,
            path: drive.path.clone(),
            locked: false,
            leaving: false,
            added: clock.now(),
        };
        let value = records::encode(&record).map_err(RegistryFailure::from)?;
        let write = RecordWrite { kind: RecordKind::Drive, key, expect: Expect::Absent, value: Some(value) };
        meta.write_records(vec![write]).await?;
    }
    Ok(())
}

/// A root key that the grid took up while this node was away comes from another member before anything is served.
pub(super) async fn catch_up_with_keys(
    keeper: &KeyKeeper,
    meta: &MetaStore,
    link: &GridLink,
) -> Result<(), StartError> {
    patiently(link, meta, async || match keeper.catch_up().await {
        // Nothing is sealed with it yet.
        Err(KeeperError::NotTold { used: false, .. }) => Ok(()),
        done => done,
    })
    .await
}

/// Members that live say within moments which drives they have: a write before that would find too few. Who is silent is not
/// waited for.
pub(super) async fn hear_others(following: &Following) {
    let _ = tokio::time::timeout(HEARING_MAX, following.hear_all()).await;
}
