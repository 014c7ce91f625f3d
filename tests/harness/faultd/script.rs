//! What the upstream does with one request, as data.
//!
//! A script is a reply (a model's answer, or exact bytes) and what goes wrong with it. It is
//! rendered only when a request is there, because a model's answer has two forms and the
//! request says which: one JSON document, or a stream of events; and in which API, by its path.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Recorded;
use super::answer::Answer;

/// Where Anthropic's API lives; every other path is OpenAI's.
const MESSAGES_PATH: &str = "/v1/messages";
const COUNT_PATH: &str = "/v1/messages/count_tokens";

#[derive(Clone)]
pub struct Script {
    reply: Reply,
    cut: Option<(After, End)>,
    hold: Option<(usize, Gate)>,
    pace: Option<Duration>,
    pause: Option<(usize, Duration)>,
}

/// The place of a cut.
#[derive(Clone, Copy, Debug)]
pub enum After {
    /// Before the status line.
    Nothing,
    /// After so many bytes of the body; 0 is after the head.
    Bytes(usize),
    /// After so many events of a stream.
    Events(usize),
}

/// How an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By the rules of HTTP; the connection stays.
    Whole,
    /// The body looks finished to HTTP, whatever is missing of it.
    Early,
    /// The connection is closed, with a FIN.
    Fin,
    /// The connection is reset.
    Reset,
    /// Nothing more comes, and the connection stays open.
    Stall,
}

/// Holds an upstream until a test opens it.
#[derive(Clone)]
pub struct Gate(watch::Sender<bool>);

/// A rendered script.
pub(super) struct Response {
    /// `None`: not even a status line.
    pub(super) head: Option<Head>,
    pub(super) steps: Vec<Step>,
    pub(super) end: End,
}

pub(super) struct Head {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) framing: Framing,
}

#[derive(Clone, Copy)]
pub(super) enum Framing {
    Sized { body_bytes: usize },
    Chunked,
}

pub(super) enum Step {
    Write(Bytes),
    Wait(Gate),
    Delay(Duration),
}

#[derive(Clone)]
enum Reply {
    Answer(Answer),
    /// Answers with what the last user message said.
    Echo,
    /// Calls tools until their results are there, then says this.
    ToolsThen(String),
    Exact(Exact),
}

/// An answer that does not depend on the request.
#[derive(Clone)]
struct Exact {
    status: u16,
    headers: Vec<(String, String)>,
    pieces: Vec<Bytes>,
    is_stream: bool,
}

// === impl Script ===

impl Script {
    /// A model's answer, streamed or not as the request asks.
    pub fn answer(answer: Answer) -> Self {
        Self::of(Reply::Answer(answer))
    }

    pub fn text(text: &str) -> Self {
        Self::answer(Answer::text(text))
    }

    pub fn echo() -> Self {
        Self::of(Reply::Echo)
    }

    /// Two parallel tool calls, and this text once their results have come back.
    pub fn tools_then(text: &str) -> Self {
        Self::of(Reply::ToolsThen(text.to_owned()))
    }

    /// An error in OpenAI's shape.
    pub fn error(status: u16, kind: &str, message: &str) -> Self {
        let body = json!({"error": {"message": message, "type": kind, "code": null}});
        Self::body(status, "application/json", body.to_string())
    }

    /// An error in Anthropic's shape.
    pub fn refusal(status: u16, kind: &str, message: &str) -> Self {
        let body = json!({
            "type": "error",
            "error": {"type": kind, "message": message},
            "request_id": "req_upstream",
        });
        Self::body(status, "application/json", body.to_string())
    }

    /// Exactly this body.
    pub fn body(status: u16, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self::of(Reply::Exact(Exact {
            status,
            headers: vec![("content-type".to_owned(), content_type.to_owned())],
            pieces: vec![body.into()],
            is_stream: false,
        }))
    }

    /// A stream of exactly these bytes, one write for each piece.
    pub fn stream<B: Into<Bytes>>(pieces: impl IntoIterator<Item = B>) -> Self {
        Self::of(Reply::Exact(Exact {
            status: 200,
            headers: vec![("content-type".to_owned(), "text/event-stream".to_owned())],
            pieces: pieces.into_iter().map(Into::into).collect(),
            is_stream: true,
        }))
    }

    /// Accepts the request and says nothing at all.
    pub fn silence() -> Self {
        Self::text("").cut(After::Nothing, End::Stall)
    }

    /// Adds a header to an exact body.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Reply::Exact(exact) = &mut self.reply {
            exact.headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    #[must_use]
    pub fn cut(mut self, after: After, end: End) -> Self {
        self.cut = Some((after, end));
        self
    }

    /// Sends `pieces` events (or writes), then waits for the gate.
    #[must_use]
    pub fn hold_after(mut self, pieces: usize, gate: &Gate) -> Self {
        self.hold = Some((pieces, gate.clone()));
        self
    }

    /// Waits so long before each event.
    #[must_use]
    pub fn paced(mut self, pace: Duration) -> Self {
        self.pace = Some(pace);
        self
    }

    /// Sends `pieces` events (or writes), then waits so long.
    #[must_use]
    pub fn pause_after(mut self, pieces: usize, pause: Duration) -> Self {
        self.pause = Some((pieces, pause));
        self
    }

    fn of(reply: Reply) -> Self {
        Self {
            reply,
            cut: None,
            hold: None,
            pace: None,
            pause: None,
        }
    }

    pub(super) fn render(self, request: &Recorded) -> Response {
        let exact = match self.reply {
            Reply::Exact(exact) => exact,
            Reply::Answer(answer) => answer_in_form(&answer, request),
            Reply::Echo => answer_in_form(&Answer::text(&last_user_text(request)), request),
            Reply::ToolsThen(text) => answer_in_form(&tools_then(&text, request), request),
        };
        let mut pieces = exact.pieces;
        let framing = match exact.is_stream {
            true => Framing::Chunked,
            false => Framing::Sized {
                body_bytes: pieces.iter().map(Bytes::len).sum(),
            },
        };
        let mut head = Some(Head {
            status: exact.status,
            headers: exact.headers,
            framing,
        });
        let mut end = End::Whole;
        if let Some((after, cut_end)) = self.cut {
            end = cut_end;
            match after {
                After::Nothing => {
                    head = None;
                    pieces.clear();
                }
                After::Bytes(bytes) => keep_bytes(&mut pieces, bytes),
                After::Events(events) => pieces.truncate(events),
            }
        }
        let mut steps = schedule(pieces, self.hold, self.pace);
        if let Some((pieces, pause)) = self.pause {
            steps.insert(pieces.min(steps.len()), Step::Delay(pause));
        }
        Response { head, steps, end }
    }
}

fn answer_in_form(answer: &Answer, request: &Recorded) -> Exact {
    let asked = request.json().unwrap_or(Value::Null);
    let model = request.model().unwrap_or_default();
    let is_stream = asked["stream"] == json!(true);
    let with_usage = asked["stream_options"]["include_usage"] == json!(true);
    let path = request.path.split('?').next().unwrap_or_default();
    let pieces = match (path.ends_with(MESSAGES_PATH), is_stream) {
        (false, _) if path.ends_with(COUNT_PATH) => vec![answer.count()],
        (true, true) => answer.message_events(&model),
        (true, false) => vec![answer.message(&model)],
        (false, true) => answer.events(&model, with_usage),
        (false, false) => vec![answer.document(&model)],
    };
    let content_type = match is_stream {
        true => "text/event-stream",
        false => "application/json",
    };
    Exact {
        status: 200,
        headers: vec![("content-type".to_owned(), content_type.to_owned())],
        pieces,
        is_stream,
    }
}

fn last_user_text(request: &Recorded) -> String {
    let asked = request.json().unwrap_or(Value::Null);
    let messages = asked["messages"].as_array().cloned().unwrap_or_default();
    let last = messages.iter().rev().find(|message| message["role"] == "user");
    match last.map(|message| &message["content"]) {
        Some(Value::String(text)) => text.clone(),
        Some(content) => content.to_string(),
        None => String::new(),
    }
}

fn tools_then(text: &str, request: &Recorded) -> Answer {
    let asked = request.json().unwrap_or(Value::Null);
    let messages = asked["messages"].as_array().cloned().unwrap_or_default();
    let is_result = |message: &Value| {
        let blocks = message["content"].as_array();
        let has_result = |blocks: &Vec<Value>| blocks.iter().any(|block| block["type"] == "tool_result");
        message["role"] == "tool" || blocks.is_some_and(has_result)
    };
    if messages.iter().any(is_result) {
        return Answer::text(text);
    }
    Answer::default()
        .tool_call("call_paris", "get_weather", r#"{"city":"Paris","unit":"C"}"#)
        .tool_call("call_oslo", "get_weather", r#"{"city":"Oslo","unit":"C"}"#)
        .interleaved()
}

fn keep_bytes(pieces: &mut Vec<Bytes>, mut bytes: usize) {
    for piece in pieces.iter_mut() {
        piece.truncate(bytes);
        bytes -= piece.len();
    }
    pieces.retain(|piece| !piece.is_empty());
}

fn schedule(pieces: Vec<Bytes>, hold: Option<(usize, Gate)>, pace: Option<Duration>) -> Vec<Step> {
    let mut steps = Vec::new();
    for (index, piece) in pieces.into_iter().enumerate() {
        if let Some((_, gate)) = hold.as_ref().filter(|(pieces, _)| *pieces == index) {
            steps.push(Step::Wait(gate.clone()));
        }
        steps.extend(pace.map(Step::Delay));
        steps.push(Step::Write(piece));
    }
    steps
}

// === impl Gate ===

impl Gate {
    pub fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn opened(&self) {
        // The sender lives in `self`, so the wait cannot fail.
        self.0.subscribe().wait_for(|is_open| *is_open).await.ok();
    }
}
