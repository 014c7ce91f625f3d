//! What became of spans for the collector of traces.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

#[derive(Debug, Clone, Default)]
pub(crate) struct Spans {
    pub(crate) exported: Counter,
    pub(crate) dropped: Counter,
}

impl Spans {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let this = Self::default();
        registry.register(
            "spans_exported",
            "Spans that the collector of traces took",
            this.exported.clone(),
        );
        registry.register(
            "spans_dropped",
            "Spans that found no room, or that the collector refused",
            this.dropped.clone(),
        );
        this
    }
}
