//! The grammar of a client stream, as a judge: strict where clients are lenient.
//!
//! Every stream of every scenario goes through here, event by event, so that a stray event, a gap in the
//! indices or a second end fails whatever test happens to see it.

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub struct Event {
    pub kind: String,
    pub payload: Value,
}

/// A whole stream that obeys the grammar.
#[derive(Debug)]
pub struct Transcript {
    /// What a client has put together by the end.
    pub message: Value,
    /// The error that ended the stream instead of `message_stop`.
    pub error: Option<Value>,
    /// Whether a block was still open then.
    pub is_block_open: bool,
    pub events: Vec<Event>,
}

/// Judges a stream as it comes, and keeps no event of it.
#[derive(Default)]
pub struct Judge {
    state: State,
    message: Value,
    error: Option<Value>,
}

/// What a stream came to.
#[derive(Debug)]
pub struct Verdict {
    pub message: Value,
    pub error: Option<Value>,
    pub is_block_open: bool,
}

#[derive(Clone, Copy, Default)]
enum State {
    #[default]
    BeforeStart,
    /// `is_block_open` belongs to the last block of the message.
    Content {
        is_block_open: bool,
    },
    AfterDelta,
    Ended,
}

// === impl Event ===

impl Event {
    /// Takes all whole events off the front of `bytes`.
    pub fn take_whole(bytes: &mut Vec<u8>) -> Result<Vec<Self>> {
        let mut events = Vec::new();
        while let Some(end) = bytes.windows(2).position(|pair| pair == b"\n\n") {
            let rest = bytes.split_off(end + 2);
            let text = std::str::from_utf8(bytes).context("an event is not UTF-8")?;
            events.push(Self::parse(text)?);
            *bytes = rest;
        }
        Ok(events)
    }

    /// Exactly `event: KIND`, then `data: JSON` on one line, then an empty line.
    fn parse(text: &str) -> Result<Self> {
        let lines: Vec<&str> = text.trim_end_matches('\n').split('\n').collect();
        let [first, second] = lines.as_slice() else {
            bail!("an event must have two lines: {text:?}");
        };
        let kind = first.strip_prefix("event: ").context("no event name")?;
        let payload = second.strip_prefix("data: ").context("no event data")?;
        let payload: Value = serde_json::from_str(payload).context("event data is not JSON")?;
        ensure!(
            payload["type"] == kind,
            "event {kind} says it is {}",
            payload["type"]
        );
        Ok(Self {
            kind: kind.to_owned(),
            payload,
        })
    }
}

// === impl Transcript ===

impl Transcript {
    pub fn parse(events: Vec<Event>) -> Result<Self> {
        let mut judge = Judge::default();
        for event in &events {
            judge
                .push(event)
                .with_context(|| format!("at {event:?}, in {:?}", kinds(&events)))?;
        }
        let verdict = judge
            .verdict()
            .with_context(|| format!("in {:?}", kinds(&events)))?;
        Ok(Self::of(verdict, events))
    }

    /// Of events that have been judged.
    pub(crate) fn of(verdict: Verdict, events: Vec<Event>) -> Self {
        let Verdict {
            message,
            error,
            is_block_open,
        } = verdict;
        Self {
            message,
            error,
            is_block_open,
            events,
        }
    }

    pub fn kinds(&self) -> Vec<&str> {
        kinds(&self.events)
    }

    pub fn text(&self) -> String {
        text_of(&self.message)
    }

    pub fn error_type(&self) -> &str {
        let error = self.error.as_ref();
        error
            .and_then(|error| error["error"]["type"].as_str())
            .unwrap_or_default()
    }
}

// === impl Judge ===

impl Judge {
    pub fn push(&mut self, event: &Event) -> Result<()> {
        self.state = step(self.state, event, &mut self.message, &mut self.error)?;
        Ok(())
    }

    /// The stream has ended here.
    pub fn verdict(&self) -> Result<Verdict> {
        let Self {
            state,
            message,
            error,
        } = self;
        let is_block_open = match (state, error) {
            (State::Ended, _) => false,
            (State::Content { is_block_open }, Some(_)) => *is_block_open,
            (State::BeforeStart | State::AfterDelta, Some(_)) => false,
            (_, None) => bail!("the stream just stops"),
        };
        Ok(Verdict {
            message: message.clone(),
            error: error.clone(),
            is_block_open,
        })
    }
}

// === impl Verdict ===

impl Verdict {
    pub fn text(&self) -> String {
        text_of(&self.message)
    }
}

/// All text blocks of a message, one after the other.
pub fn text_of(message: &Value) -> String {
    let blocks = message["content"].as_array();
    let texts = blocks
        .into_iter()
        .flatten()
        .filter_map(|block| block["text"].as_str());
    texts.collect()
}

pub(crate) fn kinds(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.kind.as_str()).collect()
}

fn step(state: State, event: &Event, message: &mut Value, error: &mut Option<Value>) -> Result<State> {
    ensure!(error.is_none(), "an event after the error");
    let Event { kind, payload } = event;
    match (state, kind.as_str()) {
        (State::Ended, _) => bail!("an event after message_stop"),
        (state, "ping") => Ok(state),
        (state, "error") => {
            ensure!(payload["error"]["type"].is_string(), "an error without a type");
            ensure!(
                payload["error"]["message"].is_string(),
                "an error without a message"
            );
            *error = Some(payload.clone());
            Ok(state)
        }
        (State::BeforeStart, "message_start") => {
            *message = start_message(payload)?;
            Ok(State::Content { is_block_open: false })
        }
        (State::Content { is_block_open: false }, "content_block_start") => {
            start_block(payload, message)?;
            Ok(State::Content { is_block_open: true })
        }
        (State::Content { is_block_open: true }, "content_block_delta") => {
            apply_delta(payload, message)?;
            Ok(State::Content { is_block_open: true })
        }
        (State::Content { is_block_open: true }, "content_block_stop") => {
            stop_block(payload, message)?;
            Ok(State::Content { is_block_open: false })
        }
        (State::Content { is_block_open: false }, "message_delta") => {
            end_message(payload, message)?;
            Ok(State::AfterDelta)
        }
        (State::AfterDelta, "message_stop") => Ok(State::Ended),
        (_, kind) => bail!("{kind} is out of place"),
    }
}

fn start_message(payload: &Value) -> Result<Value> {
    let message = payload["message"].clone();
    ensure!(message["content"] == json!([]), "message_start has content");
    ensure!(
        message["stop_reason"].is_null(),
        "message_start has a stop_reason"
    );
    ensure!(
        message["usage"]["input_tokens"].is_u64(),
        "message_start has no usage"
    );
    let id = message["id"].as_str().unwrap_or_default();
    ensure!(id.starts_with("msg_"), "message_start has no id of a message");
    Ok(message)
}

fn start_block(payload: &Value, message: &mut Value) -> Result<()> {
    let blocks = message["content"].as_array_mut().context("no content")?;
    ensure!(payload["index"] == json!(blocks.len()), "indices must be gapless");
    let block = payload["content_block"].clone();
    let is_empty = match block["type"].as_str() {
        Some("text") => block["text"] == "",
        Some("thinking") => block["thinking"] == "" && block["signature"] == "",
        // Only we know what is in it, and it comes whole.
        Some("redacted_thinking") => block["data"]
            .as_str()
            .is_some_and(|data| data.starts_with("brg1.")),
        Some("tool_use") => block["input"] == json!({}) && block["id"].is_string(),
        _ => bail!("a block of an unknown type"),
    };
    ensure!(is_empty, "a block must start empty");
    blocks.push(block);
    Ok(())
}

fn apply_delta(payload: &Value, message: &mut Value) -> Result<()> {
    let block = last_block(payload, message)?;
    let delta = &payload["delta"];
    let kinds = (block["type"].as_str(), delta["type"].as_str());
    let (field, piece) = match kinds {
        (Some("text"), Some("text_delta")) => ("text", &delta["text"]),
        (Some("thinking"), Some("thinking_delta")) => ("thinking", &delta["thinking"]),
        (Some("thinking"), Some("signature_delta")) => ("signature", &delta["signature"]),
        (Some("tool_use"), Some("input_json_delta")) => ("partial_json", &delta["partial_json"]),
        _ => bail!("a delta that does not fit its block"),
    };
    let piece = piece.as_str().context("a delta without text")?;
    let so_far = block[field].as_str().unwrap_or_default();
    block[field] = json!(format!("{so_far}{piece}"));
    Ok(())
}

fn stop_block(payload: &Value, message: &mut Value) -> Result<()> {
    let block = last_block(payload, message)?;
    if block["type"] != "tool_use" {
        return Ok(());
    }
    let arguments = block["partial_json"]
        .as_str()
        .context("a call without arguments")?;
    let input: Value = serde_json::from_str(arguments).context("a call whose arguments are not JSON")?;
    ensure!(input.is_object(), "a call whose arguments are not an object");
    block["input"] = input;
    if let Some(fields) = block.as_object_mut() {
        fields.remove("partial_json");
    }
    Ok(())
}

fn end_message(payload: &Value, message: &mut Value) -> Result<()> {
    let stop_reason = payload["delta"]["stop_reason"].clone();
    ensure!(stop_reason.is_string(), "message_delta has no stop_reason");
    ensure!(
        payload["usage"]["output_tokens"].is_u64(),
        "message_delta has no usage"
    );
    message["stop_reason"] = stop_reason;
    message["stop_sequence"] = payload["delta"]["stop_sequence"].clone();
    message["usage"] = payload["usage"].clone();
    Ok(())
}

fn last_block<'a>(payload: &Value, message: &'a mut Value) -> Result<&'a mut Value> {
    let blocks = message["content"].as_array_mut().context("no content")?;
    ensure!(
        payload["index"] == json!(blocks.len() - 1),
        "an event for another block"
    );
    blocks.last_mut().context("no block")
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","content":[],"stop_reason":null,"usage":{"input_tokens":1}}}"#;
    const OPEN: &str =
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
    const TEXT: &str =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#;
    const CLOSE: &str = r#"{"type":"content_block_stop","index":0}"#;
    const DELTA: &str =
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":1}}"#;
    const STOP: &str = r#"{"type":"message_stop"}"#;
    const ERROR: &str = r#"{"type":"error","error":{"type":"api_error","message":"lost"}}"#;

    fn parse(payloads: &[&str]) -> Result<Transcript> {
        let event = |payload: &&str| {
            let payload: Value = serde_json::from_str(payload).unwrap();
            let kind = payload["type"].as_str().unwrap().to_owned();
            Event { kind, payload }
        };
        Transcript::parse(payloads.iter().map(event).collect())
    }

    #[test]
    fn a_whole_stream_passes() {
        let transcript = parse(&[START, OPEN, TEXT, CLOSE, DELTA, STOP]).unwrap();
        assert_eq!(transcript.text(), "Hi");
        assert!(transcript.error.is_none());
    }

    #[test]
    fn an_error_may_end_a_stream_inside_a_block() {
        let transcript = parse(&[START, OPEN, TEXT, ERROR]).unwrap();
        assert!(transcript.is_block_open);
        assert_eq!(transcript.error_type(), "api_error");
    }

    #[test]
    fn everything_else_is_refused() {
        let gap = &OPEN.replace("\"index\":0", "\"index\":1");
        let wrong_delta = &TEXT.replace("text_delta", "thinking_delta");
        let refused: [&[&str]; 8] = [
            &[START, OPEN, TEXT, CLOSE, DELTA],
            &[START, OPEN, TEXT],
            &[START, START],
            &[START, gap],
            &[START, OPEN, wrong_delta],
            &[START, OPEN, TEXT, DELTA],
            &[START, OPEN, TEXT, ERROR, CLOSE],
            &[START, OPEN, TEXT, CLOSE, DELTA, STOP, STOP],
        ];
        for payloads in refused {
            assert!(parse(payloads).is_err(), "{payloads:?}");
        }
    }

    #[test]
    fn framing_is_judged_to_the_byte() {
        let mut whole = b"event: ping\ndata: {\"type\":\"ping\"}\n\nevent: pi".to_vec();
        assert_eq!(Event::take_whole(&mut whole).unwrap().len(), 1);
        assert_eq!(whole, b"event: pi");
        let mut nameless = b"data: {\"type\":\"ping\"}\n\n".to_vec();
        assert!(Event::take_whole(&mut nameless).is_err());
    }
}
