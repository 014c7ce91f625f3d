//! A script and a request make a response.

use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{After, Course, End, Exact, Flood, Interjection, Reply, Script};
use crate::faultd::Recorded;
use crate::faultd::answer::Answer;
use crate::faultd::proxy::Passage;

/// Where Anthropic's API lives; every other path is OpenAI's.
const MESSAGES_PATH: &str = "/v1/messages";
const COUNT_PATH: &str = "/v1/messages/count_tokens";

/// A rendered script.
pub(in crate::faultd) struct Response {
    pub(in crate::faultd) preface: Vec<Flood>,
    /// `None`: not even a status line.
    pub(in crate::faultd) head: Option<Head>,
    pub(in crate::faultd) source: Source,
    pub(in crate::faultd) course: Course,
    /// What is said in between, and before which piece.
    pub(in crate::faultd) interjection: Option<(usize, Bytes)>,
    pub(in crate::faultd) flood: Option<Flood>,
    pub(in crate::faultd) end: End,
}

pub(in crate::faultd) struct Head {
    pub(in crate::faultd) status: u16,
    pub(in crate::faultd) headers: Vec<(String, String)>,
    pub(in crate::faultd) framing: Framing,
}

#[derive(Clone, Copy)]
pub(in crate::faultd) enum Framing {
    Sized { body_bytes: usize },
    Chunked,
}

/// Where the pieces of a body come from.
pub(in crate::faultd) enum Source {
    Pieces(VecDeque<Bytes>),
    Server(Box<Passage>),
}

/// What a request asks for.
struct Asked {
    is_native: bool,
    is_count: bool,
    is_stream: bool,
    with_usage: bool,
}

impl Script {
    pub(in crate::faultd) async fn render(self, request: &Recorded) -> Response {
        let Self {
            reply,
            preface,
            mut course,
            flood,
            end,
        } = self;
        let asked = Asked::of(request);
        let interjection = course
            .interjection
            .map(|(after, interjection)| (after, interjection.event(&asked)));
        let (head, source) = match reply {
            // Who is silent from the start does not ask anybody either.
            _ if course.cut == Some(After::Nothing) => (None, Source::Pieces(VecDeque::new())),
            Reply::Behind(server) => match server.ask(request).await {
                Ok((head, passage)) => (Some(head), Source::Server(Box::new(passage))),
                Err(error) => exact(Script::unreachable(&error), &mut course, end),
            },
            Reply::Answer(answer) => exact(asked.in_form(&answer, request), &mut course, end),
            Reply::Echo => {
                let answer = Answer::text(&last_user_text(request));
                exact(asked.in_form(&answer, request), &mut course, end)
            }
            Reply::ToolsThen(text) => {
                let answer = tools_then(&text, request);
                exact(asked.in_form(&answer, request), &mut course, end)
            }
            Reply::Error {
                status,
                kind,
                message,
                headers,
            } => exact(asked.error(status, kind, message, headers), &mut course, end),
            Reply::Exact(known) => exact(known, &mut course, end),
        };
        Response {
            preface,
            head,
            source,
            course,
            interjection,
            flood,
            end,
        }
    }

    /// What a proxy says when nobody is behind it.
    fn unreachable(error: &reqwest::Error) -> Exact {
        Exact {
            status: 502,
            headers: vec![("content-type".to_owned(), "text/plain".to_owned())],
            pieces: vec![Bytes::from(error.to_string())],
            is_stream: false,
        }
    }
}

fn exact(exact: Exact, course: &mut Course, end: End) -> (Option<Head>, Source) {
    let Exact {
        status,
        headers,
        pieces,
        is_stream,
    } = exact;
    let whole: usize = pieces.iter().map(Bytes::len).sum();
    if let (false, Some(After::Events(1..))) = (is_stream, course.cut) {
        // A document is one event that breaks in its middle.
        course.cut = Some(After::Bytes(whole / 2));
    }
    let framing = match (is_stream, course.cut, end) {
        // Only so does what is missing go unnoticed.
        (false, Some(After::Bytes(bytes)), End::Early) => Framing::Sized {
            body_bytes: whole.min(bytes),
        },
        // What is added to it has no place in a body whose size was told.
        (false, ..) if course.interjection.is_none() && !course.is_text_garbled => {
            Framing::Sized { body_bytes: whole }
        }
        _ => Framing::Chunked,
    };
    let head = Head {
        status,
        headers,
        framing,
    };
    (Some(head), Source::Pieces(pieces.into()))
}

// === impl Asked ===

impl Asked {
    fn of(request: &Recorded) -> Self {
        let body = request.json().unwrap_or(Value::Null);
        let path = request.path.split('?').next().unwrap_or_default();
        let is_count = path.ends_with(COUNT_PATH);
        Self {
            is_native: is_count || path.ends_with(MESSAGES_PATH),
            is_count,
            is_stream: body["stream"] == json!(true),
            with_usage: body["stream_options"]["include_usage"] == json!(true),
        }
    }

    fn in_form(&self, answer: &Answer, request: &Recorded) -> Exact {
        let model = request.model().unwrap_or_default();
        let pieces = match (self.is_native, self.is_stream) {
            _ if self.is_count => vec![answer.count()],
            (true, true) => answer.message_events(&model),
            (true, false) => vec![answer.message(&model)],
            (false, true) => answer.events(&model, self.with_usage),
            (false, false) => vec![answer.document(&model)],
        };
        self.exact(200, Vec::new(), pieces)
    }

    fn error(&self, status: u16, kind: &str, message: &str, headers: Vec<(String, String)>) -> Exact {
        let body = match self.is_native {
            true => json!({
                "type": "error",
                "error": {"type": native_kind(status, kind), "message": message},
                "request_id": "req_upstream",
            }),
            false => json!({"error": {"message": message, "type": kind, "code": null}}),
        };
        let is_event = self.is_stream && status == 200;
        let piece = match (is_event, self.is_native) {
            (false, _) => body.to_string(),
            (true, true) => format!("event: error\ndata: {body}\n\n"),
            (true, false) => format!("data: {body}\n\n"),
        };
        match is_event {
            true => self.exact(status, headers, vec![Bytes::from(piece)]),
            false => Exact {
                is_stream: false,
                ..as_json(status, headers, vec![Bytes::from(piece)])
            },
        }
    }

    fn exact(&self, status: u16, headers: Vec<(String, String)>, pieces: Vec<Bytes>) -> Exact {
        let mut exact = as_json(status, headers, pieces);
        if self.is_stream {
            exact.is_stream = true;
            exact.headers[0].1 = "text/event-stream".to_owned();
        }
        exact
    }
}

fn as_json(status: u16, mut headers: Vec<(String, String)>, pieces: Vec<Bytes>) -> Exact {
    headers.insert(0, ("content-type".to_owned(), "application/json".to_owned()));
    Exact {
        status,
        headers,
        pieces,
        is_stream: false,
    }
}

/// What Anthropic calls an error of this status, or of this kind inside a 200.
fn native_kind(status: u16, kind: &str) -> &'static str {
    match (status, kind) {
        (200, "overloaded") | (529, _) => "overloaded_error",
        (200, "insufficient_quota") | (402, _) => "billing_error",
        (400 | 422, _) => "invalid_request_error",
        (401, _) => "authentication_error",
        (403, _) => "permission_error",
        (404, _) => "not_found_error",
        (413, _) => "request_too_large",
        (429, _) => "rate_limit_error",
        (504, _) => "timeout_error",
        _ => "api_error",
    }
}

// === impl Interjection ===

impl Interjection {
    fn event(self, asked: &Asked) -> Bytes {
        let name = match (asked.is_native, self) {
            (true, Self::Error) => "event: error\n",
            (true, Self::Nonsense | Self::BrokenStructure) => "event: content_block_delta\n",
            (false, _) => "",
        };
        let payload: &[u8] = match self {
            Self::Error => {
                br#"{"type":"error","error":{"type":"api_error","message":"the engine is on fire"}}"#
            }
            Self::Nonsense => b"}{ not json",
            Self::BrokenStructure => b"{\xff\"object\":\"chat.completion.chunk\"}",
        };
        [name.as_bytes(), b"data: ", payload, b"\n\n"].concat().into()
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
