//! What is told the control plane about traffic, and what could not be.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::ResultLabel;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

pub(crate) struct Usage {
    pub(crate) reports: Family<ResultLabel, Counter>,
    dropped: Family<KindLabel, Counter>,
}

impl Usage {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self {
            reports: Family::default(),
            dropped: Family::default(),
        };
        registry.register(
            "usage_reports",
            "Reports of usage to the control plane by result",
            this.reports.clone(),
        );
        registry.register(
            "usage_dropped",
            "Sums and log entries that found no room before they could be reported",
            this.dropped.clone(),
        );
        this
    }

    pub(crate) fn dropped(&self, rollups: u64, requests: u64) {
        for (kind, count) in [("rollups", rollups), ("requests", requests)] {
            if count > 0 {
                self.dropped.get_or_create(&KindLabel { kind }).inc_by(count);
            }
        }
    }
}
