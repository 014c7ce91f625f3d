//! Counting: deterministic, growing, near the tokenizer, blind to base64.

use bridge_translate::anthropic::Request;
use bridge_translate::{Dialect, response, tokens};
use serde_json::{Value, json};

use crate::case;
use crate::grammar::Grammar;

fn count(fields: &Value) -> u64 {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    body.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    let body = body.to_string();
    let request = Request::parse_count_tokens(body.as_bytes()).unwrap();
    let dialect = Dialect::default();
    tokens::count(&request, &case::target(&dialect)).unwrap()
}

fn user(content: Value) -> Value {
    json!({"messages": [{"role": "user", "content": content}]})
}

#[test]
fn p56_i01_everything_that_is_sent_counts() {
    let bare = count(&json!({}));
    assert_eq!(bare, count(&json!({})), "equal input, equal count");
    let tool = json!([{"name": "Read", "description": "Reads a file.", "input_schema": {"type": "object"}}]);
    assert!(count(&json!({"system": "You are kind."})) > bare);
    assert!(count(&json!({"tools": tool})) > bare + 20);
    let longer = json!({"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}, {"role": "user", "content": "On"}]});
    assert!(count(&longer) > bare + 8);
    let billing = json!({"system": [{"type": "text", "text": "x-anthropic-billing-header: cch=1;"}]});
    assert_eq!(count(&billing), bare, "what is not sent costs nothing");
}

#[test]
fn i01_prose_counts_about_one_token_per_word() {
    let words = 23_000;
    let tokens = count(&user(json!("the quick brown fox jumps ".repeat(words / 5))));
    assert!((18_000..30_000).contains(&tokens), "{tokens}");
}

#[test]
fn i02_base64_is_not_text() {
    let image = |data: String| {
        user(
            json!([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}]),
        )
    };
    let megabyte = count(&image("iVBORw0K".repeat(131_072)));
    assert!(megabyte < 4_000, "{megabyte}");
}

#[test]
fn r22_no_output_is_answered_without_an_upstream() {
    let body = br#"{"model":"claude-x","max_tokens":0,"messages":[{"role":"user","content":"Hi"}]}"#;
    let request = Request::parse(body).unwrap();
    assert!(request.wants_no_output());
    let answer = response::without_output(&request, &case::ids());
    let message: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(
        (&message["content"], &message["stop_reason"]),
        (&json!([]), &json!("max_tokens"))
    );
    let mut events = Vec::new();
    response::without_output_events(&request, &case::ids(), &mut events);
    Grammar::check(&events).assert_same_as(
        std::str::from_utf8(&answer.body).unwrap(),
        std::path::Path::new("r22"),
    );
}

#[test]
fn r32_long_words_are_no_attack() {
    // Nothing in them separates words; a tokenizer that compares each pair with all others would take hours.
    for word in ["a", "xq", "\u{4e2d}", "\u{1f600}", "-"] {
        let length = 300_000 / word.len();
        let tokens = count(&user(json!(word.repeat(length))));
        assert!((1_000..700_000).contains(&tokens), "{word}: {tokens}");
    }
}

#[test]
fn i01_every_kind_of_block_counts() {
    let text = "four words of text ".repeat(20);
    let pdf = "JVBERi0xLjQK".repeat(50);
    let source = |kind: &str, data: &str| json!({"type": kind, "media_type": "text/plain", "data": data});
    let blocks = [
        json!({"type": "text", "text": text}),
        json!({"type": "document", "source": source("text", &text)}),
        json!({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": pdf}}),
        json!({"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": text}]}}),
        json!({"type": "search_result", "title": "T", "source": "S", "content": [{"type": "text", "text": text}]}),
        json!({"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}),
    ];
    let bare = count(&user(json!([{"type": "text", "text": "Hi"}])));
    for block in blocks {
        let with = count(&user(json!([{"type": "text", "text": "Hi"}, block])));
        assert!(with > bare + 10, "{block}: {with}");
    }
    let history = |content: Value, answer: Value| {
        json!({"messages": [
            {"role": "user", "content": "Hi"}, {"role": "assistant", "content": content},
            {"role": "user", "content": answer}, {"role": "system", "content": text},
        ]})
    };
    let call = json!([{"type": "tool_use", "id": "a", "name": "f", "input": {"path": text}}]);
    let result = json!([{"type": "tool_result", "tool_use_id": "a", "content": text}]);
    let plain = count(&history(json!("Yes?"), json!("On")));
    assert!(plain > bare + 60, "reminders count");
    assert!(
        count(&history(call, result)) > plain + 120,
        "calls and results count"
    );
    let schema = json!({"output_config": {"format": {"type": "json_schema", "schema":
        {"type": "object", "properties": {"name": {"type": "string", "description": text}}}}}});
    assert!(count(&schema) > bare + 60);
}

#[test]
fn i01_one_more_message_is_never_fewer_tokens() {
    let mut messages = Vec::new();
    let mut before = 0;
    for n in 0..40 {
        let role = if n % 2 == 0 { "user" } else { "assistant" };
        messages.push(json!({"role": role, "content": "x ".repeat(n)+"."}));
        let tokens = count(&json!({"messages": messages}));
        assert!(tokens > before, "{n}");
        before = tokens;
    }
}
