//! The way back: how what an upstream sends becomes what the client gets.
//!
//! The walk and the relay drive every answer by the same few verbs, whatever API the
//! upstream speaks; only this module knows which one it was.

use bridge_translate::{
    Ids, LossList, StopReason, Usage,
    anthropic::ErrorBody,
    error::{FaultKind, UpstreamFault},
    native::{self, Refusal},
    response::{self, Answer, Told},
    stream::{Collector, KeepAlive, Status, Translator},
};

/// What the way back needs of a request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// From OpenAI's chat completions.
    Translated(bridge_translate::Reply),
    /// As it is, from a provider that speaks the client's API.
    Native(native::Reply),
}

/// A stream for a client that asked for one: upstream bytes in, client bytes out.
#[expect(clippy::large_enum_variant, reason = "one per stream, moved once")]
pub(crate) enum Stream {
    Translated(Translator),
    Native(native::Stream),
}

/// What a stream has come to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// No content for the client yet: another candidate may still answer.
    Held,
    Streaming,
    /// The answer is complete; later bytes are ignored. With why the model stopped, if we know.
    Ended(Option<StopReason>),
    Failed(UpstreamFault),
}

/// A whole answer in the form that the client asked for.
pub(crate) struct Whole {
    pub(crate) body: Vec<u8>,
    pub(crate) usage: Usage,
    pub(crate) losses: LossList,
    /// Why the model stopped, if we know.
    pub(crate) stop_reason: Option<StopReason>,
}

// === impl Reply ===

impl Reply {
    pub(crate) fn stream(&self) -> Stream {
        match self {
            Self::Translated(reply) => Stream::Translated(Translator::new(reply.clone(), ids())),
            Self::Native(reply) => Stream::Native(native::Stream::new(reply.clone())),
        }
    }

    /// Gathers a stream for a client that asked for none.
    pub(crate) fn collector(&self) -> Result<Collector, UpstreamFault> {
        match self {
            Self::Translated(reply) => Ok(Collector::new(reply.clone(), ids())),
            Self::Native(_) => Err(other_form("streamed an answer that was asked for as a whole")),
        }
    }

    /// A whole answer for a client that asked for one.
    pub(crate) fn document(&self, body: &[u8]) -> Result<Whole, UpstreamFault> {
        match self {
            Self::Translated(reply) => response::to_anthropic(body, reply, ids()).map(Whole::of),
            Self::Native(reply) => {
                let native::Answer { body, usage } = native::answer(body, reply)?;
                Ok(Whole {
                    body,
                    usage,
                    // It passes as it is.
                    losses: LossList::default(),
                    stop_reason: None,
                })
            }
        }
    }

    /// A whole answer for a client that asked for a stream.
    pub(crate) fn events(&self, body: &[u8]) -> Result<Whole, UpstreamFault> {
        match self {
            Self::Translated(reply) => {
                let mut events = Vec::with_capacity(body.len() * 2);
                let Told {
                    usage,
                    losses,
                    stop_reason,
                } = response::to_anthropic_events(body, reply, ids(), &mut events)?;
                Ok(Whole {
                    body: events,
                    usage,
                    losses,
                    stop_reason: Some(stop_reason),
                })
            }
            Self::Native(reply) => {
                // If it is an error in disguise, that says more.
                native::answer(body, reply)?;
                Err(other_form("answered as a whole what was asked for as a stream"))
            }
        }
    }

    /// What an upstream says that refuses.
    pub(crate) fn refusal(&self, status: u16, content_type: Option<&str>, words: &[u8]) -> Refusal {
        match self {
            Self::Translated(reply) => Refusal {
                fault: bridge_translate::error::read(status, content_type, words, reply),
                verbatim: None,
            },
            Self::Native(reply) => native::refusal(status, content_type, words, reply),
        }
    }
}

// === impl Stream ===

impl Stream {
    /// Feeds upstream bytes, cut anywhere; appends client bytes to `out`.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        match self {
            Self::Translated(translator) => translator.push(bytes, out).into(),
            Self::Native(stream) => stream.push(bytes, out).into(),
        }
    }

    /// The upstream's body ended, or nothing came for too long after its last word.
    pub(crate) fn end(&mut self, out: &mut Vec<u8>) -> Progress {
        match self {
            Self::Translated(translator) => translator.end(out).into(),
            Self::Native(stream) => stream.end(out).into(),
        }
    }

    /// Ends a stream that broke after its head.
    pub(crate) fn fail(&mut self, error: &ErrorBody<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Translated(translator) => translator.fail(error, out),
            Self::Native(stream) => stream.fail(error, out),
        }
    }

    /// Writes something that keeps the client waiting, where it may stand.
    pub(crate) fn keep_alive(&mut self, kind: KeepAlive, out: &mut Vec<u8>) {
        match self {
            Self::Translated(translator) => translator.keep_alive(kind, out),
            // An empty delta would be a word that the provider never said.
            Self::Native(stream) => stream.keep_alive(out),
        }
    }

    /// Begins the answer without a word of it, for clients that wait no longer. From here on
    /// nobody else can give it. Does nothing where the words are the provider's own.
    pub(crate) fn begin_wordless(&mut self, out: &mut Vec<u8>) {
        match self {
            Self::Translated(translator) => {
                translator.force_head(out);
                translator.keep_alive(KeepAlive::EmptyDelta, out);
            }
            Self::Native(_) => {}
        }
    }

    /// Whether content has gone out.
    pub(crate) fn is_committed(&self) -> bool {
        match self {
            Self::Translated(translator) => translator.is_committed(),
            Self::Native(stream) => stream.is_committed(),
        }
    }

    /// Only the end is still to come.
    pub(crate) fn is_finishing(&self) -> bool {
        match self {
            Self::Translated(translator) => translator.is_finishing(),
            // Its last event is the only end.
            Self::Native(_) => false,
        }
    }

    /// What the upstream said and the client did not get.
    pub(crate) fn losses(&self) -> LossList {
        match self {
            Self::Translated(translator) => translator.losses(),
            Self::Native(_) => LossList::default(),
        }
    }

    /// Memory for what has come and cannot go out yet.
    pub(crate) fn held_bytes(&self) -> usize {
        match self {
            Self::Translated(translator) => translator.held_bytes(),
            Self::Native(stream) => stream.held_bytes(),
        }
    }

    /// The best figures known so far.
    pub(crate) fn usage(&self) -> Usage {
        match self {
            Self::Translated(translator) => translator.usage(),
            Self::Native(stream) => stream.usage(),
        }
    }
}

impl From<Status> for Progress {
    fn from(status: Status) -> Self {
        match status {
            Status::Held => Self::Held,
            Status::Streaming => Self::Streaming,
            Status::Ended { stop_reason } => Self::Ended(Some(stop_reason)),
            Status::Failed(fault) => Self::Failed(fault),
        }
    }
}

impl From<native::Status> for Progress {
    fn from(status: native::Status) -> Self {
        match status {
            native::Status::Held => Self::Held,
            native::Status::Streaming => Self::Streaming,
            // It passed unread.
            native::Status::Ended => Self::Ended(None),
            native::Status::Failed(fault) => Self::Failed(fault),
        }
    }
}

impl Whole {
    pub(crate) fn of(answer: Answer) -> Self {
        let Answer {
            body,
            usage,
            stop_reason,
            losses,
        } = answer;
        Self {
            body,
            usage,
            losses,
            stop_reason: Some(stop_reason),
        }
    }
}

/// A provider of the client's own API that does not do what was asked.
fn other_form(words: &str) -> UpstreamFault {
    UpstreamFault {
        kind: FaultKind::Nonsense,
        message: words.to_owned(),
        codes: String::new(),
        retry_after: None,
        remedy: None,
    }
}

/// Ids that no other answer has.
fn ids() -> Ids {
    Ids::new(rand::random())
}
