use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use bridge_translate::anthropic;
use bytes::Bytes;
use http::HeaderMap;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::{
    metrics::Metrics,
    request_id::RequestId,
    routing,
    snapshot::{ApiKey, BreakerOverride, Held, LossPolicy, Snapshot, decode::tests as fixture},
    upstream::{client::Client, outcome::Class, pass::Asked},
};

/// A parameter that not every upstream takes.
const REQUEST: &[u8] =
    br#"{"model":"opus","max_tokens":9,"top_k":3,"messages":[{"role":"user","content":"Hi"}]}"#;

struct Stage {
    upstreams: Arc<Upstreams>,
    snapshot: Snapshot,
    key: ApiKey,
}

/// An address at which nobody listens.
fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Stage {
    /// Two providers that are down.
    fn down() -> Self {
        let metrics = Arc::new(Metrics::new());
        let provider = |name, priority| {
            let mut provider = fixture::provider(name, priority, &["big-1"], &[]);
            provider.endpoint.url = format!("http://{}/", nobody()).parse().unwrap();
            Arc::new(provider)
        };
        let providers = vec![provider("first", 1), provider("second", 2)];
        Self {
            upstreams: Arc::new(Upstreams::new(Client::plain(), metrics)),
            snapshot: Snapshot {
                providers,
                ..fixture::snapshot()
            },
            key: fixture::key("abcDEF012345"),
        }
    }

    /// Runs one request and tells how often an upstream was asked.
    async fn run(self) -> (Result<Committed, Error>, u32) {
        self.run_since(REQUEST, Instant::now()).await
    }

    async fn run_since(self, body: &'static [u8], arrived: Instant) -> (Result<Committed, Error>, u32) {
        let request = anthropic::Request::parse(body).unwrap();
        let plan = routing::plan(&self.snapshot, &self.key, request.model(), &mut rand::rng()).unwrap();
        let mut meter = Meter::start(&self.upstreams.metrics, RequestId::new(), Instant::now());
        let snapshot = Arc::new(self.snapshot);
        let order = Order {
            upstreams: &self.upstreams,
            snapshot: &snapshot,
            key: &self.key,
            asked: Asked {
                request: &request,
                body: &Bytes::from_static(body),
                headers: &HeaderMap::new(),
                query: None,
            },
            arrived,
        };
        let result = run(order, plan, &mut meter).await;
        (result, meter.trail().attempts)
    }

    fn hold_open(&mut self, provider: &str) {
        self.snapshot.overrides.push(BreakerOverride {
            provider: provider.into(),
            model: None,
            held: Held::Open,
            expires_at: None,
        });
    }
}

#[tokio::test]
async fn whoever_is_down_is_asked_once_and_the_next_one_too() {
    let (result, attempts) = Stage::down().run().await;
    let Err(Error::Upstream(failure)) = result else {
        panic!("nobody is there")
    };
    assert_eq!(
        (failure.class, &*failure.provider),
        (Class::Unreachable, "second")
    );
    assert_eq!(attempts, 2);
}

#[tokio::test]
async fn the_budget_ends_the_walk() {
    let mut stage = Stage::down();
    stage.snapshot.settings.attempts.max_attempts = 1;
    let (result, attempts) = stage.run().await;
    assert!(matches!(result, Err(Error::Upstream(_))));
    assert_eq!(attempts, 1);

    let mut stage = Stage::down();
    stage.snapshot.settings.attempts.deadline = Duration::ZERO;
    let (result, attempts) = stage.run().await;
    assert!(matches!(result, Err(Error::Deadline)));
    assert_eq!(attempts, 0);
}

#[tokio::test]
async fn an_open_breaker_is_passed_by_and_all_open_is_told_with_the_wait() {
    let mut stage = Stage::down();
    stage.hold_open("first");
    let (result, attempts) = stage.run().await;
    assert!(matches!(result, Err(Error::Upstream(failure)) if &*failure.provider == "second"));
    assert_eq!(attempts, 1);

    let mut stage = Stage::down();
    stage.hold_open("first");
    stage.hold_open("second");
    let (result, attempts) = stage.run().await;
    let Err(Error::AllOpen { wait }) = result else {
        panic!("nobody may be asked")
    };
    assert!(
        wait > Duration::from_secs(50) && wait <= Duration::from_secs(60),
        "{wait:?}"
    );
    assert_eq!(attempts, 0);
}

#[tokio::test]
async fn what_keeps_failing_opens_its_breaker() {
    let Stage {
        upstreams,
        mut snapshot,
        key,
    } = Stage::down();
    snapshot.settings.breaker.failure_threshold = 1;
    Stage {
        upstreams: Arc::clone(&upstreams),
        snapshot,
        key,
    }
    .run()
    .await
    .0
    .err();
    let mut open = upstreams.unhealthy(|provider, model, _| format!("{provider}/{model}"));
    open.sort();
    assert_eq!(open, ["first/big-1", "second/big-1"]);
}

#[tokio::test]
async fn a_strict_key_loses_nothing_silently() {
    let mut stage = Stage::down();
    stage.key.loss_policy = Some(LossPolicy::Strict);
    let (result, attempts) = stage.run().await;
    assert!(matches!(result, Err(Error::Lossy(paths)) if paths.contains("top_k")));
    assert_eq!(attempts, 0);
}

#[tokio::test]
async fn an_address_that_is_denied_is_never_called() {
    let mut stage = Stage::down();
    for provider in &mut stage.snapshot.providers {
        let provider = Arc::get_mut(provider).unwrap();
        provider.endpoint.url = "http://169.254.169.254/latest".parse().unwrap();
    }
    let (result, _) = stage.run().await;
    let Err(Error::Upstream(failure)) = result else {
        panic!("it must not be called")
    };
    assert_eq!(failure.class, Class::DeniedAddress);
}

/// Answers one request with a head and the role of the answer, and then says nothing.
async fn say_no_word(listener: tokio::net::TcpListener) {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
        data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.read_u8().await.unwrap();
    socket.write_all(HEAD).await.unwrap();
    // Its end is the client's.
    socket.read_to_end(&mut Vec::new()).await.ok();
}

#[tokio::test]
async fn p21_a_client_that_waits_no_longer_gets_a_beginning_without_words() {
    const STREAMED: &[u8] =
        br#"{"model":"opus","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut provider = fixture::provider("slow", 1, &["big-1"], &[]);
    let address = listener.local_addr().unwrap();
    provider.endpoint.url = format!("http://{address}/").parse().unwrap();
    let mut stage = Stage::down();
    stage.snapshot.providers = vec![Arc::new(provider)];
    let minutes_ago = Instant::now().checked_sub(Duration::from_secs(200)).unwrap();
    let asked = async {
        let (result, attempts) = stage.run_since(STREAMED, minutes_ago).await;
        (matches!(result, Ok(Committed::Flow(_))), attempts)
    };
    let (begun, ()) = tokio::join!(asked, say_no_word(listener));
    assert_eq!(begun, (true, 1));
}
