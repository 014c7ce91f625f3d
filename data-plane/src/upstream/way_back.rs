//! The way back: how what an upstream sends becomes what the client gets.
//!
//! The walk and the relay drive every answer by the same few verbs, whatever API the
//! upstream speaks; only this module knows which one it was.

use bridge_translate::{
    Ids, Usage,
    anthropic::ErrorBody,
    error::UpstreamFault,
    response::{self, Answer},
    stream::{Collector, KeepAlive, Status, Translator},
};

/// What the way back needs of a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// From OpenAI's chat completions.
    Translated(bridge_translate::Reply),
}

/// A stream for a client that asked for one: upstream bytes in, client bytes out.
pub(crate) enum Stream {
    Translated(Translator),
}

/// What a stream has come to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// No content for the client yet: another candidate may still answer.
    Held,
    Streaming,
    /// The answer is complete; later bytes are ignored.
    Ended,
    Failed(UpstreamFault),
}

/// A whole answer in the form that the client asked for.
pub(crate) struct Whole {
    pub(crate) body: Vec<u8>,
    pub(crate) usage: Usage,
}

// === impl Reply ===

impl Reply {
    pub(crate) fn stream(&self) -> Stream {
        match self {
            Self::Translated(reply) => Stream::Translated(Translator::new(reply.clone(), ids())),
        }
    }

    /// Gathers a stream for a client that asked for none.
    pub(crate) fn collector(&self) -> Collector {
        match self {
            Self::Translated(reply) => Collector::new(reply.clone(), ids()),
        }
    }

    /// A whole answer for a client that asked for one.
    pub(crate) fn document(&self, body: &[u8]) -> Result<Whole, UpstreamFault> {
        match self {
            Self::Translated(reply) => response::to_anthropic(body, reply, ids()).map(Whole::of),
        }
    }

    /// A whole answer for a client that asked for a stream.
    pub(crate) fn events(&self, body: &[u8]) -> Result<Whole, UpstreamFault> {
        match self {
            Self::Translated(reply) => {
                let mut events = Vec::with_capacity(body.len() * 2);
                let usage = response::to_anthropic_events(body, reply, ids(), &mut events)?;
                Ok(Whole { body: events, usage })
            }
        }
    }

    /// What an upstream says that refuses.
    pub(crate) fn fault(&self, status: u16, content_type: Option<&str>, words: &[u8]) -> UpstreamFault {
        match self {
            Self::Translated(reply) => bridge_translate::error::read(status, content_type, words, reply),
        }
    }
}

// === impl Stream ===

impl Stream {
    /// Feeds upstream bytes, cut anywhere; appends client bytes to `out`.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        match self {
            Self::Translated(translator) => translator.push(bytes, out).into(),
        }
    }

    /// The upstream's body ended, or nothing came for too long after its last word.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) -> Progress {
        match self {
            Self::Translated(translator) => translator.end(out).into(),
        }
    }

    /// Ends a stream that broke after its head.
    pub(crate) fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Translated(translator) => translator.fail(error, out),
        }
    }

    /// Writes something that keeps the client waiting, where it may stand.
    pub(crate) fn keep_alive(&mut self, kind: KeepAlive, out: &mut Vec<u8>) {
        match self {
            Self::Translated(translator) => translator.keep_alive(kind, out),
        }
    }

    /// Whether content has gone out.
    pub(crate) fn is_committed(&self) -> bool {
        match self {
            Self::Translated(translator) => translator.is_committed(),
        }
    }

    /// Only the end is still to come.
    pub(crate) fn is_finishing(&self) -> bool {
        match self {
            Self::Translated(translator) => translator.is_finishing(),
        }
    }

    /// The best figures known so far.
    pub(crate) fn usage(&self) -> Usage {
        match self {
            Self::Translated(translator) => translator.usage(),
        }
    }
}

impl From<Status> for Progress {
    fn from(status: Status) -> Self {
        match status {
            Status::Held => Self::Held,
            Status::Streaming => Self::Streaming,
            // The meter does not ask why a model stopped.
            Status::Ended { stop_reason: _ } => Self::Ended,
            Status::Failed(fault) => Self::Failed(fault),
        }
    }
}

impl Whole {
    pub(crate) fn of(answer: Answer) -> Self {
        let Answer {
            body,
            usage,
            stop_reason: _,
        } = answer;
        Self { body, usage }
    }
}

/// Ids that no other answer has.
fn ids() -> Ids {
    Ids::new(rand::random())
}
