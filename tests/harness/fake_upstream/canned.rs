//! The answers of models that no test has scripted, picked by the model's name.
//!
//! They let the program be used by hand and by clients in other languages, who cannot
//! reach into the process.

use super::answer::{Answer, Usage};
use super::script::{After, End, Script};

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
  f-status-N      status N with an error document
  f-cut@N         closes the connection after N bytes of the body
  f-reset@N       resets it there
  f-early@N       ends the body there as if it were whole
  f-stall@N       goes silent there
  f-silent        accepts and never answers
  f-html          200 and a page of HTML
  f-garbage       200 and something that is not JSON
  f-empty         200 and nothing
  f-error-in-200  200 and an error document
Any other name is answered with 404.";

/// One name of each kind, for a provider that offers them all.
pub const EXAMPLES: [&str; 25] = [
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
];

const SENTENCE: &str = "The quick brown fox jumps over the lazy dog.";

pub(super) fn script(model: &str) -> Script {
    let (name, place) = model.split_once('@').unwrap_or((model, "0"));
    let after = After::Bytes(place.parse().unwrap_or_default());
    match name {
        "f-text" => Script::text(SENTENCE),
        "f-echo" => Script::echo(),
        "f-long" => Script::text(&"word ".repeat(2000)),
        "f-slow" => Script::text(SENTENCE).paced(std::time::Duration::from_millis(50)),
        "f-think" => Script::answer(Answer::text(SENTENCE).reasoning("A pangram is wanted.")),
        "f-tools" => Script::tools_then(SENTENCE),
        "f-cached" => Script::answer(Answer::text(SENTENCE).usage(Usage {
            prompt_tokens: 100,
            cached_tokens: 64,
            completion_tokens: 10,
        })),
        "f-length" => Script::answer(Answer::text(SENTENCE).finish_reason("length")),
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
        _ => match name.strip_prefix("f-status-").map(str::parse) {
            Some(Ok(status)) => Script::error(status, "scripted_error", "scripted failure"),
            Some(Err(_)) | None => Script::error(
                404,
                "invalid_request_error",
                &format!("The model `{model}` does not exist"),
            ),
        },
    }
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
