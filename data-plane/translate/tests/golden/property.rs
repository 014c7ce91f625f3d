//! Properties over all cases: how bytes are cut and framed must not matter, and nothing
//! that anyone sends may break the grammar or panic.

use bridge_translate::anthropic::Request;
use bridge_translate::sse::Decoder;
use bridge_translate::stream::Status;
use bridge_translate::{Dialect, error, request, response, tokens};
use futures_util::StreamExt as _;
use proptest::prelude::*;

use crate::case;
use crate::grammar::Grammar;
use crate::stream::{Case, cases, run};

fn assert_same(case: &Case, have: (Vec<u8>, Status), how: &str) {
    let (want, status) = run(&case.reply, [case.upstream.as_bytes()]);
    assert_eq!(have.1, status, "{}: {how}", case.file.display());
    let (have, want) = (
        String::from_utf8(have.0).unwrap(),
        String::from_utf8(want).unwrap(),
    );
    assert_eq!(have, want, "{}: {how}", case.file.display());
}

#[test]
fn any_cut_gives_the_same_bytes() {
    for case in cases() {
        let bytes = case.upstream.as_bytes();
        assert_same(&case, run(&case.reply, bytes.chunks(1)), "one byte at a time");
        for cut in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(cut);
            assert_same(&case, run(&case.reply, [head, tail]), &format!("cut at {cut}"));
        }
    }
}

#[test]
fn s10_framing_does_not_matter() {
    for case in cases() {
        let plain = &case.upstream;
        let framings = [
            ("CRLF", plain.replace('\n', "\r\n")),
            ("CR", plain.replace('\n', "\r")),
            ("no space", plain.replace("data: ", "data:")),
            ("a byte order mark", format!("\u{feff}{plain}")),
            ("no blank lines", plain.replace("\n\n", "\n")),
            (
                "comments, ids and retries",
                plain.replace("data: ", ": keep-alive\nid: 7\nretry: 9\nx-other: 1\ndata: "),
            ),
        ];
        for (how, bytes) in framings {
            assert_same(&case, run(&case.reply, [bytes.as_bytes()]), how);
            assert_same(&case, run(&case.reply, bytes.as_bytes().chunks(3)), how);
        }
    }
}

/// A stream that is cut off anywhere is never taken for a whole one, unless it was one.
#[test]
fn f01_a_stream_that_is_cut_off_never_looks_whole() {
    for case in cases() {
        let bytes = case.upstream.as_bytes();
        let ends: Vec<usize> = memchr::memmem::find_iter(bytes, "\n\n")
            .map(|at| at + 2)
            .collect();
        for end in ends {
            let (out, status) = run(&case.reply, [&bytes[..end]]);
            let grammar = Grammar::check(&out);
            assert_eq!(grammar.is_whole(), matches!(status, Status::Ended { .. }));
            let seen = String::from_utf8_lossy(&bytes[..end]);
            let may_end = seen.contains("[DONE]")
                || seen.contains("\"finish_reason\":\"")
                || case.reply_may_end_early();
            assert!(
                !grammar.is_whole() || may_end,
                "{} cut at {end}",
                case.file.display()
            );
        }
    }
}

impl Case {
    /// The case sets `eof_is_end`.
    fn reply_may_end_early(&self) -> bool {
        std::fs::read_to_string(&self.file)
            .unwrap()
            .contains("\"eof_is_end\":true")
    }
}

/// What the oracle makes of the bytes: the data of each event.
fn oracle(bytes: &[u8]) -> Vec<String> {
    let body = http_body_util::Full::new(bytes::Bytes::copy_from_slice(bytes));
    let mut stream = sse_stream::SseStream::new(body);
    let mut events = Vec::new();
    let waker = std::task::Waker::noop();
    let mut context = std::task::Context::from_waker(waker);
    while let std::task::Poll::Ready(Some(Ok(event))) = stream.poll_next_unpin(&mut context) {
        events.extend(event.data);
    }
    events
}

fn ours(pieces: &[&[u8]]) -> Vec<String> {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(event) = decoder.next_event().unwrap() {
            events.push(event.data.into_owned());
        }
    }
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_decoder_agrees_with_the_oracle(
        lines in prop::collection::vec(
            prop_oneof![
                "data: ?[a-z :]{0,12}", "data", "event: [a-z]{0,5}", ":[ a-z]{0,5}", "id: [0-9]{1,3}",
                Just(String::new()), Just(String::new()), "retry: [0-9]{1,4}", "data: \u{e9}\u{1f600}[a-z]{0,3}",
            ],
            0..24,
        ),
        ending in prop_oneof![Just("\n"), Just("\r\n")],
        cut in any::<prop::sample::Index>(),
    ) {
        let text: String = lines.iter().flat_map(|line| [line.as_str(), ending]).collect();
        let bytes = text.as_bytes();
        let cut = cut.index(bytes.len() + 1);
        prop_assert_eq!(ours(&[&bytes[..cut], &bytes[cut..]]), oracle(bytes));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let reply = case::reply(&Dialect::default(), None);
        let (out, _) = run(&reply, [bytes.as_slice()]);
        Grammar::check(&out);
        let _ = response::to_anthropic(&bytes, &reply, case::ids());
        let _ = error::read(400, None, &bytes, &reply);
        let _ = Request::parse(&bytes);
    }

    #[test]
    fn arbitrary_chunks_obey_the_grammar(
        chunks in prop::collection::vec(chunk(), 0..14),
        shows_thinking in any::<bool>(),
        tags in prop_oneof![Just("off"), Just("explicit"), Just("implicit")],
        size in 1usize..64,
    ) {
        let dialect = case::dialect(Some(&serde_json::json!({"think_tags": tags})));
        let thinking = serde_json::json!({"thinking": {"type": "adaptive"}});
        let reply = case::reply(&dialect, shows_thinking.then_some(&thinking));
        let text: String = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
        let (out, status) = run(&reply, [text.as_bytes()]);
        let grammar = Grammar::check(&out);
        prop_assert_eq!(grammar.is_whole(), matches!(status, Status::Ended { .. }));
        let (pieces, _) = run(&reply, text.as_bytes().chunks(size));
        prop_assert_eq!(pieces, out);
    }

    #[test]
    fn arbitrary_requests_never_panic(request in request_body()) {
        let body = request.to_string();
        if let Ok(request) = Request::parse(body.as_bytes()) {
            for name in Dialect::presets() {
                let dialect = Dialect::preset(name).unwrap();
                let target = case::target(&dialect);
                if let Ok(outbound) = request::to_openai(&request, &target) {
                    let sent: serde_json::Value = serde_json::from_slice(&outbound.body).unwrap();
                    assert_conversation(&sent);
                    prop_assert!(tokens::count(&request, &target).is_ok());
                }
            }
        }
    }
}

/// Every call has its result right behind it, and every result has its call.
fn assert_conversation(sent: &serde_json::Value) {
    let mut waiting: Vec<String> = Vec::new();
    for message in sent["messages"].as_array().unwrap() {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap();
            assert_eq!(waiting.first().map(String::as_str), Some(id), "{sent}");
            waiting.remove(0);
            assert!(!message["content"].is_null());
            continue;
        }
        assert!(waiting.is_empty(), "calls without results: {sent}");
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        waiting = calls
            .map(|call| call["id"].as_str().unwrap().to_owned())
            .collect();
    }
    assert!(waiting.is_empty(), "calls without results: {sent}");
}

fn chunk() -> impl Strategy<Value = String> {
    let tool = (0..3u8, prop_oneof![Just(""), Just("a"), Just("b")], prop_oneof![Just(""), Just("f"), Just("g")],
        prop_oneof![Just(""), Just("{}"), Just("{\\\"a\\\":"), Just("1}"), Just(" ")])
        .prop_map(|(index, id, name, arguments)| {
            let index = if index == 2 { String::new() } else { format!("\"index\":{index},") };
            format!(r#"{{"choices":[{{"delta":{{"tool_calls":[{{{index}"id":"{id}","function":{{"name":"{name}","arguments":"{arguments}"}}}}]}}}}]}}"#)
        });
    let prose = (
        prop_oneof![
            Just("content"),
            Just("reasoning_content"),
            Just("reasoning"),
            Just("refusal")
        ],
        prop_oneof![
            Just(""),
            Just("x"),
            Just("<think>"),
            Just("</thi"),
            Just("nk>"),
            Just("\\n"),
            Just("\\ud83e"),
            Just("\\udd80")
        ],
    )
        .prop_map(|(field, text)| format!(r#"{{"choices":[{{"delta":{{"{field}":"{text}"}}}}]}}"#));
    let tail = prop_oneof![
        Just(r#"{"choices":[{"delta":null,"finish_reason":"stop"}]}"#.to_owned()),
        Just(r#"{"choices":[{"delta":{},"finish_reason":"length"}]}"#.to_owned()),
        Just(r#"{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#.to_owned()),
        Just(r#"{"error":{"message":"no"}}"#.to_owned()),
        Just("[DONE]".to_owned()),
    ];
    prop_oneof![3 => tool, 3 => prose, 1 => tail]
}

fn request_body() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::json;
    let id = prop_oneof![Just("a"), Just("b"), Just("c")];
    let block = prop_oneof![
        "[a-z]{0,4}".prop_map(|text| json!({"type": "text", "text": text})),
        id.clone().prop_map(|id| json!({"type": "tool_use", "id": id, "name": "f.x", "input": {"z": 1}})),
        id.prop_map(|id| json!({"type": "tool_result", "tool_use_id": id, "is_error": true,
            "content": [{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}, {"type": "text", "text": "r"}]})),
        Just(json!({"type": "thinking", "thinking": "t", "signature": "brg1.e30"})),
        Just(json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}})),
        Just(json!({"type": "hologram"})),
    ];
    let role = prop_oneof![Just("user"), Just("assistant"), Just("system")];
    let message = (role, prop::collection::vec(block, 0..4))
        .prop_map(|(role, content)| json!({"role": role, "content": content}));
    prop::collection::vec(message, 1..7).prop_map(|messages| {
        json!({"model": "m", "max_tokens": 9, "messages": messages,
            "tools": [{"name": "f.x", "input_schema": {}}], "thinking": {"type": "adaptive"}})
    })
}
