//! What an upstream did wrong.

use std::time::Duration;

use crate::dialect::Field;

/// Room that is left between a prompt and the output that shall fit beside it, in tokens.
const SHRINK_MARGIN_TOKENS: u64 = 256;
/// Output below this is not worth asking for again, in tokens.
const SHRUNK_OUTPUT_TOKENS_MIN: u64 = 1024;

/// What an upstream did wrong, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct UpstreamFault {
    pub kind: FaultKind,
    /// At most 500 characters, tags stripped. Secrets are **not** masked: the caller knows them.
    pub message: String,
    /// The upstream's own words for it, its code and its type, separated by spaces.
    pub codes: String,
    /// From the body; headers are the caller's.
    pub retry_after: Option<Duration>,
    /// What to change before asking the same upstream again.
    pub remedy: Option<Remedy>,
}

/// How a request can be changed so that the upstream takes it. Both hold for every later
/// request of the same kind, so that the caller does well to remember them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// Leave a field out, or write it the other way.
    Without(Field),
    /// The model never writes more tokens than this.
    OutputAtMost(u32),
}

impl UpstreamFault {
    /// Whether the upstream called it this, say `tool_use_failed`.
    pub fn has_code(&self, code: &str) -> bool {
        self.codes
            .split(' ')
            .any(|known| known.eq_ignore_ascii_case(code))
    }

    /// A fault that the upstream did not put into words.
    pub(crate) fn unsaid(kind: FaultKind, message: impl Into<String>) -> Self {
        UpstreamFault {
            kind,
            message: message.into(),
            codes: String::new(),
            retry_after: None,
            remedy: None,
        }
    }
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
    /// The `max_tokens` with which the same prompt would fit; none if too little is left to be
    /// worth another try. `window` as in [`Overflow::anthropic_message`].
    pub fn output_that_fits(&self, window: Option<u64>) -> Option<u32> {
        let room = self
            .limit
            .or(window)?
            .checked_sub(self.prompt_tokens)?
            .checked_sub(SHRINK_MARGIN_TOKENS)?;
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        (u64::from(room) >= SHRUNK_OUTPUT_TOKENS_MIN).then_some(room)
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prompt_tokens: u64, limit: Option<u64>, fits: Option<u32>) {
        let overflow = Overflow {
            prompt_tokens,
            limit,
            completion_tokens: Some(32_000),
        };
        assert_eq!(
            overflow.output_that_fits(Some(9000)),
            fits,
            "{prompt_tokens} of {limit:?}"
        );
    }

    #[test]
    fn a_fault_has_the_codes_that_were_said() {
        let fault = UpstreamFault {
            codes: "tool_use_failed invalid_request_error".to_owned(),
            ..UpstreamFault::unsaid(FaultKind::BadRequest, "")
        };
        assert!(fault.has_code("tool_use_failed") && fault.has_code("Invalid_Request_Error"));
        assert!(!fault.has_code("tool_use"));
    }

    #[test]
    fn h06_output_shrinks_to_the_room_that_is_left() {
        check(12_526, Some(40_000), Some(27_218));
        check(38_720, Some(40_000), Some(1024));
        check(38_721, Some(40_000), None);
        check(41_000, Some(40_000), None);
        check(7000, None, Some(1744));
        check(0, Some(u64::MAX), Some(u32::MAX));
    }
}
