//! Multicast DNS through `mdns-sd`: the library's thread is watched, and started again when it dies.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mdns_sd::{DaemonEvent, Error, IfKind, IfPredicate, Receiver, ServiceDaemon, ServiceEvent, ServiceInfo};
use tokio::sync::watch;

use super::announcement::{self, Announcement, SERVICE_TYPE};
use super::interfaces::Interfaces;
use super::table::Table;

/// Browsing begins anew so often: it repeats what is known, and asks again for what a jump of the clock made the library
/// forget. Also when the thread is asked whether it lives.
const ROUND: Duration = Duration::from_secs(60);
/// An answer may come without its TXT record (the library leaves out what it sent to all less than a second ago, also where
/// the one who asks was not there): then browsing begins anew so soon, but at most so often.
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const AGAIN_PERIOD: Duration = Duration::from_secs(10);
/// Rows are looked at so often.
const AGE_PERIOD: Duration = Duration::from_secs(5);
/// A thread that does not say so for this long is not alive.
const ALIVE_DEADLINE: Duration = Duration::from_secs(10);
/// Pauses between two starts of the thread: doubled each time, from the first to the last.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_secs(60);
/// A thread that lived so long ends the doubling.
const LIVED_LONG: Duration = Duration::from_secs(300);
/// The library's queue of orders may be full for a moment: so often it is tried, so long apart.
const ORDER_TRIES: u32 = 20;
const ORDER_PAUSE: Duration = Duration::from_millis(50);
/// Each step of the goodbye, and the time that its packets need to leave.
const GOODBYE_STEP: Duration = Duration::from_secs(1);
const GOODBYE_SENT: Duration = Duration::from_millis(150);

/// The common name of the grid, and the service that it is shown with: browsers list it.
const GRID_HOST: &str = "shoal.local.";
const GRID_TYPE: &str = "_http._tcp.local.";

/// Where tests find the running daemon, to end it.
#[cfg(test)]
pub(super) type DaemonSlot = Arc<parking_lot::Mutex<Option<ServiceDaemon>>>;

pub(super) struct Responder {
    pub(super) table: Arc<Table>,
    pub(super) announced: watch::Receiver<Announcement>,
    /// Addresses that this node answers `shoal.local` with.
    pub(super) grid_addresses: watch::Receiver<Vec<IpAddr>>,
    pub(super) stopped: watch::Receiver<bool>,
    pub(super) interfaces: Interfaces,
    pub(super) port: u16,
    #[cfg(test)]
    pub(super) slot: DaemonSlot,
}

/// How a life of the thread ended.
enum End {
    /// By order.
    Stopped,
    /// It died, or does not answer.
    Died(String),
}

impl Responder {
    /// Until stopped: starts the thread, and again.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE_FIRST;
        loop {
            let begun = tokio::time::Instant::now();
            let why = match self.live().await {
                Ok(End::Stopped) => return,
                Ok(End::Died(why)) => why,
                Err(error) => error.to_string(),
            };
            if begun.elapsed() >= LIVED_LONG {
                pause = PAUSE_FIRST;
            }
            tracing::warn!(why, again_in = ?pause, "multicast DNS stopped: nodes near by are not found meanwhile");
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = super::stop(&mut self.stopped) => return,
            }
            pause = (pause * 2).min(PAUSE_LAST);
        }
    }

    /// One life of the thread.
    async fn live(&mut self) -> Result<End, Error> {
        let daemon = Daemon(ServiceDaemon::new_with_port(self.port)?);
        #[cfg(test)]
        self.slot.lock().replace(daemon.0.clone());
        let interfaces = self.interfaces.clone();
        let unwanted = IfKind::Predicate(IfPredicate::new(move |interface| !interfaces.take(interface)));
        daemon.order(|daemon| daemon.disable_interface(unwanted.clone())).await?;
        let told = daemon.order(ServiceDaemon::monitor).await?;
        let mut name = self.show(&daemon).await?;
        let mut grid_name = self.show_grid(&daemon).await?;
        let mut events = daemon.order(|daemon| daemon.browse(SERVICE_TYPE)).await?;
        let mut round = tokio::time::interval(ROUND);
        round.tick().await;
        let mut again_from = tokio::time::Instant::now();
        let mut age = tokio::time::interval(AGE_PERIOD);
        let mut stopped = self.stopped.clone();
        loop {
            tokio::select! {
                event = events.recv_async() => match event {
                    Ok(event) => {
                        let now = tokio::time::Instant::now();
                        if !self.take(event) && now >= again_from {
                            again_from = now + AGAIN_PERIOD;
                            round.reset_after(AGAIN_AFTER);
                        }
                    }
                    // The library gives up on who drains too slowly; the table has what came before.
                    Err(_) => {
                        tokio::time::sleep(ORDER_PAUSE).await;
                        events = daemon.order(|daemon| daemon.browse(SERVICE_TYPE)).await?;
                    }
                },
                event = told.recv_async() => match event {
                    Ok(event) => heed(event),
                    Err(_) => return Ok(End::Died("its thread ended".to_owned())),
                },
                _ = round.tick() => {
                    if !daemon.alive().await {
                        return Ok(End::Died("its thread does not answer".to_owned()));
                    }
                    daemon.order(|daemon| daemon.stop_browse(SERVICE_TYPE)).await?;
                    events = daemon.order(|daemon| daemon.browse(SERVICE_TYPE)).await?;
                }
                _ = age.tick() => self.table.age(),
                changed = self.announced.changed() => match changed {
                    Ok(()) => {
                        // Replacing would leave the old subtype with others.
                        daemon.withdraw(&name).await;
                        name = self.show(&daemon).await?;
                    }
                    Err(_) => return Ok(End::Stopped),
                },
                changed = self.grid_addresses.changed() => match changed {
                    Ok(()) => {
                        if let Some(old) = grid_name {
                            daemon.withdraw(&old).await;
                        }
                        grid_name = self.show_grid(&daemon).await?;
                    }
                    Err(_) => return Ok(End::Stopped),
                },
                () = super::stop(&mut stopped) => {
                    if let Some(name) = grid_name {
                        daemon.withdraw(&name).await;
                    }
                    daemon.withdraw(&name).await;
                    return Ok(End::Stopped);
                }
            }
        }
    }

    /// Shows this node; returns the full name of the instance.
    async fn show(&mut self, daemon: &Daemon) -> Result<String, Error> {
        let announcement = self.announced.borrow_and_update().clone();
        let properties = announcement.properties();
        let info = ServiceInfo::new(
            &announcement.service_type(),
            &announcement.instance(),
            &announcement.host(),
            "",
            announcement.port,
            properties.as_slice(),
        )?
        .enable_addr_auto();
        let name = info.get_fullname().to_owned();
        daemon.order(|daemon| daemon.register(info.clone())).await?;
        Ok(name)
    }

    /// Shows the grid under its common name, if that is this node's to do; returns the full name of the instance.
    async fn show_grid(&mut self, daemon: &Daemon) -> Result<Option<String>, Error> {
        let addresses = self.grid_addresses.borrow_and_update().clone();
        if addresses.is_empty() {
            return Ok(None);
        }
        let announcement = self.announced.borrow().clone();
        let port = announcement.api_port.unwrap_or(announcement.port);
        let instance = format!("shoal-grid-{}", announcement.node);
        let none: &[(&str, &str)] = &[];
        let mut info = ServiceInfo::new(GRID_TYPE, &instance, GRID_HOST, addresses.as_slice(), port, none)?;
        // With probing, a holder of the lease before this one would make the library choose another name, for good.
        info.set_requires_probe(false);
        let name = info.get_fullname().to_owned();
        daemon.order(|daemon| daemon.register(info.clone())).await?;
        Ok(Some(name))
    }

    /// False where an instance came without what it says of itself.
    fn take(&self, event: ServiceEvent) -> bool {
        match event {
            ServiceEvent::ServiceResolved(service) if service.txt_properties.is_empty() => return false,
            ServiceEvent::ServiceResolved(service) => {
                if let Some(found) = announcement::read(&service) {
                    self.table.seen(&service.fullname, found);
                }
            }
            ServiceEvent::ServiceRemoved(_, name) => self.table.goodbye(&name),
            _ => {}
        }
        true
    }
}

fn heed(event: DaemonEvent) {
    match event {
        // The host's name is short and may be taken; the instance's is the node's id, and nobody else's.
        DaemonEvent::NameChange(change) if change.original.contains("._shoal.") => {
            tracing::warn!(
                was = change.original,
                is = change.new_name,
                "another node on this net shows itself under the id of this one: a copy of its drives may run there"
            );
        }
        DaemonEvent::NameChange(change) => {
            tracing::info!(
                was = change.original,
                is = change.new_name,
                "the name of this host was taken on this net"
            );
        }
        DaemonEvent::Error(error) => tracing::debug!(%error, "multicast DNS"),
        _ => {}
    }
}

/// The library's thread. It is told to end when this goes.
struct Daemon(ServiceDaemon);

impl Daemon {
    /// Gives an order, again while the library's queue is full.
    async fn order<T>(&self, order: impl Fn(&ServiceDaemon) -> Result<T, Error>) -> Result<T, Error> {
        for _ in 1..ORDER_TRIES {
            match order(&self.0) {
                Err(Error::Again) => tokio::time::sleep(ORDER_PAUSE).await,
                done => return done,
            }
        }
        order(&self.0)
    }

    async fn alive(&self) -> bool {
        match self.order(ServiceDaemon::status).await {
            Ok(answer) => answered(&answer, ALIVE_DEADLINE).await,
            Err(_) => false,
        }
    }

    /// Takes an instance back, and gives the goodbye the time to leave.
    async fn withdraw(&self, name: &str) {
        match self.order(|daemon| daemon.unregister(name)).await {
            Ok(answer) => {
                answered(&answer, GOODBYE_STEP).await;
                tokio::time::sleep(GOODBYE_SENT).await;
            }
            Err(error) => tracing::debug!(%error, "saying goodbye to this net"),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown() {
            tracing::debug!(%error, "stopping multicast DNS");
        }
    }
}

async fn answered<T>(answer: &Receiver<T>, within: Duration) -> bool {
    matches!(tokio::time::timeout(within, answer.recv_async()).await, Ok(Ok(_)))
}
