//! `shoal rebuild-metadata`: makes lost metadata anew from what the drives know. The node must not run.

use std::path::PathBuf;
use std::sync::Arc;

use chunk_store::{ChunkStore, DriveConfig};
use clap::Args;
use grid_types::{DriveState, MemoryBudget};
use meta_store::MetaConfig;
use meta_store::home::HomeDrive;
use object_engine::rebuild::{Rebuild, RebuildReport, rebuild_metadata};
use segment_store::{GridView, SegmentConfig, SegmentStore};
use serde_json::json;
use sys::{Clock, Random, RealClock, RealRandom};

use super::Failure;
use crate::config::Config;
use crate::drives::{DriveTable, WatchedDrive, discover};
use crate::node::{load_root_key, lock_drives, open_drives};

/// Makes lost metadata anew from what the drives know.
#[derive(Args)]
pub struct RebuildMetadata {
    /// Configuration file [default: shoal.toml, /etc/shoal.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "drives")]
    config: Option<PathBuf>,
    /// A folder of the node, instead of a configuration file
    #[arg(long = "drive", value_name = "PATH")]
    drives: Vec<PathBuf>,
    /// The root key, with --drive [default: shoal-root.key in any drive]
    #[arg(long, value_name = "FILE", requires = "drives")]
    key_file: Option<PathBuf>,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

impl RebuildMetadata {
    /// Runs to completion; cut short, it begins anew the next time.
    pub async fn run(self) -> Result<(), Failure> {
        let config = if self.drives.is_empty() {
            Config::load(&super::config_path(self.config.as_deref())?)?
        } else {
            Config { drives: self.drives.clone(), key_file: self.key_file.clone(), ..Config::default() }
        };
        crate::logging::start("warn", config.log.format);
        let clock: Arc<dyn Clock> = Arc::new(RealClock);
        let random: Arc<dyn Random> = Arc::new(RealRandom);
        let found = discover(&config.drives)?;
        let _locks = lock_drives(&found.drives)?;
        let mut problems = found.problems;
        let opened = open_drives(&found.drives, &clock, &DriveConfig::default(), &mut problems).await?;
        let missing: Vec<String> = problems
            .iter()
            .map(|problem| format!("{}: {}", problem.path.display(), problem.reason))
            .collect();
        let root_key = load_root_key(&config, &found.drives)?;

        let mut table = DriveTable::new(found.identity.node, true, codec::cpu_has_aes());
        for (drive, open) in found.drives.iter().filter_map(|drive| {
            opened.iter().find(|open| open.id() == drive.label.drive).map(|open| (drive, open))
        }) {
            let mut watched = WatchedDrive::new(drive.label.drive, drive.path.clone(), DriveState::Waiting);
            watched.present(open.summary());
            table.insert(watched);
        }
        let grid = GridView::default();
        if let Some(snapshot) = table.changed_snapshot() {
            grid.publish(snapshot);
        }
        // Failed drives are read for what they know; the new metadata rests on the others.
        let failed: Vec<_> = found
            .drives
            .iter()
            .filter(|drive| drive.failure.is_some())
            .map(|drive| drive.label.drive)
            .collect();
        let all_failed = opened.iter().all(|open| failed.contains(&open.id()));
        let home = opened
            .iter()
            .filter(|open| all_failed || !failed.contains(&open.id()))
            .map(|open| HomeDrive { id: open.id(), disk: open.disk() })
            .collect();
        let chunks = ChunkStore::new(opened);
        let budget = MemoryBudget::new("rebuild", config.memory.0, 64);
        let segments =
            SegmentStore::new(chunks.clone(), grid, random.clone(), budget, SegmentConfig::default());
        let parts = Rebuild {
            chunks,
            segments,
            home,
            root_key,
            meta_config: MetaConfig::default(),
            clock: clock.clone(),
            random,
        };
        let (meta, report) = rebuild_metadata(parts).await?;
        let adopted = crate::incarnation::adopt(&meta, &found.identity, clock.now()).await;
        meta.shutdown().await;
        adopted?;
        self.tell(&report, &missing)
    }

    fn tell(&self, report: &RebuildReport, missing: &[String]) -> Result<(), Failure> {
        if self.json {
            return super::print_json(&json!({
                "drives": report.drives,
                "drives_missing": missing,
                "set_aside": report.set_aside,
                "root_bag": report.root_bag,
                "backup": report.backup.map(grid_types::Timestamp::as_secs),
                "backups_refused": report.backups_refused,
                "buckets": report.buckets,
                "records": report.records,
                "segments": report.segments,
                "objects": report.objects,
                "bytes": report.bytes,
                "superseded": report.superseded,
                "given_up": report.given_up,
                "moved": report.moved,
                "unreadable": report.unreadable,
                "quarantined": report.quarantined,
                "lost": report.lost(),
            }));
        }
        println!("Read {} drives with {} segments.", report.drives, report.segments);
        for drive in missing {
            println!("  not there: {drive}");
        }
        for place in &report.set_aside {
            println!("  the old metadata was set aside: {place}");
        }
        match report.backup {
            Some(stamp) => println!("A backup from {} s since 1970 was taken up.", stamp.as_secs()),
            None => println!("There was no backup that could be read whole."),
        }
        for refused in &report.backups_refused {
            println!("  not usable: {refused}");
        }
        println!("{} buckets and {} other records came from the root bag.", report.buckets, report.records);
        println!(
            "{} objects ({}) came back from their chunks.",
            report.objects,
            super::human_bytes(report.bytes)
        );
        println!(
            "{} chunks were found in new places, {} segments are unreadable, {} are quarantined.",
            report.moved, report.unreadable, report.quarantined
        );
        println!("\nWhat cannot come back:");
        for lost in report.lost() {
            println!("  {lost}");
        }
        println!("\nStart the node as usual: shoal serve");
        Ok(())
    }
}
