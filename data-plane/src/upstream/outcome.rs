//! What a failed attempt means: one table, used by failover, breakers, client errors
//! and metrics alike.
//!
//! A row says whether the same candidate gets another try, whether the next one does,
//! what the breaker learns, and what the client sees if nobody does better.

use std::{sync::Arc, time::Duration};

use bridge_translate::{anthropic::ErrorType, error::FaultKind, native::Verbatim};

use super::{breaker, change::Change};

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Nobody took the connection.
    Unreachable,
    ConnectTimeout,
    NameNotFound,
    /// The name points to where no provider may live.
    DeniedAddress,
    Tls,
    /// No byte, or no event, within the provider's limit.
    Silent,
    /// Silence after content.
    Stalled,
    /// The connection ended where an answer should have been.
    Reset,
    Redirect,
    /// Larger than any honest answer.
    TooBig,
    /// Encoded though we asked for plain bytes.
    Encoded,
    /// The upstream said it itself.
    Said(FaultKind),
}

/// A failed attempt, with words that may be shown.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    pub(crate) provider: Arc<str>,
    /// Masked; empty if the upstream said nothing.
    pub(crate) words: String,
    pub(crate) retry_after: Option<Duration>,
    /// Set by a provider that speaks the client's API.
    pub(crate) native: Option<Box<Native>>,
    /// With what change the same candidate may take the request.
    pub(crate) change: Option<Change>,
}

/// How a provider that speaks the client's API said it.
#[derive(Debug, Clone)]
pub(crate) struct Native {
    /// What the client may see of it as it is.
    pub(crate) verbatim: Option<Verbatim>,
    pub(crate) should_retry: Option<bool>,
    /// It refuses the thinking of earlier turns; without it the request may pass.
    pub(crate) refuses_thinking: bool,
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether the same candidate may be asked again at once.
    pub(crate) same: bool,
    /// Whether the next candidate may do better.
    pub(crate) next: bool,
    pub(crate) breaker: breaker::Outcome,
    pub(crate) status: u16,
    pub(crate) error_type: ErrorType,
    /// What to tell the client's retry logic, where we know better.
    pub(crate) should_retry: Option<bool>,
    /// Name of the row in logs and metrics.
    pub(crate) name: &'static str,
}

impl Class {
    pub(crate) fn verdict(self) -> Verdict {
        use breaker::Outcome::{HardFailure, Nothing, SoftFailure};
        let api = ErrorType::Api;
        match self {
            Self::Unreachable => row("unreachable", HardFailure, 503, api).next(),
            Self::NameNotFound => row("name_not_found", HardFailure, 503, api).next(),
            Self::ConnectTimeout => row("connect_timeout", HardFailure, 504, ErrorType::Timeout).next(),
            Self::DeniedAddress => row("denied_address", Nothing, 502, api).next().for_good(),
            Self::Tls => row("tls", HardFailure, 502, api).next().for_good(),
            Self::Silent => row("silent", HardFailure, 504, ErrorType::Timeout).next(),
            Self::Stalled => row("stalled", HardFailure, 504, ErrorType::Timeout),
            Self::Reset => row("reset", HardFailure, 502, api).same().next(),
            Self::Redirect => row("redirect", Nothing, 502, api).next().for_good(),
            Self::TooBig => row("too_big", HardFailure, 502, api).next(),
            Self::Encoded => row("encoded", HardFailure, 502, api).next(),
            Self::Said(kind) => match kind {
                FaultKind::BadRequest => row("bad_request", Nothing, 400, ErrorType::InvalidRequest),
                FaultKind::ContextOverflow(_) => {
                    row("context_overflow", Nothing, 400, ErrorType::InvalidRequest)
                }
                FaultKind::TooLarge => row("too_large", Nothing, 413, ErrorType::RequestTooLarge).for_good(),
                FaultKind::Credentials => row("credentials", Nothing, 502, api).next().for_good(),
                FaultKind::Forbidden => row("forbidden", Nothing, 502, api).next().for_good(),
                FaultKind::Quota => row("quota", Nothing, 502, api).next().for_good(),
                FaultKind::ModelNotFound => row("model_not_found", Nothing, 502, api).next().for_good(),
                FaultKind::WrongAddress => row("wrong_address", Nothing, 502, api).next().for_good(),
                FaultKind::RateLimited => row("rate_limited", SoftFailure, 429, ErrorType::RateLimit).next(),
                FaultKind::Overloaded => row("overloaded", HardFailure, 529, ErrorType::Overloaded)
                    .same()
                    .next(),
                FaultKind::Unavailable => row("unavailable", HardFailure, 503, api).same().next(),
                FaultKind::Server => row("server_error", HardFailure, 502, api).same().next(),
                FaultKind::Timeout => row("upstream_timeout", HardFailure, 504, ErrorType::Timeout).next(),
                FaultKind::Conflict => row("conflict", Nothing, 409, ErrorType::Conflict).next(),
                FaultKind::Cut => row("cut", HardFailure, 502, api).same().next(),
                FaultKind::Nonsense => row("nonsense", HardFailure, 502, api).next(),
            },
        }
    }

    /// Our own words, for failures at which the upstream said nothing.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Unreachable => "could not connect",
            Self::ConnectTimeout => "did not take the connection in time",
            Self::NameNotFound => "its host name has no address",
            Self::DeniedAddress => "its host name points to an address that is not allowed",
            Self::Tls => "no trusted TLS connection",
            Self::Silent => "did not answer in time",
            Self::Stalled => "stopped in the middle of its answer",
            Self::Reset => "closed the connection before its answer was complete",
            Self::Redirect => "answered with a redirect, which is never followed; check its base URL",
            Self::TooBig => "sent more than any answer may hold",
            Self::Encoded => "sent an encoding that was not asked for",
            Self::Said(FaultKind::Credentials) => "rejected its credentials",
            Self::Said(_) => "failed without a message",
        }
    }
}

impl Failure {
    /// At which the upstream said nothing.
    pub(crate) fn new(class: Class, provider: Arc<str>) -> Self {
        Self {
            class,
            provider,
            words: String::new(),
            retry_after: None,
            native: None,
            change: None,
        }
    }

    /// What the client may see as the provider said it.
    pub(crate) fn verbatim(&self) -> Option<&Verbatim> {
        self.native.as_ref()?.verbatim.as_ref()
    }

    /// The provider's name and the words, as a client may read them.
    pub(crate) fn message(&self) -> String {
        match self.class {
            // Clients act on exactly these words.
            Class::Said(FaultKind::ContextOverflow(_)) => self.words.clone(),
            // The status tells already that it is not we who speak.
            _ if self.verbatim().is_some() && !self.words.is_empty() => self.words.clone(),
            _ if self.words.is_empty() => format!("{}: {}", self.provider, self.class.text()),
            _ => format!("{}: {}", self.provider, self.words),
        }
    }
}

/// Of all that went wrong the client is told what is most worth knowing: something
/// that may pass rather than something that will not, and of these the latest; with
/// the shortest wait that anybody named.
pub(crate) fn worth_telling(failures: Vec<Failure>) -> Option<Failure> {
    let wait = failures.iter().filter_map(|failure| failure.retry_after).min();
    let may_pass = |failure: &Failure| failure.class.verdict().should_retry != Some(false);
    let told = failures
        .iter()
        .rposition(may_pass)
        .or(failures.len().checked_sub(1))?;
    failures.into_iter().nth(told).map(|failure| Failure {
        retry_after: wait,
        ..failure
    })
}

fn row(name: &'static str, breaker: breaker::Outcome, status: u16, error_type: ErrorType) -> Verdict {
    Verdict {
        same: false,
        next: false,
        breaker,
        status,
        error_type,
        should_retry: None,
        name,
    }
}

impl Verdict {
    fn same(self) -> Self {
        Self { same: true, ..self }
    }

    fn next(self) -> Self {
        Self { next: true, ..self }
    }

    /// Another round cannot help.
    fn for_good(self) -> Self {
        Self {
            should_retry: Some(false),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [FaultKind; 15] = [
        FaultKind::BadRequest,
        FaultKind::TooLarge,
        FaultKind::Credentials,
        FaultKind::Quota,
        FaultKind::Forbidden,
        FaultKind::ModelNotFound,
        FaultKind::WrongAddress,
        FaultKind::RateLimited,
        FaultKind::Overloaded,
        FaultKind::Unavailable,
        FaultKind::Server,
        FaultKind::Timeout,
        FaultKind::Conflict,
        FaultKind::Cut,
        FaultKind::Nonsense,
    ];

    fn failure(class: Class, wait_s: Option<u64>) -> Failure {
        let retry_after = wait_s.map(Duration::from_secs);
        Failure {
            retry_after,
            ..Failure::new(class, "p".into())
        }
    }

    #[test]
    fn no_fault_of_a_provider_looks_like_a_bad_key_or_an_unknown_model() {
        for kind in KINDS {
            let status = Class::Said(kind).verdict().status;
            assert!(![401, 403, 404].contains(&status), "{kind:?} is told as {status}");
        }
    }

    #[test]
    fn the_requests_own_fault_stops_the_walk_and_blames_nobody() {
        for kind in KINDS {
            let verdict = Class::Said(kind).verdict();
            let is_own_fault = matches!(verdict.status, 400 | 413);
            assert_eq!(verdict.next, !is_own_fault, "{kind:?}");
            if is_own_fault {
                assert_eq!(verdict.breaker, breaker::Outcome::Nothing, "{kind:?}");
            }
        }
    }

    #[test]
    fn what_may_pass_is_told_before_what_will_not() {
        let credentials = failure(Class::Said(FaultKind::Credentials), None);
        let limited = failure(Class::Said(FaultKind::RateLimited), Some(30));
        let other = failure(Class::Said(FaultKind::RateLimited), Some(7));
        let told = worth_telling(vec![other, limited, credentials.clone()]).unwrap();
        assert_eq!(told.class, Class::Said(FaultKind::RateLimited));
        assert_eq!(told.retry_after, Some(Duration::from_secs(7)));
        assert_eq!(
            worth_telling(vec![credentials]).unwrap().class,
            Class::Said(FaultKind::Credentials)
        );
        assert!(worth_telling(Vec::new()).is_none());
    }

    #[test]
    fn a_message_names_the_provider_unless_clients_act_on_the_words() {
        assert_eq!(
            failure(Class::Unreachable, None).message(),
            "p: could not connect"
        );
        let overflow = bridge_translate::error::Overflow {
            prompt_tokens: 9,
            limit: Some(4),
            completion_tokens: None,
        };
        let words = overflow.anthropic_message(None);
        let class = Class::Said(FaultKind::ContextOverflow(overflow));
        assert_eq!(
            Failure {
                words: words.clone(),
                ..failure(class, None)
            }
            .message(),
            words
        );
    }
}
