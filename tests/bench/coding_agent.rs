//! What a coding agent sends and gets, made up: a request of some 112 KB with three system
//! blocks, 25 tools and 40 messages, and an answer streamed in 100 chunks with two calls.
//!
//! Made by counting, so that it is the same on every machine and in every version.

use anyhow::Result;
use serde::Serialize;
use serde_json::{Value, json};

const TOOLS: usize = 25;
const TURNS: usize = 20;
/// Chunks of the streamed answer, its end aside.
const TEXT_CHUNKS: usize = 54;
const CALL_CHUNKS: usize = 20;

const WORDS: &[&str] = &[
    "the",
    "file",
    "reads",
    "a",
    "path",
    "before",
    "it",
    "edits",
    "lines",
    "and",
    "returns",
    "output",
    "of",
    "each",
    "command",
    "when",
    "\"quoted\"",
    "tests",
    "fail",
    "or",
    "pass",
    "in",
    "`src/main.rs`",
    "with",
    "exact",
    "match",
    "é",
    "never",
    "without",
    "asking",
    "first",
];

/// Keys in the order in which clients write them.
#[derive(Serialize)]
struct Request {
    model: &'static str,
    messages: Vec<Message>,
    system: Vec<Block>,
    tools: Vec<Tool>,
    metadata: Value,
    max_tokens: u32,
    temperature: u32,
    stream: bool,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: Vec<Block>,
}

#[derive(Default, Serialize)]
struct Block {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_use_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<Value>,
}

#[derive(Serialize)]
struct Tool {
    name: String,
    description: String,
    input_schema: Value,
}

/// The body of `/v1/messages`.
pub(crate) fn request() -> Result<Vec<u8>> {
    let request = Request {
        model: "claude-opus-4-8",
        messages: (0..TURNS).flat_map(turn).collect(),
        system: vec![
            text("You are an agent that writes software.".to_owned()),
            cached(text(prose(1, 1100))),
            cached(text(prose(2, 120))),
        ],
        tools: (0..TOOLS).map(tool).collect(),
        metadata: json!({"user_id": "user_0123456789abcdef_account__session_01234567"}),
        max_tokens: 32_000,
        temperature: 1,
        stream: true,
    };
    Ok(serde_json::to_vec(&request)?)
}

/// The upstream's answer, one event each.
pub(crate) fn chunks() -> Vec<Vec<u8>> {
    let mut deltas = vec![json!({"role": "assistant", "content": ""})];
    deltas.extend((0..TEXT_CHUNKS).map(|n| json!({"content": format!(" {}", word(n))})));
    for call in 0..2 {
        let function = json!({"name": tool_name(call), "arguments": ""});
        deltas.push(json!({"tool_calls": [
            {"index": call, "id": format!("call_{call}"), "type": "function", "function": function}
        ]}));
        deltas.extend((0..CALL_CHUNKS).map(|n| {
            let arguments = match n {
                0 => "{\"path\":\"".to_owned(),
                n if n + 1 == CALL_CHUNKS => "\"}".to_owned(),
                n => format!("part{n}/"),
            };
            json!({"tool_calls": [{"index": call, "function": {"arguments": arguments}}]})
        }));
    }
    let mut events: Vec<String> = deltas
        .into_iter()
        .map(|delta| {
            event(
                &json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": null}]),
                &Value::Null,
            )
        })
        .collect();
    let end = json!([{"index": 0, "delta": {}, "logprobs": null, "finish_reason": "tool_calls"}]);
    events.push(event(&end, &Value::Null));
    let usage = json!({"prompt_tokens": 28_000, "completion_tokens": 96, "total_tokens": 28_096});
    events.push(event(&json!([]), &usage));
    events.push("data: [DONE]\n\n".to_owned());
    events.into_iter().map(String::into_bytes).collect()
}

fn event(choices: &Value, usage: &Value) -> String {
    let chunk = json!({
        "id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1_700_000_000,
        "model": "up-model", "system_fingerprint": "fp_0123456789", "choices": choices, "usage": usage,
    });
    format!("data: {chunk}\n\n")
}

/// What the assistant does, and what comes of it.
fn turn(n: usize) -> [Message; 2] {
    let ids = [format!("toolu_{n:020}a"), format!("toolu_{n:020}b")];
    let call = |at: usize, id: &String| Block {
        kind: "tool_use",
        id: Some(id.clone()),
        name: Some(tool_name(n + at)),
        input: Some(json!({
            "path": format!("/home/user/project/src/part{n}/mod{at}.rs"),
            "pattern": prose(n, 6), "limit": 200 + n, "is_recursive": true,
        })),
        ..Block::default()
    };
    let result = |at: usize, id: &String| Block {
        kind: "tool_result",
        tool_use_id: Some(id.clone()),
        content: Some(code(n + at, 11)),
        ..Block::default()
    };
    let [first, second] = &ids;
    let assistant = vec![text(prose(n, 25)), call(0, first), call(1, second)];
    let user = vec![result(0, first), result(1, second)];
    let message = |role, content| Message { role, content };
    match n {
        // A conversation begins with what the user wants.
        0 => [
            message("user", vec![text(prose(7, 80))]),
            message("assistant", vec![text(prose(8, 20))]),
        ],
        _ => [message("assistant", assistant), message("user", user)],
    }
}

fn tool(n: usize) -> Tool {
    let properties: serde_json::Map<String, Value> = (0..6)
        .map(|at| {
            let schema = match at % 3 {
                0 => json!({"type": "string", "description": prose(n + at, 18)}),
                1 => json!({"type": "integer", "minimum": 0, "maximum": 1000, "description": prose(n + at, 12)}),
                _ => json!({"type": "array", "description": prose(n + at, 12), "items": {
                    "type": "object", "required": ["old", "new"], "additionalProperties": false,
                    "properties": {
                        "old": {"type": "string", "enum": ["a", "b", "c"]},
                        "new": {"type": ["string", "null"], "description": prose(at, 8)},
                    },
                }}),
            };
            (format!("{}_{at}", word(n * 7 + at).trim_matches('"')), schema)
        })
        .collect();
    Tool {
        name: tool_name(n),
        description: prose(n, 228),
        input_schema: json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object", "properties": properties, "required": ["path_0"], "additionalProperties": false,
        }),
    }
}

fn tool_name(n: usize) -> String {
    match n % 5 {
        4 => format!("mcp__server__tool_{}", n % TOOLS),
        _ => format!("Tool{}", n % TOOLS),
    }
}

fn text(text: String) -> Block {
    Block {
        kind: "text",
        text: Some(text),
        ..Block::default()
    }
}

fn cached(block: Block) -> Block {
    Block {
        cache_control: Some(json!({"type": "ephemeral"})),
        ..block
    }
}

fn word(n: usize) -> &'static str {
    // Not a multiple of the number of words, so that sentences differ.
    WORDS.get(n * 7 % WORDS.len()).copied().unwrap_or_default()
}

/// A new line after each dozen words.
fn prose(from: usize, words: usize) -> String {
    let mut prose = String::new();
    for n in 0..words {
        prose.push_str(word(from * 13 + n + n / 5));
        prose.push_str(if n % 12 == 11 { ".\n" } else { " " });
    }
    prose
}

/// Numbered lines with tabs and quotes, as tools show files.
fn code(from: usize, lines: usize) -> String {
    let line = |n: usize| {
        format!(
            "{:6}\tlet {} = call(\"{}\", &[{n}]);\n",
            n + 1,
            word(n),
            word(from + n)
        )
    };
    (0..lines).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_as_promised() {
        let body = request().unwrap();
        let bytes = body.len();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let count = |name: &str| body[name].as_array().unwrap().len();
        assert_eq!((count("system"), count("tools"), count("messages")), (3, 25, 40));
        let tools = body["tools"].to_string().len();
        assert!(
            (111_000..113_000).contains(&bytes) && (68_000..72_000).contains(&tools),
            "{bytes}, tools {tools}"
        );
        assert_eq!(chunks().len(), 100);
    }
}
