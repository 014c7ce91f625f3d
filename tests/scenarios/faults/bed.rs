//! A provider that fails, another behind it, and what has to be seen of a failure.

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::{ApiFormat, Provider, TierModels};
use bridge_tests::admin;
use bridge_tests::anthropic::{Answer, Client, ask};
use bridge_tests::faultd::fault::Fault;
use bridge_tests::faultd::{Faultd, Gate, Script};
use bridge_tests::sse::Transcript;
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;
use serde_json::{Value, json};

/// Leads to the failing provider, and then to the next.
const BOTH: &str = "opus";
/// Leads to the failing provider and nobody else.
const ALONE: &str = "sonnet";
/// Leads to a failing provider of Anthropic's API, and then to the next.
const NATIVE: &str = "haiku";

/// The native provider's only model.
const NATIVE_MODEL: &str = "n";
const NEXT_MODEL: &str = "next";
const NEXT_ANSWER: &str = "from the next";
/// What the failing provider is called.
const FAILING: &str = "scripted";

/// Long enough for any answer on a busy machine.
const TIMEOUT_S: u32 = 10;
const RETRIES: u32 = 1;

pub(super) struct Bed {
    stage: Stage,
    pub(super) client: Client,
    next: Faultd,
}

/// What the table says of a failure before the first content.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// What the client sees if nobody else can answer.
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) should_retry: Option<&'static str>,
    pub(super) retry_after: Option<&'static str>,
    /// What log and metrics call it.
    pub(super) outcome: &'static str,
    /// How often the same provider is asked.
    pub(super) calls: usize,
    /// Whether the next one is.
    pub(super) falls_over: bool,
}

/// What most rows have in common: the next provider is asked at once.
pub(super) const ROW: Row = Row {
    status: 502,
    kind: "api_error",
    should_retry: None,
    retry_after: None,
    outcome: "",
    calls: 1,
    falls_over: true,
};

/// How often the same provider is asked about what may pass.
pub(super) const WITH_RETRIES: usize = 1 + RETRIES as usize;

// === impl Bed ===

impl Bed {
    pub(super) async fn start() -> Result<Self> {
        Self::of(|provider| provider).await
    }

    /// With a failing provider that is given up after so many seconds.
    pub(super) async fn patient_for(seconds: u32) -> Result<Self> {
        Self::of(|provider| Provider {
            timeout: seconds,
            ..provider
        })
        .await
    }

    /// With a failing provider that is changed before it is there.
    pub(super) async fn of(change: impl FnOnce(Provider) -> Provider) -> Result<Self> {
        // Records of providers are large, and so is what waits for them.
        Box::pin(Self::furnish(change)).await
    }

    async fn furnish(change: impl FnOnce(Provider) -> Provider) -> Result<Self> {
        let stage = Stage::without_memory_of(|provider| {
            change(Provider {
                timeout: TIMEOUT_S,
                max_retries: Some(RETRIES),
                models: tiers(&[MODEL], &[MODEL], &[]),
                ..provider
            })
        })
        .await?;
        stage
            .admin
            .create_provider(Provider {
                api_format: ApiFormat::Anthropic.into(),
                timeout: stage.provider.timeout,
                max_retries: Some(RETRIES),
                models: tiers(&[], &[], &[NATIVE_MODEL]),
                ..admin::provider("native", &stage.upstream.base_url(), NATIVE_MODEL)
            })
            .await?;
        let next = Faultd::start().await?;
        next.always(NEXT_MODEL, Script::text(NEXT_ANSWER));
        stage
            .admin
            .create_provider(Provider {
                priority: 2,
                models: tiers(&[NEXT_MODEL], &[], &[NEXT_MODEL]),
                ..admin::provider("next", &next.base_url(), NEXT_MODEL)
            })
            .await?;
        stage.settle().await?;
        let client = stage.client()?;
        Ok(Self { stage, client, next })
    }

    /// What the failing provider does, in either API.
    pub(super) fn script(&self, script: Script) {
        self.stage.upstream.always(MODEL, script.clone());
        self.stage.upstream.always(NATIVE_MODEL, script);
    }

    /// Holds a row for a script, streamed and whole.
    pub(super) async fn hold(&mut self, what: &str, script: Script, row: Row) -> Result<()> {
        self.script(script);
        for stream in [false, true] {
            let what = format!("{what}, stream: {stream}");
            self.hold_alone(&what, stream, row).await.context(what.clone())?;
            self.hold_before_next(&what, stream, row).await.context(what)?;
        }
        Ok(())
    }

    /// What a client is told if the failing provider is the only one.
    pub(super) async fn hold_alone(&mut self, what: &str, stream: bool, row: Row) -> Result<()> {
        let (calls, attempts) = (self.calls(), self.attempts(row.outcome).await?);
        let answer = self.client.messages(&asked(ALONE, stream)).await?;
        check(&answer, row).context("alone")?;
        ensure!(
            !answer.error_message().contains("http"),
            "an address in {what}: {answer:?}"
        );
        ensure!(
            self.calls() - calls == row.calls,
            "{} calls of a provider that is alone",
            self.calls() - calls
        );
        let moved = self.attempts(row.outcome).await? - attempts;
        ensure!(moved == row.calls, "the metric {} moved by {moved}", row.outcome);
        self.hold_told(&answer, row.outcome).await
    }

    /// Who answers if another provider can.
    async fn hold_before_next(&mut self, what: &str, stream: bool, row: Row) -> Result<()> {
        for model in [BOTH, NATIVE] {
            let (calls, calls_next) = (self.calls(), self.next.requests().len());
            if !row.falls_over {
                let answer = self.client.messages(&asked(model, stream)).await?;
                // A native provider's own status stays.
                let is_row = answer.status == row.status || (model == NATIVE && answer.status < 500);
                ensure!(is_row && answer.error_type() == row.kind, "{model}: {answer:?}");
                ensure!(
                    self.next.requests().len() == calls_next,
                    "{model} fell over: {what}"
                );
                continue;
            }
            let text = match stream {
                true => self.client.stream_to_end(&ask(model, "Hi")).await?.text(),
                false => self.client.messages(&ask(model, "Hi")).await?.text(),
            };
            ensure!(text == NEXT_ANSWER, "{model} was answered with {text:?}");
            ensure!(
                self.calls() - calls == row.calls,
                "{model}: {} calls",
                self.calls() - calls
            );
            ensure!(self.next.requests().len() == calls_next + 1, "{model}");
        }
        Ok(())
    }

    /// Holds a row of a provider that no request reaches: alone, and before the next.
    pub(super) async fn hold_unreached(&mut self, row: Row) -> Result<()> {
        let attempts = self.attempts(row.outcome).await?;
        let answer = self.client.messages(&asked(ALONE, false)).await?;
        check(&answer, row).context("alone")?;
        ensure!(
            self.attempts(row.outcome).await? == attempts + row.calls,
            "no metric moved"
        );
        self.hold_told(&answer, row.outcome).await?;
        let text = self.client.stream_to_end(&ask(BOTH, "Hi")).await?.text();
        ensure!(text == NEXT_ANSWER, "answered with {text:?}");
        Ok(())
    }

    /// Holds that a stream breaks after its content as R6 wants it, and that nobody takes over: the
    /// script is held back after `pieces` writes until the client has some of its text.
    pub(super) async fn hold_broken(
        &mut self,
        what: &str,
        script: Script,
        pieces: usize,
        (status, kind): (u16, &str),
    ) -> Result<Transcript> {
        let served = self.requests(status).await?;
        let gate = Gate::closed();
        self.script(script.hold_after(pieces, &gate));
        let mut stream = self.client.stream(&ask(BOTH, "Hi")).await?;
        ensure!(stream.status == 200, "{what}: status {}", stream.status);
        let id = stream
            .headers
            .get("request-id")
            .cloned()
            .context("no request id")?;
        stream.next_of("content_block_delta").await?;
        gate.open();
        let transcript = stream.to_end().await?;
        let kinds = transcript.kinds();
        ensure!(transcript.error_type() == kind, "{what}: {kinds:?}");
        ensure!(kinds.last() == Some(&"error"), "{what}: {kinds:?}");
        ensure!(transcript.is_block_open, "{what}: {kinds:?}");
        ensure!(
            kinds.iter().filter(|kind| **kind == "message_start").count() == 1,
            "{what}: {kinds:?}"
        );
        ensure!(!kinds.contains(&"message_delta"), "{what}: {kinds:?}");
        ensure!(self.next.requests().is_empty(), "{what} fell over");
        let error = transcript.error.clone().unwrap_or_default();
        ensure!(error["request_id"] == id.to_str()?, "{what}: {error}");
        ensure!(
            self.requests(status).await? == served + 1,
            "{what}: no metric moved"
        );
        self.wait_for_log(id.to_str()?, "stream broke").await?;
        Ok(transcript)
    }

    /// The answer's request has a line in the log that says what happened, and one that says how it ended.
    async fn hold_told(&mut self, answer: &Answer, outcome: &str) -> Result<()> {
        let id = answer.header("request-id").context("no request id")?.to_owned();
        self.wait_for_log(&id, &format!("outcome=\"{outcome}\"")).await?;
        self.wait_for_log(&id, "request served").await
    }

    async fn wait_for_log(&mut self, id: &str, words: &str) -> Result<()> {
        let node = self.stage.bridge.node(0)?.process()?;
        wait::until(&format!("a line with {id} and {words}"), || async {
            let log = node.log_text();
            let mut lines = log.lines();
            lines
                .any(|line| line.contains(id) && line.contains(words))
                .then_some(())
        })
        .await
    }

    /// Calls of the failing provider, in either API.
    pub(super) fn calls(&self) -> usize {
        self.stage.upstream.requests().len()
    }

    pub(super) fn node_pid(&mut self) -> Result<u32> {
        Ok(self.stage.bridge.node(0)?.process()?.pid())
    }

    pub(super) fn upstream(&self) -> &Faultd {
        &self.stage.upstream
    }

    /// Attempts at the failing provider that came to this.
    async fn attempts(&mut self, outcome: &str) -> Result<usize> {
        let name = "bridge_upstream_attempts_total";
        self.metric(name, &[("provider", FAILING), ("outcome", outcome)])
            .await
    }

    /// Requests that it was the last to be asked for, by what the client saw.
    async fn requests(&mut self, status: u16) -> Result<usize> {
        let status = status.to_string();
        let name = "bridge_requests_total";
        self.metric(name, &[("provider", FAILING), ("status", &status)])
            .await
    }

    pub(super) async fn metric(&mut self, name: &str, labels: &[(&str, &str)]) -> Result<usize> {
        let metrics = self.stage.bridge.node(0)?.metrics().await?;
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        let is_wanted =
            |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        let Some(line) = metrics.lines().find(is_wanted) else {
            return Ok(0);
        };
        let value = line.rsplit(' ').next().context("a metric without a value")?;
        Ok(value.parse::<f64>()? as usize)
    }
}

/// A good answer with this fault.
pub(super) fn with(fault: &str) -> Result<Script> {
    let fault = Fault::parse(fault).with_context(|| format!("{fault} is no fault"))?;
    Ok(fault.apply(Script::text("The quick brown fox jumps over the lazy dog.")))
}

fn tiers(big: &[&str], middle: &[&str], small: &[&str]) -> Option<TierModels> {
    let [big, middle, small] =
        [big, middle, small].map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    Some(TierModels { big, middle, small })
}

/// An error is a document with a status as long as no content is there, whatever was asked for.
fn asked(model: &str, stream: bool) -> Value {
    let mut body = ask(model, "Hi");
    body["stream"] = json!(stream);
    body
}

fn check(answer: &Answer, row: Row) -> Result<()> {
    let seen = (answer.status, answer.error_type());
    ensure!(seen == (row.status, row.kind), "{answer:?}");
    ensure!(answer.body["type"] == "error", "{answer:?}");
    let id = answer.header("request-id");
    ensure!(
        id.is_some() && answer.body["request_id"].as_str() == id,
        "{answer:?}"
    );
    ensure!(!answer.error_message().is_empty(), "{answer:?}");
    ensure!(answer.header("x-should-retry") == row.should_retry, "{answer:?}");
    ensure!(answer.header("retry-after") == row.retry_after, "{answer:?}");
    Ok(())
}
