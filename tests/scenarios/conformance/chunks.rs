//! What an upstream writes, chunk by chunk: for cases that are about the wire itself.

use bridge_tests::faultd::Script;
use serde_json::{Value, json};

pub(super) const DONE: &str = "data: [DONE]\n\n";

/// A chunk with this delta.
pub(super) fn delta(delta: Value) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
}

pub(super) fn content(text: &str) -> Value {
    delta(json!({"content": text}))
}

pub(super) fn reasoning(text: &str) -> Value {
    delta(json!({"reasoning_content": text}))
}

/// A piece of one tool call.
pub(super) fn call(piece: Value) -> Value {
    delta(json!({"tool_calls": [piece]}))
}

pub(super) fn finish(reason: &str) -> Value {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
}

pub(super) fn usage(usage: Value) -> Value {
    json!({"choices": [], "usage": usage})
}

/// An event as servers write it.
pub(super) fn event(chunk: &Value) -> String {
    format!("data: {chunk}\n\n")
}

/// A stream of these chunks with its regular end.
pub(super) fn stream(chunks: impl IntoIterator<Item = Value>) -> Script {
    let events = chunks.into_iter().map(|chunk| event(&chunk));
    Script::stream(events.chain([DONE.to_owned()]))
}

/// The same without `[DONE]`.
pub(super) fn stream_without_done(chunks: impl IntoIterator<Item = Value>) -> Script {
    Script::stream(chunks.into_iter().map(|chunk| event(&chunk)))
}

/// A whole answer.
pub(super) fn document(message: &Value, finish_reason: &str) -> Script {
    document_with(
        message,
        finish_reason,
        json!({"prompt_tokens": 20, "completion_tokens": 10}),
    )
}

pub(super) fn document_with(message: &Value, finish_reason: &str, usage: Value) -> Script {
    let document = json!({"id": "chatcmpl-1", "object": "chat.completion", "model": "m", "usage": usage,
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}]});
    Script::body(200, "application/json", document.to_string())
}

/// The same answer as a stream of one content chunk.
pub(super) fn in_one_piece(message: &Value, finish_reason: &str) -> Script {
    let mut said = message.clone();
    let calls = said["tool_calls"].as_array_mut();
    for (index, call) in calls.into_iter().flatten().enumerate() {
        call["index"] = json!(index);
    }
    let tail = json!({"prompt_tokens": 20, "completion_tokens": 10});
    stream([delta(said), finish(finish_reason), usage(tail)])
}

/// A whole call, as it stands in a message.
pub(super) fn whole_call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}})
}

/// The opening piece of a streamed call.
pub(super) fn opening(index: usize, id: &str, name: &str) -> Value {
    call(json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}))
}

/// A later piece of it.
pub(super) fn arguments(index: usize, piece: &str) -> Value {
    call(json!({"index": index, "function": {"arguments": piece}}))
}
