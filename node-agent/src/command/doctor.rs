//! `shoal doctor`: looks for the commonest troubles and says of each what to do. Reads only, whether the node runs or not.

mod certificates;
mod clock;
mod drives;
mod host;
mod members;
mod multicast;
mod running;

use std::path::PathBuf;

use clap::Args;
use membership::MemberList;
use serde::Serialize;
use serde_json::json;

use super::Failure;
use crate::config::{ClockSource, Config, ConfigError};
use crate::drives::discover;
use crate::grid::Members;

/// Looks for the commonest troubles.
#[derive(Args)]
pub struct Doctor {
    /// Configuration file [default: shoal.toml, /etc/shoal.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print one JSON line instead of text
    #[arg(long)]
    json: bool,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Something is wrong; the sentence says what to do.
    Trouble,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What it is about: `configuration`, `drives`, `clock`, …
    check: &'static str,
    level: Level,
    message: String,
}

/// What was found, in the order in which it was looked at.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: &'static str, level: Level, message: impl Into<String>) {
        self.0.push(Finding { check, level, message: message.into() });
    }

    /// As it should be.
    pub fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Level::Ok, message);
    }

    /// Worth knowing.
    pub fn note(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Level::Note, message);
    }

    /// Something is wrong; the sentence says what to do.
    pub fn trouble(&mut self, check: &'static str, message: impl Into<String>) {
        self.add(check, Level::Trouble, message);
    }

    fn troubles(&self) -> usize {
        self.0.iter().filter(|finding| finding.level == Level::Trouble).count()
    }
}

impl Doctor {
    /// Fails where anything is wrong.
    pub async fn run(self) -> Result<(), Failure> {
        crate::logging::start("error", crate::config::LogFormat::Text);
        let mut findings = Findings::default();
        let mut runs = false;
        if let Some(config) = self.configuration(&mut findings) {
            runs = examine(&config, &mut findings).await;
        }
        let troubles = findings.troubles();
        if self.json {
            super::print_json(&json!({ "ok": troubles == 0, "running": runs, "findings": findings.0 }))?;
        } else {
            for Finding { check, level, message } in &findings.0 {
                let level = match level {
                    Level::Ok => "ok",
                    Level::Note => "note",
                    Level::Trouble => "TROUBLE",
                };
                println!("{level:<8} {check:<14} {message}");
            }
        }
        match troubles {
            0 => Ok(()),
            1 => Err("one thing is wrong".into()),
            more => Err(format!("{more} things are wrong").into()),
        }
    }

    fn configuration(&self, findings: &mut Findings) -> Option<Config> {
        const CHECK: &str = "configuration";
        let path = match super::config_path(self.config.as_deref()) {
            Ok(path) => path,
            Err(failure) => {
                findings.trouble(CHECK, failure.to_string());
                return None;
            }
        };
        match Config::load(&path) {
            Ok(config) => {
                findings.ok(CHECK, format!("{} has no mistakes", path.display()));
                Some(config)
            }
            Err(ConfigError::Mistakes { path, mistakes }) => {
                for mistake in mistakes {
                    findings.trouble(CHECK, format!("{}: {mistake}", path.display()));
                }
                None
            }
            Err(error) => {
                findings.trouble(CHECK, error.to_string());
                None
            }
        }
    }
}

/// True where the node runs.
async fn examine(config: &Config, findings: &mut Findings) -> bool {
    let folders = config.drives.clone();
    // A folder on a dead network disk may hang; what can be told without it should not.
    let found = tokio::task::spawn_blocking(move || discover(&folders));
    let found = match tokio::time::timeout(drives::PATIENCE, found).await {
        Ok(Ok(found)) => Some(found),
        _ => {
            findings.trouble(
                "drives",
                "the drives do not answer: a disk hangs, or a mount from the network; see `dmesg` and `mount`",
            );
            None
        }
    };
    let state = running::look(config, findings).await;
    let runs = state.is_some();
    let mut list: Option<MemberList> = None;
    let of_host = config.clock.source == ClockSource::Host;
    if !of_host {
        clock::sources(config, found.as_ref().and_then(|found| found.as_ref().ok()), findings);
    }
    if let Some(found) = found {
        drives::look(config, &found, runs, findings);
        if let Ok(found) = found {
            let disks: Vec<_> = found.drives.iter().map(|drive| drive.disk.clone()).collect();
            list = Members::read(found.identity.grid, &disks).list().map(|list| list.list().clone());
            members::look(&found.identity, list.as_ref(), state.as_ref(), findings).await;
            if of_host {
                host::clock_against_labels(&found, findings);
            }
        }
    }
    if !runs {
        host::ports(config, findings);
    }
    if of_host {
        host::clock_of_system(findings);
        members::clocks(config, list.as_ref(), findings).await;
    }
    multicast::look(config, runs, findings).await;
    certificates::look(config, findings);
    host::limits(config, runs, findings);
    runs
}
