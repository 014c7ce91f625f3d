//! The answers of models that no test has scripted, picked by the model's name.
//!
//! They let the program be used by hand and by clients in other languages, who cannot
//! reach into the process.

use std::time::Duration;

use super::Recorded;
use super::agent;
use super::answer::{Answer, Usage};
use super::fault::{Fault, SPELLINGS};
use super::plan::{self, Share};
use super::script::{After, Script};
use super::window;

const MODELS: &str = "\
Models and what they answer:
  f-text          one sentence
  f-echo          what the last user message said
  f-long          2,000 words
  f-slow          one sentence, an event every 50 ms
  f-think         reasoning, then a sentence
  f-tools         two parallel calls of get_weather, their arguments interleaved;
                  a sentence once their results are there
  f-mixed         reasoning, a sentence and two calls of get_weather
  f-cached        a sentence; 64 of 100 prompt tokens came from a cache
  f-length        a sentence that ran out of tokens
  f-pause-S       one sentence, silent for S seconds after its first words
  f-as-NAME       one sentence
  f-small, f-middle, f-big
                  which of them it is
  f-N-times-S     status S with an error document N times, then a sentence, and so on
  f-window-S@N    has room for N tokens of prompt and answer, and refuses in the words
                  of S: openai, openrouter, vllm, vllm-0.10
  f-FAULT         one sentence, with a fault
  MODEL~FAULT     any other of these answers with a fault; several faults are written one
                  after the other
Models that work through Claude Code's tools, then tell what the tools said:
  f-cc-bash       Bash
  f-cc-task       Write, Read, Bash
  f-cc-two        two calls of Bash in one turn
  f-cc-interleaved  the same, their arguments interleaved
  f-cc-think      reasoning and Bash, twice
  f-cc-same-id    Bash twice, under one id
  f-cc-lost       Bash if streamed; otherwise a sentence
  f-cc-image      Read of dot.png
  f-cc-search     WebSearch
  f-cc-agent      Agent, of the kind Explore, with haiku
With @N after the name, the stream of the first of these steps is cut after N bytes.
n-text, n-think, n-tools and n-mixed are their like of a provider that speaks Anthropic's API.
Any other name is answered with 404.
";

/// For `--help` of the program.
pub fn help() -> String {
    let faults = SPELLINGS
        .iter()
        .map(|(spelling, meaning)| format!("  {spelling}\n                  {meaning}\n"));
    format!("{MODELS}Faults:\n{}", faults.collect::<String>())
}

/// One name of each kind, for a provider that offers them all.
pub const EXAMPLES: &[&str] = &[
    "f-small",
    "f-middle",
    "f-big",
    "f-text",
    "f-echo",
    "f-long",
    "f-slow",
    "f-think",
    "f-tools",
    "f-mixed",
    "f-cached",
    "f-length",
    "f-status-400",
    "f-status-401",
    "f-status-403",
    "f-status-404",
    "f-status-429",
    "f-status-500",
    "f-status-503",
    "f-cut@0",
    "f-cut@700",
    "f-reset@700",
    "f-early@700",
    "f-stall@700",
    "f-silent",
    "f-html",
    "f-garbage",
    "f-empty",
    "f-error-in-200",
    "f-3-times-429",
    "f-3-times-503",
    "f-quota",
    "f-window-openai@40000",
    "f-window-openrouter@40000",
    "f-window-vllm@40000",
    "f-window-vllm-0.10@40000",
    "f-window-openai@60000",
];

/// A role and the first words.
const PAUSE_AFTER_EVENTS: usize = 2;

const SENTENCE: &str = "The quick brown fox jumps over the lazy dog.";

/// Models of a provider that speaks Anthropic's API.
pub const NATIVE: &[&str] = &["n-text", "n-think", "n-tools", "n-mixed"];

/// A model for each dialect that clients in other languages look at.
pub const DIALECTS: &[(&str, &str)] = &[
    ("f-as-openai", "openai"),
    ("f-as-qwen", "qwen"),
    ("f-as-vllm", "vllm"),
];

/// For a provider that leaves it to clients to ask again for less.
pub const UNSHRUNK: &[&str] = &[
    "f-window-openai@40001",
    "f-window-openrouter@40001",
    "f-window-vllm@40001",
    "f-window-vllm-0.10@40001",
];

/// Longer than Claude Code waits for an event: what is silent so long is not given up only if we write.
pub const PAUSING: &str = "f-pause-330";

/// `nth`: how many requests for the model, with the same nonce if there is one, came before.
pub(super) fn script(model: &str, request: &Recorded, nth: usize) -> Script {
    let (base, faults) = model.split_once('~').unwrap_or((model, ""));
    let script = with_faults(faults, base_script(base, request, nth), request, nth);
    script.unwrap_or_else(|| unknown(model))
}

/// `None`: one of them is none. Each stands behind a `~`.
pub(super) fn with_faults(faults: &str, script: Script, request: &Recorded, nth: usize) -> Option<Script> {
    let mut faults = faults.split('~').filter(|fault| !fault.is_empty());
    faults.try_fold(script, |script, name| with_fault(name, script, request, nth))
}

fn with_fault(name: &str, script: Script, request: &Recorded, nth: usize) -> Option<Script> {
    let plans = [("plan@", Share::All), ("seldom@", Share::Seldom)];
    let seed_of = |(prefix, share)| Some((name.strip_prefix(prefix)?, share));
    let Some((seed, share)) = plans.into_iter().find_map(seed_of) else {
        return Some(Fault::parse(name)?.apply(script));
    };
    let nonce = plan::nonce(&request.body).unwrap_or_default();
    Some(match plan::draw(share, seed.parse().ok()?, &nonce, nth) {
        Some(fault) => fault.apply(script),
        None => script,
    })
}

fn base_script(model: &str, request: &Recorded, nth: usize) -> Script {
    let (name, place) = model.split_once('@').unwrap_or((model, "0"));
    match name {
        "f-text" | "n-text" => Script::text(SENTENCE),
        "f-echo" => Script::echo(),
        "f-small" | "f-middle" | "f-big" => Script::text(&format!("This is {name}.")),
        "f-long" => Script::text(&"word ".repeat(2000)),
        "f-slow" => Script::text(SENTENCE).paced(Duration::from_millis(50)),
        "f-think" | "n-think" => Script::answer(Answer::text(SENTENCE).reasoning("A pangram is wanted.")),
        "f-tools" | "n-tools" => Script::tools_then(SENTENCE),
        "f-mixed" | "n-mixed" => Script::answer(mixed()),
        "f-cached" => Script::answer(Answer::text(SENTENCE).usage(Usage {
            prompt_tokens: 100,
            cached_tokens: 64,
            completion_tokens: 10,
        })),
        "f-length" => Script::answer(Answer::text(SENTENCE).finish_reason("length")),
        _ => faulty(model, request, nth)
            .or_else(|| agent(model, request))
            .or_else(|| windowed(name, place.parse().ok()?, request))
            .or_else(|| failing(name, nth))
            .or_else(|| pausing(name))
            .or_else(|| name.strip_prefix("f-as-").map(|_| Script::text(SENTENCE)))
            .unwrap_or_else(|| unknown(model)),
    }
}

/// All kinds of content that there are.
fn mixed() -> Answer {
    Answer::text(SENTENCE)
        .reasoning("A pangram is wanted, and the weather.")
        .tool_call("call_1", "get_weather", r#"{"city":"Paris","unit":"C"}"#)
        .tool_call("call_2", "get_weather", r#"{"city":"Oslo","unit":"C"}"#)
}

/// `f-FAULT`
fn faulty(model: &str, request: &Recorded, nth: usize) -> Option<Script> {
    let fault = model.strip_prefix("f-").or_else(|| model.strip_prefix("n-"))?;
    with_fault(fault, Script::text(SENTENCE), request, nth)
}

/// `f-cc-NAME`, or `f-cc-NAME@N`.
fn agent(model: &str, request: &Recorded) -> Option<Script> {
    let agent = model.strip_prefix("f-cc-")?;
    let (name, cut_after) = match agent.split_once('@') {
        Some((name, place)) => (name, Some(After::Bytes(place.parse().ok()?))),
        None => (agent, None),
    };
    agent::script(name, cut_after, &request.json().ok()?)
}

/// `f-window-SERVER@N`
fn windowed(name: &str, window: usize, request: &Recorded) -> Option<Script> {
    let server = name.strip_prefix("f-window-")?;
    window::script(server, window, request, Script::text(SENTENCE))
}

/// `f-N-times-S`: N times, then a sentence, and so on.
fn failing(name: &str, nth: usize) -> Option<Script> {
    let (times, status) = name.strip_prefix("f-")?.split_once("-times-")?;
    let times: usize = times.parse().ok()?;
    let status = status.parse().ok()?;
    Some(match nth % (times + 1) < times {
        true => Script::error(status, "scripted_error", "scripted failure").header("retry-after", "1"),
        false => Script::text(SENTENCE),
    })
}

/// `f-pause-S`
fn pausing(name: &str) -> Option<Script> {
    let seconds = name.strip_prefix("f-pause-")?.parse().ok()?;
    let pause = Duration::from_secs(seconds);
    Some(Script::text(SENTENCE).pause_after(PAUSE_AFTER_EVENTS, pause))
}

pub(super) fn unknown(model: &str) -> Script {
    let message = format!("The model `{model}` does not exist");
    Script::error(404, "invalid_request_error", &message)
}

/// A request without a model: a look at the list, or a mistake.
pub(super) fn without_model(path: &str) -> Script {
    match path.ends_with("/models") {
        true => Script::body(
            200,
            "application/json",
            r#"{"object":"list","data":[{"id":"f-text","object":"model"}]}"#,
        ),
        false => Script::error(400, "invalid_request_error", "you must provide a model"),
    }
}
