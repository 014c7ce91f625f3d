mod silence;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use bridge_translate::{anthropic, error::FaultKind};
use bytes::Bytes;
use http::HeaderMap;

use super::*;
use crate::{
    metrics::Metrics,
    off_reactor::Room,
    request_id::RequestId,
    routing,
    snapshot::{ApiKey, BreakerOverride, Held, LossPolicy, Snapshot, decode::tests as fixture},
    upstream::{client::Client, pass::Asked},
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
            upstreams: Arc::new(Upstreams::new(Client::plain(), metrics, Arc::default())),
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
            has_leisure: true,
        };
        let result = run(order, plan, &mut meter).await;
        (result, meter.trail().attempts)
    }

    /// The same providers and what is known of them, for one more request.
    fn again(&self) -> Self {
        Self {
            upstreams: Arc::clone(&self.upstreams),
            snapshot: Snapshot {
                providers: self.snapshot.providers.clone(),
                ..fixture::snapshot()
            },
            key: fixture::key("abcDEF012345"),
        }
    }

    /// A call of before failed.
    fn failed(&self, provider: &str, class: Class, wait: Option<Duration>) {
        let snapshot = Arc::new(self.again().snapshot);
        let named = |known: &&Arc<crate::snapshot::Provider>| &*known.name == provider;
        let candidate = Candidate {
            provider: Arc::clone(snapshot.providers.iter().find(named).unwrap()),
            model: "big-1".into(),
        };
        let request = RequestId::new();
        let admitted = self
            .upstreams
            .admit(&snapshot, &candidate, &request, Instant::now());
        admitted.ok().unwrap().fail(&Failure {
            retry_after: wait,
            ..Failure::new(class, Arc::clone(&candidate.provider.name))
        });
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
async fn whoever_cools_down_is_passed_by_and_told_with_the_shortest_wait() {
    let stage = Stage::down();
    stage.failed("first", Class::RATE_LIMITED, Some(Duration::from_secs(30)));
    let (result, attempts) = stage.again().run().await;
    assert!(matches!(result, Err(Error::Upstream(failure)) if failure.class == Class::Unreachable));
    assert_eq!(attempts, 1);

    stage.failed("second", Class::RATE_LIMITED, Some(Duration::from_secs(20)));
    let (result, attempts) = stage.again().run().await;
    let Err(Error::Upstream(failure)) = result else {
        panic!("nobody may be asked")
    };
    assert_eq!((failure.class, attempts), (Class::RATE_LIMITED, 0));
    let wait = failure.retry_after.unwrap();
    assert!(
        wait > Duration::from_secs(15) && wait <= Duration::from_secs(20),
        "{wait:?}"
    );
}

#[tokio::test]
async fn a_short_cool_down_is_waited_for_if_nobody_else_is_left() {
    let wait = Duration::from_millis(300);
    let mut stage = Stage::down();
    stage.hold_open("second");
    stage.failed("first", Class::RATE_LIMITED, Some(wait));
    let started = Instant::now();
    let (result, attempts) = stage.run().await;
    assert!(matches!(result, Err(Error::Upstream(failure)) if failure.class == Class::Unreachable));
    assert_eq!(attempts, 1);
    assert!(
        started.elapsed() + Duration::from_millis(50) >= wait,
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn no_wait_goes_beyond_the_deadline() {
    let mut stage = Stage::down();
    stage.snapshot.settings.attempts.deadline = Duration::from_secs(1);
    stage.failed("first", Class::RATE_LIMITED, Some(Duration::from_millis(1900)));
    stage.failed("second", Class::RATE_LIMITED, Some(Duration::from_millis(1800)));
    let started = Instant::now();
    let (result, attempts) = stage.run().await;
    assert!(matches!(result, Err(Error::Upstream(failure)) if failure.class == Class::RATE_LIMITED));
    assert_eq!(attempts, 0);
    assert!(
        started.elapsed() < Duration::from_secs(1),
        "{:?}",
        started.elapsed()
    );
}

#[tokio::test]
async fn a_refused_credential_is_not_used_again_and_never_told_as_the_clients() {
    let stage = Stage::down();
    stage.failed("first", Class::Said(FaultKind::Credentials), None);
    let (result, attempts) = stage.again().run().await;
    assert!(matches!(result, Err(Error::Upstream(failure)) if &*failure.provider == "second"));
    assert_eq!(attempts, 1);

    stage.failed("second", Class::Said(FaultKind::Quota), None);
    let (result, attempts) = stage.again().run().await;
    let error = result.err().unwrap();
    assert_eq!((error.status(), attempts), (502, 0));
    assert!(matches!(error, Error::Upstream(failure) if !failure.may_pass()));
    let refused = stage
        .upstreams
        .quarantined(|provider, class, _| format!("{provider} {}", class.text()));
    assert_eq!(refused.len(), 2, "{refused:?}");

    let mut mended = stage.again();
    for provider in &mut mended.snapshot.providers {
        let mut changed = fixture::provider(&provider.name, 1, &["big-1"], &[]);
        changed.endpoint.url = provider.endpoint.url.clone();
        changed.revision = provider.revision + 1;
        *provider = Arc::new(changed);
    }
    let (result, attempts) = mended.run().await;
    assert!(matches!(result, Err(Error::Upstream(failure)) if failure.class == Class::Unreachable));
    assert_eq!(attempts, 2);
}

#[tokio::test]
async fn with_every_breaker_open_one_request_a_second_is_let_through() {
    let stage = Stage::down();
    for provider in ["first", "second"] {
        for _ in 0..stage.snapshot.settings.breaker.failure_threshold {
            stage.failed(provider, Class::Reset, None);
        }
    }
    let (result, attempts) = stage.again().run().await;
    let Err(Error::Upstream(failure)) = result else {
        panic!("nobody was asked")
    };
    assert_eq!((failure.class, attempts), (Class::Unreachable, 1));
    let (result, attempts) = stage.again().run().await;
    assert!(matches!(result, Err(Error::AllOpen { .. })));
    assert_eq!(attempts, 0);

    let mut held = stage.again();
    held.hold_open(&failure.provider);
    let (result, attempts) = held.run().await;
    assert!(matches!(result, Err(Error::Upstream(other)) if other.provider != failure.provider));
    assert_eq!(attempts, 1, "what an admin holds open is no last resort");
}

#[tokio::test]
async fn a_strict_key_loses_nothing_silently() {
    let mut stage = Stage::down();
    stage.key.loss_policy = Some(LossPolicy::Strict);
    let (result, attempts) = stage.run().await;
    assert!(matches!(result, Err(Error::Lossy(paths)) if paths.contains("top_k")));
    assert_eq!(attempts, 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_processor_for_its_body_a_request_waits_once_and_not_for_each_candidate() {
    let padding = " ".repeat(1 << 20).into_bytes();
    let large: &'static [u8] = Vec::leak([REQUEST, &padding].concat());
    let _all: Vec<Room> = std::iter::from_fn(Room::for_long_now).collect();
    let started = tokio::time::Instant::now();
    let (result, attempts) = Stage::down().run_since(large, Instant::now()).await;
    assert!(matches!(result, Err(Error::Overloaded(_))));
    assert_eq!(attempts, 0);
    let waited = started.elapsed();
    assert!(waited < Duration::from_secs(15), "{waited:?}");
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
