//! A recorded answer, and what a cut at each of its bytes leaves of it.

use anyhow::{Context, Result, ensure};
use bridge_tests::faultd::answer::{Answer, Usage};
use bridge_tests::faultd::script::End;
use bytes::Bytes;
use serde_json::{Value, json};

/// The stream is at least so long.
const EVENTS_MIN: usize = 40;

/// What a first content begins with, in either API.
const CONTENT_MARKS: [&str; 2] = [r#""reasoning_content":"#, "content_block_delta"];
/// In Anthropic's API a block may count as content already, or not before something is in it.
const OPENING_MARK: &str = "content_block_start";
/// What the last event that matters begins with.
const FINISH_MARKS: [&str; 2] = [r#""finish_reason":"tool_calls""#, r#""type":"message_stop""#];

pub(super) struct Recording {
    sent: Bytes,
    streamed: bool,
    /// What a client makes of it.
    whole: Value,
    places: Places,
}

/// Offsets into the bytes that were sent.
struct Places {
    /// The end of what an event says that may be content, without its line end.
    content_may_begin: usize,
    /// The end of an event that certainly is.
    content_begins: usize,
    finish_may_be_there: usize,
    events: usize,
}

/// What a cut leaves of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    BeforeContent,
    /// Within the event that brings the first content.
    FirstContent,
    Content,
    /// The answer is complete, but not all that ends it is there.
    Ending,
    /// A document is complete, and the connection breaks behind it.
    BehindDocument,
    Whole,
}

/// Thinking, text, and two calls of tools.
pub(super) fn answer() -> Answer {
    Answer::text("The bridge is long, and the river below it is wide and slow. Two towns share it, and both like rain.")
        .reasoning("They want to know the weather at both ends of the bridge, so I ask twice.")
        .tool_call(
            "call_paris",
            "get_weather",
            r#"{"city":"Paris, by the river","unit":"celsius"}"#,
        )
        .tool_call(
            "call_oslo",
            "get_weather",
            r#"{"city":"Oslo, in the north","unit":"celsius"}"#,
        )
        .usage(Usage {
            prompt_tokens: 120,
            cached_tokens: 0,
            completion_tokens: 80,
        })
}

pub(super) fn tools() -> Value {
    json!([{
        "name": "get_weather",
        "description": "Tells the weather.",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}, "unit": {"type": "string"}}},
    }])
}

// === impl Recording ===

impl Recording {
    pub(super) fn new(sent: Bytes, streamed: bool, whole: Value) -> Result<Self> {
        let places = match streamed {
            true => Places::of(&sent)?,
            // Nothing of a document is an answer before its last byte.
            false => Places {
                content_may_begin: sent.len(),
                content_begins: sent.len(),
                finish_may_be_there: sent.len(),
                events: 1,
            },
        };
        ensure!(
            !streamed || places.events >= EVENTS_MIN,
            "{} events",
            places.events
        );
        Ok(Self {
            sent,
            streamed,
            whole,
            places,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.sent.len()
    }

    pub(super) fn events(&self) -> usize {
        self.places.events
    }

    pub(super) fn zone(&self, cut_after: usize, end: End) -> Zone {
        let Places {
            content_may_begin,
            content_begins,
            finish_may_be_there,
            events: _,
        } = self.places;
        match cut_after {
            bytes if bytes < content_may_begin => Zone::BeforeContent,
            bytes if bytes == self.bytes() => match (self.streamed, end) {
                // A reset may overtake the last bytes.
                (true, End::Reset) => Zone::Ending,
                (true, _) | (false, End::Early) => Zone::Whole,
                // All that was promised has come; how the connection ended may be seen before it.
                (false, _) => Zone::BehindDocument,
            },
            bytes if bytes < content_begins => Zone::FirstContent,
            bytes if bytes < finish_may_be_there => Zone::Content,
            _ => Zone::Ending,
        }
    }

    /// Whether a message says all that was recorded.
    pub(super) fn is_whole(&self, message: &Value) -> bool {
        let tell = |message: &Value| {
            let blocks = message["content"].as_array().cloned().unwrap_or_default();
            let blocks: Vec<Value> = blocks
                .into_iter()
                .map(|block| {
                    json!([
                        block["type"],
                        block["text"],
                        block["thinking"],
                        block["name"],
                        block["input"]
                    ])
                })
                .collect();
            (blocks, message["stop_reason"].clone())
        };
        tell(message) == tell(&self.whole)
    }
}

// === impl Places ===

impl Places {
    fn of(sent: &Bytes) -> Result<Self> {
        let text = std::str::from_utf8(sent)?;
        let mut ends = Vec::new();
        let mut start = 0;
        for event in text.split_inclusive("\n\n") {
            ends.push((event, start + event.trim_end().len(), start + event.len()));
            start += event.len();
        }
        let says = |marks: &[&str]| {
            ends.iter()
                .find(|(event, ..)| marks.iter().any(|mark| event.contains(mark)))
                .map(|(_, said, end)| (*said, *end))
        };
        let (content_said, content_begins) = says(&CONTENT_MARKS).context("no content")?;
        let opening = says(&[OPENING_MARK]).map_or(content_said, |(said, _)| said);
        let (finish_may_be_there, _) = says(&FINISH_MARKS).context("no finish")?;
        Ok(Self {
            content_may_begin: opening.min(content_said),
            content_begins,
            finish_may_be_there,
            events: ends.len(),
        })
    }
}
