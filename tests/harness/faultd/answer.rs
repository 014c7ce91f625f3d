//! What a model says, in both forms of OpenAI's chat completions.

pub mod native;

use bytes::Bytes;
use serde_json::{Value, json};

/// Text and arguments are streamed in pieces of so many characters.
const PIECE_CHARS: usize = 8;

#[derive(Clone, Debug, Default)]
pub struct Answer {
    reasoning: String,
    text: String,
    tool_calls: Vec<ToolCall>,
    is_interleaved: bool,
    finish_reason: Option<String>,
    usage: Usage,
}

#[derive(Clone, Debug)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    /// As the model wrote them: JSON, or meant to be.
    pub arguments: String,
}

#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub prompt_tokens: u64,
    pub cached_tokens: u64,
    pub completion_tokens: u64,
}

// === impl Answer ===

impl Answer {
    pub fn text(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            ..Self::default()
        }
    }

    #[must_use]
    pub fn reasoning(mut self, reasoning: &str) -> Self {
        self.reasoning = reasoning.to_owned();
        self
    }

    #[must_use]
    pub fn tool_call(mut self, id: &str, name: &str, arguments: &str) -> Self {
        self.tool_calls.push(ToolCall {
            id: id.to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        });
        self
    }

    /// Streams the arguments of all calls in turns, piece by piece.
    #[must_use]
    pub fn interleaved(mut self) -> Self {
        self.is_interleaved = true;
        self
    }

    #[must_use]
    pub fn finish_reason(mut self, finish_reason: &str) -> Self {
        self.finish_reason = Some(finish_reason.to_owned());
        self
    }

    #[must_use]
    pub fn usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// The whole answer as one JSON document.
    pub(super) fn document(&self, model: &str) -> Bytes {
        let mut message = json!({"role": "assistant", "content": null});
        if !self.text.is_empty() {
            message["content"] = json!(self.text);
        }
        if !self.reasoning.is_empty() {
            message["reasoning_content"] = json!(self.reasoning);
        }
        if !self.tool_calls.is_empty() {
            message["tool_calls"] = self.tool_calls.iter().map(ToolCall::whole).collect();
        }
        let document = json!({
            "id": "chatcmpl-scripted",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish()}],
            "usage": self.usage.document(),
        });
        Bytes::from(document.to_string())
    }

    /// The same as server-sent events, one element for each event.
    pub(super) fn events(&self, model: &str, with_usage: bool) -> Vec<Bytes> {
        let mut deltas = vec![json!({"role": "assistant", "content": ""})];
        deltas.extend(pieces(&self.reasoning).map(|piece| json!({"reasoning_content": piece})));
        deltas.extend(pieces(&self.text).map(|piece| json!({"content": piece})));
        deltas.extend(self.tool_deltas());

        let mut chunks: Vec<Value> = deltas
            .into_iter()
            .map(|delta| json!([{"index": 0, "delta": delta, "finish_reason": null}]))
            .collect();
        chunks.push(json!([{"index": 0, "delta": {}, "finish_reason": self.finish()}]));

        let mut events: Vec<Bytes> = chunks
            .into_iter()
            .map(|choices| event(model, choices, None))
            .collect();
        if with_usage {
            events.push(event(model, json!([]), Some(self.usage.document())));
        }
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }

    fn tool_deltas(&self) -> Vec<Value> {
        let calls: Vec<Vec<Value>> = self
            .tool_calls
            .iter()
            .enumerate()
            .map(|(index, call)| call.deltas(index))
            .collect();
        if !self.is_interleaved {
            return calls.concat();
        }
        let rounds = calls.iter().map(Vec::len).max().unwrap_or_default();
        (0..rounds)
            .flat_map(|round| calls.iter().filter_map(move |call| call.get(round)))
            .cloned()
            .collect()
    }

    fn finish(&self) -> &str {
        match &self.finish_reason {
            Some(finish_reason) => finish_reason,
            None if self.tool_calls.is_empty() => "stop",
            None => "tool_calls",
        }
    }
}

fn event(model: &str, choices: Value, usage: Option<Value>) -> Bytes {
    let mut chunk = json!({
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": model,
        "choices": choices,
    });
    if let Some(usage) = usage {
        chunk["usage"] = usage;
    }
    Bytes::from(format!("data: {chunk}\n\n"))
}

fn pieces(text: &str) -> impl Iterator<Item = String> {
    let characters: Vec<char> = text.chars().collect();
    let pieces: Vec<String> = characters
        .chunks(PIECE_CHARS)
        .map(|piece| piece.iter().collect())
        .collect();
    pieces.into_iter()
}

// === impl ToolCall ===

impl ToolCall {
    fn whole(&self) -> Value {
        json!({
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
        })
    }

    fn deltas(&self, index: usize) -> Vec<Value> {
        let opening = json!({"tool_calls": [{
            "index": index,
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": ""},
        }]});
        let arguments = pieces(&self.arguments)
            .map(|piece| json!({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}));
        std::iter::once(opening).chain(arguments).collect()
    }
}

// === impl Usage ===

impl Default for Usage {
    fn default() -> Self {
        Self {
            prompt_tokens: 20,
            cached_tokens: 0,
            completion_tokens: 10,
        }
    }
}

impl Usage {
    fn document(self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": self.cached_tokens},
        })
    }
}
