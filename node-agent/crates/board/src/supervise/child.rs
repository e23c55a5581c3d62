//! The agent as init's child: how this board becomes a member, and how the agent is started, heard and stopped.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use super::{Init, Told, blocking};
use crate::console::{AgentLog, lines};
use crate::first_boot::{self, KEYS_FILE, Orders};
use crate::led::Sign;
use crate::storage::Place;
use crate::{STATUS_IN_MEMORY, STATUS_VARIABLE};

const AGENT: &str = "/init";
const AGENT_CONFIG: &str = "/run/shoal/shoal.toml";
/// Commands that found or join write a configuration, which init's own replaces.
const SPARE_CONFIG: &str = "/run/shoal/spare.toml";
const TICKET: &str = "/run/shoal/ticket";
/// Leadership is handed over and drives are synced in less.
const STOP_PATIENCE: Duration = Duration::from_secs(30);
/// A join without a ticket waits for a person.
const PAIR_PATIENCE_SECONDS: &str = "31536000";

impl Init {
    /// On blank drives: founds a grid where the owner said so; without a ticket, waits to be paired. With a ticket,
    /// the agent joins by itself.
    pub(super) async fn become_member(
        &self,
        card: Option<&Path>,
        orders: &Orders,
        places: &[Place],
    ) -> Result<(), String> {
        let member = places.iter().any(|place| place.folder.join(self.agent.label_file).exists());
        if member || orders.ticket.is_some() {
            return Ok(());
        }
        let _ = std::fs::remove_file(SPARE_CONFIG);
        let mut command = agent_command(if orders.board.found { "init" } else { "join" });
        for place in places {
            command.arg("--drive").arg(&place.folder);
        }
        command.args(["--config", SPARE_CONFIG]);
        if orders.board.found {
            self.console.say("founding a grid");
            let output = command.output().await.map_err(|error| error.to_string())?;
            // How a server is started is of no use on a board.
            let told = String::from_utf8_lossy(&output.stdout);
            let text = Zeroizing::new(told.split("\nStart it:").next().unwrap_or(&told).to_owned());
            for line in text.lines().chain(String::from_utf8_lossy(&output.stderr).lines()) {
                self.console.line(line);
            }
            if !output.status.success() {
                return Err("no grid was founded".to_owned());
            }
            if let Some(card) = card.filter(|_| orders.board.keys_to_card) {
                let card = card.to_owned();
                let put = blocking(move || first_boot::put_text(&card, KEYS_FILE, &text)).await;
                if !matches!(put, Some(Ok(_))) {
                    self.console.say("the keys cannot be written to the card");
                }
            }
            return Ok(());
        }
        self.console.say("no ticket on the card: waiting to be paired");
        self.led.show(Sign::Waiting);
        let mut child = command
            .args(["--pair", "--patience", PAIR_PATIENCE_SECONDS])
            .spawn()
            .map_err(|error| error.to_string())?;
        if let Some(output) = child.stdout.take() {
            let console = self.console.clone();
            tokio::spawn(lines(output, move |line| console.line(line)));
        }
        if let Some(output) = child.stderr.take() {
            let console = self.console.clone();
            tokio::spawn(lines(output, move |line| console.line(line)));
        }
        let status = child.wait().await.map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err("this board was not paired; it asks again".to_owned()) }
    }

    /// Writes the agent's configuration, the owner's if it holds, and starts it.
    pub(super) async fn start_agent(
        &self,
        orders: &Orders,
        places: &[Place],
        told: &Mutex<Told>,
    ) -> Result<Child, String> {
        let member = places.iter().any(|place| place.folder.join(self.agent.label_file).exists());
        let ticket = orders.ticket.as_ref().filter(|_| !member);
        if let Some(ticket) = ticket {
            std::fs::write(TICKET, ticket.as_bytes()).map_err(|error| error.to_string())?;
        }
        let ticket = ticket.map(|_| Path::new(TICKET));
        let folders: Vec<PathBuf> = places.iter().map(|place| place.folder.clone()).collect();
        let write = |orders: &Orders| {
            let text = orders.agent_config(&folders, ticket, self.facts.real_time_clock);
            std::fs::write(AGENT_CONFIG, text)
        };
        write(orders).map_err(|error| error.to_string())?;
        let checked = agent_command("config").args(["check", "--config", AGENT_CONFIG]).output().await;
        if let Ok(checked) = checked
            && !checked.status.success()
        {
            let why = String::from_utf8_lossy(&checked.stderr).trim().replace('\n', " ");
            let note = format!("wrong: {}: {why}; the agent runs without it", first_boot::CONFIG_FILE);
            self.console.say(&note);
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            if !told.notes.contains(&note) {
                told.notes.push(note);
            }
            write(&Orders::default()).map_err(|error| error.to_string())?;
        }
        let mut child = agent_command("serve")
            .args(["--config", AGENT_CONFIG])
            .spawn()
            .map_err(|error| format!("the agent does not start: {error}"))?;
        let log = Arc::new(Mutex::new(AgentLog::new(self.console.clone())));
        let take = move |log: &Mutex<AgentLog>, line: &str| {
            log.lock().unwrap_or_else(PoisonError::into_inner).line(line);
        };
        if let Some(output) = child.stdout.take() {
            let log = Arc::clone(&log);
            tokio::spawn(lines(output, move |line| take(&log, line)));
        }
        if let Some(output) = child.stderr.take() {
            tokio::spawn(lines(output, move |line| take(&log, line)));
        }
        Ok(child)
    }

    /// The agent serves: a ticket was used, or this board did not need it.
    pub(super) async fn forget_ticket(&self, card: Option<&Path>, orders: &Orders) {
        if orders.ticket.is_none() || Path::new(TICKET).exists() {
            return;
        }
        if let Some(card) = card.map(Path::to_owned) {
            match blocking(move || first_boot::wipe_ticket(&card)).await {
                Some(Ok(true)) => self.console.say("the ticket was wiped from the card"),
                Some(Ok(false)) => {}
                _ => self.console.say("the ticket cannot be wiped from the card"),
            }
        }
    }
}

fn agent_command(name: &str) -> Command {
    let mut command = Command::new(AGENT);
    command.env(STATUS_VARIABLE, STATUS_IN_MEMORY);
    command.arg(name).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

pub(super) async fn ended(child: &mut Option<Child>) -> String {
    match child {
        Some(child) => match child.wait().await {
            Ok(status) => format!("the agent ended ({status}) and is started again"),
            Err(error) => format!("the agent is lost: {error}"),
        },
        None => std::future::pending().await,
    }
}

pub(super) async fn terminate(child: &mut Child) {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(id) = id {
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
    }
    if tokio::time::timeout(STOP_PATIENCE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}
