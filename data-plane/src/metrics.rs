//! What the ops listener counts. Labels are providers and classes: never a key, never a
//! name that a client chose; upstream models only where their breaker is open, and few.

pub(crate) mod guards;
mod loss_path;
mod spans;
mod usage;

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

pub(crate) use self::spans::Spans;
use self::{guards::Guards, loss_path::Labels, usage::Usage};
use crate::overload::Shortage;

/// From 5 ms to about 5 minutes.
const LATENCY_BUCKETS: (f64, f64, u16) = (0.005, 2.0, 17);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) provider: String,
    pub(crate) status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct AttemptLabels {
    pub(crate) provider: String,
    pub(crate) outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ProviderLabel {
    pub(crate) provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TokenLabels {
    pub(crate) provider: String,
    pub(crate) class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct LossLabel {
    /// One of a limited number.
    pub(crate) path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ResultLabel {
    pub(crate) result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShortageLabel {
    shortage: &'static str,
}

pub(crate) type Latencies = Family<ProviderLabel, Histogram, fn() -> Histogram>;
type Count = Gauge<i64, AtomicI64>;

/// Every family of this process.
pub(crate) struct Metrics {
    registry: Registry,
    pub(crate) requests: Family<RequestLabels, Counter>,
    pub(crate) attempts: Family<AttemptLabels, Counter>,
    broken_streams: Family<AttemptLabels, Counter>,
    pub(crate) tokens: Family<TokenLabels, Counter>,
    pub(crate) latency: Latencies,
    pub(crate) first_token: Latencies,
    pub(crate) losses: Family<LossLabel, Counter>,
    pub(crate) loss_labels: Labels,
    shed: Family<ShortageLabel, Counter>,
    pub(crate) guards: Guards,
    pub(crate) usage: Usage,
    pub(crate) spans: Spans,
    pub(crate) process: Process,
    pub(crate) config: Config,
}

pub(crate) struct Process {
    pub(crate) requests_in_flight: Count,
    pub(crate) connections: Count,
    pub(crate) connections_refused: Counter,
    pub(crate) body_bytes: Count,
    pub(crate) accept_errors: Counter,
    pub(crate) losses: Counter,
    pub(crate) query_keys: Counter,
    pub(crate) ended_with_key: Counter,
    pub(crate) panics: Counter,
    pub(crate) stale_addresses: Counter,
    pub(crate) swallowed_calls: Counter,
}

pub(crate) struct Config {
    pub(crate) revision: Gauge<u64, AtomicU64>,
    pub(crate) age_seconds: Gauge<f64, AtomicU64>,
    pub(crate) is_connected: Count,
    pub(crate) snapshots: Family<ResultLabel, Counter>,
    pub(crate) resyncs: Counter,
    pub(crate) staleness: Count,
    pub(crate) cache_writes: Family<ResultLabel, Counter>,
    pub(crate) cache_loads: Family<ResultLabel, Counter>,
    /// In seconds since 1970; 0 without a certificate.
    pub(crate) certificate_expires: Gauge<u64, AtomicU64>,
    pub(crate) certificates: Family<ResultLabel, Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("bridge");
        let latencies = || Latencies::new_with_constructor(histogram);
        let metrics = Self {
            requests: Family::default(),
            attempts: Family::default(),
            broken_streams: Family::default(),
            tokens: Family::default(),
            latency: latencies(),
            first_token: latencies(),
            losses: Family::default(),
            loss_labels: Labels::default(),
            shed: Family::default(),
            guards: Guards::register(&mut registry),
            usage: Usage::register(&mut registry),
            spans: Spans::register(&mut registry),
            process: Process::register(&mut registry),
            config: Config::register(&mut registry),
            registry: Registry::default(),
        };
        registry.register(
            "requests",
            "Requests by what the client saw",
            metrics.requests.clone(),
        );
        registry.register(
            "upstream_attempts",
            "Calls to upstreams by outcome",
            metrics.attempts.clone(),
        );
        registry.register(
            "streams_broken",
            "Answers that broke off after their first content, by what happened",
            metrics.broken_streams.clone(),
        );
        registry.register("tokens", "Tokens by class", metrics.tokens.clone());
        registry.register(
            "request_seconds",
            "Time to the end of the answer",
            metrics.latency.clone(),
        );
        registry.register(
            "first_token_seconds",
            "Time to the first content",
            metrics.first_token.clone(),
        );
        registry.register(
            "translation_losses",
            "What translation could not carry, by its place in the request",
            metrics.losses.clone(),
        );
        registry.register(
            "requests_shed",
            "Requests turned away for want of something",
            metrics.shed.clone(),
        );
        Self { registry, ..metrics }
    }

    pub(crate) fn broken_streams(&self, provider: &str, outcome: &'static str) -> Counter {
        let provider = provider.to_owned();
        self.broken_streams
            .get_or_create_owned(&AttemptLabels { provider, outcome })
    }

    /// A request was turned away.
    pub(crate) fn turned_away(&self, shortage: Shortage) {
        let label = ShortageLabel {
            shortage: shortage.name(),
        };
        self.shed.get_or_create(&label).inc();
    }

    /// The text that a scraper reads.
    pub(crate) fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry).map(|()| text)
    }
}

impl Process {
    fn register(registry: &mut Registry) -> Self {
        let this = Self {
            requests_in_flight: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            body_bytes: Gauge::default(),
            accept_errors: Counter::default(),
            losses: Counter::default(),
            query_keys: Counter::default(),
            ended_with_key: Counter::default(),
            panics: Counter::default(),
            stale_addresses: Counter::default(),
            swallowed_calls: Counter::default(),
        };
        registry.register(
            "requests_in_flight",
            "Requests being served",
            this.requests_in_flight.clone(),
        );
        registry.register("connections", "Open client connections", this.connections.clone());
        registry.register(
            "connections_refused",
            "Connections over the limit",
            this.connections_refused.clone(),
        );
        registry.register(
            "body_memory_bytes",
            "Memory that request bodies are accounted for",
            this.body_bytes.clone(),
        );
        registry.register(
            "accept_errors",
            "Times that the system had no connection to give",
            this.accept_errors.clone(),
        );
        registry.register(
            "lossy_requests",
            "Requests whose translation lost something",
            this.losses.clone(),
        );
        registry.register(
            "query_key_requests",
            "Requests with ?api_key=",
            this.query_keys.clone(),
        );
        registry.register(
            "requests_ended_with_key",
            "Requests that were ended because their key was revoked",
            this.ended_with_key.clone(),
        );
        registry.register("panics", "Requests that ended in a panic", this.panics.clone());
        registry.register(
            "upstream_stale_addresses",
            "Connections to addresses that could not be looked up again",
            this.stale_addresses.clone(),
        );
        registry.register(
            "upstream_swallowed_calls",
            "Calls sent once more because a kept connection had ended",
            this.swallowed_calls.clone(),
        );
        this
    }
}

impl Config {
    fn register(registry: &mut Registry) -> Self {
        let this = Self {
            revision: Gauge::default(),
            age_seconds: Gauge::default(),
            is_connected: Gauge::default(),
            snapshots: Family::default(),
            resyncs: Counter::default(),
            staleness: Gauge::default(),
            cache_writes: Family::default(),
            cache_loads: Family::default(),
            certificate_expires: Gauge::default(),
            certificates: Family::default(),
        };
        registry.register(
            "node_certificate_expires_seconds",
            "When this node's certificate expires, in seconds since 1970; 0 without one",
            this.certificate_expires.clone(),
        );
        registry.register(
            "node_certificates",
            "Certificates that this node asked for, by result",
            this.certificates.clone(),
        );
        registry.register("config_revision", "Revision in force", this.revision.clone());
        registry.register(
            "config_age_seconds",
            "Time since it was known to be the newest",
            this.age_seconds.clone(),
        );
        registry.register(
            "control_plane_connected",
            "1 with a watch stream",
            this.is_connected.clone(),
        );
        registry.register("snapshots", "Snapshots by result", this.snapshots.clone());
        registry.register("resyncs", "Whole snapshots asked for again", this.resyncs.clone());
        registry.register(
            "config_staleness",
            "0 fresh, 1 without word from the control plane for a while, 2 too old to serve",
            this.staleness.clone(),
        );
        registry.register(
            "snapshot_cache_writes",
            "Writes to the snapshot cache by result",
            this.cache_writes.clone(),
        );
        registry.register(
            "snapshot_cache_loads",
            "Snapshots found on disk by what became of them",
            this.cache_loads.clone(),
        );
        this
    }
}

fn histogram() -> Histogram {
    let (start, factor, count) = LATENCY_BUCKETS;
    Histogram::new(exponential_buckets(start, factor, count))
}
