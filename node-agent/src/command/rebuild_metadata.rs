//! `shoal rebuild-metadata`: makes lost metadata anew from what the drives know. The node must not run.

use std::path::PathBuf;

use clap::Args;
use meta_store::MetaStore;
use object_engine::rebuild::{RebuildReport, rebuild_metadata};
use serde_json::json;
use sys::{Clock, RealClock};

use super::offline::{Offline, nobody_answers};
use super::{Failure, human_bytes};
use crate::config::Config;
use crate::root_keys::{load, note_held};

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
        let offline = Offline::open(&config).await?;
        let root_keys = load(&config, &offline.found.drives)?;
        let mut parts = offline.rebuild(&config, root_keys.clone(), offline.number());
        let mut newest = MetaStore::home_generation(offline.home()).await?;
        if let Some(list) = &offline.members {
            nobody_answers(list.list()).await?;
            newest = newest.max(list.list().epoch);
        }
        // Beyond whatever other members have: theirs steps aside.
        parts.meta_config.generation = newest + 1;
        let (meta, report) = rebuild_metadata(parts).await?;
        let adopted = crate::incarnation::adopt(&meta, &offline.identity, RealClock.now()).await;
        let trusted = crate::incarnation::trust_others_once(&meta, offline.identity.node).await;
        let epoch = offline.members.as_ref().map_or(0, |list| list.list().epoch);
        let noted = note_held(&meta, &root_keys, epoch).await;
        meta.shutdown().await;
        adopted.and(trusted)?;
        noted?;
        self.tell(&report, &offline.missing)
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
        tell_found(report);
        println!("\nStart the node as usual: shoal serve");
        Ok(())
    }
}

/// What the drives had beyond a backup, and what is lost.
pub fn tell_found(report: &RebuildReport) {
    println!("{} objects ({}) came back from their chunks.", report.objects, human_bytes(report.bytes));
    println!(
        "{} chunks were found in new places, {} segments are unreadable, {} are quarantined.",
        report.moved, report.unreadable, report.quarantined
    );
    println!("\nWhat cannot come back:");
    for lost in report.lost() {
        println!("  {lost}");
    }
}
