//! `fixtures/stream`: an upstream's stream, and the client's.
//!
//! A file is itself an event stream: comment lines at the top say what it is about, then
//! `: upstream`, the upstream's events, `: client`, the client's, and how it ended.

use std::path::PathBuf;

use bridge_translate::anthropic::{ErrorBody, ErrorType};
use bridge_translate::stream::{Collector, Status, Translator};
use bridge_translate::{Dialect, FaultKind, KeepAlive, Reply, StopReason};
use serde_json::Value;

use crate::case;
use crate::grammar::Grammar;

const UPSTREAM: &str = "\n: upstream\n";
const CLIENT: &str = "\n: client\n";

pub(crate) struct Case {
    pub(crate) file: PathBuf,
    head: String,
    pub(crate) upstream: String,
    expect: String,
    pub(crate) reply: Reply,
    pub(crate) dialect: Dialect,
}

/// Every stream case.
pub(crate) fn cases() -> Vec<Case> {
    case::files("stream", "sse").into_iter().map(read).collect()
}

fn read(file: PathBuf) -> Case {
    let text = std::fs::read_to_string(&file).unwrap();
    let (head, rest) = text
        .split_once(UPSTREAM)
        .unwrap_or_else(|| panic!("{}: no upstream", file.display()));
    let (upstream, expect) = rest.split_once(CLIENT).unwrap_or((rest, ""));
    let setting = |name: &str| -> Option<Value> {
        let line = head
            .lines()
            .find_map(|line| line.strip_prefix(&format!(": {name} ")))?;
        Some(serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
    };
    let dialect = case::dialect(setting("dialect").as_ref());
    let reply = case::reply(&dialect, setting("request").as_ref());
    Case {
        head: head.to_owned(),
        upstream: format!("{upstream}\n"),
        expect: expect.to_owned(),
        reply,
        dialect,
        file,
    }
}

/// Feeds pieces, ends as the data plane would, and says how it ended.
pub(crate) fn run<'p>(reply: &Reply, pieces: impl IntoIterator<Item = &'p [u8]>) -> (Vec<u8>, Status) {
    let mut translator = Translator::new(reply.clone(), case::ids());
    let mut out = Vec::new();
    let mut was_committed = false;
    for piece in pieces {
        let status = translator.push(piece, &mut out);
        assert!(
            !was_committed || status != Status::Held,
            "a stream cannot be held again"
        );
        was_committed |= translator.is_committed();
        assert_eq!(out.is_empty(), !translator.has_head());
    }
    let status = translator.end(&mut out);
    if let Status::Failed(fault) = &status {
        translator.fail(&ErrorBody::new(ErrorType::Api, &fault.message, "req_1"), &mut out);
    }
    (out, status)
}

/// What the client did not get.
fn losses(case: &Case) -> Option<String> {
    let mut translator = Translator::new(case.reply.clone(), case::ids());
    translator.push(case.upstream.as_bytes(), &mut Vec::new());
    translator.end(&mut Vec::new());
    translator.losses().header()
}

fn describe(status: &Status) -> String {
    match status {
        Status::Ended { stop_reason } => format!("ended {}", stop_reason.as_str()),
        Status::Failed(fault) => format!("failed {:?}", fault.kind),
        other => panic!("a stream cannot end as {other:?}"),
    }
}

#[test]
fn streams_become_what_their_files_say() {
    for case in cases() {
        let (out, status) = run(&case.reply, [case.upstream.as_bytes()]);
        let losses = losses(&case).map(|losses| format!(", lost {losses}"));
        let grammar = Grammar::check(&out);
        assert_eq!(
            grammar.is_whole(),
            matches!(status, Status::Ended { .. }),
            "{}",
            case.file.display()
        );
        let have = format!(
            "{}: {}{}\n",
            String::from_utf8(out).unwrap(),
            describe(&status),
            losses.unwrap_or_default()
        );
        let whole = format!(
            "{}{UPSTREAM}{}{CLIENT}{have}",
            case.head,
            case.upstream.trim_end_matches('\n').to_owned() + "\n"
        );
        case::settle(&case.file, &have, &case.expect, &whole);
    }
}

#[test]
fn collected_streams_say_the_same() {
    for case in cases() {
        let (out, status) = run(&case.reply, [case.upstream.as_bytes()]);
        let mut collector = Collector::new(case.reply.clone(), case::ids());
        collector.push(case.upstream.as_bytes());
        match (collector.end(), status) {
            (Ok(answer), Status::Ended { stop_reason }) => {
                assert_eq!(answer.stop_reason, stop_reason);
                assert_eq!(answer.losses.header(), losses(&case));
                Grammar::check(&out).assert_same_as(std::str::from_utf8(&answer.body).unwrap(), &case.file);
            }
            (Err(fault), Status::Failed(same)) => assert_eq!(fault, same),
            (answer, status) => panic!("{}: {answer:?} but {status:?}", case.file.display()),
        }
    }
}

fn push(translator: &mut Translator, text: &str, out: &mut Vec<u8>) -> Status {
    translator.push(text.as_bytes(), out)
}

const ROLE: &str = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n";
const STOP: &str = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

#[test]
fn f05_nothing_is_written_before_the_first_output() {
    let mut translator = Translator::new(case::reply(&case::dialect(None), None), case::ids());
    let mut out = Vec::new();
    assert_eq!(push(&mut translator, ROLE, &mut out), Status::Held);
    let refused = "data: {\"error\":{\"message\":\"slow down\",\"code\":429}}\n\n";
    let Status::Failed(fault) = push(&mut translator, refused, &mut out) else {
        panic!("no failure")
    };
    assert_eq!(
        (fault.kind, fault.message.as_str()),
        (FaultKind::RateLimited, "slow down")
    );
    translator.fail(
        &ErrorBody::new(ErrorType::RateLimit, "slow down", "req_1"),
        &mut out,
    );
    assert!(out.is_empty());
}

#[test]
fn e16_after_output_a_failure_is_one_error_event_and_nothing_is_closed() {
    let mut translator = Translator::new(case::reply(&case::dialect(None), None), case::ids());
    let mut out = Vec::new();
    assert_eq!(push(&mut translator, HELLO, &mut out), Status::Streaming);
    let error = ErrorBody::new(ErrorType::Timeout, "no byte for 60 s", "req_1");
    translator.fail(&error, &mut out);
    translator.fail(&error, &mut out);
    push(&mut translator, HELLO, &mut out);
    translator.end(&mut out);
    let text = String::from_utf8(out.clone()).unwrap();
    assert!(
        !text.contains("content_block_stop") && !text.contains("message_delta"),
        "{text}"
    );
    assert_eq!(text.matches("event: error").count(), 1);
    assert_eq!(Grammar::check(&out).terminal.as_deref(), Some("error"));
}

#[test]
fn p21_e3_keep_alives_fit_into_the_stream() {
    let mut translator = Translator::new(case::reply(&case::dialect(None), None), case::ids());
    let mut out = Vec::new();
    translator.keep_alive(KeepAlive::EmptyDelta, &mut out);
    assert!(out.is_empty(), "nothing before the head");
    translator.force_head(&mut out);
    translator.keep_alive(KeepAlive::Ping, &mut out);
    assert!(!translator.is_committed());
    assert_eq!(push(&mut translator, ROLE, &mut out), Status::Held);
    translator.keep_alive(KeepAlive::EmptyDelta, &mut out);
    assert!(translator.is_committed());
    push(&mut translator, HELLO, &mut out);
    translator.keep_alive(KeepAlive::EmptyDelta, &mut out);
    push(&mut translator, STOP, &mut out);
    assert!(translator.is_finishing());
    let ended = Status::Ended {
        stop_reason: StopReason::EndTurn,
    };
    assert_eq!(push(&mut translator, DONE, &mut out), ended);
    let length = out.len();
    translator.keep_alive(KeepAlive::Ping, &mut out);
    assert_eq!(push(&mut translator, HELLO, &mut out), ended);
    assert_eq!(out.len(), length, "nothing after the end");
    let grammar = Grammar::check(&out);
    assert_eq!(grammar.text(), "Hello");
}

/// The pieces that a client sees of one silent moment.
fn silence_behind(request: Option<&Value>, so_far: &str) -> String {
    let mut translator = Translator::new(case::reply(&case::dialect(None), request), case::ids());
    let mut out = Vec::new();
    push(&mut translator, so_far, &mut out);
    translator.force_head(&mut out);
    let before = out.len();
    translator.keep_alive(KeepAlive::EmptyDelta, &mut out);
    let silence = String::from_utf8(out[before..].to_vec()).unwrap();
    Grammar::check(&out);
    push(&mut translator, &[HELLO, STOP, DONE].concat(), &mut out);
    assert!(Grammar::check(&out).is_whole());
    silence
}

#[test]
fn e3_an_empty_delta_fits_whatever_is_open() {
    let thinking = serde_json::json!({"thinking": {"type": "adaptive"}});
    let reasoning = "data: {\"choices\":[{\"delta\":{\"reasoning\":\"Hm\"}}]}\n\n";
    let call = "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"a\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\n\n";
    let check = |request, so_far, blocks: usize, delta: &str| {
        let silence = silence_behind(request, so_far);
        assert_eq!(
            silence.matches("content_block_start\n").count(),
            blocks,
            "{silence}"
        );
        assert!(silence.contains(delta), "{silence}");
    };
    check(None, "", 1, "{\"type\":\"text_delta\",\"text\":\"\"}");
    check(None, HELLO, 0, "{\"type\":\"text_delta\",\"text\":\"\"}");
    check(
        None,
        call,
        0,
        "{\"type\":\"input_json_delta\",\"partial_json\":\"\"}",
    );
    // Hidden reasoning opens nothing: the client sees text when it comes.
    check(None, reasoning, 1, "{\"type\":\"text_delta\",\"text\":\"\"}");
    check(
        Some(&thinking),
        "",
        1,
        "{\"type\":\"thinking_delta\",\"thinking\":\"\"}",
    );
    check(
        Some(&thinking),
        reasoning,
        0,
        "{\"type\":\"thinking_delta\",\"thinking\":\"\"}",
    );
}

#[test]
fn s12_large_deltas_and_too_large_events() {
    let reply = case::reply(&case::dialect(None), None);
    let big = "x".repeat(1_000_000);
    let text = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{big}\"}}}}]}}\n\n{STOP}{DONE}");
    let (out, _) = run(&reply, text.as_bytes().chunks(1400));
    assert_eq!(Grammar::check(&out).text(), big);
    let endless = vec![b'x'; 17 * 1024 * 1024];
    let (out, status) = run(&reply, [b"data: {\"" as &[u8], &endless]);
    assert!(matches!(status, Status::Failed(_)) && out.is_empty());
}

#[test]
fn s12_three_thousand_deltas_stay_three_thousand() {
    let reply = case::reply(&case::dialect(None), None);
    let text = HELLO.repeat(3000) + STOP + DONE;
    let (out, _) = run(&reply, text.as_bytes().chunks(777));
    assert_eq!(Grammar::check(&out).text(), "Hello".repeat(3000));
    assert_eq!(
        String::from_utf8(out).unwrap().matches("text_delta").count(),
        3000
    );
}

#[test]
fn s12_calls_and_arguments_have_a_limit() {
    let calls: Vec<String> = (0..5_000).map(|n| format!("{{\"index\":{n}}}")).collect();
    let text = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{}]}}}}]}}\n\n",
        calls.join(",")
    );
    let (_, status) = run(&case::reply(&case::dialect(None), None), [text.as_bytes()]);
    assert!(matches!(status, Status::Failed(_)), "{status:?}");

    let name = "f".repeat(1 << 20);
    let text: String = (0..20)
        .map(|n| format!("data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{{\"index\":{n},\"function\":{{\"name\":\"{name}\",\"arguments\":\"{{}}\"}}}}]}}}}]}}\n\n"))
        .collect();
    let (_, status) = run(&case::reply(&case::dialect(None), None), [text.as_bytes()]);
    assert!(matches!(status, Status::Failed(_)), "{status:?}");

    let piece = |arguments: &str| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{{\"index\":0,\"function\":{{\"name\":\"f\",\"arguments\":\"{arguments}\"}}}}]}}}}]}}\n\n"
        )
    };
    let buffered = serde_json::json!({"buffer_tool_args": true});
    let mut text = piece("{\\\"a\\\":\\\"");
    text.push_str(&piece(&"x".repeat(1 << 20)).repeat(17));
    let (_, status) = run(
        &case::reply(&case::dialect(Some(&buffered)), None),
        [text.as_bytes()],
    );
    assert!(matches!(status, Status::Failed(_)), "{status:?}");
}

#[test]
fn s04_sixty_four_calls_at_once_come_out_whole() {
    let calls = 64;
    let piece = |n: usize, rest: &str| {
        format!("data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{{\"index\":{n},{rest}}}]}}}}]}}\n\n")
    };
    let begin = |n| {
        piece(
            n,
            &format!("\"id\":\"call_{n}\",\"function\":{{\"name\":\"f{n}\",\"arguments\":\"{{\"}}"),
        )
    };
    let middle = |n| piece(n, &format!("\"function\":{{\"arguments\":\"\\\"n\\\":{n}\"}}"));
    let end = |n| piece(n, "\"function\":{\"arguments\":\"}\"}");
    // All begin before any goes on, and they end the other way round.
    let text: String = (0..calls)
        .map(begin)
        .chain((0..calls).map(middle))
        .chain((0..calls).rev().map(end))
        .chain([STOP.to_owned(), DONE.to_owned()])
        .collect();
    let reply = case::reply(&case::dialect(None), None);
    let (out, status) = run(&reply, [text.as_bytes()]);
    assert_eq!(describe(&status), "ended tool_use");
    let inputs = Grammar::check(&out).inputs();
    let expect: Vec<_> = (0..calls)
        .map(|n| (format!("f{n}"), serde_json::json!({"n": n})))
        .collect();
    assert_eq!(inputs, expect);
}
