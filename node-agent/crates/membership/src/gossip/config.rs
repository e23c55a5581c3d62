//! How often nodes look after each other.

use std::num::{NonZeroU8, NonZeroUsize};
use std::time::Duration;

/// Times of the failure detection. The defaults find a killed node within 10 s in grids of up to 100 nodes: some 2 s until the
/// first probe that fails (rarely 5), `probe_period`, `suspect_for`; without false deaths at 5 % loss. The simulation
/// holds both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GossipConfig {
    /// Each node probes one other so often.
    pub probe_period: Duration,
    /// An answer that takes longer makes others probe. Less than `probe_period`.
    pub probe_rtt: Duration,
    /// A suspect that has not objected after this time is down.
    pub suspect_for: Duration,
    /// News are told to three others so often, while there are any.
    pub gossip_period: Duration,
    /// Nodes that are not alive are called so often, three at a time.
    pub call_period: Duration,
    /// A member that was never heard is down after this time.
    pub unheard_for: Duration,
    /// Publications that follow each other faster are joined.
    pub publish_period: Duration,
}

impl Default for GossipConfig {
    fn default() -> Self {
        Self {
            probe_period: Duration::from_millis(800),
            probe_rtt: Duration::from_millis(450),
            suspect_for: Duration::from_millis(3_500),
            gossip_period: Duration::from_millis(200),
            call_period: Duration::from_secs(1),
            unheard_for: Duration::from_secs(8),
            publish_period: Duration::from_secs(1),
        }
    }
}

/// Bytes of a packet: one frame of Ethernet, less what HTTP/2 and TLS add.
pub(super) const PACKET_BYTES_MAX: NonZeroUsize = NonZeroUsize::new(1_200).expect("not zero");
/// Nodes that are told news at once, that probe for another, that are called at once.
pub(super) const FANOUT: NonZeroUsize = NonZeroUsize::new(3).expect("not zero");
/// Each piece of news is told so often by each node.
const TRANSMISSIONS: NonZeroU8 = NonZeroU8::new(10).expect("not zero");
/// So long a dead name is remembered, so that late rumours do not revive it.
const DOWN_REMEMBERED: Duration = Duration::from_secs(900);

impl GossipConfig {
    /// A suspicion that is so old has no timer any more.
    pub(super) fn forgotten_after(&self) -> Duration {
        2 * self.suspect_for
    }

    pub(super) fn swim(&self) -> foca::Config {
        let mut swim = foca::Config::simple();
        swim.probe_period = self.probe_period;
        swim.probe_rtt = self.probe_rtt;
        swim.num_indirect_probes = FANOUT;
        swim.max_transmissions = TRANSMISSIONS;
        swim.suspect_to_down_after = self.suspect_for;
        swim.remove_down_after = Some(DOWN_REMEMBERED);
        swim.max_packet_size = PACKET_BYTES_MAX;
        // Who was declared down and lives is told, and comes back under a new name.
        swim.notify_down_members = true;
        swim.periodic_gossip =
            Some(foca::PeriodicParams { frequency: self.gossip_period, num_members: FANOUT });
        swim
    }
}
