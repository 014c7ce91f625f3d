//! Three providers with a plan each, and requests that meet it.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::{ApiFormat, Provider, Settings, TierModels};
use bridge_tests::admin::{self, Admin};
use bridge_tests::anthropic::{Answer, Client};
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::fault::Fault;
use bridge_tests::faultd::plan::{self, Share};
use bridge_tests::faultd::{Fate, Faultd};
use bridge_tests::{plain_http, wait};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::table::{Call, Told};

/// A provider's limit of silence, in seconds.
const TIMEOUT_S: u32 = 2;
/// With memory: failures in a row that open a breaker, and its pause. Short, so that a run sees many.
const FAILURE_THRESHOLD: u32 = 3;
const RECOVERY_S: u32 = 1;
/// How often an admin looks whether a credential is refused.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// The limit of a whole request, in seconds.
pub(super) const DEADLINE_S: u32 = 12;
/// One retry, and each of both calls on a fresh connection.
const TIMES_AGAIN_MAX: usize = 3;
const COUNTS_OF_HUNDRED: u32 = 5;
const STREAMS_OF_HUNDRED: u32 = 60;
const SENTENCE: &str = "The quick brown fox jumps over the lazy dog.";
/// More than that a pool does not keep for a host.
const IDLE_MAX: usize = 64;

/// Whether failures are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Memory {
    Off,
    On,
}

struct Upstream {
    name: &'static str,
    seed: u64,
    is_native: bool,
    /// What it says to big, middle and small, if anything.
    bases: [Option<&'static str>; 3],
}

/// In the order in which they are asked.
const UPSTREAMS: [Upstream; 3] = [
    Upstream {
        name: "native",
        seed: 101,
        is_native: true,
        bases: [None, None, Some("n-text")],
    },
    Upstream {
        name: "first",
        seed: 102,
        is_native: false,
        bases: [Some("f-text"), Some("f-think"), Some("f-tools")],
    },
    Upstream {
        name: "second",
        seed: 103,
        is_native: false,
        bases: [Some("f-tools"), Some("f-think"), Some("f-text")],
    },
];
const NAMES: [&str; 3] = ["opus", "sonnet", "haiku"];

pub(super) struct Bench {
    bridge: Bridge,
    admin: Admin,
    pub(super) client: Client,
    upstreams: Vec<Faultd>,
    memory: Memory,
    seed: u64,
    metrics_url: String,
}

/// One request of a run, made of the run's seed and its number.
pub(super) struct Request {
    pub(super) number: u64,
    /// Which of `NAMES`.
    tier: usize,
    pub(super) form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Stream,
    Whole,
    Count,
}

// === impl Bench ===

impl Bench {
    pub(super) async fn start(seed: u64, memory: Memory) -> Result<Self> {
        let mut bridge = Bridge::start(1).await?;
        let admin = bridge.admin().await?;
        let mut settings = admin.get_settings().await?;
        settings.request_deadline = DEADLINE_S;
        admin.update_settings(settings, "request_deadline").await?;
        let settings = admin.set_breaker_enabled(memory == Memory::On).await?;
        admin
            .update_settings(memory.remembering(settings), "circuit_breaker")
            .await?;
        let mut upstreams = Vec::new();
        for (priority, upstream) in (0..).zip(&UPSTREAMS) {
            let faultd = Faultd::start().await?;
            let api_format = match upstream.is_native {
                true => ApiFormat::Anthropic,
                false => ApiFormat::Openai,
            };
            let models = |tier: usize| -> Vec<String> {
                let base = upstream.bases[tier].into_iter();
                base.map(|base| format!("{base}~{}@{}", memory.fault(), seed + upstream.seed))
                    .collect()
            };
            let provider = Provider {
                priority,
                api_format: api_format.into(),
                timeout: TIMEOUT_S,
                max_retries: Some(u32::from(memory == Memory::On)),
                models: Some(TierModels {
                    big: models(0),
                    middle: models(1),
                    small: models(2),
                }),
                ..admin::provider(upstream.name, &faultd.base_url(), "")
            };
            Box::pin(admin.create_provider(provider)).await?;
            upstreams.push(faultd);
        }
        let key = bridge.accepted_key(&admin).await?;
        let client = bridge.client(0, &key)?;
        // It waits for the tables of the tokenizer, which take a processor for a while.
        let body = json!({"model": "opus", "messages": [{"role": "user", "content": "Hi"}]});
        client.post("/v1/messages/count_tokens", body.to_string()).await?;
        Ok(Self {
            client,
            metrics_url: bridge.node(0)?.metrics_url(),
            bridge,
            admin,
            upstreams,
            memory,
            seed,
        })
    }

    /// For ever: gives a provider whose credential is refused another record, as an admin would who has
    /// paid or pasted the right key.
    pub(super) async fn attend(&self, acts: &AtomicUsize) -> Result<Infallible> {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            for upstream in &UPSTREAMS {
                let refused = format!("bridge_quarantined{{provider=\"{}\"}}", upstream.name);
                if self.sum(&refused).await? == 0.0 {
                    continue;
                }
                let record = self.admin.get_provider(upstream.name).await?;
                let timeout = TIMEOUT_S + u32::from(record.timeout == TIMEOUT_S);
                self.admin
                    .update_provider(Provider { timeout, ..record }, "timeout")
                    .await?;
                acts.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The calls that a request can lead to if nothing is tried twice.
    pub(super) fn calls(&self, request: &Request) -> Vec<Call> {
        let asked = UPSTREAMS
            .iter()
            .filter(|upstream| upstream.bases[request.tier].is_some());
        let calls = asked.map(|upstream| Call {
            provider: upstream.name,
            is_native: upstream.is_native,
            streamed: request.form == Form::Stream,
            fault: self.draw(upstream, request, 0),
            faults_again: (1..=TIMES_AGAIN_MAX)
                .map(|nth| self.draw(upstream, request, nth))
                .collect(),
        });
        calls.collect()
    }

    fn draw(&self, upstream: &Upstream, request: &Request, nth: usize) -> Option<Fault> {
        let seed = self.seed + upstream.seed;
        plan::draw(self.memory.share(), seed, &request.nonce(), nth)
    }

    /// Sends a request and reads what the client is told.
    pub(super) async fn send(&self, request: &Request) -> Result<Told> {
        let body = request.body();
        match request.form {
            Form::Count => {
                let answer = self
                    .client
                    .post("/v1/messages/count_tokens", body.to_string())
                    .await?;
                let is_counted = answer.body["input_tokens"].is_u64();
                match answer.status {
                    200 => ensure!(is_counted, "{answer:?}"),
                    _ => return refusal(&answer),
                }
                // Who counted is told by no header that a client may rely on.
                let provider = String::new();
                Ok(Told::Whole { provider })
            }
            Form::Whole => {
                let answer = self.client.messages(&body).await?;
                if answer.status != 200 {
                    return refusal(&answer);
                }
                let provider = answer.header("x-bridge-provider").unwrap_or_default().to_owned();
                request.check(&provider, &answer.body)?;
                Ok(Told::Whole { provider })
            }
            Form::Stream => self.stream(request, &body).await,
        }
    }

    async fn stream(&self, request: &Request, body: &Value) -> Result<Told> {
        let stream = self.client.stream(body).await?;
        if stream.status != 200 {
            return refusal(&stream.refusal().await?);
        }
        let provider = stream.headers.get("x-bridge-provider").cloned();
        let provider = provider.context("a stream names its provider")?;
        let provider = provider.to_str()?.to_owned();
        let transcript = stream.to_end().await?;
        if transcript.error.is_some() {
            let kind = transcript.error_type().to_owned();
            return Ok(Told::Broken { kind });
        }
        request.check(&provider, &transcript.message)?;
        Ok(Told::Whole { provider })
    }

    /// Requests that the upstreams have had, counts of tokens aside; and how many of them came to the
    /// same upstream before.
    pub(super) fn arrived(&self) -> (usize, usize) {
        let (mut arrived, mut again) = (0, 0);
        for upstream in &self.upstreams {
            let mut nonces = HashSet::new();
            for request in upstream.requests() {
                if request.path.ends_with("count_tokens") {
                    continue;
                }
                arrived += 1;
                again += usize::from(!nonces.insert(plan::nonce(&request.body)));
            }
        }
        (arrived, again)
    }

    /// Waits until no exchange with an upstream is left, and answers how many connections are.
    pub(super) async fn settled_connections(&self) -> Result<usize> {
        wait::until("every exchange with an upstream to end", || async {
            let made = self.upstreams.iter().flat_map(Faultd::requests);
            let mut running = made.filter(|request| request.fate == Fate::Running);
            running.next().is_none().then_some(())
        })
        .await?;
        let open = self.upstreams.iter().map(Faultd::connections_open);
        let most = open.max().unwrap_or_default();
        ensure!(most <= IDLE_MAX, "{most} connections to one upstream");
        Ok(most)
    }

    /// The sum of a metric over all labels that are not named.
    pub(super) async fn sum(&self, name: &str) -> Result<f64> {
        let metrics = plain_http::get(&self.metrics_url).await?.text().await?;
        let samples = metrics.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let values = samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum())
    }

    /// Panics in the node's log.
    pub(super) fn panics(&mut self) -> Result<usize> {
        let log = self.bridge.node(0)?.process()?.log_text();
        Ok(log.matches("panicked at").count())
    }
}

// === impl Memory ===

impl Memory {
    fn share(self) -> Share {
        match self {
            Self::Off => Share::All,
            // With faults in two of three requests nobody would be asked any more.
            Self::On => Share::Seldom,
        }
    }

    /// The same for the upstreams.
    fn fault(self) -> &'static str {
        match self.share() {
            Share::All => "plan",
            Share::Seldom => "seldom",
        }
    }

    fn remembering(self, mut settings: Settings) -> Settings {
        if self == Self::On {
            let breaker = settings.circuit_breaker.get_or_insert_default();
            breaker.failure_threshold = FAILURE_THRESHOLD;
            breaker.recovery_timeout = RECOVERY_S;
        }
        settings
    }
}

fn refusal(answer: &Answer) -> Result<Told> {
    let should_retry = answer.header("x-should-retry");
    ensure!(should_retry.is_none_or(|told| told == "false"), "{answer:?}");
    ensure!(
        answer.body["request_id"].as_str() == answer.header("request-id"),
        "{answer:?}"
    );
    ensure!(!answer.error_message().is_empty(), "{answer:?}");
    if answer.status == 529 && answer.header("x-bridge-error-source") == Some("bridge") {
        return Ok(Told::Shed);
    }
    let wait_s = answer.header("retry-after").map(str::parse).transpose()?;
    Ok(Told::Refused {
        status: answer.status,
        kind: answer.error_type().to_owned(),
        is_final: should_retry.is_some(),
        wait_s,
    })
}

// === impl Request ===

impl Request {
    pub(super) fn of(seed: u64, number: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ number.rotate_left(32));
        let dice = rng.random_range(0..100);
        let form = match dice {
            0..COUNTS_OF_HUNDRED => Form::Count,
            _ if dice < COUNTS_OF_HUNDRED + STREAMS_OF_HUNDRED => Form::Stream,
            _ => Form::Whole,
        };
        Self {
            number,
            tier: rng.random_range(0..NAMES.len()),
            form,
        }
    }

    fn nonce(&self) -> String {
        format!("r{}", self.number)
    }

    fn body(&self) -> Value {
        let prompt = format!("{}{} Hi", plan::NONCE_MARK, self.nonce());
        let mut body = json!({
            "model": NAMES[self.tier],
            "messages": [{"role": "user", "content": prompt}],
            "tools": [{
                "name": "get_weather",
                "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}},
            }],
        });
        if self.form == Form::Count {
            return body;
        }
        body["max_tokens"] = json!(4096);
        body["stream"] = json!(self.form == Form::Stream);
        if NAMES[self.tier] == "sonnet" {
            body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
        }
        body
    }

    /// Holds that a message is all that this provider says.
    fn check(&self, provider: &str, message: &Value) -> Result<()> {
        let upstream = UPSTREAMS.iter().find(|upstream| upstream.name == provider);
        let base = upstream.and_then(|upstream| upstream.bases[self.tier]);
        let base = base.with_context(|| format!("{provider:?} cannot have answered"))?;
        let blocks = message["content"].as_array().cloned().unwrap_or_default();
        let kinds: Vec<&str> = blocks.iter().filter_map(|block| block["type"].as_str()).collect();
        let expected: &[&str] = match base {
            "f-tools" => &["tool_use", "tool_use"],
            "f-think" => &["thinking", "text"],
            _ => &["text"],
        };
        ensure!(kinds == expected, "{base}: {message}");
        let text: String = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        // Bytes that are no character may have been put into it.
        let text = text.replace('\u{fffd}', "");
        ensure!(base == "f-tools" || text == SENTENCE, "{base}: {message}");
        let reason = if base == "f-tools" { "tool_use" } else { "end_turn" };
        ensure!(message["stop_reason"] == reason, "{base}: {message}");
        Ok(())
    }
}
