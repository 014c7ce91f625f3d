//! Streams over time, with a clock that jumps and an upstream made of a channel.

mod ends;
mod gathering;

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
};

use bridge_translate::{Ids, Translator, anthropic, request};
use futures_util::{FutureExt, Stream, StreamExt, stream};
use http_body_util::BodyExt;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::*;
use crate::{
    life::Life,
    metrics::{Metrics, TokenLabels},
    overload::{Budget, Pressure},
    routing::Candidate,
    running,
    snapshot::{Snapshot, decode::tests::snapshot},
    upstream::{
        admission::Upstreams,
        breaker,
        client::Client,
        outcome::{Class, Failure},
        way_back,
    },
};

const MIB: usize = 1 << 20;
const REQUEST: &[u8] =
    br#"{"model":"opus","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;

/// Whoever reads this chunk panics.
const PANIC: &[u8] = b"panic";

/// What an upstream sends, from the test's side.
type Chunks = UnboundedSender<Result<Bytes, io::Error>>;

struct Stage {
    relay: Relay,
    upstream: Chunks,
    upstreams: Arc<Upstreams>,
    life: Arc<Life>,
    leash: Leash,
    pressure: Pressure,
    memory: Arc<Budget>,
}

fn candidate(snapshot: &Snapshot) -> Candidate {
    Candidate {
        provider: Arc::clone(&snapshot.providers[0]),
        model: "big-1".into(),
    }
}

fn meter(metrics: &Arc<Metrics>) -> Box<Meter> {
    Meter::start(metrics, RequestId::new(), std::time::Instant::now())
}

fn delta(text: &str) -> Bytes {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n").into()
}

fn finish() -> Bytes {
    Bytes::from_static(b"data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
}

impl Stage {
    /// A stream whose first content is there, from an upstream that the test plays.
    fn streaming() -> Self {
        let (upstream, chunks) = unbounded_channel();
        let chunks = UnboundedReceiverStream::new(chunks).inspect(|chunk: &Result<Bytes, io::Error>| {
            let is_panic = chunk.as_ref().is_ok_and(|chunk| chunk == PANIC);
            assert!(!is_panic, "a test's own panic");
        });
        Self::streaming_from(Body::of_stream(chunks), upstream)
    }

    /// The same from an upstream that never makes anybody wait.
    fn flooded(chunks: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::streaming_from(Body::of_stream(chunks.map(Ok)), unbounded_channel().0)
    }

    fn streaming_from(body: Body, upstream: Chunks) -> Self {
        let metrics = Arc::new(Metrics::new());
        let upstreams = Arc::new(Upstreams::new(
            Client::plain(),
            Arc::clone(&metrics),
            Arc::default(),
        ));
        let snapshot = Arc::new(snapshot());
        let candidate = candidate(&snapshot);
        let parsed = anthropic::Request::parse(REQUEST).unwrap();
        let reply = request::to_openai(&parsed, &candidate.target(&snapshot))
            .unwrap()
            .reply;
        let mut translator = Translator::new(reply, Ids::new([7; 32]));
        let mut out = Vec::new();
        translator.push(&delta("Once"), &mut out);
        let admission = upstreams
            .admit(
                &snapshot,
                &candidate,
                &RequestId::new(),
                std::time::Instant::now(),
            )
            .unwrap();
        let memory = Budget::new(16 * MIB as u64);
        let flow = Flow::new(
            body.within(&memory),
            way_back::Stream::Translated(translator),
            out,
            None,
            admission,
        );
        let life = Arc::new(Life::default());
        let (leash, pressure) = (running::tests::leash(&life), Pressure::default());
        let relay = Relay::content(
            Box::new(flow),
            meter(&metrics),
            leash.clone(),
            Gather::new(pressure.clone()),
        );
        Self {
            relay,
            upstream,
            upstreams,
            life,
            leash,
            pressure,
            memory,
        }
    }

    /// A head without content.
    fn waiting(walk: BoxFuture<'static, Outcome>) -> Self {
        let metrics = Arc::new(Metrics::new());
        let upstreams = Arc::new(Upstreams::new(
            Client::plain(),
            Arc::clone(&metrics),
            Arc::default(),
        ));
        let life = Arc::new(Life::default());
        let (leash, pressure) = (running::tests::leash(&life), Pressure::default());
        let relay = Relay::waiting(
            walk,
            leash.clone(),
            Gather::new(pressure.clone()),
            metrics,
            RequestId::new(),
        );
        let (upstream, _) = unbounded_channel();
        Self {
            relay,
            upstream,
            upstreams,
            life,
            leash,
            pressure,
            memory: Budget::new(0),
        }
    }

    async fn next(&mut self) -> Option<String> {
        let bytes = self.relay.frame().await?.unwrap().into_data().unwrap();
        Some(String::from_utf8(bytes.to_vec()).unwrap())
    }

    async fn rest(&mut self) -> String {
        let mut rest = String::new();
        while let Some(text) = self.next().await {
            rest.push_str(&text);
        }
        rest
    }

    fn failures(&self) -> Vec<String> {
        self.upstreams
            .unhealthy(|provider, model, _| format!("{provider}/{model}"))
    }
}

#[tokio::test(start_paused = true)]
async fn what_arrived_together_leaves_together() {
    let mut stage = Stage::streaming();
    assert!(stage.next().await.unwrap().contains("Once"));
    for piece in [
        delta(" upon"),
        delta(" a time"),
        finish(),
        Bytes::from_static(b"data: [DONE]\n\n"),
    ] {
        stage.upstream.send(Ok(piece)).unwrap();
    }
    let last = stage.next().await.unwrap();
    assert!(
        last.contains(" upon") && last.contains(" a time") && last.contains("message_stop"),
        "{last}"
    );
    assert_eq!(stage.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_makes_us_keep_counts_in_the_memory_that_all_share() {
    let mut stage = Stage::streaming();
    stage.next().await.unwrap();
    let line = Bytes::from(vec![b'x'; MIB]);
    for _ in 0..4 {
        stage.upstream.send(Ok(line.clone())).unwrap();
    }
    assert!(stage.relay.frame().now_or_never().is_none());
    let used = stage.memory.used();
    assert!(used >= 4 * MIB as u64, "{used} bytes for a line of 4 MiB");
    for _ in 0..8 {
        stage.upstream.send(Ok(line.clone())).unwrap();
    }
    let rest = stage.rest().await;
    assert!(
        rest.contains("event: error") && rest.contains("overloaded_error"),
        "{rest}"
    );
    assert_eq!(stage.failures(), Vec::<String>::new());
    drop(stage.relay);
    assert_eq!(stage.memory.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn p21_silence_is_filled_with_pings_and_then_broken_off() {
    let mut stage = Stage::streaming();
    stage.next().await.unwrap();
    let started = Instant::now();
    for tens in 1..=5 {
        assert_eq!(stage.next().await.unwrap().as_bytes(), PING);
        let off = started.elapsed().as_secs_f64() - f64::from(10 * tens);
        assert!(off.abs() < 1.1, "ping {tens} is off by {off} s");
    }
    let rest = stage.rest().await;
    let waited = started.elapsed().as_secs();
    assert!((60..=61).contains(&waited), "given up after {waited} s");
    assert_eq!(rest.matches("event: error").count(), 1, "{rest}");
    assert!(rest.contains("timeout_error") && rest.contains("alpha"), "{rest}");
    assert!(
        !rest.contains("message_stop") && !rest.contains("content_block_stop"),
        "{rest}"
    );
}

#[tokio::test(start_paused = true)]
async fn c075_comments_keep_the_upstream_alive_and_an_empty_delta_the_client() {
    let mut stage = Stage::streaming();
    stage.next().await.unwrap();
    let started = Instant::now();
    let mut seen = String::new();
    while !seen.contains("\"text\":\"\"}") {
        stage
            .upstream
            .send(Ok(Bytes::from_static(b": waiting\n\n")))
            .unwrap();
        seen = stage.next().await.unwrap();
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "no empty delta came"
        );
    }
    assert!(
        started.elapsed() >= Duration::from_secs(199),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_ends_in_one_error() {
    let mut stage = Stage::streaming();
    stage.next().await.unwrap();
    stage
        .upstream
        .send(Err(io::ErrorKind::ConnectionReset.into()))
        .unwrap();
    let rest = stage.rest().await;
    assert_eq!(rest.matches("event: ").count(), 1, "{rest}");
    assert!(rest.contains("api_error"), "{rest}");
}

#[tokio::test(start_paused = true)]
async fn p20_an_end_that_does_not_come_is_not_waited_for_long() {
    let mut stage = Stage::streaming();
    stage.next().await.unwrap();
    stage.upstream.send(Ok(finish())).unwrap();
    let started = Instant::now();
    let rest = stage.rest().await;
    assert!(rest.contains("message_stop"), "{rest}");
    assert!(
        started.elapsed() <= Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_teaches_the_breaker_nothing_and_drops_the_upstream() {
    let mut stage = Stage::streaming();
    stage.next().await.unwrap();
    drop(stage.relay);
    assert!(stage.upstream.is_closed());
    assert_eq!(
        stage.upstreams.unhealthy(|_, _, state| state),
        Vec::<breaker::State>::new()
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_has_used_what_came() {
    let mut stage = Stage::streaming();
    stage.next().await.unwrap();
    stage.upstream.send(Ok(delta(" upon a time"))).unwrap();
    stage.next().await.unwrap();
    drop(stage.relay);
    let output = TokenLabels {
        provider: String::new(),
        class: "output",
    };
    let counted = stage.upstreams.metrics.tokens.get_or_create(&output).get();
    assert!((2..10).contains(&counted), "{counted}");
}

#[tokio::test(start_paused = true)]
async fn failures_after_content_open_the_breaker() {
    let snapshot = Arc::new(snapshot());
    let mut stage = Stage::streaming();
    let candidate = candidate(&snapshot);
    let now = std::time::Instant::now();
    for _ in 1..snapshot.settings.breaker.failure_threshold {
        let admitted = stage
            .upstreams
            .admit(&snapshot, &candidate, &RequestId::new(), now);
        admitted
            .unwrap()
            .fail(&Failure::new(Class::Reset, "alpha".into()));
    }
    assert!(stage.failures().is_empty());
    stage
        .upstream
        .send(Err(io::ErrorKind::ConnectionReset.into()))
        .unwrap();
    stage.rest().await;
    assert_eq!(stage.failures(), ["alpha/big-1"]);
    let metrics = &stage.upstreams.metrics;
    assert_eq!(metrics.broken_streams("alpha", "reset").get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_head_without_content_pings_and_ends_in_the_error_of_the_walk() {
    let metrics = Arc::new(Metrics::new());
    let meter = meter(&metrics);
    let walk = async move {
        sleep(Duration::from_secs(35)).await;
        Outcome {
            meter,
            result: Err(Error::Deadline),
        }
    };
    let rest = Stage::waiting(walk.boxed()).rest().await;
    assert_eq!(rest.matches("event: ping").count(), 4, "{rest}");
    assert!(
        rest.ends_with("}\n\n") && rest.contains("timeout_error"),
        "{rest}"
    );
    assert!(!rest.contains("message_start"), "{rest}");
    assert_eq!(metrics.process.requests_in_flight.get(), 0);
}
