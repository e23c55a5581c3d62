//! Stands in for the crate of this name (docs/decisions/0001-raft.md).
//!
//! openraft keeps histograms of its batches. They can be read only with its feature `runtime-stats`, which is off here,
//! but the crate behind them fills about 28 MB of tables at the first one: more than half of what the agent may take
//! when idle. This one counts samples and nothing else. Only the names that openraft uses are here.

use std::fmt;
use std::marker::PhantomData;

/// Counts samples; keeps no values.
#[derive(Debug, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    samples: u64,
    slots: PhantomData<fn() -> T>,
}

impl<T> Clone for Histogram<T> {
    fn clone(&self) -> Self {
        Self { samples: self.samples, slots: PhantomData }
    }
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// Empty.
    pub fn new() -> Self {
        Self { samples: 0, slots: PhantomData }
    }

    /// Counts one sample.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts `count` samples.
    pub fn record_n(&mut self, _value: u64, count: u64) {
        self.samples = self.samples.saturating_add(count);
    }

    /// Samples so far.
    pub fn total(&self) -> u64 {
        self.samples
    }

    /// The number of samples; all percentiles are 0.
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats { samples: self.samples, ..PercentileStats::default() }
    }
}

/// Percentiles; here always 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PercentileStats {
    /// Samples recorded.
    pub samples: u64,
    /// 0.1 %.
    pub p0_1: u64,
    /// 1 %.
    pub p1: u64,
    /// 5 %.
    pub p5: u64,
    /// 10 %.
    pub p10: u64,
    /// The median.
    pub p50: u64,
    /// 90 %.
    pub p90: u64,
    /// 99 %.
    pub p99: u64,
    /// 99.9 %.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} samples", self.samples)
    }
}

/// A chart without content.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {}

impl AsciiChart {
    /// Empty.
    pub fn new() -> Self {
        Self {}
    }

    /// Takes no notice.
    pub fn add<T>(self, _name: &str, _histogram: Histogram<T>) -> Self {
        self
    }

    /// Nothing to show.
    pub fn detailed(&self) -> &'static str {
        ""
    }
}
