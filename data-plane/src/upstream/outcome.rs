//! What a failed attempt means: one table, used by failover, breakers, client errors,
//! metrics and `FAILURES.md` alike.
//!
//! A row says whether the same candidate gets another try, whether the next one does,
//! what is remembered of it, whom it concerns, and what the client sees if nobody does
//! better.

mod failure;

use bridge_translate::{anthropic::ErrorType, error::FaultKind};

use super::breaker;
use crate::{snapshot::Credential, usage::served::Shows};

pub(crate) use failure::{Failure, Native, worth_telling};

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
    /// The request's own time was over before the provider's limit was.
    OutOfTime,
    /// Silence after content.
    Stalled,
    /// The connection ended where an answer should have been.
    Reset,
    Redirect,
    /// Larger than any honest answer.
    TooBig,
    /// Larger than what is left of the memory for bodies: nobody's fault but ours.
    NoMemory,
    /// Encoded though we asked for plain bytes.
    Encoded,
    /// The upstream said it itself.
    Said(FaultKind),
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Name of the row in logs and metrics.
    pub(crate) name: &'static str,
    /// Whether the same candidate is asked again, as often as the provider's `max_retries` and
    /// its retry budget allow.
    pub(crate) same: bool,
    /// Whether the next candidate may do better.
    pub(crate) next: bool,
    pub(crate) breaker: breaker::Outcome,
    pub(crate) rest: Rest,
    /// Nothing gets better before an admin acts.
    pub(crate) is_alarm: bool,
    pub(crate) told: Told,
}

/// Who is left alone afterwards, beside what the breaker decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    Nobody,
    /// This model of the provider, for as long as it asked.
    CoolDown,
    /// The credential.
    Quarantine,
    /// The credential, if it keeps happening: once, it may be about one request.
    Suspicion,
}

/// What the client sees if nobody does better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) error_type: ErrorType,
    /// What to tell the client's retry logic, where we know better.
    pub(crate) should_retry: Option<bool>,
}

impl Class {
    pub(crate) const RATE_LIMITED: Self = Self::Said(FaultKind::RateLimited);

    pub(crate) fn verdict(self) -> Verdict {
        use breaker::Outcome::{HardFailure, Nothing};
        let api = ErrorType::Api;
        match self {
            Self::Unreachable => row("unreachable", HardFailure, 503, api).next(),
            Self::NameNotFound => row("name_not_found", HardFailure, 503, api).next(),
            Self::ConnectTimeout => row("connect_timeout", HardFailure, 504, ErrorType::Timeout).next(),
            Self::DeniedAddress => row("denied_address", Nothing, 502, api).next().alarm(),
            Self::Tls => row("tls", HardFailure, 502, api).next().alarm(),
            Self::Silent => row("silent", HardFailure, 504, ErrorType::Timeout).next(),
            Self::OutOfTime => row("out_of_time", Nothing, 504, ErrorType::Timeout),
            Self::Stalled => row("stalled", HardFailure, 504, ErrorType::Timeout),
            Self::Reset => row("reset", HardFailure, 502, api).retry().next(),
            Self::Redirect => row("redirect", Nothing, 502, api).next().alarm(),
            Self::TooBig => row("too_big", HardFailure, 502, api).next(),
            Self::NoMemory => row("no_memory", Nothing, 529, ErrorType::Overloaded),
            Self::Encoded => row("encoded", HardFailure, 502, api).next(),
            Self::Said(kind) => said(kind),
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
            Self::OutOfTime => "had not answered when the time for this request was over",
            Self::Stalled => "stopped in the middle of its answer",
            Self::Reset => "closed the connection before its answer was complete",
            Self::Redirect => "answered with a redirect, which is never followed; check its base URL",
            Self::TooBig => "sent more than any answer may hold",
            Self::NoMemory => "sent more than this data plane has memory for; try again in a moment",
            Self::Encoded => "sent an encoding that was not asked for",
            Self::Said(FaultKind::Credentials) => "rejected its credentials",
            Self::Said(FaultKind::Forbidden) => "refuses its credentials this use",
            Self::Said(FaultKind::Quota) => "its account is empty or over its quota",
            Self::Said(FaultKind::RateLimited) => "is over its rate limit",
            Self::Said(_) => "failed without a message",
        }
    }
}

/// The rows of what upstreams say themselves.
fn said(kind: FaultKind) -> Verdict {
    use breaker::Outcome::{HardFailure, Nothing, SoftFailure};
    let api = ErrorType::Api;
    let own_fault = |name, status, error_type| row(name, Nothing, status, error_type);
    let admins = |name| row(name, Nothing, 502, api).next().alarm();
    match kind {
        FaultKind::BadRequest => own_fault("bad_request", 400, ErrorType::InvalidRequest),
        FaultKind::ContextOverflow(_) => own_fault("context_overflow", 400, ErrorType::InvalidRequest),
        FaultKind::TooLarge => own_fault("too_large", 413, ErrorType::RequestTooLarge).for_good(),
        FaultKind::Credentials => admins("credentials").then(Rest::Quarantine),
        FaultKind::Forbidden => admins("forbidden").then(Rest::Suspicion),
        FaultKind::Quota => admins("quota").then(Rest::Quarantine),
        FaultKind::ModelNotFound => admins("model_not_found"),
        FaultKind::WrongAddress => admins("wrong_address"),
        FaultKind::RateLimited => row("rate_limited", SoftFailure, 429, ErrorType::RateLimit)
            .next()
            .then(Rest::CoolDown),
        FaultKind::Overloaded => row("overloaded", HardFailure, 529, ErrorType::Overloaded)
            .retry()
            .next(),
        FaultKind::Unavailable => row("unavailable", HardFailure, 503, api).retry().next(),
        FaultKind::Server => row("server_error", HardFailure, 502, api).retry().next(),
        FaultKind::Timeout => row("upstream_timeout", HardFailure, 504, ErrorType::Timeout).next(),
        FaultKind::Conflict => row("conflict", Nothing, 409, ErrorType::Conflict).next(),
        FaultKind::Cut => row("cut", HardFailure, 502, api).retry().next(),
        FaultKind::Nonsense => row("nonsense", HardFailure, 502, api).next(),
    }
}

fn row(name: &'static str, breaker: breaker::Outcome, status: u16, error_type: ErrorType) -> Verdict {
    Verdict {
        name,
        same: false,
        next: false,
        breaker,
        rest: Rest::Nobody,
        is_alarm: false,
        told: Told {
            status,
            error_type,
            should_retry: None,
        },
    }
}

// === impl Verdict ===

impl Verdict {
    /// The same for everybody, save what is said of a credential that is the caller's own:
    /// that concerns this caller, and nobody else may suffer for it.
    pub(crate) fn about(self, credential: Credential) -> Self {
        match (credential, self.rest) {
            (Credential::Configured, _) | (Credential::Callers, Rest::Nobody) => self,
            (Credential::Callers, Rest::CoolDown | Rest::Quarantine | Rest::Suspicion) => Self {
                breaker: breaker::Outcome::Nothing,
                rest: Rest::Nobody,
                is_alarm: false,
                ..self
            },
        }
    }

    /// What the call says of the provider, for those who look back on it.
    pub(crate) fn shows(self) -> Shows {
        match self.breaker {
            breaker::Outcome::HardFailure | breaker::Outcome::SoftFailure => Shows::Failure,
            breaker::Outcome::Nothing if self.is_alarm => Shows::Failure,
            breaker::Outcome::Nothing => Shows::Nothing,
            breaker::Outcome::Success => Shows::Answer,
        }
    }

    fn retry(self) -> Self {
        Self { same: true, ..self }
    }

    fn next(self) -> Self {
        Self { next: true, ..self }
    }

    fn then(self, rest: Rest) -> Self {
        Self { rest, ..self }
    }

    /// Another round cannot help.
    fn for_good(mut self) -> Self {
        self.told.should_retry = Some(false);
        self
    }

    /// Another round cannot help, but an admin can.
    fn alarm(self) -> Self {
        Self {
            is_alarm: true,
            ..self.for_good()
        }
    }
}

#[cfg(test)]
mod tests;
