//! Pass-through: what goes in comes out, but for what has to change.

use std::path::PathBuf;

use bridge_translate::anthropic::{ErrorBody, ErrorType, Request};
use bridge_translate::native::{self, History, Reply, Status, Stream};
use bridge_translate::{Dialect, Target};
use serde_json::Value;

use crate::case::{files, target};

const ASKED: &str = "claude-asked";
const UPSTREAM_MODEL: &str = "claude-up";
const STOP: &str = "{\"type\":\"message_stop\"}";

fn plain() -> Dialect {
    Dialect::preset("anthropic").unwrap()
}

fn named<'d>(model: &'d str, dialect: &'d Dialect) -> Target<'d> {
    Target {
        model,
        ..target(dialect)
    }
}

/// What is known of a request for `ASKED` that went up for this model.
fn reply(model: &str) -> Reply {
    let body =
        format!(r#"{{"model":"{ASKED}","max_tokens":9,"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    let request = Request::parse(body.as_bytes()).unwrap();
    let dialect = plain();
    let outbound = native::edit(
        body.as_bytes(),
        &request,
        &named(model, &dialect),
        History::Signed,
    );
    outbound.unwrap().reply
}

fn streams() -> Vec<(PathBuf, String)> {
    let read = |file: PathBuf| {
        let text = std::fs::read_to_string(&file).unwrap();
        (file, text)
    };
    files("native", "sse").into_iter().map(read).collect()
}

/// What a client gets of these pieces, and what became of the stream; the caller tells a failure.
fn passed<'p>(model: &str, pieces: impl IntoIterator<Item = &'p [u8]>) -> (String, Status) {
    let mut stream = Stream::new(reply(model));
    let mut out = Vec::new();
    for piece in pieces {
        stream.push(piece, &mut out);
    }
    let status = stream.end(&mut out);
    if matches!(status, Status::Failed(_)) {
        let error = ErrorBody::new(ErrorType::Api, "told", "req_1");
        stream.fail(&error, &mut out);
    }
    (String::from_utf8(out).unwrap(), status)
}

/// The part of the upstream's bytes that a client is to see, and whether the answer is whole.
fn expected(upstream: &str) -> (String, bool) {
    let mut error = Vec::new();
    ErrorBody::new(ErrorType::Api, "told", "req_1").to_event(&mut error);
    let error = String::from_utf8(error).unwrap();
    if let Some(stop) = upstream.find(STOP) {
        let line = if upstream.contains("\r\n") {
            "\r\n\r\n"
        } else {
            "\n\n"
        };
        return (upstream[..stop + STOP.len() + line.len()].to_owned(), true);
    }
    let events: Vec<_> = upstream.split_inclusive("\n\n").collect();
    let seen = events
        .iter()
        .take_while(|event| event.ends_with("\n\n") && !event.starts_with("event: error"));
    let seen: String = seen.copied().collect();
    let is_committed = seen.contains("content_block_start");
    (
        if is_committed {
            seen + &error
        } else {
            String::new()
        },
        false,
    )
}

#[test]
fn p02_streams_pass_as_they_are_however_they_are_cut() {
    for (file, upstream) in streams() {
        let (client, is_whole) = expected(&upstream);
        let check = |have: (String, Status), how: String| {
            assert_eq!(have.0, client, "{}: {how}", file.display());
            assert_eq!(have.1 == Status::Ended, is_whole, "{}: {how}", file.display());
        };
        let bytes = upstream.as_bytes();
        check(passed(ASKED, [bytes]), "whole".to_owned());
        check(passed(ASKED, bytes.chunks(1)), "byte by byte".to_owned());
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            check(passed(ASKED, [head, tail]), format!("cut at {cut}"));
        }
        let (renamed, _) = passed(UPSTREAM_MODEL, bytes.chunks(5));
        assert_eq!(
            renamed,
            client.replace(UPSTREAM_MODEL, ASKED),
            "{}",
            file.display()
        );
    }
}

#[test]
fn p04_a_stream_that_is_cut_off_is_never_taken_for_whole() {
    for (file, upstream) in streams() {
        let Some(stop) = upstream.find(STOP) else { continue };
        for end in 0..stop + STOP.len() {
            let (client, status) = passed(ASKED, [&upstream.as_bytes()[..end]]);
            assert!(matches!(status, Status::Failed(_)), "{}: {end}", file.display());
            let is_told = client.is_empty() || client.ends_with("\"req_1\"}\n\n");
            assert!(is_told, "{}: {end}: {client}", file.display());
        }
    }
}

/// The bodies of all cases of the translated way.
fn bodies() -> Vec<(PathBuf, String)> {
    let read = |file: PathBuf| {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let body = match &case["request"] {
            Value::String(text) => text.clone(),
            tree => tree.to_string(),
        };
        (file, body)
    };
    files("request", "json").into_iter().map(read).collect()
}

fn edited(body: &str, model: &str, dialect: &Dialect) -> Option<String> {
    let request = Request::parse(body.as_bytes()).ok()?;
    let target = Target {
        max_output_tokens: None,
        ..named(model, dialect)
    };
    let outbound = native::edit(body.as_bytes(), &request, &target, History::Signed).ok()?;
    let body = outbound
        .body
        .map_or_else(|| body.to_owned(), |body| String::from_utf8(body).unwrap());
    Some(body)
}

#[test]
fn p01_what_fits_is_not_touched_again_and_a_name_is_all_that_a_name_changes() {
    let knobs = serde_json::from_str(
        r#"{"mid_system":"user","strip_cache_ttl":true,"thinking_adaptive":"enabled",
            "strip_billing_header":true,"strip_fields":["context_management","output_config.format"]}"#,
    )
    .unwrap();
    let strict = plain().with_overrides(knobs).unwrap();
    for (file, body) in bodies() {
        for dialect in [&plain(), &strict] {
            let Some(fitting) = edited(&body, "up-one", dialect) else {
                continue;
            };
            if let Some(again) = edited(&fitting, "up-one", dialect) {
                assert_eq!(again, fitting, "{}", file.display());
            }
            let renamed = edited(&body, "up-other", dialect).unwrap();
            assert_eq!(
                renamed,
                fitting.replacen("\"up-one\"", "\"up-other\"", 1),
                "{}",
                file.display()
            );
        }
    }
}
