//! What an upstream did wrong.

use std::time::Duration;

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
            (Some(limit), _) => format!(
                "prompt is too long: {} tokens > {limit} maximum",
                limit.saturating_add(1)
            ),
            (None, _) => format!(
                "prompt is too long: {prompt} tokens > {} maximum",
                prompt.saturating_sub(1)
            ),
        }
    }
}
