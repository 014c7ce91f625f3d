use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use bridge_translate::anthropic;
use bytes::Bytes;
use http::HeaderMap;

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
            upstreams: Arc::new(Upstreams::new(Client::new().unwrap(), metrics)),
            snapshot: Snapshot {
                providers,
                ..fixture::snapshot()
            },
            key: fixture::key("abcDEF012345"),
        }
    }

    /// Runs one request and tells how often an upstream was asked.
    async fn run(self) -> (Result<Committed, Error>, u32) {
        let request = anthropic::Request::parse(REQUEST).unwrap();
        let plan = routing::plan(&self.snapshot, &self.key, request.model(), &mut rand::rng()).unwrap();
        let mut meter = Meter::start(&self.upstreams.metrics, RequestId::new(), Instant::now());
        let snapshot = Arc::new(self.snapshot);
        let order = Order {
            upstreams: &self.upstreams,
            snapshot: &snapshot,
            key: &self.key,
            asked: Asked {
                request: &request,
                body: &Bytes::from_static(REQUEST),
                headers: &HeaderMap::new(),
                query: None,
            },
            arrived: Instant::now(),
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
