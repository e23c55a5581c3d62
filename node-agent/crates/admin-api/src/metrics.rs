//! The metrics page. Names, units and labels are documented in docs/metrics.md; a test compares.
//!
//! Requests are counted as they end (`RequestObserver`); everything else is sampled when the page is asked for.

mod sample;

use std::sync::Arc;

use http_server::{RequestObserver, RequestRecord};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub use sample::{BudgetSample, DoorSample, DriveSample, NodeSample, ProcessSample};

/// The content type of the page (OpenMetrics text 1.0).
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds in seconds: from half a millisecond (an inline GET) to half a minute (64 MiB over a slow link).
const LATENCY_BOUNDS_SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestSet {
    door: &'static str,
    operation: &'static str,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationSet {
    door: &'static str,
    operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorSet {
    door: &'static str,
}

fn latency_histogram() -> Histogram {
    Histogram::new(LATENCY_BOUNDS_SECONDS)
}

type HistogramFamily = Family<OperationSet, Histogram, fn() -> Histogram>;

/// All figures of this node.
pub struct Metrics {
    requests: Family<RequestSet, Counter>,
    request_seconds: HistogramFamily,
    first_byte_seconds: HistogramFamily,
    received_bytes: Family<DoorSet, Counter>,
    sent_bytes: Family<DoorSet, Counter>,
    broken: Family<DoorSet, Counter>,
    sampled: Arc<Mutex<NodeSample>>,
    registry: Registry,
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("shoal");
        let requests = Family::<RequestSet, Counter>::default();
        let request_seconds = HistogramFamily::new_with_constructor(latency_histogram);
        let first_byte_seconds = HistogramFamily::new_with_constructor(latency_histogram);
        let received_bytes = Family::<DoorSet, Counter>::default();
        let sent_bytes = Family::<DoorSet, Counter>::default();
        let broken = Family::<DoorSet, Counter>::default();
        registry.register("requests", "Requests by door, operation and HTTP status", requests.clone());
        registry.register(
            "request_seconds",
            "From the last header byte to the last byte of the answer",
            request_seconds.clone(),
        );
        registry.register(
            "first_byte_seconds",
            "From the last header byte to the first body byte of the answer",
            first_byte_seconds.clone(),
        );
        registry.register("received_bytes", "Body bytes taken from clients", received_bytes.clone());
        registry.register("sent_bytes", "Body bytes sent to clients", sent_bytes.clone());
        registry.register("broken_requests", "Requests whose connection or body broke off", broken.clone());
        let sampled = Arc::new(Mutex::new(NodeSample::default()));
        registry.register_collector(Box::new(sample::Sampled(sampled.clone())));
        Self {
            requests,
            request_seconds,
            first_byte_seconds,
            received_bytes,
            sent_bytes,
            broken,
            sampled,
            registry,
        }
    }

    /// The page as text, with these sampled figures.
    pub fn page(&self, sample: NodeSample) -> String {
        *self.sampled.lock() = sample;
        let mut text = String::new();
        // Writing to a String fails only if an encoder does; a truncated page ends without `# EOF`, which scrapers refuse.
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "writing the metrics page");
        }
        text
    }

    /// The observer of one listener; `door` is `s3` or `admin`.
    pub fn observer(self: &Arc<Self>, door: &'static str) -> DoorObserver {
        DoorObserver { metrics: self.clone(), door }
    }

    fn count(&self, door: &'static str, record: &RequestRecord) {
        let operation = if record.labels.operation.is_empty() { "Unknown" } else { record.labels.operation };
        // 0: the client left before there was an answer.
        let status = record.status.map_or(0, |status| u32::from(status.as_u16()));
        self.requests.get_or_create(&RequestSet { door, operation, status }).inc();
        let set = OperationSet { door, operation };
        self.request_seconds.get_or_create(&set).observe(record.duration.as_secs_f64());
        if let Some(first) = record.time_to_first_byte {
            self.first_byte_seconds.get_or_create(&set).observe(first.as_secs_f64());
        }
        let set = DoorSet { door };
        self.received_bytes.get_or_create(&set).inc_by(record.bytes_in);
        self.sent_bytes.get_or_create(&set).inc_by(record.bytes_out);
        if !record.complete {
            self.broken.get_or_create(&set).inc();
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// Counts the requests of one listener.
pub struct DoorObserver {
    metrics: Arc<Metrics>,
    door: &'static str,
}

impl RequestObserver for DoorObserver {
    fn request_finished(&self, record: &RequestRecord) {
        self.metrics.count(self.door, record);
    }
}
