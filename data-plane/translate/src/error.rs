//! Failures in both directions: what is wrong with a client's request, and what an
//! upstream said when it refused or broke.
//!
//! Says what a failure *is*; which status, retry and header follow from it is the
//! caller's one table.

mod overflow;
mod read;

use std::fmt;
use std::time::Duration;

pub use read::{duration, read};
pub(crate) use read::{from_body, from_finish, nonsense};

/// The client's request cannot be served as it is: Anthropic's `invalid_request_error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// `path: text`, as the real API words it.
    pub message: String,
}

impl BadRequest {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        BadRequest {
            message: message.into(),
        }
    }

    pub(crate) fn at(path: impl fmt::Display, text: &str) -> Self {
        BadRequest {
            message: format!("{path}: {text}"),
        }
    }
}

/// A place in the client's request; written only when something is wrong there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    Root(&'p str),
    Index(&'p Path<'p>, usize),
    Field(&'p Path<'p>, &'p str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root(name) => f.write_str(name),
            Path::Index(parent, n) => write!(f, "{parent}.{n}"),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}

/// What an upstream did wrong, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UpstreamFault {
    pub kind: FaultKind,
    /// At most 500 characters, tags stripped. Secrets are **not** masked: the caller knows them.
    pub message: String,
    /// From the body; headers are the caller's.
    pub retry_after: Option<Duration>,
}

/// The kinds of upstream faults that someone decides on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The upstream refused the request as malformed.
    BadRequest,
    /// The prompt, or the prompt and the wanted output, do not fit.
    ContextOverflow(Overflow),
    /// The body is too large for the upstream.
    TooLarge,
    /// The provider's key is wrong.
    Credentials,
    /// The provider's account is empty or over its quota.
    Quota,
    Forbidden,
    /// The upstream does not know the model.
    ModelNotFound,
    /// Nothing that speaks this API lives at the address.
    WrongAddress,
    RateLimited,
    Overloaded,
    /// A 503 that does not speak of load.
    Unavailable,
    Server,
    Timeout,
    Conflict,
    /// The answer ended before it was complete.
    Cut,
    /// Garbage, HTML, an empty or a wrongly shaped answer.
    Nonsense,
}

/// The figures of a context overflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow {
    /// Tokens of the prompt: the upstream's figure, else our estimate.
    pub prompt_tokens: u64,
    /// The upstream's limit, if it named one.
    pub limit: Option<u64>,
    /// Tokens of wanted output, if the upstream counted them in.
    pub completion_tokens: Option<u64>,
}

impl Overflow {
    /// The only wordings from which clients recover by themselves. `window` is the
    /// configured context window, for upstreams that do not name their limit.
    pub fn anthropic_message(&self, window: Option<u64>) -> String {
        let prompt = self.prompt_tokens;
        let limit = self.limit.or(window);
        match (limit, self.completion_tokens) {
            (Some(limit), Some(wanted)) if prompt <= limit => format!(
                "input length and `max_tokens` exceed context limit: {prompt} + {wanted} > {limit}, \
                 decrease input length or `max_tokens` and try again"
            ),
            (Some(limit), _) if prompt > limit => {
                format!("prompt is too long: {prompt} tokens > {limit} maximum")
            }
            // An estimate below the limit would contradict the refusal.
            (Some(limit), _) => format!("prompt is too long: {} tokens > {limit} maximum", limit + 1),
            (None, _) => format!(
                "prompt is too long: {prompt} tokens > {} maximum",
                prompt.saturating_sub(1)
            ),
        }
    }
}
