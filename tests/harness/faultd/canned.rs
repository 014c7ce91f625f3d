//! The answers of models that no test has scripted, picked by the model's name.
//!
//! They let the program be used by hand and by clients in other languages, who cannot
//! reach into the process.

use std::time::Duration;

use super::Recorded;
use super::agent;
use super::answer::{Answer, Usage};
use super::script::{After, End, Script};
use super::window;

/// For `--help` of the program.
pub const NAMES: &str = "\
Models and what they answer:
  f-text          one sentence
  f-echo          what the last user message said
  f-long          2,000 words
  f-slow          one sentence, an event every 50 ms
  f-think         reasoning, then a sentence
  f-tools         two parallel calls of get_weather, their arguments interleaved;
                  a sentence once their results are there
  f-cached        a sentence; 64 of 100 prompt tokens came from a cache
  f-length        a sentence that ran out of tokens
  f-pause-S       one sentence, silent for S seconds after its first words
  f-as-NAME       one sentence
  f-small, f-middle, f-big
                  which of them it is
  f-status-N      status N with an error document
  f-N-times-S     status S with an error document N times, then a sentence, and so on
  f-quota         429: the account is empty
  f-window-S@N    has room for N tokens of prompt and answer, and refuses in the words
                  of S: openai, openrouter, vllm, vllm-0.10
  f-cut@N         closes the connection after N bytes of the body
  f-reset@N       resets it there
  f-early@N       ends the body there as if it were whole
  f-stall@N       goes silent there
  f-silent        accepts and never answers
  f-html          200 and a page of HTML
  f-garbage       200 and something that is not JSON
  f-empty         200 and nothing
  f-error-in-200  200 and an error document
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
n-text, n-think and n-tools are f-text, f-think and f-tools of a provider that speaks Anthropic's API.
Any other name is answered with 404.";

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
pub const NATIVE: &[&str] = &["n-text", "n-think", "n-tools"];

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

/// `nth`: how many requests for the model came before this one.
pub(super) fn script(model: &str, request: &Recorded, nth: usize) -> Script {
    let (name, place) = model.split_once('@').unwrap_or((model, "0"));
    let place: usize = place.parse().unwrap_or_default();
    let after = After::Bytes(place);
    match name {
        "f-text" | "n-text" => Script::text(SENTENCE),
        "f-echo" => Script::echo(),
        "f-small" | "f-middle" | "f-big" => Script::text(&format!("This is {name}.")),
        "f-long" => Script::text(&"word ".repeat(2000)),
        "f-slow" => Script::text(SENTENCE).paced(Duration::from_millis(50)),
        "f-think" | "n-think" => Script::answer(Answer::text(SENTENCE).reasoning("A pangram is wanted.")),
        "f-tools" | "n-tools" => Script::tools_then(SENTENCE),
        "f-cached" => Script::answer(Answer::text(SENTENCE).usage(Usage {
            prompt_tokens: 100,
            cached_tokens: 64,
            completion_tokens: 10,
        })),
        "f-length" => Script::answer(Answer::text(SENTENCE).finish_reason("length")),
        "f-quota" => Script::error(
            429,
            "insufficient_quota",
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        "f-cut" => Script::text(SENTENCE).cut(after, End::Fin),
        "f-reset" => Script::text(SENTENCE).cut(after, End::Reset),
        "f-early" => Script::text(SENTENCE).cut(after, End::Early),
        "f-stall" => Script::text(SENTENCE).cut(after, End::Stall),
        "f-silent" => Script::silence(),
        "f-html" => Script::body(200, "text/html", "<html><body>It works!</body></html>"),
        "f-garbage" => Script::body(200, "application/json", "}{ not json"),
        "f-empty" => Script::body(200, "application/json", ""),
        "f-error-in-200" => Script::body(
            200,
            "application/json",
            r#"{"error":{"message":"the engine is on fire","type":"server_error"}}"#,
        ),
        _ => agent(model, request)
            .or_else(|| windowed(name, place, request))
            .or_else(|| failing(name, nth))
            .or_else(|| pausing(name))
            .or_else(|| name.strip_prefix("f-as-").map(|_| Script::text(SENTENCE)))
            .unwrap_or_else(|| unknown(model)),
    }
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

/// `f-status-S`: always; `f-N-times-S`: N times, then a sentence, and so on.
fn failing(name: &str, nth: usize) -> Option<Script> {
    let rest = name.strip_prefix("f-")?;
    if let Some(status) = rest.strip_prefix("status-") {
        return Some(failure(status.parse().ok()?));
    }
    let (times, status) = rest.split_once("-times-")?;
    let times: usize = times.parse().ok()?;
    Some(match nth % (times + 1) < times {
        true => failure(status.parse().ok()?).header("retry-after", "1"),
        false => Script::text(SENTENCE),
    })
}

/// `f-pause-S`
fn pausing(name: &str) -> Option<Script> {
    let seconds = name.strip_prefix("f-pause-")?.parse().ok()?;
    let pause = Duration::from_secs(seconds);
    Some(Script::text(SENTENCE).pause_after(PAUSE_AFTER_EVENTS, pause))
}

fn failure(status: u16) -> Script {
    Script::error(status, "scripted_error", "scripted failure")
}

fn unknown(model: &str) -> Script {
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
