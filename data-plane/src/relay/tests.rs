//! Streams over time, with a clock that jumps and an upstream made of a channel.

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
async fn under_pressure_pieces_that_follow_one_another_leave_together() {
    let mut stage = Stage::streaming();
    stage.pressure.set(true);
    let started = Instant::now();
    assert!(stage.next().await.unwrap().contains("Once"));
    for piece in [" upon", " a"] {
        stage.upstream.send(Ok(delta(piece))).unwrap();
        assert!(stage.relay.frame().now_or_never().is_none());
    }
    let both = stage.next().await.unwrap();
    assert!(both.contains(" upon") && both.contains(" a"), "{both}");
    let waited = started.elapsed().as_millis();
    assert!((40..=41).contains(&waited), "{waited} ms");

    sleep(Duration::from_millis(50)).await;
    stage.upstream.send(Ok(delta(" time"))).unwrap();
    let alone = stage.relay.frame().now_or_never();
    assert!(alone.is_some(), "one that comes alone waits for nobody");

    stage.upstream.send(Ok(delta(" there"))).unwrap();
    assert!(stage.relay.frame().now_or_never().is_none());
    stage.upstream.send(Ok(finish())).unwrap();
    stage
        .upstream
        .send(Ok(Bytes::from_static(b"data: [DONE]\n\n")))
        .unwrap();
    let end = stage.relay.frame().now_or_never();
    let end = end.flatten().unwrap().unwrap().into_data().unwrap();
    let end = String::from_utf8(end.to_vec()).unwrap();
    assert!(end.contains(" there") && end.contains("message_stop"), "{end}");
}

#[tokio::test(start_paused = true)]
async fn when_the_pressure_is_gone_pieces_leave_as_they_come() {
    let mut stage = Stage::streaming();
    stage.pressure.set(true);
    stage.next().await.unwrap();
    stage.upstream.send(Ok(delta(" upon"))).unwrap();
    assert!(stage.relay.frame().now_or_never().is_none());
    stage.pressure.set(false);
    for piece in [" a", " time"] {
        stage.upstream.send(Ok(delta(piece))).unwrap();
        let text = stage.relay.frame().now_or_never().flatten();
        assert!(text.is_some(), "{piece}");
    }
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

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_cuts_what_still_runs() {
    let mut streaming = Stage::streaming();
    let mut waiting = Stage::waiting(futures_util::future::pending().boxed());
    streaming.next().await.unwrap();
    for stage in [&mut streaming, &mut waiting] {
        stage.life.cut();
        let rest = stage.rest().await;
        assert!(rest.contains("overloaded_error"), "{rest}");
    }
    assert!(streaming.upstream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_taken_away_ends_its_streams_within_two_seconds() {
    let mut streaming = Stage::streaming();
    streaming.next().await.unwrap();
    let begun = tokio::time::Instant::now();
    streaming.leash.end();
    let rest = streaming.rest().await;
    assert!(
        rest.contains("permission_error") && rest.contains("revoked"),
        "{rest}"
    );
    assert!(begun.elapsed() <= Duration::from_secs(2), "{:?}", begun.elapsed());
    assert!(streaming.upstream.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_never_waits_is_cut_as_well() {
    let mut stage = Stage::flooded(stream::repeat(delta("on and on")).take(10_000));
    stage.next().await.unwrap();
    stage.life.cut();
    let rest = stage.rest().await;
    assert!(rest.contains("overloaded_error"), "{} bytes", rest.len());
}

#[tokio::test(start_paused = true)]
async fn what_an_upstream_says_after_its_last_word_is_not_read_for_long() {
    const JUNK: Bytes = Bytes::from_static(&[b'\n'; 1024]);
    let read = Arc::new(AtomicUsize::new(0));
    let junk = stream::repeat(JUNK).take(10_000).inspect({
        let read = Arc::clone(&read);
        move |_| _ = read.fetch_add(1, Ordering::Relaxed)
    });
    let last = [finish(), Bytes::from_static(b"data: [DONE]\n\n")];
    let mut stage = Stage::flooded(stream::iter(last).chain(junk));
    assert!(stage.rest().await.contains("message_stop"));
    let read = read.load(Ordering::Relaxed);
    assert!(read <= LINGER_BYTES_MAX / JUNK.len() + 1, "{read} KiB");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_stream_is_told() {
    let metrics = Arc::new(Metrics::new());
    let meter = meter(&metrics);
    let walk = async move {
        let _meter = meter;
        panic!("a test's own panic")
    };
    let mut stage = Stage::waiting(walk.boxed());
    let rest = stage.rest().await;
    assert!(
        rest.contains("event: error") && rest.contains("api_error"),
        "{rest}"
    );
    assert_eq!(stage.upstreams.metrics.process.panics.get(), 1);
    let shown = metrics.render().unwrap();
    assert!(
        shown.contains(r#"status="500""#) && !shown.contains("499"),
        "{shown}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_after_content_ends_the_stream_in_one_error_and_leaves_the_upstream() {
    let mut stage = Stage::streaming();
    let first = stage.next().await.unwrap();
    assert!(first.contains("Once"), "{first}");
    stage.upstream.send(Ok(delta(" upon"))).unwrap();
    stage.upstream.send(Ok(Bytes::from_static(PANIC))).unwrap();
    stage.upstream.send(Ok(finish())).unwrap();
    let rest = stage.rest().await;
    assert_eq!(rest.matches("event: error").count(), 1, "{rest}");
    assert!(rest.contains("api_error"), "{rest}");
    assert!(
        !rest.contains("message_stop") && !rest.contains("message_delta"),
        "{rest}"
    );
    assert_eq!(stage.next().await, None);
    assert!(stage.upstream.is_closed(), "the call is given up");
    let metrics = &stage.upstreams.metrics;
    assert_eq!(metrics.process.panics.get(), 1);
    assert_eq!(metrics.process.requests_in_flight.get(), 0);
    let shown = metrics.render().unwrap();
    assert!(
        shown.contains(r#"status="500""#) && !shown.contains(r#"status="499""#),
        "{shown}"
    );
    assert_eq!(stage.failures(), [""; 0], "it says nothing about the provider");
}
