//! Logs, and the metrics of the ops listener.
//!
//! No metric has an id, a name or an address as a label: their number is fixed.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// What a scraper is told the text is.
pub(crate) const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CommitResult {
    Committed,
    /// The store said no: a conflict, a duplicate, a missing thing.
    Refused,
    /// The store could not.
    Failed,
}

impl EncodeLabelValue for CommitResult {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let name = match self {
            Self::Committed => "committed",
            Self::Refused => "refused",
            Self::Failed => "failed",
        };
        name.encode(encoder)
    }
}

/// What became of a node that asked for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EnrolmentResult {
    Enrolled,
    Renewed,
    Refused,
}

impl EncodeLabelValue for EnrolmentResult {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let name = match self {
            Self::Enrolled => "enrolled",
            Self::Renewed => "renewed",
            Self::Refused => "refused",
        };
        name.encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EnrolmentLabels {
    result: EnrolmentResult,
}

/// What became of a report of usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ReportResult {
    Counted,
    /// It makes no sense.
    Refused,
    Failed,
}

impl EncodeLabelValue for ReportResult {
    fn encode(&self, encoder: &mut LabelValueEncoder) -> Result<(), std::fmt::Error> {
        let name = match self {
            Self::Counted => "counted",
            Self::Refused => "refused",
            Self::Failed => "failed",
        };
        name.encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReportLabels {
    result: ReportResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CommitLabels {
    pub(crate) result: CommitResult,
}

/// What became of spans for the collector of traces.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spans {
    pub(crate) exported: Counter,
    pub(crate) dropped: Counter,
}

/// The counters; clones share them.
#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) nodes_connected: Gauge,
    pub(crate) published_revision: Gauge<u64, AtomicU64>,
    pub(crate) acks: Counter,
    pub(crate) nacks: Counter,
    /// How nodes are brought up to date.
    pub(crate) deltas: Counter,
    pub(crate) snapshots: Counter,
    pub(crate) resyncs: Counter,
    pub(crate) commits: Family<CommitLabels, Counter>,
    pub(crate) logins_failed: Counter,
    pub(crate) panics: Counter,
    enrolments: Family<EnrolmentLabels, Counter>,
    usage_reports: Family<ReportLabels, Counter>,
    pub(crate) usage_swept: Counter,
    pub(crate) spans: Spans,
    registry: Arc<Registry>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("bridge_control_plane");
        let nodes_connected = Gauge::default();
        let published_revision = Gauge::default();
        let (acks, nacks) = (Counter::default(), Counter::default());
        let (deltas, snapshots, resyncs) = (Counter::default(), Counter::default(), Counter::default());
        let (logins_failed, panics) = (Counter::default(), Counter::default());
        let commits = Family::default();
        let (usage_reports, usage_swept) = (Family::default(), Counter::default());
        let enrolments = Family::default();
        registry.register(
            "nodes_connected",
            "Data planes with an open stream",
            nodes_connected.clone(),
        );
        registry.register(
            "published_revision",
            "Store revision that data planes are sent",
            published_revision.clone(),
        );
        registry.register(
            "snapshot_acks",
            "Snapshots that a data plane acknowledged",
            acks.clone(),
        );
        registry.register(
            "snapshot_nacks",
            "Snapshots that a data plane refused",
            nacks.clone(),
        );
        registry.register(
            "deltas_sent",
            "Changes that were sent to a data plane",
            deltas.clone(),
        );
        registry.register(
            "snapshots_sent",
            "Whole snapshots that were sent to a data plane",
            snapshots.clone(),
        );
        registry.register(
            "resyncs",
            "Data planes that lost track, or held something else than they had acknowledged",
            resyncs.clone(),
        );
        registry.register("commits", "Changes by their result", commits.clone());
        registry.register("logins_failed", "Logins that were refused", logins_failed.clone());
        registry.register("panics", "Calls that ended in a panic", panics.clone());
        registry.register(
            "enrolments",
            "Certificates that data planes asked for, by what became of it",
            enrolments.clone(),
        );
        registry.register(
            "usage_reports",
            "Reports of usage by data planes, by result",
            usage_reports.clone(),
        );
        registry.register(
            "usage_swept",
            "Rows of usage that were dropped because of their age or number",
            usage_swept.clone(),
        );
        let spans = Spans::default();
        registry.register(
            "spans_exported",
            "Spans that the collector of traces took",
            spans.exported.clone(),
        );
        registry.register(
            "spans_dropped",
            "Spans that found no room, or that the collector refused",
            spans.dropped.clone(),
        );
        let registry = Arc::new(registry);
        Self {
            nodes_connected,
            published_revision,
            acks,
            nacks,
            deltas,
            snapshots,
            resyncs,
            commits,
            logins_failed,
            panics,
            enrolments,
            usage_reports,
            usage_swept,
            spans,
            registry,
        }
    }

    pub(crate) fn enrolled(&self, result: EnrolmentResult) {
        let labels = EnrolmentLabels { result };
        self.enrolments.get_or_create(&labels).inc();
    }

    pub(crate) fn reported(&self, result: ReportResult) {
        self.usage_reports.get_or_create(&ReportLabels { result }).inc();
    }

    /// All metrics in the text format.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry)?;
        Ok(out)
    }
}

/// Sends the logs of this process to standard error. Later calls change nothing.
pub(crate) fn start_logs(level: LogLevel, format: LogFormat) {
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(level))
        .with_ansi(is_terminal)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    if started.is_err() {
        tracing::debug!("logs were already started");
    }
}

/// Our own crate at the level that was asked for; libraries only where they warn,
/// because at their lower levels some print the headers that they see.
fn filter(level: LogLevel) -> EnvFilter {
    let (ours, theirs) = match level {
        LogLevel::Critical | LogLevel::Error => ("error", "error"),
        LogLevel::Warning => ("warn", "warn"),
        LogLevel::Info => ("info", "warn"),
        LogLevel::Debug => ("debug", "warn"),
        LogLevel::Trace => ("trace", "warn"),
    };
    EnvFilter::new(format!("{theirs},bridge_control_plane={ours}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_have_their_names() {
        let metrics = Metrics::new();
        metrics.acks.inc();
        metrics.published_revision.set(7);
        metrics
            .commits
            .get_or_create(&CommitLabels {
                result: CommitResult::Refused,
            })
            .inc();
        let text = metrics.encode().unwrap();
        for line in [
            "bridge_control_plane_nodes_connected 0",
            "bridge_control_plane_published_revision 7",
            "bridge_control_plane_snapshot_acks_total 1",
            "bridge_control_plane_commits_total{result=\"refused\"} 1",
        ] {
            assert!(text.lines().any(|it| it == line), "no `{line}` in\n{text}");
        }
    }
}
