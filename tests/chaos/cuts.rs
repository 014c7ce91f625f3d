//! An answer that is cut at every byte: streamed and whole, in OpenAI's API and in Anthropic's, by a
//! FIN, a reset, an end that looks regular, and silence.
//!
//! Before the first content the next provider answers, and the client sees nothing of it. After it
//! the client sees one error and no end. Whether a cut inside the very event that brings the content
//! comes before it or after it is the data plane's affair; either is then right.

mod recording;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bridge_proto::admin::v1::{ApiFormat, Provider, TierModels};
use bridge_tests::admin;
use bridge_tests::anthropic::Client;
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Faultd, Script, plan};
use bridge_tests::sse::Transcript;
use bridge_tests::stage::Stage;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::report::{Plan, Report, Run};
use recording::{Recording, Zone, answer};

pub(crate) const RUN: Run = Run {
    name: "cuts",
    rows: "E34",
    about: "an answer is cut at every byte: the next provider gives it, or one error ends it",
    start: |plan| Box::pin(run(plan)),
};

const ENDS: [End; 4] = [End::Fin, End::Reset, End::Early, End::Stall];
const NEXT_MODEL: &str = "next";
const NEXT_ANSWER: &str = "from the next";
/// The providers' limit of silence, in seconds: where nobody stalls, no busy machine reaches it.
const PATIENT_S: u32 = 60;
const HASTY_S: u32 = 2;
/// Requests at the same time; a stall costs no more than its wait.
const AT_ONCE: usize = 16;
/// Whoever is shed comes again, so often and after so long: cuts are not about load.
const SHED_TRIES: u32 = 100;
const SHED_PAUSE: Duration = Duration::from_millis(200);
const STALLS_AT_ONCE: usize = 96;

/// Who is asked: the model, and the tier that leads to it and then to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Api {
    OpenAi,
    Anthropic,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    api: Api,
    streamed: bool,
    end: End,
    bytes: usize,
}

/// What a client saw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    FromNext,
    Broken,
    Whole,
}

async fn run(plan: Plan) -> Result<Report> {
    let stride = plan.pick(61, 1);
    let patient = Bench::start(PATIENT_S).await?;
    let hasty = Bench::start(HASTY_S).await?;
    let mut report = Report::new(plan);
    for api in [Api::OpenAi, Api::Anthropic] {
        for streamed in [true, false] {
            let recording = patient.record(api, streamed).await?;
            report.figure(
                format!("{api:?}, streamed: {streamed}"),
                format!("{} bytes, {} events", recording.bytes(), recording.events()),
            );
            for end in ENDS {
                let first = (plan.seed as usize) % stride;
                // A stall at each byte says no more than a stall at every fourth, and waits for seconds.
                let (bench, stride) = match end {
                    End::Stall => (&hasty, 4 * stride),
                    _ => (&patient, stride),
                };
                // A whole answer on a connection that then hangs is no cut.
                let last = recording.bytes() - usize::from(end == End::Stall);
                let cuts = (first..=last).step_by(stride).map(|bytes| Cut {
                    api,
                    streamed,
                    end,
                    bytes,
                });
                let tally = bench.try_all(cuts.collect(), &recording).await?;
                tally.report(&mut report, api, streamed, end);
            }
        }
    }
    Ok(report)
}

/// Two providers of one upstream whose answers are cut, and a third that answers.
struct Bench {
    client: Client,
    /// Sends the same answer, and cuts nothing.
    recorder: Faultd,
    // They stay as long as requests do.
    _next: Faultd,
    _stage: Stage,
}

#[derive(Default)]
struct Tally {
    seen: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

// === impl Bench ===

impl Bench {
    async fn start(timeout_s: u32) -> Result<Self> {
        let stage = Box::pin(Stage::without_memory_of(|provider| Provider {
            timeout: timeout_s,
            models: tiers(&["cut"], &[], &[]),
            ..provider
        }))
        .await?;
        let native = Provider {
            api_format: ApiFormat::Anthropic.into(),
            timeout: timeout_s,
            max_retries: Some(0),
            models: tiers(&[], &["cut"], &[]),
            ..admin::provider("native", &stage.upstream.base_url(), "cut")
        };
        Box::pin(stage.admin.create_provider(native)).await?;
        let next = Faultd::start().await?;
        next.always(NEXT_MODEL, Script::text(NEXT_ANSWER));
        let provider = Provider {
            priority: 2,
            models: tiers(&[NEXT_MODEL], &[NEXT_MODEL], &[]),
            ..admin::provider("next", &next.base_url(), NEXT_MODEL)
        };
        Box::pin(stage.admin.create_provider(provider)).await?;
        stage.settle().await?;
        let recorder = Faultd::start().await?;
        stage.upstream.by_request("cut", |request| {
            let script = Script::answer(answer());
            match plan::nonce(&request.body).and_then(|nonce| parse(&nonce)) {
                Some((end, bytes)) => script.cut(After::Bytes(bytes), end),
                None => script,
            }
        });
        Ok(Self {
            client: stage.client()?,
            recorder,
            _next: next,
            _stage: stage,
        })
    }

    /// The bytes of the answer as the upstream sends them, and the answer as a client has it.
    async fn record(&self, api: Api, streamed: bool) -> Result<Recording> {
        self.recorder.always("cut", Script::answer(answer()));
        let (path, mut body) = match api {
            Api::OpenAi => ("chat/completions", json!({"model": "cut"})),
            Api::Anthropic => ("messages", json!({"model": "cut"})),
        };
        body["stream"] = json!(streamed);
        body["stream_options"] = json!({"include_usage": true});
        let url = format!("{}/{path}", self.recorder.base_url());
        let request = reqwest::Client::new().post(url).body(body.to_string());
        let sent = request.send().await?.bytes().await?;
        let whole = self.message(&ask(api, streamed, "Hi")).await?;
        let whole = whole.context("the answer does not come through whole")?;
        Recording::new(sent, streamed, whole)
    }

    async fn try_all(&self, cuts: Vec<Cut>, recording: &Recording) -> Result<Tally> {
        let at_once = match cuts.first() {
            Some(cut) if cut.end == End::Stall => STALLS_AT_ONCE,
            _ => AT_ONCE,
        };
        let tried = stream::iter(cuts).map(|cut| async move {
            let seen = self.try_one(cut, recording).await;
            anyhow::Ok((cut, seen))
        });
        let tried: Vec<_> = tried.buffer_unordered(at_once).try_collect().await?;
        let mut tally = Tally::default();
        for (cut, seen) in tried {
            tally.add(cut, recording.zone(cut.bytes, cut.end), seen);
        }
        Ok(tally)
    }

    async fn try_one(&self, cut: Cut, recording: &Recording) -> Result<Seen> {
        let Cut {
            api,
            streamed,
            end,
            bytes,
        } = cut;
        let body = ask(api, streamed, &spell(end, bytes));
        let Some(message) = self.message(&body).await? else {
            return Ok(Seen::Broken);
        };
        if message["content"][0]["text"] == NEXT_ANSWER {
            return Ok(Seen::FromNext);
        }
        ensure!(recording.is_whole(&message), "passed for whole: {message}");
        Ok(Seen::Whole)
    }

    /// The message that a client has at the end; `None` if an error ended it.
    async fn message(&self, body: &Value) -> Result<Option<Value>> {
        for _ in 0..SHED_TRIES {
            let stream = self.client.stream_or_not(body).await?;
            if stream.status == 200 && body["stream"] == json!(true) {
                return whole(&stream.to_end().await?);
            }
            let answer = stream.refusal().await?;
            if answer.status == 200 {
                return Ok(Some(answer.body));
            }
            let is_shed = answer.status == 529 && answer.header("x-bridge-error-source") == Some("bridge");
            ensure!(is_shed, "status {}: {}", answer.status, answer.body);
            tokio::time::sleep(SHED_PAUSE).await;
        }
        bail!("shed {SHED_TRIES} times")
    }
}

/// The message of a stream that is whole; `None` if it ends in an error as it should.
fn whole(transcript: &Transcript) -> Result<Option<Value>> {
    let Some(error) = &transcript.error else {
        return Ok(Some(transcript.message.clone()));
    };
    let kinds = transcript.kinds();
    let count = |wanted: &str| kinds.iter().filter(|kind| **kind == wanted).count();
    ensure!(count("error") == 1, "{kinds:?}");
    ensure!(count("message_start") == 1, "{kinds:?}");
    ensure!(count("message_stop") == 0, "{kinds:?}");
    let kind = error["error"]["type"].as_str().unwrap_or_default();
    ensure!(["api_error", "timeout_error"].contains(&kind), "{error}");
    Ok(None)
}

// === impl Tally ===

impl Tally {
    fn add(&mut self, cut: Cut, zone: Zone, seen: Result<Seen>) {
        let told = match &seen {
            Ok(seen) => zone.allows(*seen),
            Err(_) => false,
        };
        match &seen {
            Ok(Seen::FromNext) => *self.seen.entry("from the next").or_default() += 1,
            Ok(Seen::Broken) => *self.seen.entry("one error").or_default() += 1,
            Ok(Seen::Whole) => *self.seen.entry("whole").or_default() += 1,
            Err(_) => {}
        }
        if !told {
            let seen = seen.map_err(|error| error.to_string());
            self.wrong.push(format!("{cut:?} in {zone:?}: {seen:?}"));
        }
    }

    fn report(self, report: &mut Report, api: Api, streamed: bool, end: End) {
        let Self { seen, wrong } = self;
        let first_wrong = wrong.first().map(String::as_str).unwrap_or_default();
        let form = if streamed { "stream" } else { "document" };
        report.must(
            "E34",
            "the next one answers, or one error ends it",
            format!(
                "{api:?} {form}, {end:?}: {seen:?}, {} wrong {first_wrong}",
                wrong.len()
            ),
            wrong.is_empty(),
        );
    }
}

fn ask(api: Api, streamed: bool, prompt: &str) -> Value {
    let model = match api {
        Api::OpenAi => "opus",
        Api::Anthropic => "sonnet",
    };
    json!({
        "model": model,
        "max_tokens": 4096,
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "stream": streamed,
        "tools": recording::tools(),
        "messages": [{"role": "user", "content": prompt}],
    })
}

/// A cut as the nonce of a prompt.
fn spell(end: End, bytes: usize) -> String {
    let mark = plan::NONCE_MARK;
    let end = ENDS.iter().position(|known| *known == end).unwrap_or_default();
    format!("{mark}{end}x{bytes} Hi")
}

fn parse(nonce: &str) -> Option<(End, usize)> {
    let (end, bytes) = nonce.split_once('x')?;
    let end: usize = end.parse().ok()?;
    Some((*ENDS.get(end)?, bytes.parse().ok()?))
}

fn tiers(big: &[&str], middle: &[&str], small: &[&str]) -> Option<TierModels> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Some(TierModels {
        big: names(big),
        middle: names(middle),
        small: names(small),
    })
}

impl Zone {
    fn allows(self, seen: Seen) -> bool {
        match self {
            Self::BeforeContent => seen == Seen::FromNext,
            Self::FirstContent => seen != Seen::Whole,
            Self::Content => seen == Seen::Broken,
            Self::Ending => seen != Seen::FromNext,
            Self::BehindDocument => seen != Seen::Broken,
            Self::Whole => seen == Seen::Whole,
        }
    }
}
