//! The same in both forms of Anthropic's Messages API.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Answer, ToolCall, Usage, pieces};

/// What a provider of this API signs thinking with; nobody else can.
pub const SIGNATURE: &str = "EqQBCgIYAhIMscripted";

impl Answer {
    /// The whole answer as one message.
    pub(in crate::faultd) fn message(&self, model: &str) -> Bytes {
        let blocks: Vec<_> = self.blocks().map(|(whole, _)| whole).collect();
        let mut message = envelope(model, self.usage);
        message["content"] = json!(blocks);
        message["stop_reason"] = json!(self.stop_reason());
        Bytes::from(message.to_string())
    }

    /// The same as events, one element for each.
    pub(in crate::faultd) fn message_events(&self, model: &str) -> Vec<Bytes> {
        let mut usage = self.usage;
        usage.completion_tokens = 1;
        let mut events = vec![
            event(json!({"type": "message_start", "message": envelope(model, usage)})),
            event(json!({"type": "ping"})),
        ];
        for (index, (whole, deltas)) in self.blocks().enumerate() {
            let mut start = whole;
            for (name, empty) in [
                ("text", json!("")),
                ("thinking", json!("")),
                ("signature", json!("")),
                ("input", json!({})),
            ] {
                if start.get(name).is_some() {
                    start[name] = empty;
                }
            }
            events.push(event(
                json!({"type": "content_block_start", "index": index, "content_block": start}),
            ));
            events.extend(
                deltas.into_iter().map(|delta| {
                    event(json!({"type": "content_block_delta", "index": index, "delta": delta}))
                }),
            );
            events.push(event(json!({"type": "content_block_stop", "index": index})));
        }
        events.push(event(json!({
            "type": "message_delta",
            "delta": {"stop_reason": self.stop_reason(), "stop_sequence": null},
            "usage": {"output_tokens": self.usage.completion_tokens},
        })));
        events.push(event(json!({"type": "message_stop"})));
        events
    }

    /// What it would count for the prompt.
    pub(in crate::faultd) fn count(&self) -> Bytes {
        Bytes::from(json!({"input_tokens": self.usage.prompt_tokens}).to_string())
    }

    /// Each block as a whole, and the deltas that make it.
    fn blocks(&self) -> impl Iterator<Item = (Value, Vec<Value>)> {
        let mut blocks = Vec::new();
        if !self.reasoning.is_empty() {
            let whole = json!({"type": "thinking", "thinking": self.reasoning, "signature": SIGNATURE});
            let mut deltas: Vec<_> = pieces(&self.reasoning)
                .map(|piece| json!({"type": "thinking_delta", "thinking": piece}))
                .collect();
            deltas.push(json!({"type": "signature_delta", "signature": SIGNATURE}));
            blocks.push((whole, deltas));
        }
        if !self.text.is_empty() {
            let deltas = pieces(&self.text).map(|piece| json!({"type": "text_delta", "text": piece}));
            blocks.push((json!({"type": "text", "text": self.text}), deltas.collect()));
        }
        blocks.extend(self.tool_calls.iter().map(ToolCall::block));
        blocks.into_iter()
    }

    fn stop_reason(&self) -> &str {
        match &self.finish_reason {
            Some(reason) => reason,
            None if self.tool_calls.is_empty() => "end_turn",
            None => "tool_use",
        }
    }
}

impl ToolCall {
    fn block(&self) -> (Value, Vec<Value>) {
        let input: Value = serde_json::from_str(&self.arguments).unwrap_or_default();
        let whole = json!({"type": "tool_use", "id": self.id, "name": self.name, "input": input});
        let deltas =
            pieces(&self.arguments).map(|piece| json!({"type": "input_json_delta", "partial_json": piece}));
        (whole, deltas.collect())
    }
}

fn envelope(model: &str, usage: Usage) -> Value {
    json!({
        "id": "msg_scripted",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": {
            "input_tokens": usage.prompt_tokens - usage.cached_tokens,
            "cache_read_input_tokens": usage.cached_tokens,
            "cache_creation_input_tokens": 0,
            "output_tokens": usage.completion_tokens,
        },
    })
}

fn event(payload: Value) -> Bytes {
    let kind = payload["type"].as_str().unwrap_or_default();
    Bytes::from(format!("event: {kind}\ndata: {payload}\n\n"))
}
