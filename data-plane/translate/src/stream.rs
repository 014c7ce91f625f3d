//! Streams: upstream bytes in, client bytes out.
//!
//! The order of things is fixed by the clients: one `message_start`, blocks one after
//! another with gapless indices, one terminal event. Nothing is written before the first
//! output (so that another candidate can still answer); after a failure nothing is closed
//! (a closed block would be taken as final). Time is the caller's.

mod blocks;
mod citations;
pub(crate) mod core;
mod echo;
mod ending;
mod meter;
pub(crate) mod parse;
mod sealing;
pub(crate) mod sink;
mod slot;
mod slots;
mod snapshots;
mod think;

use crate::anthropic::ErrorBody;
use crate::anthropic::response::{Answer, End};
use crate::error::{self, FaultKind, UpstreamFault};
use crate::ids::Ids;
use crate::json::surrogate::Carry;
use crate::loss::LossList;
use crate::reply::Reply;
use crate::sse::Decoder;
use crate::stop_reason::StopReason;
use crate::usage::Usage;

use self::core::Core;
use self::sink::{EventSink, MessageSink, Sink};

/// Longest answer that is collected for a client that did not ask for a stream, in bytes.
const COLLECTED_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a stream has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// No content for the client yet: another candidate may still answer.
    Held,
    /// Content has gone out: no way back.
    Streaming,
    /// The answer is complete and its terminal event written; later bytes are ignored.
    Ended { stop_reason: StopReason },
    /// The upstream failed. Before content another candidate may answer; after it the
    /// caller ends the stream with [`Translator::fail`].
    Failed(UpstreamFault),
}

/// What keeps a silent stream alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    Ping,
    /// An empty delta of the open block: the only thing that resets the watchdog of some clients.
    EmptyDelta,
}

/// Upstream bytes to a sequence of chunks to a core.
#[derive(Debug)]
struct Reader<S> {
    decoder: Decoder,
    carry: Carry,
    core: Core<S>,
    state: State,
}

#[derive(Debug)]
enum State {
    Open,
    Ended(End, Usage),
    Failed(UpstreamFault),
}

impl<S: Sink> Reader<S> {
    fn new(reply: Reply, ids: Ids, sink: S) -> Self {
        Reader {
            decoder: Decoder::default(),
            carry: Carry::default(),
            core: Core::new(reply, ids, sink),
            state: State::Open,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        if !matches!(self.state, State::Open) {
            return;
        }
        self.decoder.push(bytes);
        while matches!(self.state, State::Open) {
            let next = match self.decoder.next_event() {
                Ok(Some(event)) => parse::event(&event, &mut self.carry, &mut self.core),
                Ok(None) => return,
                Err(too_large) => Err(error::nonsense(&too_large.to_string())),
            };
            self.settle(next);
        }
    }

    /// The body ended.
    fn finish(&mut self) {
        while matches!(self.state, State::Open) {
            let next = match self.decoder.finish() {
                Ok(Some(event)) => parse::event(&event, &mut self.carry, &mut self.core),
                Ok(None) => break,
                Err(too_large) => Err(error::nonsense(&too_large.to_string())),
            };
            self.settle(next);
        }
        if matches!(self.state, State::Open) {
            if self.core.may_end_without_done() {
                self.end_normally();
            } else {
                let (kind, message) = if self.core.has_content() {
                    (FaultKind::Cut, "the stream ended before the answer was complete")
                } else {
                    (FaultKind::Nonsense, "empty response")
                };
                self.state = State::Failed(UpstreamFault::unsaid(kind, message));
            }
        }
    }

    /// What it has come to, as far as one can tell without knowing the client.
    fn status(&self) -> Status {
        match &self.state {
            State::Open => Status::Held,
            State::Ended(end, _) => Status::Ended {
                stop_reason: end.reason(),
            },
            State::Failed(fault) => Status::Failed(fault.clone()),
        }
    }

    fn is_finishing(&self) -> bool {
        matches!(self.state, State::Open) && self.core.has_finish()
    }

    fn held_bytes(&self) -> usize {
        self.decoder.held_bytes() + self.core.held_bytes()
    }

    fn settle(&mut self, next: Result<parse::Next, UpstreamFault>) {
        match next {
            Ok(parse::Next::More) => {}
            Ok(parse::Next::End) => self.end_normally(),
            Err(fault) => self.state = State::Failed(fault),
        }
    }

    fn end_normally(&mut self) {
        let mended = if self.carry.is_left() {
            self.core.broken_character()
        } else {
            Ok(())
        };
        self.state = match mended.and_then(|()| self.core.end()) {
            Ok((end, usage)) => State::Ended(end, usage),
            Err(fault) => State::Failed(fault),
        };
    }
}

/// Translates one stream for a streaming client.
#[derive(Debug)]
pub struct Translator {
    reader: Reader<EventSink>,
    is_broken: bool,
}

impl Translator {
    /// For a client that has nothing of the answer yet.
    pub fn new(reply: Reply, ids: Ids) -> Self {
        let sink = EventSink::new(&reply, &ids);
        Translator {
            reader: Reader::new(reply, ids, sink),
            is_broken: false,
        }
    }

    /// Feeds upstream bytes, cut anywhere; appends client bytes to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Status {
        self.drive(out, |reader| reader.push(bytes))
    }

    /// The upstream's body ended, or nothing came for too long after the finish reason.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Status {
        self.drive(out, Reader::finish)
    }

    /// Ends a stream that broke after its head with one `error` event and nothing else.
    /// Before the head it writes nothing: the failure is an HTTP status then.
    pub fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        let is_over = self.is_broken || matches!(self.reader.state, State::Ended(..));
        if self.has_head() && !is_over {
            error.to_event(out);
        }
        self.is_broken = true;
    }

    /// Writes something that keeps the client waiting; nothing before the head or after the end.
    pub fn keep_alive(&mut self, kind: KeepAlive, out: &mut Vec<u8>) {
        if !self.has_head() || self.is_broken || !matches!(self.reader.state, State::Open) {
            return;
        }
        self.with_out(out, |reader| match kind {
            KeepAlive::Ping => reader.core.sink_mut().ping(),
            KeepAlive::EmptyDelta => reader.core.empty_delta(),
        });
    }

    /// Sends the head although no content came, because the client must not wait longer. The
    /// client has a message then, which nobody but this upstream can go on with.
    pub fn force_head(&mut self, out: &mut Vec<u8>) {
        self.with_out(out, |reader| reader.core.sink_mut().head());
    }

    /// Whether content has gone out.
    pub fn is_committed(&self) -> bool {
        self.reader.core.sink().has_content()
    }

    /// Whether `message_start` has gone out.
    pub fn has_head(&self) -> bool {
        self.reader.core.sink().has_head
    }

    /// The upstream has named its finish reason: only usage and the end are still to come,
    /// and the caller should call [`Translator::end`] after a short grace.
    pub fn is_finishing(&self) -> bool {
        self.reader.is_finishing()
    }

    /// Memory for what has come and cannot be written yet.
    pub fn held_bytes(&self) -> usize {
        self.reader.held_bytes()
    }

    /// The best figures known so far.
    pub fn usage(&self) -> Usage {
        match &self.reader.state {
            State::Ended(_, usage) => *usage,
            State::Open | State::Failed(_) => self.reader.core.usage(),
        }
    }

    /// What the upstream said and the client did not get.
    pub fn losses(&self) -> LossList {
        self.reader.core.losses()
    }

    fn drive(&mut self, out: &mut Vec<u8>, step: impl FnOnce(&mut Reader<EventSink>)) -> Status {
        let was_open = matches!(self.reader.state, State::Open) && !self.is_broken;
        if was_open {
            self.with_out(out, |reader| {
                step(reader);
                if let State::Ended(end, usage) = &reader.state {
                    reader.core.sink_mut().finish(end, usage);
                }
            });
        }
        match self.reader.status() {
            Status::Held if self.is_committed() => Status::Streaming,
            status @ (Status::Held | Status::Streaming | Status::Ended { .. } | Status::Failed(_)) => status,
        }
    }

    /// Lends the caller's buffer to the sink for one step.
    fn with_out(&mut self, out: &mut Vec<u8>, step: impl FnOnce(&mut Reader<EventSink>)) {
        std::mem::swap(&mut self.reader.core.sink_mut().out, out);
        step(&mut self.reader);
        std::mem::swap(&mut self.reader.core.sink_mut().out, out);
    }
}

/// Collects a stream into one answer, for a client that did not ask for a stream.
#[derive(Debug)]
pub struct Collector {
    reader: Reader<MessageSink>,
}

impl Collector {
    /// Begins an empty answer.
    pub fn new(reply: Reply, ids: Ids) -> Self {
        Collector {
            reader: Reader::new(reply, ids, MessageSink::default()),
        }
    }

    /// Feeds upstream bytes, cut anywhere.
    pub fn push(&mut self, bytes: &[u8]) -> Status {
        self.reader.push(bytes);
        if self.reader.core.sink().bytes() > COLLECTED_BYTES_MAX {
            self.reader.state = State::Failed(error::nonsense("the answer is too large to be collected"));
        }
        self.reader.status()
    }

    /// Memory for all that was collected.
    pub fn held_bytes(&self) -> usize {
        self.reader.held_bytes() + self.reader.core.sink().bytes()
    }

    /// See [`Translator::is_finishing`].
    pub fn is_finishing(&self) -> bool {
        self.reader.is_finishing()
    }

    /// The upstream's body ended: the whole answer, or why there is none.
    pub fn end(mut self) -> Result<Answer, UpstreamFault> {
        self.reader.finish();
        match self.reader.state {
            State::Ended(end, usage) => Ok(self.reader.core.write_answer(&end, usage)),
            State::Failed(fault) => Err(fault),
            State::Open => Err(error::nonsense("empty response")),
        }
    }
}
