//! The task with real sockets on loopback, a network in memory, and the machine's clock.

use std::sync::Arc;
use std::time::Duration;

use grid_types::{NodeId, Timestamp};
use rpc::Services;
use rpc::memory::MemoryNet;
use sys::{Clock, RealClock, SeededRandom, SteeredClock};

use super::config::{FLOOR_EARLIEST, TimeConfig};
use super::core::Refusal;
use super::keeper::{Electorate, KeeperStart, OperatorTime, TimeKeeper};
use super::sntp_tests::{answer, server};
use super::source::TimeSource;
use super::status::{PeerClock, TimeStatus};

const PATIENCE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3_600);

fn node(key: u8) -> NodeId {
    NodeId::from_bytes([key; 16])
}

fn nothing() -> TimeConfig {
    TimeConfig { host: false, ntp: Vec::new(), rtc: None }
}

/// The machine's clock, so much ahead.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        RealClock.now().plus(self.0)
    }

    fn since_boot(&self) -> Duration {
        RealClock.since_boot()
    }
}

struct Rig {
    keeper: TimeKeeper,
    clock: Arc<SteeredClock>,
}

fn start(net: &MemoryNet, key: u8, config: TimeConfig) -> Rig {
    start_on(net, key, config, Arc::new(RealClock))
}

fn start_on(net: &MemoryNet, key: u8, config: TimeConfig, base: Arc<dyn Clock>) -> Rig {
    let services = Services::default();
    let network = net.join(node(key), services.clone());
    let clock = Arc::new(SteeredClock::new(base.clone(), FLOOR_EARLIEST));
    let keeper = TimeKeeper::start(KeeperStart {
        me: node(key),
        steered: (!config.host).then(|| clock.clone()),
        config,
        base,
        floor: None,
        network,
        services,
        random: Arc::new(SeededRandom::new(u64::from(key))),
        electorate: Arc::new(|| Electorate {
            voters: vec![node(1)],
            members: vec![node(1), node(2), node(3)],
        }),
    });
    Rig { keeper, clock }
}

impl Rig {
    async fn until(&self, wanted: impl Fn(&TimeStatus) -> bool) -> Arc<TimeStatus> {
        let mut changed = self.keeper.changed();
        let seen = tokio::time::timeout(PATIENCE, changed.wait_for(|status| wanted(status))).await;
        seen.unwrap_or_else(|_| panic!("{:#?}", self.keeper.status())).unwrap().clone()
    }

    async fn until_from(&self, source: TimeSource) -> Arc<TimeStatus> {
        self.until(|status| status.source == source).await
    }

    /// Shows the true time, that of the host, within a second.
    fn is_right(&self) {
        let (shown, truth) = (self.clock.proven().unwrap(), RealClock.now());
        assert!(shown.0.abs_diff(truth.0) < 1_000_000, "{shown:?} at {truth:?}");
    }
}

#[tokio::test]
async fn a_member_that_has_the_time_proves_it_to_others() {
    let net = MemoryNet::default();
    let host = start(&net, 1, TimeConfig { host: true, ..nothing() });
    host.until_from(TimeSource::Host).await;
    let second = start_on(&net, 2, nothing(), Arc::new(Ahead(HOUR)));
    second.until_from(TimeSource::Peer(node(1))).await;
    second.is_right();
    // It says how its clock stands against the other's.
    let status = second.until(|status| !status.peers.is_empty()).await;
    assert!(status.peers.iter().all(|peer| !peer.is_apart()), "{:?}", status.peers);
    let floor = status.floor(RealClock.since_boot());
    assert!(floor < RealClock.now() && RealClock.now().since(floor) < HOUR, "the floor rose: {floor:?}");

    // A host whose clock is an hour ahead counts as right, and sees that it is not.
    let third = start_on(&net, 3, TimeConfig { host: true, ..nothing() }, Arc::new(Ahead(HOUR)));
    let status = third.until(|status| status.peers.iter().any(|peer| peer.node == node(1))).await;
    let first = status.peers.iter().find(|peer| peer.node == node(1)).unwrap();
    assert!(first.is_apart() && first.ahead_micros < -3_500_000_000, "{first:?}");
}

#[tokio::test]
async fn ntp_proves_the_time_where_most_servers_agree() {
    let right = async || {
        server(None, |nonce| Some(answer(nonce, RealClock.now(), RealClock.now()))).await.to_string()
    };
    let wrong = server(None, |nonce| {
        let time = RealClock.now().plus(HOUR);
        Some(answer(nonce, time, time))
    })
    .await
    .to_string();
    // Each alone: members would prove it to each other.
    let alone = MemoryNet::default;
    let ntp = vec![right().await, wrong.clone(), right().await];
    let rig = start(&alone(), 1, TimeConfig { ntp, ..nothing() });
    rig.until_from(TimeSource::Ntp).await;
    rig.is_right();

    let torn = start(&alone(), 2, TimeConfig { ntp: vec![right().await, wrong], ..nothing() });
    let status = torn.until(|status| !status.refused.is_empty()).await;
    assert_eq!((status.source, status.refused[0].0), (TimeSource::Unproven, "ntp"));
    assert!(status.refused[0].1.contains("no majority"), "{:?}", status.refused);

    let old =
        server(None, |nonce| Some(answer(nonce, Timestamp::from_secs(9), Timestamp::from_secs(9)))).await;
    let below =
        start(&alone(), 3, TimeConfig { ntp: vec![old.to_string(), "256.1.1.1".to_owned()], ..nothing() });
    let status = below.until(|status| !status.refused.is_empty()).await;
    assert!(status.source == TimeSource::Unproven && status.refused[0].1.contains("before the floor"));
    assert!(status.silent.iter().any(|(source, _)| source == "ntp 256.1.1.1"), "{:?}", status.silent);
}

#[tokio::test]
async fn an_rtc_proves_the_time_unless_its_battery_died() {
    let folder = tempfile::tempdir().unwrap();
    let net = MemoryNet::default();
    let rtc = |name: &str, seconds: u64| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{seconds}\n")).unwrap();
        TimeConfig { rtc: Some(path), ..nothing() }
    };
    let dead = start(&net, 1, rtc("dead", 946_684_800));
    let status = dead.until(|status| !status.refused.is_empty()).await;
    assert_eq!((status.source, status.refused[0].0), (TimeSource::Unproven, "rtc"));
    let gone = start(&net, 2, TimeConfig { rtc: Some(folder.path().join("none")), ..nothing() });
    let status = gone.until(|status| !status.silent.is_empty()).await;
    assert_eq!((status.source, status.silent[0].0.as_str()), (TimeSource::Unproven, "rtc"));
    let good = start(&net, 3, rtc("good", RealClock.now().as_secs()));
    good.until_from(TimeSource::Rtc).await;
    let (shown, truth) = (good.clock.proven().unwrap(), RealClock.now());
    assert!(shown.0.abs_diff(truth.0) < 60_000_000, "{shown:?} at {truth:?}");
}

#[tokio::test]
async fn an_operator_proves_the_time_and_may_lower_the_floor() {
    let rig = start(&MemoryNet::default(), 1, nothing());
    let now = RealClock.now();
    let order = |time, lower_floor| rig.keeper.set(OperatorTime { time, lower_floor });
    let early = Timestamp::from_secs(1_000_000_000);
    assert!(matches!(order(early, false).await, Err(Refusal::BelowFloor { .. })));
    assert_eq!(rig.clock.proven(), None);
    order(now.plus(HOUR * 10_000), false).await.unwrap();
    assert_eq!(rig.keeper.status().source, TimeSource::Operator, "at once");
    let stamp = rig.clock.now();
    assert!(stamp >= now.plus(HOUR * 10_000));
    // That was a mistake: the floor forbids the way back, until he says that it is wrong, too.
    assert!(matches!(order(now, false).await, Err(Refusal::BelowFloor { .. })));
    order(now, true).await.unwrap();
    rig.is_right();
    assert!(rig.clock.now() < stamp, "stamps followed the order back");
    rig.keeper.stop();
    assert_eq!(order(now, false).await, Err(Refusal::Stopped));
}

#[test]
fn clocks_are_apart_where_the_measurement_is_sure_of_it() {
    let check = |ahead_micros: i64, uncertainty_millis: u64, expected: bool| {
        let uncertainty = Duration::from_millis(uncertainty_millis);
        let peer = PeerClock { node: node(1), source: TimeSource::Host, ahead_micros, uncertainty };
        assert_eq!(peer.is_apart(), expected, "{peer:?}");
    };
    check(900_000, 0, false);
    check(1_000_001, 0, true);
    check(-1_000_001, 0, true);
    check(1_400_000, 500, false);
    check(-3_600_000_000, 500, true);
    check(i64::MIN, 0, true);
}
