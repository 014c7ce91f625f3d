//! What every case starts from: one provider of some dialect, whose failures stand for themselves.

use anyhow::{Context, Result, ensure};
use bridge_proto::admin::v1::Provider;
use bridge_tests::anthropic::{Answer, Client};
use bridge_tests::faultd::{Recorded, Script};
use bridge_tests::sse::Transcript;
use bridge_tests::stage::{MODEL, Stage};
use serde_json::{Value, json};

use super::chunks;

pub(super) struct Bed {
    pub(super) stage: Stage,
    pub(super) client: Client,
}

impl Bed {
    pub(super) async fn start() -> Result<Self> {
        Self::speaking("generic").await
    }

    /// With a provider of this preset.
    pub(super) async fn speaking(dialect: &str) -> Result<Self> {
        Self::of(|provider| Provider {
            dialect: dialect.to_owned(),
            ..provider
        })
        .await
    }

    pub(super) async fn of(change: impl FnOnce(Provider) -> Provider) -> Result<Self> {
        let stage = Stage::without_memory_of(change).await?;
        let client = stage.client()?;
        Ok(Self { stage, client })
    }

    pub(super) fn once(&self, script: Script) {
        self.stage.upstream.once(MODEL, script);
    }

    /// Asks an upstream that does what the script says.
    pub(super) async fn ask(&self, script: Script, body: &Value) -> Result<Answer> {
        self.once(script);
        self.client.messages(body).await
    }

    /// The message that a client gets which asks for no stream.
    pub(super) async fn whole(&self, script: Script, body: &Value) -> Result<Value> {
        let answer = self.ask(script, body).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.body)
    }

    pub(super) async fn streamed(&self, script: Script, body: &Value) -> Result<Transcript> {
        self.once(script);
        self.client.stream_to_end(body).await
    }

    /// The message of an upstream's whole answer, and of a stream that says the same in one piece.
    pub(super) async fn both(&self, said: &Value, finish_reason: &str, body: &Value) -> Result<[Value; 2]> {
        let whole = self.whole(chunks::document(said, finish_reason), body).await?;
        let streamed = self
            .streamed(chunks::in_one_piece(said, finish_reason), body)
            .await?;
        ensure!(streamed.error.is_none(), "{streamed:?}");
        Ok([whole, streamed.message])
    }

    /// What goes up for a request.
    pub(super) async fn sent(&self, body: &Value) -> Result<Value> {
        self.sent_raw(body.to_string()).await?.json()
    }

    /// The same for the very bytes of a request: a `Value` sorts its keys.
    pub(super) async fn sent_raw(&self, body: impl Into<String>) -> Result<Recorded> {
        self.once(Script::text("Fine."));
        let answer = self.client.post("/v1/messages", body.into()).await?;
        ensure!(answer.status == 200, "{answer:?}");
        let last = self.stage.upstream.requests().pop();
        last.context("nothing went up")
    }

    /// What went up last.
    pub(super) fn last_sent(&self) -> Result<Value> {
        let last = self.stage.upstream.requests().pop();
        last.context("nothing went up")?.json()
    }

    /// A request that must be refused before anybody is called.
    pub(super) async fn refused(&self, body: &Value, status: u16, kind: &str) -> Result<Answer> {
        let before = self.calls();
        let answer = self.client.messages(body).await?;
        check_error(&answer, status, kind, &body.to_string());
        assert_eq!(self.calls(), before, "an upstream was called for {body}");
        Ok(answer)
    }

    /// How many requests the upstream has had.
    pub(super) fn calls(&self) -> usize {
        self.stage.upstream.requests().len()
    }
}

/// An error has its status, its type, a message, and the request's id in header and body.
pub(super) fn check_error(answer: &Answer, status: u16, kind: &str, what: &str) {
    let seen = (answer.status, answer.error_type());
    assert_eq!(seen, (status, kind), "{what}: {answer:?}");
    assert_eq!(answer.body["type"], "error", "{what}");
    let id = answer.body["request_id"].as_str();
    assert!(id.is_some_and(|id| id.starts_with("req_")), "{what}: {answer:?}");
    assert_eq!(id, answer.header("request-id"), "{what}");
    assert!(!answer.error_message().is_empty(), "{what}");
}

/// The paths that the answer says were lost.
pub(super) fn losses(answer: &Answer) -> Vec<&str> {
    let header = answer.header("x-bridge-loss").unwrap_or_default();
    header.split(", ").filter(|path| !path.is_empty()).collect()
}

/// A request with these messages.
pub(super) fn saying(messages: Value) -> Value {
    json!({"model": "haiku", "max_tokens": 256, "messages": messages})
}

/// A request with one more field.
pub(super) fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

/// A request that shows thinking.
pub(super) fn thinking(body: Value) -> Value {
    let body = with(body, "max_tokens", json!(4096));
    with(
        body,
        "thinking",
        json!({"type": "enabled", "budget_tokens": 1024}),
    )
}

/// A function tool without parameters.
pub(super) fn tool(name: &str) -> Value {
    json!({"name": name, "description": "a tool", "input_schema": {"type": "object"}})
}

/// The types of a message's blocks.
pub(super) fn kinds(message: &Value) -> Vec<&str> {
    blocks(message)
        .filter_map(|block| block["type"].as_str())
        .collect()
}

/// The calls of a message: name and input.
pub(super) fn calls(message: &Value) -> Vec<(&str, &Value)> {
    let calls = blocks(message).filter(|block| block["type"] == "tool_use");
    calls
        .filter_map(|call| Some((call["name"].as_str()?, &call["input"])))
        .collect()
}

/// The ids of a message's calls, each one that clients can take.
pub(super) fn call_ids(message: &Value) -> Vec<&str> {
    let calls = blocks(message).filter(|block| block["type"] == "tool_use");
    let ids: Vec<&str> = calls.filter_map(|call| call["id"].as_str()).collect();
    for id in &ids {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        assert!((1..=64).contains(&id.len()) && id.chars().all(is_plain), "{id:?}");
        assert_eq!(ids.iter().filter(|other| other == &id).count(), 1, "{ids:?}");
    }
    ids
}

/// All texts of a message, one after the other.
pub(super) fn text(message: &Value) -> String {
    blocks(message)
        .filter_map(|block| block["text"].as_str())
        .collect()
}

/// All thinking of a message, one after the other.
pub(super) fn thought(message: &Value) -> String {
    blocks(message)
        .filter_map(|block| block["thinking"].as_str())
        .collect()
}

fn blocks(message: &Value) -> impl Iterator<Item = &Value> {
    message["content"].as_array().into_iter().flatten()
}
