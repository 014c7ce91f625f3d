//! A request as a trace: one span for it, one below it for each call to an upstream.
//!
//! Made when the request is over, of what was recorded anyway. Nothing of what was said is in
//! it: names, numbers and words of ours.

use std::time::{Instant, SystemTime};

use http::HeaderMap;
use opentelemetry::{KeyValue, trace::SpanKind};

use super::served::{Attempt, Seen, Served, Shows};
use crate::traces::{Place, Span, Traces, count, text};

const CALL: &str = "call";
/// Statuses from here on are ours, or a provider's.
const SERVER_ERRORS: u16 = 500;

/// A request that is followed.
#[derive(Debug)]
pub(crate) struct Trace {
    traces: Traces,
    place: Place,
    /// Method and route.
    name: &'static str,
}

impl Trace {
    /// `None`: nobody collects traces, or the client wants none.
    pub(crate) fn begin(traces: Option<&Traces>, name: &'static str, headers: &HeaderMap) -> Option<Self> {
        let traces = traces?;
        Some(Self {
            place: Traces::follow(headers)?,
            traces: traces.clone(),
            name,
        })
    }

    /// It ended at this moment, whichever clock one looks at.
    pub(crate) fn end(self, served: &Served, now: Instant, wall: SystemTime) {
        let at = |moment: Instant| {
            let ago = now.saturating_duration_since(moment);
            wall.checked_sub(ago).unwrap_or(wall)
        };
        for attempt in &served.attempts {
            self.traces.tell(call(self.place.below(), attempt, at, now));
        }
        let Self { traces, place, name } = self;
        let started = wall.checked_sub(served.seen.latency).unwrap_or(wall);
        traces.tell(Span {
            place,
            name: name.into(),
            kind: SpanKind::Server,
            started,
            ended: wall,
            attributes: of_request(served),
            // What a client did wrong is no failure of ours.
            error: served.seen.error.filter(|_| served.seen.status >= SERVER_ERRORS),
        });
    }
}

fn of_request(served: &Served) -> Vec<KeyValue> {
    let Served {
        id,
        asked,
        revision,
        seen,
        attempts,
        losses,
        usage,
    } = served;
    let Seen {
        ended_unix_ms: _,
        latency: _,
        first_token,
        status,
        error,
        stop_reason,
    } = seen;
    let mut attributes = vec![
        text("bridge.request_id", id.as_str()),
        count("http.response.status_code", *status),
        KeyValue::new("bridge.stream", asked.is_stream),
        count("bridge.config_revision", *revision),
        count("bridge.attempts", attempts.len()),
        count("bridge.losses", losses.iter().count()),
        count("gen_ai.usage.input_tokens", usage.input_tokens),
        count("gen_ai.usage.output_tokens", usage.output_tokens),
        count(
            "gen_ai.usage.cache_read_input_tokens",
            usage.cache_read_input_tokens,
        ),
    ];
    if !asked.model.is_empty() {
        attributes.push(text("gen_ai.request.model", &asked.model));
    }
    attributes.extend(asked.key.map(|key| text("bridge.key_id", &key.to_string())));
    if let Some((provider, model)) = served.place() {
        attributes.push(text("gen_ai.provider.name", provider));
        attributes.push(text("gen_ai.response.model", model));
    }
    attributes.extend(first_token.map(|first| count("bridge.first_token_ms", first.as_millis())));
    attributes.extend(error.map(|error| KeyValue::new("error.type", error)));
    attributes.extend(stop_reason.map(|reason| text("bridge.stop_reason", reason.as_str())));
    attributes
}

fn call(place: Place, attempt: &Attempt, at: impl Fn(Instant) -> SystemTime, now: Instant) -> Span {
    let Attempt {
        place: (provider, model),
        started,
        status,
        ended,
        shows,
    } = attempt;
    let (outcome, latency) = ended.unwrap_or(("unfinished", now.saturating_duration_since(*started)));
    let mut attributes = vec![
        text("gen_ai.provider.name", provider),
        text("gen_ai.request.model", model),
        KeyValue::new("bridge.outcome", outcome),
    ];
    if *status > 0 {
        attributes.push(count("http.response.status_code", *status));
    }
    let is_failure = *shows == Shows::Failure;
    if is_failure {
        attributes.push(KeyValue::new("error.type", outcome));
    }
    Span {
        place,
        name: CALL.into(),
        kind: SpanKind::Client,
        started: at(*started),
        ended: at(*started) + latency,
        attributes,
        error: is_failure.then_some(outcome),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opentelemetry::{Value, trace::Status};
    use opentelemetry_sdk::trace::SpanData;

    use super::*;
    use crate::{traces::tests::traces, usage::recorder::tests::served};

    fn told(served: &Served) -> Vec<SpanData> {
        let (traces, mut waiting) = traces(10);
        let trace = Trace::begin(Some(&traces), "GET /", &HeaderMap::new()).unwrap();
        trace.end(served, Instant::now(), SystemTime::now());
        std::iter::from_fn(|| waiting.try_recv().ok()).collect()
    }

    fn value(span: &SpanData, key: &str) -> Option<Value> {
        let found = span.attributes.iter().find(|pair| pair.key.as_str() == key);
        found.map(|pair| pair.value.clone())
    }

    #[test]
    fn a_request_is_a_span_and_each_call_one_below_it() {
        let mut request = served(None, 5, 7);
        let mut failed = Attempt::start((&"down".into(), &"m".into()), Instant::now());
        failed.status = 503;
        failed.end(
            "unavailable",
            Shows::Failure,
            failed.started + Duration::from_millis(2),
        );
        request.attempts.insert(0, failed);
        let spans = told(&request);
        let [down, up, whole] = &spans[..] else {
            panic!("{spans:?}")
        };
        for call in [down, up] {
            assert_eq!(call.parent_span_id, whole.span_context.span_id());
            assert_eq!(call.span_context.trace_id(), whole.span_context.trace_id());
        }
        assert_eq!(
            down.end_time.duration_since(down.start_time).unwrap(),
            Duration::from_millis(2)
        );
        assert_eq!(down.status, Status::error("unavailable"));
        assert_eq!(value(down, "http.response.status_code"), Some(Value::I64(503)));
        assert_eq!(up.status, Status::Unset);
        assert_eq!(value(up, "http.response.status_code"), None);
        for (key, expected) in [
            ("gen_ai.provider.name", "p".into()),
            ("gen_ai.usage.output_tokens", Value::I64(7)),
            ("bridge.attempts", Value::I64(2)),
            ("http.response.status_code", Value::I64(200)),
        ] {
            assert_eq!(value(whole, key), Some(expected), "{key}");
        }
        assert_eq!(
            whole.end_time.duration_since(whole.start_time).unwrap(),
            request.seen.latency
        );
    }

    #[test]
    fn a_refusal_is_told_and_is_no_failure_unless_it_is_ours() {
        for (code, status) in [(400, Status::Unset), (529, Status::error("e"))] {
            let mut request = served(None, 5, 0);
            request.attempts.clear();
            request.seen = Seen {
                status: code,
                error: Some("e"),
                ..request.seen
            };
            let spans = told(&request);
            assert_eq!((spans.len(), &spans[0].status), (1, &status));
            assert_eq!(value(&spans[0], "error.type"), Some("e".into()));
        }
    }

    #[test]
    fn a_name_that_a_client_made_up_is_cut() {
        let mut request = served(None, 5, 0);
        request.asked.model = "字".repeat(5000);
        let spans = told(&request);
        let Some(Value::String(name)) = value(&spans[1], "gen_ai.request.model") else {
            panic!("{spans:?}")
        };
        assert_eq!(name.as_str().chars().count(), 200);
    }

    #[test]
    fn without_a_collector_nothing_is_followed() {
        assert!(Trace::begin(None, "GET /", &HeaderMap::new()).is_none());
    }
}
