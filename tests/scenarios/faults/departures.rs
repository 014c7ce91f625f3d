//! Row 28: clients that leave, wherever their request is. What is open at the upstream ends with
//! it, the log has a 499, and nothing stays in flight.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bridge_proto::admin::v1::{ApiFormat, Provider};
use bridge_proto::fleet::v1::Dialect;
use bridge_tests::admin;
use bridge_tests::anthropic::ask;
use bridge_tests::bridge::Node;
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Fate, Faultd, Script};
use bridge_tests::load::Protocol;
use bridge_tests::sse::{Event, Judge};
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;

/// From a client's departure to the end of the upstream's connection.
const CLOSE_MAX: Duration = Duration::from_millis(100);
/// A busy machine may be late; it is not late every time.
const TRIES: usize = 5;
/// How long an answer takes from the upstream's socket into the node. Who leaves earlier leaves
/// one place before.
const ON_THE_WAY: Duration = Duration::from_millis(20);

const TEXT: &str = "Once upon a time there was a bridge.";
const MESSAGES: &str = "/v1/messages";
const COUNT_TOKENS: &str = "/v1/messages/count_tokens";

/// A provider whose clients get their head at once, and its model.
const EAGER: &str = "eager";
/// One that has its tokenizer on the wire.
const TOKENIZER: &str = "tokenizer";
/// One that is asked again and again, since it is always broken.
const RETRIED: &str = "retried";
/// A model of the latter that has a limit.
const LIMITED: &str = "limited";
/// One of Anthropic's API.
const NATIVE: &str = "native";

/// Where a request is when its client leaves.
struct Place {
    name: &'static str,
    path: &'static str,
    /// What the client asks for; the upstream's model is called the same, if it is not the stage's.
    model: &'static str,
    is_stream: bool,
    /// What the upstream does with the call, if that is not always the same.
    script: Option<Script>,
    leaves: Leaves,
}

/// When that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// With half of its body sent.
    Sending,
    /// While the upstream has the call.
    Asked,
    /// After the first call, before the next one.
    BetweenCalls,
    /// Once the answer has said this.
    Told(&'static str),
}

impl Place {
    fn of(name: &'static str, leaves: Leaves, script: impl Into<Option<Script>>) -> Self {
        Self {
            name,
            path: MESSAGES,
            model: "sonnet",
            is_stream: true,
            script: script.into(),
            leaves,
        }
    }

    fn whole(self) -> Self {
        Self {
            is_stream: false,
            ..self
        }
    }

    fn count(name: &'static str, model: &'static str) -> Self {
        Self {
            path: COUNT_TOKENS,
            model,
            ..Self::of(name, Leaves::Asked, None)
        }
        .whole()
    }

    fn upstream_model(&self) -> &'static str {
        match self.model {
            "sonnet" => MODEL,
            own => own,
        }
    }

    fn body(&self) -> Result<String> {
        let mut body = ask(self.model, "Hi");
        if self.is_stream {
            body["stream"] = true.into();
        }
        if self.path == COUNT_TOKENS {
            body.as_object_mut().context("no object")?.remove("max_tokens");
        }
        Ok(body.to_string())
    }
}

fn places() -> Vec<Place> {
    let stalled = |after| Script::text(TEXT).cut(after, End::Stall);
    let chunk = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Once\"}}]}\n\n";
    let gathered = Script::stream([chunk]).ending(End::Stall);
    let limited = Script::error(429, "rate_limit_error", "not so fast").header("retry-after", "2");
    vec![
        Place::of("the body is half sent", Leaves::Sending, None),
        Place::of("before the head", Leaves::Asked, Script::silence()),
        Place::of("head held back", Leaves::Asked, stalled(After::Events(0))),
        Place {
            model: EAGER,
            ..Place::of("between pings", Leaves::Told("event: ping"), Script::silence())
        },
        Place::of(
            "mid-stream",
            Leaves::Told("event: content_block_delta"),
            stalled(After::Events(3)),
        ),
        Place::of("whole, before the head", Leaves::Asked, Script::silence()).whole(),
        Place::of("whole, being read", Leaves::Asked, stalled(After::Bytes(20))).whole(),
        Place::of("whole, being gathered", Leaves::Asked, gathered).whole(),
        Place::count("counted by a provider", NATIVE),
        Place::count("counted by a tokenizer", TOKENIZER),
        Place {
            model: RETRIED,
            ..Place::of("pause before a retry", Leaves::BetweenCalls, None)
        },
        Place {
            model: LIMITED,
            ..Place::of("waiting for a cool-down", Leaves::BetweenCalls, limited)
        },
    ]
}

/// A client that can leave in the middle of anything.
struct Leaver {
    http: legacy::Client<HttpConnector, UnsyncBoxBody<Bytes, Infallible>>,
    base_url: String,
    key: String,
}

impl Leaver {
    fn new(stage: &mut Stage, protocol: Protocol) -> Result<Self> {
        let http = legacy::Client::builder(TokioExecutor::new())
            .http2_only(protocol == Protocol::Http2)
            .build_http();
        Ok(Self {
            http,
            base_url: stage.bridge.node(0)?.base_url(),
            key: stage.key.clone(),
        })
    }

    async fn send(&self, place: &Place) -> Result<Response<Incoming>> {
        let body = Bytes::from(place.body()?);
        let length = body.len();
        let piece = |bytes| stream::iter([Ok(Frame::data(bytes))]);
        let outgoing = match place.leaves {
            Leaves::Sending => {
                StreamBody::new(piece(body.slice(..length / 2)).chain(stream::pending())).boxed_unsync()
            }
            Leaves::Asked | Leaves::BetweenCalls | Leaves::Told(_) => {
                StreamBody::new(piece(body)).boxed_unsync()
            }
        };
        let request = Request::post(format!("{}{}", self.base_url, place.path))
            .header("x-api-key", &self.key)
            .header("anthropic-version", "2023-06-01")
            .header("content-type", "application/json")
            .header("content-length", length)
            .body(outgoing)?;
        Ok(self.http.request(request).await?)
    }

    /// Sends a request and leaves at its place; answers when that was.
    async fn leave(&self, place: &Place, node: &Node, upstream: &Faultd, nth: usize) -> Result<Instant> {
        let model = place.upstream_model();
        let is_due = async {
            match place.leaves {
                Leaves::Sending => in_flight(node, 1.0).await?,
                Leaves::Asked | Leaves::Told(_) => drop(upstream.wait_for_request(model, nth).await?),
                Leaves::BetweenCalls => {
                    wait::until("the first call to be over", || async {
                        let calls = upstream.requests_for(model);
                        (calls.get(nth)?.fate == Fate::Played).then_some(())
                    })
                    .await?;
                }
            }
            tokio::time::sleep(ON_THE_WAY).await;
            anyhow::Ok(())
        };
        let request = async {
            let mut body = self.send(place).await?.into_body();
            if let Leaves::Told(words) = place.leaves {
                read_until(&mut body, words).await?;
            }
            Ok(body)
        };
        if let Leaves::Told(_) = place.leaves {
            let body: Result<Incoming> = request.await;
            let body = body?;
            is_due.await?;
            drop(body);
        } else {
            tokio::select! {
                answer = request => bail!("answered: {answer:?}"),
                is_due = is_due => is_due?,
            }
        }
        Ok(Instant::now())
    }
}

async fn read_until(body: &mut Incoming, words: &str) -> Result<()> {
    let (mut seen, mut rest, mut judge) = (String::new(), Vec::new(), Judge::default());
    while !seen.contains(words) {
        let frame = body.frame().await;
        let frame = frame.with_context(|| format!("it ends after {seen}"))??;
        if let Some(bytes) = frame.data_ref() {
            seen.push_str(str::from_utf8(bytes)?);
            rest.extend_from_slice(bytes);
            for event in Event::take_whole(&mut rest)? {
                judge.push(&event)?;
            }
        }
    }
    Ok(())
}

async fn in_flight(node: &Node, count: f64) -> Result<()> {
    wait::until(&format!("{count} requests in flight"), || async {
        let requests = node.metric("bridge_requests_in_flight").await.ok()?;
        (requests == count).then_some(())
    })
    .await
}

/// How many clients have left, by the log.
fn departures(stage: &mut Stage) -> Result<usize> {
    let log = stage.bridge.node(0)?.process()?.log_text();
    let is_one = |line: &&str| line.contains("request served") && line.contains("status=499");
    Ok(log.lines().filter(is_one).count())
}

/// Holds the row at one place; answers how long the upstream's connection outlived the client.
async fn hold(stage: &mut Stage, leaver: &Leaver, place: &Place) -> Result<Duration> {
    let model = place.upstream_model();
    let (before, nth) = (departures(stage)?, stage.upstream.requests_for(model).len());
    if let Some(script) = &place.script {
        stage.upstream.once(model, script.clone());
    }
    let left_at = {
        let node = stage.bridge.node(0)?;
        leaver.leave(place, node, &stage.upstream, nth).await?
    };
    let closed_at = match place.leaves {
        Leaves::Asked | Leaves::Told(_) => stage.upstream.wait_for_client_gone(model, nth).await?,
        Leaves::Sending | Leaves::BetweenCalls => left_at,
    };
    in_flight(stage.bridge.node(0)?, 0.0).await?;
    wait::until("no call at the upstream", || async {
        let calls = stage.upstream.requests_for(model);
        let running = calls.iter().filter(|call| call.fate == Fate::Running);
        (running.count() == 0).then_some(())
    })
    .await?;
    let more = departures(stage)? - before;
    ensure!(more == 1, "{more} lines with a 499");
    Ok(closed_at.saturating_duration_since(left_at))
}

async fn hold_everywhere(protocol: Protocol) -> Result<()> {
    let mut stage = Box::pin(furnished()).await?;
    let leaver = Leaver::new(&mut stage, protocol)?;
    for place in &places() {
        let mut took = Vec::new();
        while took.len() < TRIES && took.iter().all(|took| *took > CLOSE_MAX) {
            let what = || format!("{protocol:?}, {}", place.name);
            took.push(hold(&mut stage, &leaver, place).await.with_context(what)?);
        }
        let is_soon = took.last().is_some_and(|took| *took <= CLOSE_MAX);
        ensure!(is_soon, "{protocol:?}, {}: {took:?}", place.name);
    }
    Ok(())
}

async fn furnished() -> Result<Stage> {
    let stage = Stage::start().await?;
    let eager = Dialect {
        hold_head_ms: Some(50),
        ..Dialect::default()
    };
    let tokenizer = Dialect {
        tokenizer: Some("upstream".to_owned()),
        ..Dialect::default()
    };
    for (name, format, dialect) in [
        (EAGER, ApiFormat::Openai, Some(eager)),
        (TOKENIZER, ApiFormat::Openai, Some(tokenizer)),
        (RETRIED, ApiFormat::Openai, None),
        (NATIVE, ApiFormat::Anthropic, None),
    ] {
        let provider = Provider {
            priority: 2,
            // Should one pause be over before the client has left.
            max_retries: Some(3),
            api_format: format.into(),
            dialect_overrides: dialect,
            ..admin::provider(name, &stage.upstream.base_url(), name)
        };
        stage.admin.create_provider(provider).await?;
        stage.admin.create_rule(name, admin::upstream(name, name)).await?;
    }
    let limited = admin::upstream(RETRIED, LIMITED);
    stage.admin.create_rule(LIMITED, limited).await?;
    let broken = Script::error(500, "server_error", "the engine is on fire");
    stage.upstream.always(RETRIED, broken);
    for path in ["/tokenize", COUNT_TOKENS] {
        stage.upstream.at_path(path, Script::silence());
    }
    stage.settle().await?;
    Ok(stage)
}

#[tokio::test]
async fn r28_whoever_leaves_an_http1_connection_takes_the_upstream_along() -> Result<()> {
    hold_everywhere(Protocol::Http1).await
}

#[tokio::test]
async fn r28_whoever_resets_an_http2_stream_takes_the_upstream_along() -> Result<()> {
    hold_everywhere(Protocol::Http2).await
}
