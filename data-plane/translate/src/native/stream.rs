//! A native stream: the provider's events as they are, watched from the side.
//!
//! Whole events pass as soon as they are whole; a client can do nothing with less. So
//! a stream that breaks off never leaves half an event before the one that says so. Until
//! the first content everything is held, so that another candidate may still answer. What
//! cannot be read passes all the same.

use crate::anthropic::{ErrorBody, event};
use crate::error::{self, FaultKind, UpstreamFault};
use crate::usage::Usage;

use super::answer;
use super::event::{Ends, Event, Figures};
use super::reply::Reply;

/// A longer event passes in pieces, unread.
const EVENT_BYTES_MAX: usize = 64 << 10;
/// More than this before any content is no stream of this API.
const HELD_BYTES_MAX: usize = 1 << 20;
const BLANK_LINE: &[u8] = b"\n\n";

/// What a stream has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// No content yet: nothing was written.
    Held,
    Streaming,
    /// The last event is written; later bytes are ignored.
    Ended,
    Failed(UpstreamFault),
}

/// Passes one stream on.
#[derive(Debug)]
pub struct Stream {
    reply: Reply,
    ends: Ends,
    /// An event that has not ended.
    tail: Vec<u8>,
    /// Events before the first content.
    held: Vec<u8>,
    status: Status,
    has_start: bool,
    /// Part of the current event has been passed on.
    is_within_event: bool,
    is_broken: bool,
    usage: Option<Usage>,
}

impl Stream {
    /// For a client that has nothing of the answer yet.
    pub fn new(reply: Reply) -> Self {
        Stream {
            reply,
            ends: Ends::default(),
            tail: Vec::new(),
            held: Vec::new(),
            status: Status::Held,
            has_start: false,
            is_within_event: false,
            is_broken: false,
            usage: None,
        }
    }

    /// Feeds upstream bytes, cut anywhere; appends client bytes to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Status {
        let mut rest = bytes;
        while self.is_open() {
            let Some(end) = self.ends.next(rest) else {
                self.keep(rest, out);
                break;
            };
            let (event, later) = rest.split_at(end);
            rest = later;
            self.finish_event(event, out);
        }
        self.status.clone()
    }

    /// The upstream's body ended.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Status {
        if self.is_open() {
            match Event::read(&self.tail) {
                // Only its empty line is missing, or what is left of it.
                Event::Stop if self.tail.ends_with(b"\n") => self.finish_event(b"\n", out),
                Event::Stop => self.finish_event(BLANK_LINE, out),
                Event::Error(_) => self.finish_event(b"", out),
                Event::Idle | Event::Start(_) | Event::Delta(_) | Event::Other | Event::Broken => {}
            }
        }
        if self.is_open() {
            let (kind, words) = if self.has_start {
                (FaultKind::Cut, "the stream ended before the answer was complete")
            } else {
                (FaultKind::Nonsense, "empty response")
            };
            self.status = Status::Failed(UpstreamFault::unsaid(kind, words));
        }
        self.status.clone()
    }

    /// Ends a stream that broke after its first content with one `error` event.
    pub fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        if self.is_committed() && !self.is_broken && self.status != Status::Ended {
            if self.is_within_event {
                out.extend_from_slice(BLANK_LINE);
            }
            error.to_event(out);
        }
        self.is_broken = true;
    }

    /// Writes a ping, where one may stand.
    pub fn keep_alive(&mut self, out: &mut Vec<u8>) {
        if self.status == Status::Streaming && !self.is_within_event && !self.is_broken {
            event::ping(out);
        }
    }

    /// Whether content has gone out.
    pub fn is_committed(&self) -> bool {
        match self.status {
            Status::Held => false,
            Status::Streaming | Status::Ended => true,
            // What is held is written with the first content.
            Status::Failed(_) => self.has_start && self.held.is_empty(),
        }
    }

    /// Memory for what has come and cannot be passed on yet.
    pub fn held_bytes(&self) -> usize {
        self.tail.capacity() + self.held.capacity()
    }

    /// The best figures known so far.
    pub fn usage(&self) -> Usage {
        self.usage.unwrap_or_else(|| answer::usage(None, &self.reply))
    }

    fn is_open(&self) -> bool {
        matches!(self.status, Status::Held | Status::Streaming)
    }

    /// Bytes of an event that goes on.
    fn keep(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.is_within_event {
            out.extend_from_slice(bytes);
            return;
        }
        self.tail.extend_from_slice(bytes);
        if self.status == Status::Streaming && self.tail.len() > EVENT_BYTES_MAX {
            out.append(&mut self.tail);
            self.is_within_event = true;
        } else if self.status == Status::Held && self.tail.len() > HELD_BYTES_MAX {
            self.status = no_answer();
        }
    }

    fn hold(&mut self, event: &[u8]) {
        self.held.extend_from_slice(event);
        if self.held.len() > HELD_BYTES_MAX {
            self.status = no_answer();
        }
    }

    /// An event ends with these bytes.
    fn finish_event(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_within_event) {
            out.extend_from_slice(bytes);
            return;
        }
        if self.tail.is_empty() {
            return self.event(bytes, out);
        }
        let mut event = std::mem::take(&mut self.tail);
        event.extend_from_slice(bytes);
        self.event(&event, out);
        event.clear();
        self.tail = event;
    }

    fn event(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let event = Event::read(bytes);
        if let Event::Error(json) = &event {
            let fault = error::from_body_estimated(json, self.reply.estimate());
            self.status = Status::Failed(fault);
            return;
        }
        if self.status == Status::Held {
            self.begin(bytes, event, out);
            return;
        }
        out.extend_from_slice(bytes);
        match event {
            Event::Start(figures) | Event::Delta(figures) => self.count(&figures),
            Event::Stop => self.status = Status::Ended,
            Event::Idle | Event::Other | Event::Broken | Event::Error(_) => {}
        }
    }

    /// Holds what comes before the first content.
    fn begin(&mut self, bytes: &[u8], event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Idle => self.hold(bytes),
            Event::Start(figures) if !self.has_start => {
                self.count(&figures);
                self.has_start = true;
                match self.renamed(bytes) {
                    Some(renamed) => self.hold(&renamed),
                    None => self.hold(bytes),
                }
            }
            Event::Start(_) | Event::Delta(_) | Event::Stop | Event::Other | Event::Broken
                if self.has_start =>
            {
                out.append(&mut self.held);
                self.status = Status::Streaming;
                self.event(bytes, out);
            }
            Event::Start(_)
            | Event::Delta(_)
            | Event::Stop
            | Event::Other
            | Event::Broken
            | Event::Error(_) => {
                self.status = no_answer();
            }
        }
    }

    /// The first event with the client's name of the model; `None` if there is nothing to change.
    fn renamed(&self, event: &[u8]) -> Option<Vec<u8>> {
        let start = event.iter().position(|byte| *byte == b'{')?;
        let (before, json) = event.split_at(start);
        let renamed = answer::renamed(json, Some("message"), &self.reply)?;
        Some([before, &renamed].concat())
    }

    fn count(&mut self, figures: &Figures) {
        if figures.is_told() {
            figures.add_to(self.usage.get_or_insert_default());
        }
    }
}

fn no_answer() -> Status {
    Status::Failed(error::nonsense("the stream begins with no answer"))
}
