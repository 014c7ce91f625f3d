//! What the upstream does with one request, as data.
//!
//! A script is a reply (a model's answer, exact bytes, or what a real server says) and the course
//! that it takes: where it stops, waits, is cut into pieces or talked over. It is rendered only
//! when a request is there, because a model's answer has two forms and the request says which:
//! one JSON document, or a stream of events; and in which API, by its path.

mod render;

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;
use tokio::sync::watch;

use super::answer::Answer;
use super::proxy::Server;
pub(super) use render::{Framing, Head, Response, Source};

#[derive(Clone)]
pub struct Script {
    reply: Reply,
    /// Before the head, outside of all framing.
    preface: Vec<Flood>,
    course: Course,
    /// After the last piece.
    flood: Option<Flood>,
    end: End,
}

/// The place of a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Whole; then the connection is closed, though nothing said so.
    WholeThenFin,
    /// Whole; whoever uses the connection again is met by a reset.
    WholeThenStale,
}

/// Holds an upstream until a test opens it.
#[derive(Clone, Debug)]
pub struct Gate(watch::Sender<bool>);

/// The same bytes again and again.
#[derive(Clone)]
pub(super) struct Flood {
    pub(super) piece: Bytes,
    pub(super) times: usize,
}

/// What happens on the way through the pieces of a body.
#[derive(Clone, Default)]
pub(super) struct Course {
    pub(super) cut: Option<After>,
    pub(super) hold: Option<(usize, Gate)>,
    pub(super) pause: Option<(usize, Duration)>,
    /// Before each piece.
    pub(super) pace: Option<Duration>,
    pub(super) slices: Option<Slices>,
    /// Said before this piece, though it does not belong there.
    pub(super) interjection: Option<(usize, Interjection)>,
    pub(super) is_text_garbled: bool,
}

/// A body in slices, with a gap before each.
#[derive(Clone, Copy)]
pub(super) struct Slices {
    pub(super) bytes: usize,
    pub(super) gap: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interjection {
    /// An event that is an error.
    Error,
    /// An event whose data is not JSON.
    Nonsense,
    /// An event whose JSON has a byte between its members that is not UTF-8.
    BrokenStructure,
}

#[derive(Clone)]
pub(super) enum Reply {
    Answer(Answer),
    /// Answers with what the last user message said.
    Echo,
    /// Calls tools until their results are there, then says this.
    ToolsThen(String),
    /// An error in the shape of the API that was asked; in a stream as its only event.
    Error {
        status: u16,
        kind: &'static str,
        message: &'static str,
        headers: Vec<(String, String)>,
    },
    Exact(Exact),
    /// What this server says.
    Behind(Server),
}

/// An answer that does not depend on the request.
#[derive(Clone)]
pub(super) struct Exact {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) pieces: Vec<Bytes>,
    pub(super) is_stream: bool,
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

    /// Sends the client elsewhere.
    pub fn redirect(location: &str) -> Self {
        Self::body(307, "text/plain", "").header("location", location)
    }

    /// Accepts the request and says nothing at all.
    pub fn silence() -> Self {
        Self::text("").cut(After::Nothing, End::Stall)
    }

    /// Adds a header to an exact body or an error.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let header = (name.to_owned(), value.to_owned());
        match &mut self.reply {
            Reply::Exact(exact) => exact.headers.push(header),
            Reply::Error { headers, .. } => headers.push(header),
            Reply::Answer(_) | Reply::Echo | Reply::ToolsThen(_) | Reply::Behind(_) => {}
        }
        self
    }

    /// Changes the type of an exact body.
    #[must_use]
    pub fn typed(mut self, content_type: &str) -> Self {
        if let Reply::Exact(exact) = &mut self.reply {
            exact.headers[0].1 = content_type.to_owned();
        }
        self
    }

    #[must_use]
    pub fn cut(mut self, after: After, end: End) -> Self {
        self.course.cut = Some(after);
        self.end = end;
        self
    }

    /// Ends so, with nothing missing.
    #[must_use]
    pub fn ending(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// Sends `pieces` events (or writes), then waits for the gate.
    #[must_use]
    pub fn hold_after(mut self, pieces: usize, gate: &Gate) -> Self {
        self.course.hold = Some((pieces, gate.clone()));
        self
    }

    /// Waits so long before each event.
    #[must_use]
    pub fn paced(mut self, pace: Duration) -> Self {
        self.course.pace = Some(pace);
        self
    }

    /// Sends `pieces` events (or writes), then waits so long.
    #[must_use]
    pub fn pause_after(mut self, pieces: usize, pause: Duration) -> Self {
        self.course.pause = Some((pieces, pause));
        self
    }

    /// Sends the body in slices of so many bytes, each after a gap.
    #[must_use]
    pub fn sliced(mut self, bytes: usize, gap: Duration) -> Self {
        self.course.slices = Some(Slices { bytes, gap });
        self
    }

    /// Sends these bytes so often before the head, outside of all framing.
    #[must_use]
    pub fn preceded_by(mut self, piece: impl Into<Bytes>, times: usize) -> Self {
        let piece = piece.into();
        self.preface.push(Flood { piece, times });
        self
    }

    /// Sends these bytes so often after all else.
    #[must_use]
    pub fn flooded(mut self, piece: impl Into<Bytes>, times: usize) -> Self {
        let piece = piece.into();
        self.flood = Some(Flood { piece, times });
        self
    }

    #[must_use]
    pub(super) fn interjecting(mut self, after: usize, interjection: Interjection) -> Self {
        self.course.interjection = Some((after, interjection));
        self
    }

    /// Puts bytes into the text that are not UTF-8.
    #[must_use]
    pub(super) fn garbled(mut self) -> Self {
        self.course.is_text_garbled = true;
        self
    }

    pub(super) fn of(reply: Reply) -> Self {
        Self {
            reply,
            preface: Vec::new(),
            course: Course::default(),
            flood: None,
            end: End::Whole,
        }
    }
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
