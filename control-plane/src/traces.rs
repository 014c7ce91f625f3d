//! Traces for the operator's collector, by OTLP over gRPC.
//!
//! A span is told when it is over, of what is known by then anyway, and goes into a queue that
//! nobody waits for: what finds no room is dropped and counted. Without a collector there is no
//! such handle, and nothing of this is on anybody's way.

mod export;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use http::HeaderMap;
use opentelemetry::{
    InstrumentationScope, KeyValue,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceState},
};
use opentelemetry_sdk::{
    propagation::TraceContextPropagator,
    trace::{IdGenerator, RandomIdGenerator, SpanData, SpanEvents, SpanLinks},
};
use prometheus_client::metrics::counter::Counter;
use tokio::sync::mpsc;

pub(crate) use export::{Exporter, StartError};

use crate::config::Collector;
use crate::telemetry::Spans;

/// Spans that wait for the collector: some 6 MiB.
const QUEUE_MAX: usize = 4096;
/// Longest text that a span holds: paths are whatever clients write.
const TEXT_CHARS_MAX: usize = 200;
const SCOPE: &str = env!("CARGO_PKG_NAME");

/// Takes what is over; clones share the queue.
#[derive(Debug, Clone)]
pub(crate) struct Traces {
    queue: mpsc::Sender<SpanData>,
    dropped: Counter,
}

/// Where a span is: in which trace, below what.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    context: SpanContext,
    parent: SpanId,
    is_parent_remote: bool,
}

/// From which data plane a call comes, for its span: whoever lets it in tells. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct FromNode(Arc<OnceLock<String>>);

/// A span that is over.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) place: Place,
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: SpanKind,
    pub(crate) started: SystemTime,
    pub(crate) ended: SystemTime,
    pub(crate) attributes: Vec<KeyValue>,
    /// What went wrong, in a word of ours.
    pub(crate) error: Option<&'static str>,
}

/// The handle, and what has to run beside it.
pub(crate) fn start(
    collector: Collector,
    instance: &str,
    spans: &Spans,
) -> Result<(Traces, Exporter), StartError> {
    let (queue, waiting) = mpsc::channel(QUEUE_MAX);
    let exporter = Exporter::new(collector, instance, waiting, spans.clone())?;
    let dropped = spans.dropped.clone();
    Ok((Traces { queue, dropped }, exporter))
}

impl Traces {
    /// A span for whoever sends these headers, below their own. `None`: they want no trace.
    pub(crate) fn follow(headers: &HeaderMap) -> Option<Place> {
        let asked = TraceContextPropagator::new().extract(&Headers(headers));
        let asked = asked.span().span_context().clone();
        if !asked.is_valid() {
            let trace = RandomIdGenerator::default().new_trace_id();
            return Some(Place::new(trace, SpanId::INVALID));
        }
        asked.is_sampled().then(|| Place {
            is_parent_remote: true,
            ..Place::new(asked.trace_id(), asked.span_id())
        })
    }

    pub(crate) fn tell(&self, span: Span) {
        if self.queue.try_send(span.into_data()).is_err() {
            self.dropped.inc();
        }
    }
}

impl FromNode {
    /// Where nobody collects traces, what is told is heard by nobody.
    pub(crate) fn of(extensions: &http::Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    /// The first that is told counts.
    pub(crate) fn tell(&self, node_id: &str) {
        self.0.get_or_init(|| cut(node_id));
    }

    pub(crate) fn attribute(&self) -> Option<KeyValue> {
        let node_id = self.0.get()?;
        Some(KeyValue::new("node.id", node_id.clone()))
    }
}

impl Place {
    fn new(trace: opentelemetry::TraceId, parent: SpanId) -> Self {
        let id = RandomIdGenerator::default().new_span_id();
        Self {
            context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
            parent,
            is_parent_remote: false,
        }
    }
}

impl Span {
    fn into_data(self) -> SpanData {
        let Self {
            place:
                Place {
                    context,
                    parent,
                    is_parent_remote,
                },
            name,
            kind,
            started,
            ended,
            attributes,
            error,
        } = self;
        SpanData {
            span_context: context,
            parent_span_id: parent,
            parent_span_is_remote: is_parent_remote,
            span_kind: kind,
            name,
            start_time: started,
            end_time: ended,
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: error.map_or(Status::Unset, Status::error),
            instrumentation_scope: InstrumentationScope::builder(SCOPE).build(),
        }
    }
}

/// A text of somebody else's.
pub(crate) fn text(key: &'static str, value: &str) -> KeyValue {
    KeyValue::new(key, cut(value))
}

pub(crate) fn cut(text: &str) -> String {
    text.chars().take(TEXT_CHARS_MAX).collect()
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

    /// A handle whose spans a test takes itself.
    pub(crate) fn traces(queue_max: usize) -> (Traces, mpsc::Receiver<SpanData>) {
        let (queue, waiting) = mpsc::channel(queue_max);
        let dropped = Counter::default();
        (Traces { queue, dropped }, waiting)
    }

    fn span(place: Place) -> Span {
        Span {
            place,
            name: "a".into(),
            kind: SpanKind::Server,
            started: SystemTime::UNIX_EPOCH,
            ended: SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            error: None,
        }
    }

    fn follow(parent: &str) -> Option<Place> {
        let headers = HeaderMap::from_iter([(
            http::HeaderName::from_static("traceparent"),
            parent.parse().unwrap(),
        )]);
        Traces::follow(&headers)
    }

    #[test]
    fn a_trace_goes_on_where_the_client_began_it() {
        let place = follow(&format!("00-{TRACE}-b7ad6b7169203331-01")).unwrap();
        let told = span(place).into_data();
        assert_eq!(told.span_context.trace_id().to_string(), TRACE);
        assert_eq!(told.parent_span_id.to_string(), "b7ad6b7169203331");
        assert!(told.parent_span_is_remote);
    }

    #[test]
    fn who_wants_no_trace_gets_none_and_nonsense_begins_a_new_one() {
        assert!(follow(&format!("00-{TRACE}-b7ad6b7169203331-00")).is_none());
        for nonsense in ["", "nonsense", &format!("00-{TRACE}-0000000000000000-01")] {
            let span = span(follow(nonsense).unwrap()).into_data();
            assert_eq!(span.parent_span_id, SpanId::INVALID);
            assert_ne!(span.span_context.trace_id().to_string(), TRACE);
        }
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nobody_waits() {
        let (traces, mut waiting) = traces(2);
        for _ in 0..5 {
            traces.tell(span(Traces::follow(&HeaderMap::new()).unwrap()));
        }
        assert_eq!(traces.dropped.get(), 3);
        waiting.try_recv().unwrap();
        traces.tell(span(Traces::follow(&HeaderMap::new()).unwrap()));
        assert_eq!(traces.dropped.get(), 3);
    }
}
