//! The task that owns the core: asks RTC, NTP and members, hears the operator, steers the clock, and tells who asks.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use grid_types::{NodeId, Timestamp};
use parking_lot::Mutex;
use rpc::{Network, NetworkExt, Services};
use sys::{Clock, Random, SteeredClock, TimeTrust, read_rtc};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::agreement::{Interval, agreeing};
use super::config::{
    NTP_DOUBLINGS_MAX, NTP_EVERY, NTP_EVERY_FIRST, NTP_PAUSE, PEER_DEADLINE, PEERS_ASKED_MAX, PEERS_EVERY,
    PEERS_EVERY_UNPROVEN, RTC_EVERY, TimeConfig,
};
use super::core::{Anchor, Offer, PeerReading, ProvenTime, Refusal};
use super::service::TimeService;
use super::sntp::{self, NtpError, NtpSample};
use super::source::{Strength, TimeSource};
use super::status::{TimeStatus, status_of};
use super::wire::{self, Told};

/// Name under which the answers of this node are registered.
pub const SERVICE: &str = "time";
/// Orders that wait for the task: an operator has one at a time.
const ORDERS_MAX: usize = 8;
/// Reading the RTC takes up to a second on some chips.
const RTC_UNCERTAINTY: Duration = Duration::from_secs(1);
/// An operator looks at another clock, or types a time.
const OPERATOR_UNCERTAINTY: Duration = Duration::from_secs(1);

/// Who is asked, and who counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Electorate {
    /// Voters of the root shard, this node too if it is one.
    pub voters: Vec<NodeId>,
    /// All members of the grid.
    pub members: Vec<NodeId>,
}

/// What the keeper is made of.
pub struct KeeperStart {
    /// This node.
    pub me: NodeId,
    /// Where time comes from.
    pub config: TimeConfig,
    /// The machine's clock.
    pub base: Arc<dyn Clock>,
    /// The clock of the process; `None` where it is the machine's (`TimeConfig::host`).
    pub steered: Option<Arc<SteeredClock>>,
    /// The floor that the drives keep.
    pub floor: Option<Timestamp>,
    /// To the other members.
    pub network: Arc<dyn Network>,
    /// Where this node answers them.
    pub services: Services,
    /// For questions that nobody guesses.
    pub random: Arc<dyn Random>,
    /// Asked before each round.
    pub electorate: Arc<dyn Fn() -> Electorate + Send + Sync>,
}

/// What an operator says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorTime {
    /// The time now.
    pub time: Timestamp,
    /// The floor is wrong, too: this counts whatever there was, and stamps may go back.
    pub lower_floor: bool,
}

enum Order {
    Operator(OperatorTime, oneshot::Sender<Result<(), Refusal>>),
}

/// What was asked came back.
enum Heard {
    Peer(NodeId, Option<PeerReading>),
    Ntp(Vec<(String, Result<NtpSample, NtpError>)>),
    Rtc(std::io::Result<Timestamp>, Duration),
}

/// The time of this node. Dropping it stops it.
pub struct TimeKeeper {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Arc<TimeStatus>>,
    services: Services,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl TimeKeeper {
    /// Begins to ask and to answer. Must be called within a runtime.
    pub fn start(start: KeeperStart) -> Self {
        let boot = start.base.since_boot();
        let mut core = ProvenTime::new(start.me, start.floor, boot);
        if start.config.host {
            core.follow_host(Anchor { boot, time: start.base.now() });
        }
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let first = Arc::new(status_of(&core, boot, &BTreeMap::new()));
        let (told, status) = watch::channel(first.clone());
        let shared = Arc::new(ArcSwap::new(first));
        let host = start.config.host;
        let service = TimeService { shared: shared.clone(), clock: start.base.clone(), host };
        start.services.add(SERVICE, Arc::new(service));
        let services = start.services.clone();
        let driver = Driver {
            core,
            start,
            shared,
            told,
            silent: BTreeMap::new(),
            asking: JoinSet::new(),
            peers_at: boot,
            ntp_at: boot,
            ntp_asked: false,
            ntp_failures: 0,
            rtc_at: boot,
            rtc_asked: false,
            turn: 0,
        };
        let task = tokio::spawn(driver.run(inbox));
        Self { orders, status, services, task: Mutex::new(Some(task)) }
    }

    /// What is known now.
    pub fn status(&self) -> Arc<TimeStatus> {
        self.status.borrow().clone()
    }

    /// Wakes with each change.
    pub fn changed(&self) -> watch::Receiver<Arc<TimeStatus>> {
        self.status.clone()
    }

    /// An operator vouches for a time. Runs to completion once it was polled.
    pub async fn set(&self, time: OperatorTime) -> Result<(), Refusal> {
        let (answer, answered) = oneshot::channel();
        let stopped = Refusal::Stopped;
        self.orders.send(Order::Operator(time, answer)).await.map_err(|_| stopped)?;
        answered.await.map_err(|_| stopped)?
    }

    /// Nothing is asked or answered any more; the clock runs on.
    pub fn stop(&self) {
        self.services.remove(SERVICE);
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
    }
}

impl Drop for TimeKeeper {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Driver {
    core: ProvenTime,
    start: KeeperStart,
    shared: Arc<ArcSwap<TimeStatus>>,
    told: watch::Sender<Arc<TimeStatus>>,
    silent: BTreeMap<String, String>,
    asking: JoinSet<Heard>,
    peers_at: Duration,
    ntp_at: Duration,
    ntp_asked: bool,
    ntp_failures: u32,
    rtc_at: Duration,
    rtc_asked: bool,
    /// Where the next round begins among members that do not vote.
    turn: usize,
}

impl Driver {
    async fn run(mut self, mut inbox: mpsc::Receiver<Order>) {
        loop {
            let boot = self.boot();
            self.follow_host(boot);
            let electorate = (self.start.electorate)();
            self.core.forget_peers_but(&electorate.members);
            self.core.tick(boot, &electorate.voters);
            self.ask(boot, &electorate);
            self.publish(boot);
            let wait = self.next(boot).saturating_sub(boot);
            tokio::select! {
                order = inbox.recv() => match order {
                    None => return,
                    Some(Order::Operator(time, answer)) => {
                        let _ = answer.send(self.operator(time));
                    }
                },
                Some(heard) = self.asking.join_next(), if !self.asking.is_empty() => {
                    if let Ok(heard) = heard {
                        self.hear(heard);
                    }
                }
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn boot(&self) -> Duration {
        self.start.base.since_boot()
    }

    fn proven(&self) -> bool {
        self.core.proof().is_some()
    }

    fn follow_host(&mut self, boot: Duration) {
        if self.start.config.host {
            self.core.follow_host(Anchor { boot, time: self.start.base.now() });
        }
    }

    fn next(&self, boot: Duration) -> Duration {
        let config = &self.start.config;
        let ntp = (!config.host && !config.ntp.is_empty() && !self.ntp_asked).then_some(self.ntp_at);
        let rtc = (self.wants_rtc() && !self.rtc_asked).then_some(self.rtc_at);
        [Some(self.peers_at), ntp, rtc].into_iter().flatten().min().unwrap_or(boot)
    }

    fn wants_rtc(&self) -> bool {
        !self.start.config.host && self.start.config.rtc.is_some() && !self.proven()
    }

    fn ask(&mut self, boot: Duration, electorate: &Electorate) {
        if let Some(path) = self.start.config.rtc.clone().filter(|_| self.wants_rtc())
            && !self.rtc_asked
            && boot >= self.rtc_at
        {
            (self.rtc_asked, self.rtc_at) = (true, boot + RTC_EVERY);
            self.ask_rtc(path);
        }
        let config = &self.start.config;
        if !config.host && !config.ntp.is_empty() && !self.ntp_asked && boot >= self.ntp_at {
            self.ntp_asked = true;
            self.ask_ntp();
        }
        if boot >= self.peers_at {
            self.peers_at = boot + if self.proven() { PEERS_EVERY } else { PEERS_EVERY_UNPROVEN };
            self.ask_peers(electorate);
        }
    }

    fn ask_rtc(&mut self, path: PathBuf) {
        let clock = self.start.base.clone();
        self.asking.spawn_blocking(move || {
            let read = read_rtc(&path);
            Heard::Rtc(read, clock.since_boot())
        });
    }

    fn ask_ntp(&mut self) {
        let servers = self.start.config.ntp.clone();
        let (clock, random) = (self.start.base.clone(), self.start.random.clone());
        self.asking.spawn(async move { Heard::Ntp(sntp::ask_servers(servers, clock, random).await) });
    }

    fn ask_peers(&mut self, electorate: &Electorate) {
        let me = self.start.me;
        let mut asked: Vec<NodeId> =
            electorate.voters.iter().filter(|voter| **voter != me).copied().collect();
        asked.truncate(PEERS_ASKED_MAX);
        let others: Vec<NodeId> = electorate
            .members
            .iter()
            .filter(|member| **member != me && !electorate.voters.contains(member))
            .copied()
            .collect();
        let room = (PEERS_ASKED_MAX - asked.len()).min(others.len());
        asked.extend((0..room).map(|at| others[(self.turn + at) % others.len()]));
        self.turn = self.turn.wrapping_add(room);
        for node in asked {
            let (network, clock) = (self.start.network.clone(), self.start.base.clone());
            self.asking.spawn(async move {
                let sent = clock.since_boot();
                let answer = network.call(node, wire::READ, wire::question().into(), PEER_DEADLINE).await;
                let received = clock.since_boot();
                let told = answer.map_err(|error| error.to_string());
                let told = told.and_then(|bytes| wire::decode(&bytes).map_err(|error| error.to_string()));
                let told = told
                    .map_err(|error| tracing::debug!(%node, error, "a member does not say which time it has"))
                    .ok();
                Heard::Peer(node, told.map(|told| reading(&told, sent, received)))
            });
        }
    }

    fn hear(&mut self, heard: Heard) {
        let boot = self.boot();
        match heard {
            Heard::Peer(node, Some(reading)) => self.core.peer(node, reading, boot),
            Heard::Peer(_, None) => {}
            Heard::Rtc(read, at) => {
                self.rtc_asked = false;
                self.hear_rtc(read, at, boot);
            }
            Heard::Ntp(answers) => {
                self.ntp_asked = false;
                self.hear_ntp(answers, boot);
            }
        }
    }

    fn hear_rtc(&mut self, read: std::io::Result<Timestamp>, at: Duration, boot: Duration) {
        match read {
            Ok(time) => {
                self.silent.remove("rtc");
                let anchor = Anchor { boot: at, time };
                let (source, uncertainty) = (TimeSource::Rtc, RTC_UNCERTAINTY);
                self.offer(Offer { source, strength: Strength::Rtc, hops: 0, anchor, uncertainty }, boot);
            }
            Err(error) => {
                self.silent.insert("rtc".to_owned(), error.to_string());
            }
        }
    }

    fn hear_ntp(&mut self, answers: Vec<(String, Result<NtpSample, NtpError>)>, boot: Duration) {
        self.silent.retain(|source, _| source == "rtc");
        let mut samples = Vec::new();
        let mut kissed = false;
        for (server, answer) in answers {
            match answer {
                Ok(sample) => samples.push(sample),
                Err(error) => {
                    kissed |= matches!(error, NtpError::Kissed(_));
                    tracing::debug!(server, %error, "NTP");
                    self.silent.insert(format!("ntp {server}"), error.to_string());
                }
            }
        }
        let intervals: Vec<Interval> = samples
            .iter()
            .map(|sample| Interval { time: sample.anchor.at(boot), radius: sntp::radius(sample) })
            .collect();
        let agreed = agreeing(&intervals);
        let best = agreed.into_iter().map(|at| samples[at]).min_by_key(|sample| sample.uncertainty);
        let taken = match best {
            Some(NtpSample { anchor, uncertainty }) => {
                let (source, strength) = (TimeSource::Ntp, Strength::Reference);
                self.offer(Offer { source, strength, hops: 0, anchor, uncertainty }, boot)
            }
            None if samples.len() > 1 => {
                self.core.disagree(TimeSource::Ntp, samples.len());
                false
            }
            None => false,
        };
        let pause = match (taken, kissed) {
            (true, _) => NTP_EVERY,
            (false, true) => NTP_PAUSE,
            (false, false) => NTP_EVERY_FIRST * (1 << self.ntp_failures.min(NTP_DOUBLINGS_MAX)),
        };
        self.ntp_failures = if taken { 0 } else { self.ntp_failures.saturating_add(1) };
        self.ntp_at = boot + pause;
    }

    fn offer(&mut self, offer: Offer, boot: Duration) -> bool {
        match self.core.offer(offer, boot) {
            Ok(()) => true,
            Err(Refusal::Worse(_)) => false,
            Err(refusal) => {
                tracing::warn!(source = %offer.source, %refusal, "a time is not believed");
                false
            }
        }
    }

    fn operator(&mut self, told: OperatorTime) -> Result<(), Refusal> {
        let boot = self.boot();
        let anchor = Anchor { boot, time: told.time };
        let (source, strength) = (TimeSource::Operator, Strength::Operator);
        let offer = Offer { source, strength, hops: 0, anchor, uncertainty: OPERATOR_UNCERTAINTY };
        if !told.lower_floor {
            let judged = self.core.offer(offer, boot);
            // Who asks after the answer sees what it did.
            self.publish(boot);
            return judged;
        }
        self.core.overrule(offer, boot)?;
        tracing::warn!("an operator lowered the floor of the time");
        self.publish(boot);
        if let Some(clock) = &self.start.steered {
            clock.turn_back();
        }
        // Who else knows the time says whether he was right.
        (self.ntp_at, self.peers_at) = (boot, boot);
        Ok(())
    }

    fn publish(&mut self, boot: Duration) {
        let status = status_of(&self.core, boot, &self.silent);
        if let Some(clock) = &self.start.steered {
            clock.set(status.estimate.boot, status.estimate.time, status.source.trust());
        }
        let before = self.shared.load().source;
        if before != status.source {
            match status.source.trust() {
                TimeTrust::Proven => tracing::info!(source = %status.source, "the time is proven"),
                TimeTrust::Grid => {
                    tracing::warn!("no time is proven anywhere: the members agree on grid time")
                }
                TimeTrust::Unproven => tracing::warn!("the time is not proven"),
            }
        }
        let status = Arc::new(status);
        self.shared.store(status.clone());
        self.told.send_replace(status);
    }
}

/// What a member said, as of the middle of the way there and back.
fn reading(told: &Told, sent: Duration, received: Duration) -> PeerReading {
    let half = received.saturating_sub(sent) / 2;
    PeerReading {
        anchor: Anchor { boot: sent + half, time: told.time },
        uncertainty: told.uncertainty().saturating_add(half),
        source: told.source,
        strength: told.strength,
        hops: told.hops,
        floor: told.floor,
    }
}
