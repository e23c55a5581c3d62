//! `shoal restore`: makes lost metadata anew from a backup. No node of the grid may run.
//!
//! Order: all of the backup is verified before anything is looked at; everything is looked at before anything is written;
//! what is there is never replaced. The backup is then read a second time, straight into the new metadata.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use chunk_store::{DriveLabel, label};
use clap::Args;
use grid_types::{DriveId, GridId, ShardId, Timestamp};
use keyring::RootKeys;
use membership::{MemberList, NewMember};
use meta_store::home::HomeDrive;
use meta_store::{FOUNDER, MetaError, MetaStore, image_pieces};
use object_engine::backup::{BACKUP_LIST_FILE, ROOT_BAG_FILE};
use object_engine::rebuild::{OutsideBackup, RebuildReport, restore_metadata};
use serde_json::json;
use sys::{Clock, Random, RealClock, RealRandom};
use tokio::sync::mpsc;

use super::Failure;
use super::offline::{Offline, nobody_answers};
use super::rebuild_metadata::tell_found;
use crate::backup::{Backup, BackupPlace, Contents, ReadError, Record, S3Options, passphrase_from};
use crate::client::amz_date;
use crate::config::Config;
use crate::drives::{DiscoveryError, discover};
use crate::founding::{Founding, ROOT_KEY_FILE, check, warnings_of};
use crate::grid::{GridRegistry, MEMBERS_FILE, reachable};
use crate::identity::{KnownDrive, NodeFile};
use crate::incarnation::{adopt, trust_others_once};
use crate::root_keys::{note_held, put_beside};

/// The folder of the metadata on a drive.
const META_FOLDER: &str = "meta";
/// Lists that were signed after the backup and that this host never saw must lose against the one that is made now: as many
/// changes since are assumed at most.
const EPOCHS_SKIPPED: u64 = 1_000;

/// Makes lost metadata anew from a backup.
#[derive(Args)]
pub struct Restore {
    /// The backup: a file, or s3://BUCKET/KEY
    #[arg(long, value_name = "FILE|s3://...")]
    from: String,
    /// A file whose first line is the passphrase
    #[arg(long, value_name = "FILE")]
    passphrase_file: PathBuf,
    /// A drive of the node, or an empty folder that becomes one where the node lost all of its drives
    #[arg(long = "drive", value_name = "PATH", conflicts_with = "config")]
    drives: Vec<PathBuf>,
    /// Configuration file that names the drives [default: shoal.toml, /etc/shoal.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the root key lies or goes, with --drive [default: shoal-root.key in each drive]
    #[arg(long, value_name = "FILE", requires = "drives")]
    key_file: Option<PathBuf>,
    /// Use folders that hold other files; those stay
    #[arg(long)]
    allow_not_empty: bool,
    /// Use folders that share a file system; they count as one failure domain
    #[arg(long)]
    same_file_system_ok: bool,
    #[command(flatten)]
    s3: S3Options,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

/// What became of it.
struct Restored {
    contents: Contents,
    report: RebuildReport,
    offline: Offline,
    /// The node is a new one.
    new_node: bool,
    /// Other members, which must take the new metadata over.
    others: Vec<String>,
    notes: Vec<String>,
}

impl Restore {
    /// Runs to completion. Where it fails, what it made of metadata is set aside.
    pub async fn run(self) -> Result<(), Failure> {
        let config = if self.drives.is_empty() {
            Config::load(&super::config_path(self.config.as_deref())?)?
        } else {
            let absolute = |path: &PathBuf| std::path::absolute(path);
            Config {
                drives: self.drives.iter().map(absolute).collect::<Result<_, _>>()?,
                key_file: self.key_file.as_ref().map(absolute).transpose()?,
                ..Config::default()
            }
        };
        crate::logging::start("warn", config.log.format);
        let passphrase = passphrase_from(&self.passphrase_file)?;
        let place = BackupPlace::parse(&self.from, &self.s3)?;
        let progress = !self.json;
        let whole = |done: usize, all: usize| {
            if progress {
                eprintln!("verified {done} of {all} shards");
            }
        };
        let (_, contents) = Backup::open(&place, Some(&passphrase)).await?.verify(whole).await?;
        let contents = contents.ok_or("the backup holds no records")?;
        let restored = self.restore(&config, &place, &passphrase, contents).await?;
        self.tell(&config, &restored)
    }

    async fn restore(
        &self,
        config: &Config,
        place: &BackupPlace,
        passphrase: &[u8],
        contents: Contents,
    ) -> Result<Restored, Failure> {
        let mut notes = Vec::new();
        let new_node = match discover(&config.drives) {
            Ok(_) => false,
            Err(DiscoveryError::NotFounded(_)) => true,
            Err(error) => return Err(error.into()),
        };
        if let Some(list) = &contents.members {
            nobody_answers(list.list()).await?;
        }
        if new_node {
            notes.extend(self.make_drives(config, &contents)?);
        }
        let offline = Offline::open(config).await?;
        refuse_what_is_there(&offline, contents.manifest.grid).await?;
        if let Some(list) = &offline.members {
            nobody_answers(list.list()).await?;
        }
        let root_keys = put_root_keys(config, &offline, &contents.root_keys)?;

        let list = restored_list(&offline, &contents, config)?;
        let me = offline.identity.node;
        let number = list.as_ref().and_then(|list| list.member(me)).map_or(FOUNDER, |member| member.number);
        let stamp = contents.manifest.stamp;
        if written_since(&offline, BACKUP_LIST_FILE.path, stamp) {
            notes.push(
                "the drives have copies of the metadata of their own that may be younger than this backup: `shoal rebuild-metadata` \
                 would then lose less; it sets aside what was made now"
                    .to_owned(),
            );
        }
        let (images, feeding) = feed(place, passphrase, &contents);
        let from = OutsideBackup {
            stamp,
            images,
            bags_are_newer: written_since(&offline, ROOT_BAG_FILE.path, stamp),
        };
        let mut parts = offline.rebuild(config, root_keys.clone(), number);
        // Beyond whatever other members have: theirs steps aside.
        parts.meta_config.generation = list.as_ref().map_or(1, |list| list.epoch);
        let (meta, report) = match restore_metadata(parts, from).await {
            Ok(done) => done,
            // What the second reading met is the better word.
            Err(error) => return Err(ended(feeding).await.err().unwrap_or_else(|| error.into())),
        };
        let settled = async {
            ended(feeding).await?;
            settle(&meta, &offline, root_keys, list.as_ref()).await
        };
        let settled = settled.await;
        meta.shutdown().await;
        settled?;
        let others = list.iter().flat_map(|list| list.current()).filter(|member| member.node != me);
        let others = others.map(|member| format!("{} ({})", member.name, member.node)).collect();
        Ok(Restored { contents, report, offline, new_node, others, notes })
    }

    /// Makes empty folders the drives of a new node: the one that had drives is gone with them.
    fn make_drives(&self, config: &Config, contents: &Contents) -> Result<Vec<String>, Failure> {
        let order = Founding {
            drives: config.drives.clone(),
            key_file: config.key_file.clone(),
            allow_not_empty: self.allow_not_empty,
            same_file_system_ok: self.same_file_system_ok || config.drives_are_domains,
        };
        let checked = check(&order)?;
        let (clock, random) = (RealClock, RealRandom);
        let known: Vec<KnownDrive> = checked
            .iter()
            .map(|drive| KnownDrive {
                id: DriveId::from(random.id()),
                path: drive.path.clone(),
                failed: None,
            })
            .collect();
        let identity = NodeFile::generate(contents.manifest.grid, known.clone())?;
        for (drive, known) in checked.iter().zip(&known) {
            let label = DriveLabel {
                grid: identity.grid,
                node: identity.node,
                drive: known.id,
                generation: 1,
                created: clock.now(),
            };
            label::create(&*drive.disk, &label, self.allow_not_empty)
                .map_err(|error| format!("labelling {}: {error}", drive.path.display()))?;
        }
        for drive in &checked {
            identity
                .write(&*drive.disk)
                .map_err(|error| format!("writing the node file into {}: {error}", drive.path.display()))?;
        }
        Ok(warnings_of(&checked))
    }

    fn tell(&self, config: &Config, restored: &Restored) -> Result<(), Failure> {
        let Restored { contents, report, offline, new_node, others, notes } = restored;
        let mut lost = report.lost();
        if !others.is_empty() {
            lost.push(
                "objects written since the backup of which this node's drives hold too little to read them"
                    .to_owned(),
            );
        }
        let drives: Vec<String> =
            config.drives.iter().map(|drive| format!("{:?}", drive.display().to_string())).collect();
        if self.json {
            return super::print_json(&json!({
                "grid": contents.manifest.grid,
                "node": offline.identity.node,
                "new_node": new_node,
                "stamp": amz_date(contents.manifest.stamp),
                "shards": contents.manifest.shards.len(),
                "drives": report.drives,
                "drives_missing": offline.missing,
                "segments": report.segments,
                "objects": report.objects,
                "bytes": report.bytes,
                "moved": report.moved,
                "unreadable": report.unreadable,
                "quarantined": report.quarantined,
                "other_members": others,
                "lost": lost,
                "notes": notes,
            }));
        }
        println!(
            "Metadata and keys of grid {} are as of {}, on {} drives with {} segments.",
            contents.manifest.grid,
            amz_date(contents.manifest.stamp),
            report.drives,
            report.segments
        );
        for drive in &offline.missing {
            println!("  not there: {drive}");
        }
        tell_found(report);
        for lost in lost.iter().skip(report.lost().len()) {
            println!("  {lost}");
        }
        for note in notes {
            println!("note: {note}");
        }
        if *new_node {
            println!(
                "\nThese folders had no drive of this grid: they are a new member, {}. Take members whose drives are gone for \
                 good out with `shoal node remove`.",
                offline.identity.node
            );
        }
        if !others.is_empty() {
            println!(
                "\nOther members take the metadata from this node when they start; what they have of it now is set aside on their \
                 drives, as `meta-set-aside-1`:"
            );
            others.iter().for_each(|other| println!("  {other}"));
            if *new_node {
                println!(
                    "They do not know this new member: copy its file `{MEMBERS_FILE}` onto each of their drives first."
                );
            }
        }
        println!("\nStart this node with a configuration that says:\n  drives = [{}]", drives.join(", "));
        Ok(())
    }
}

/// Drives of this grid, and none with metadata.
async fn refuse_what_is_there(offline: &Offline, grid: GridId) -> Result<(), Failure> {
    if offline.identity.grid != grid {
        return Err(format!(
            "the backup is of grid {grid}, these drives belong to grid {}: nothing was written",
            offline.identity.grid
        )
        .into());
    }
    for drive in &offline.found.drives {
        let entries = drive.disk.list("").map_err(|error| format!("{}: {error}", drive.path.display()))?;
        if entries.iter().any(|entry| entry.name == META_FOLDER) {
            return Err(format!(
                "{} holds metadata, and a backup replaces nothing: start the node; if that says that the metadata is beyond use, \
                 `shoal rebuild-metadata` loses less than an older backup; to use the backup all the same, rename the folder \
                 `{META_FOLDER}` of every drive first",
                drive.path.display()
            )
            .into());
        }
    }
    let home = offline
        .found
        .drives
        .iter()
        .map(|drive| HomeDrive { id: drive.label.drive, disk: drive.disk.clone() });
    if MetaStore::exists(home.collect()).await? {
        return Err("these drives hold metadata, and a backup replaces nothing".into());
    }
    Ok(())
}

/// The root keys of the backup, and those beside the data or in their file: the root key may have been rotated since. All of
/// them are there afterwards. Keys of another grid are refused.
fn put_root_keys(config: &Config, offline: &Offline, backed_up: &RootKeys) -> Result<RootKeys, Failure> {
    let keys = backed_up.snapshot();
    let merge = |path: &Path| {
        let other = |error| {
            format!(
                "{} is another root key than that of the backup: move it away first ({error})",
                path.display()
            )
        };
        match path.exists() {
            true => RootKeys::load(path)
                .map_err(Failure::from)
                .and_then(|found| Ok(keys.merge(&found).map_err(other)?)),
            false => Ok(()),
        }
    };
    if let Some(path) = &config.key_file {
        merge(path)?;
        keys.replace(path)?;
        return Ok(keys);
    }
    for drive in &offline.found.drives {
        merge(&drive.path.join(ROOT_KEY_FILE))?;
    }
    for drive in &offline.found.drives {
        put_beside(&keys, &drive.path)?;
    }
    Ok(keys)
}

/// The newest list that is known, with this node in it, and of an epoch that nobody has seen.
fn restored_list(
    offline: &Offline,
    contents: &Contents,
    config: &Config,
) -> Result<Option<MemberList>, Failure> {
    let Some(backed_up) = contents.members.as_ref().map(|list| list.list()) else { return Ok(None) };
    let on_drives = offline.members.as_ref().map(|list| list.list());
    let newer = on_drives
        .filter(|list| list.ca_public_key == backed_up.ca_public_key && list.epoch > backed_up.epoch);
    let mut list = newer.unwrap_or(backed_up).clone();
    if list.member(offline.identity.node).is_none() {
        list = list.with(NewMember {
            public_key: offline.identity.public_key(),
            name: crate::node::host_name(),
            addresses: reachable(config.rpc.listen, &config.rpc.advertise),
            has_aes: codec::cpu_has_aes(),
            has_drives: true,
            added: RealClock.now(),
        })?;
    }
    list.epoch += EPOCHS_SKIPPED;
    Ok(Some(list))
}

/// Root bags are written within a minute of each change; those of drives that were away for long are older than the backup,
/// and would bring back keys that were deleted since.
fn written_since(offline: &Offline, file: &str, stamp: Timestamp) -> bool {
    offline.found.drives.iter().any(|drive| {
        let path = drive.disk.local_path(file);
        let written = path.and_then(|path| std::fs::metadata(path).ok()?.modified().ok());
        let since = written.and_then(|written| written.duration_since(UNIX_EPOCH).ok());
        since.is_some_and(|since| since.as_micros() > u128::from(stamp.0))
    })
}

type Images = Vec<(ShardId, meta_store::ImagePieces)>;
type Feeding = tokio::task::JoinHandle<Result<(), Failure>>;

/// Reads the backup a second time, each shard's pieces into a channel of its own, in the order of the manifest.
fn feed(place: &BackupPlace, passphrase: &[u8], contents: &Contents) -> (Images, Feeding) {
    let mut images = Vec::new();
    let mut senders = Vec::new();
    for shard in &contents.manifest.shards {
        let (sender, receiver) = image_pieces();
        images.push((shard.shard, receiver));
        senders.push((shard.shard, sender));
    }
    let (place, passphrase) = (place.clone(), zeroize::Zeroizing::new(passphrase.to_vec()));
    let feeding = tokio::spawn(async move {
        let mut senders = senders.into_iter();
        let mut current: Option<mpsc::Sender<_>> = None;
        let fed = feed_all(&place, &passphrase, &mut senders, &mut current).await;
        if let (Err(error), Some(sender)) = (&fed, &current) {
            // Nobody may be there to hear it: then the restore failed for another reason.
            let _ = sender.send(Err(MetaError::Damaged(error.to_string()))).await;
        }
        fed
    });
    (images, feeding)
}

type PieceSender = mpsc::Sender<Result<bytes::Bytes, MetaError>>;

async fn feed_all(
    place: &BackupPlace,
    passphrase: &[u8],
    senders: &mut impl Iterator<Item = (ShardId, PieceSender)>,
    current: &mut Option<PieceSender>,
) -> Result<(), Failure> {
    let changed = || Failure::from("the backup changed between two readings");
    let mut backup = Backup::open(place, Some(passphrase)).await?;
    while let Some(record) = backup.next().await? {
        match record {
            Record::Image(shard) => {
                let (wanted, sender) = senders.next().ok_or_else(changed)?;
                *current = Some(sender);
                if wanted != shard {
                    return Err(changed());
                }
            }
            Record::Piece(bytes) => {
                let sender = current.as_ref().ok_or_else(changed)?;
                if sender.send(Ok(bytes)).await.is_err() {
                    // Who restores has ended for a reason of its own.
                    return Ok(());
                }
            }
            Record::ImageEnd => *current = None,
            Record::Manifest(_) | Record::RootKeys(_) | Record::Members(_) => {}
        }
    }
    let finished: Result<_, ReadError> = backup.finish();
    finished?;
    Ok(())
}

async fn ended(feeding: Feeding) -> Result<(), Failure> {
    feeding.await?
}

/// The last records: whose starts count, and who belongs to the grid.
async fn settle(
    meta: &MetaStore,
    offline: &Offline,
    root_keys: RootKeys,
    list: Option<&MemberList>,
) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = Arc::new(RealClock);
    let random: Arc<dyn Random> = Arc::new(RealRandom);
    adopt(meta, &offline.identity, clock.now()).await?;
    trust_others_once(meta, offline.identity.node).await?;
    note_held(meta, &root_keys, list.map_or(0, |list| list.epoch)).await?;
    if let Some(list) = list {
        let registry = GridRegistry::new(meta.clone(), root_keys, clock, random);
        let signed = registry.put_restored(list.clone()).await?;
        for disk in offline.disks() {
            disk.write_atomic(MEMBERS_FILE, signed.bytes(), "member list")?;
        }
    }
    Ok(())
}
