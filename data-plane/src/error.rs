//! The one way out for everything that goes wrong: an enum for those who decide, and
//! one map from it to status, type, text and headers.

use std::time::Duration;

use axum::response::Response;
use bridge_translate::{
    anthropic::{ErrorBody, ErrorType},
    error::BadRequest,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};

use crate::{
    auth,
    body::encoding,
    limits,
    overload::Shortage,
    request_id::RequestId,
    routing,
    snapshot::live::Unavailable,
    upstream::outcome::{Class, Failure},
};

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
pub(crate) const ERROR_SOURCE: HeaderName = HeaderName::from_static("x-bridge-error-source");
/// Clients give up at once on a longer wait than this, so a little longer is told as this.
const WAIT_PATIENT_S: u64 = 60;
/// From here on the truth is told, and not to wait for it.
const WAIT_POINTLESS_S: u64 = 300;
const WAIT_FOR_CONFIG: Duration = Duration::from_secs(1);
const WAIT_FOR_ROOM: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    #[error(transparent)]
    Auth(#[from] auth::Error),
    #[error(transparent)]
    Routing(#[from] routing::Error),
    #[error("{0}")]
    Limited(limits::Refusal),
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    #[error("the request cannot be translated without loss: {0}")]
    Lossy(String),
    #[error("the request body is larger than {} MiB", .limit_bytes >> 20)]
    TooLarge { limit_bytes: usize },
    #[error("the request body did not arrive in time")]
    SlowBody,
    #[error("the request body is framed wrongly")]
    BrokenBody,
    #[error("the client left while it was sending the request")]
    ClientLeft,
    #[error(transparent)]
    Encoding(#[from] encoding::Error),
    #[error("{0} is not supported by this proxy")]
    NotFound(String),
    #[error("this method is not supported here")]
    MethodNotAllowed,
    #[error("no provider of this model is taking requests at the moment")]
    AllOpen { wait: Duration },
    #[error("{}", .0.message())]
    Upstream(Failure),
    #[error("no provider could be asked within the time that one request may take")]
    Deadline,
    #[error(transparent)]
    Overloaded(Shortage),
    #[error("this data plane is shutting down")]
    Draining,
    #[error("the API key was revoked while this request was running")]
    KeyRevoked,
    #[error("an internal error happened")]
    Internal,
}

/// What an error looks like on the wire.
struct Look {
    status: u16,
    error_type: ErrorType,
    should_retry: Option<bool>,
    wait: Option<Duration>,
}

impl Error {
    pub(crate) fn status(&self) -> u16 {
        self.look().status
    }

    pub(crate) fn error_type(&self) -> ErrorType {
        self.look().error_type
    }

    /// Whether an upstream said it, or we.
    pub(crate) fn source_name(&self) -> &'static str {
        match self {
            Self::Upstream(failure) if failure.class != Class::NoMemory => "upstream",
            _ => "bridge",
        }
    }

    pub(crate) fn into_response(self, id: &RequestId) -> Response {
        let look = self.look();
        let text = self.to_string();
        let mut body = ErrorBody::new(look.error_type, &text, id.as_str());
        if let Self::Upstream(failure) = &self {
            body.error_code = failure.verbatim().and_then(|said| said.error_code.as_deref());
        }
        if let Self::Encoding(error) = &self {
            body.error_code = Some(error.code());
        } else if let Self::BadRequest(error) = &self {
            body.error_code = error.code;
        }
        let mut response = Response::new(Bytes::from(body.to_json()).into());
        *response.status_mut() =
            StatusCode::from_u16(look.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (wait_s, is_pointless) = look.wait.map_or((None, false), |wait| {
            let (seconds, is_pointless) = honest_wait(wait);
            (Some(seconds), is_pointless)
        });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_SOURCE, HeaderValue::from_static(self.source_name()));
        if let Some(seconds) = wait_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(should_retry) = if is_pointless {
            Some(false)
        } else {
            look.should_retry
        } {
            let text = if should_retry { "true" } else { "false" };
            headers.insert(SHOULD_RETRY, HeaderValue::from_static(text));
        }
        response
    }

    fn look(&self) -> Look {
        match self {
            Self::Unavailable(Unavailable::Empty | Unavailable::Stale) => Look {
                wait: Some(WAIT_FOR_CONFIG),
                ..look(503, ErrorType::Api)
            },
            Self::Auth(auth::Error::Missing | auth::Error::Invalid) => {
                for_good(401, ErrorType::Authentication)
            }
            Self::Limited(refusal) => Look {
                wait: Some(refusal.wait),
                should_retry: refusal.is_for_long().then_some(false),
                ..look(429, ErrorType::RateLimit)
            },
            Self::Routing(routing::Error::NotAllowed(_)) | Self::KeyRevoked => {
                for_good(403, ErrorType::Permission)
            }
            Self::Routing(routing::Error::Unmapped(_) | routing::Error::NoCandidate { .. }) => {
                for_good(404, ErrorType::NotFound)
            }
            Self::BadRequest(_)
            | Self::Lossy(_)
            | Self::Encoding(encoding::Error::Unsupported | encoding::Error::Invalid) => {
                for_good(400, ErrorType::InvalidRequest)
            }
            // Nobody is there to see the latter.
            Self::BrokenBody | Self::ClientLeft => look(400, ErrorType::InvalidRequest),
            Self::TooLarge { .. } | Self::Encoding(encoding::Error::TooLarge { .. }) => {
                for_good(413, ErrorType::RequestTooLarge)
            }
            Self::SlowBody => look(408, ErrorType::InvalidRequest),
            Self::NotFound(_) => for_good(404, ErrorType::NotFound),
            Self::MethodNotAllowed => for_good(405, ErrorType::InvalidRequest),
            Self::AllOpen { wait } => Look {
                wait: Some(*wait),
                ..look(503, ErrorType::Api)
            },
            Self::Upstream(failure) => of_failure(failure),
            Self::Deadline => look(504, ErrorType::Timeout),
            Self::Overloaded(_) => Look {
                wait: Some(WAIT_FOR_ROOM),
                ..look(529, ErrorType::Overloaded)
            },
            Self::Draining => look(529, ErrorType::Overloaded),
            Self::Internal => look(500, ErrorType::Api),
        }
    }
}

fn look(status: u16, error_type: ErrorType) -> Look {
    Look {
        status,
        error_type,
        should_retry: None,
        wait: None,
    }
}

fn for_good(status: u16, error_type: ErrorType) -> Look {
    Look {
        should_retry: Some(false),
        ..look(status, error_type)
    }
}

fn of_failure(failure: &Failure) -> Look {
    let Failure {
        class,
        provider: _,
        words: _,
        retry_after,
        native,
        // Only the walk asks for it.
        change: _,
    } = failure;
    let by_table = class.verdict().told;
    let (status, error_type) = match failure.verbatim() {
        Some(verbatim) => (verbatim.status, verbatim.error_type),
        None => (by_table.status, by_table.error_type),
    };
    let told = native.as_ref().and_then(|native| native.should_retry);
    let wait = match class {
        Class::NoMemory => Some(WAIT_FOR_ROOM),
        _ => retry_after.filter(|_| matches!(status, 429 | 503 | 529)),
    };
    Look {
        status,
        error_type,
        should_retry: by_table.should_retry.or(told),
        wait,
    }
}

/// Whole seconds, at least one, and whether waiting that long makes no sense.
fn honest_wait(wait: Duration) -> (u64, bool) {
    let seconds = wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX);
    if seconds > WAIT_POINTLESS_S {
        (seconds, true)
    } else {
        (seconds.clamp(1, WAIT_PATIENT_S), false)
    }
}

#[cfg(test)]
mod tests {
    use bridge_translate::error::FaultKind;

    use super::*;

    fn failure(kind: FaultKind, wait_s: u64) -> Error {
        let retry_after = Some(Duration::from_secs(wait_s));
        Error::Upstream(Failure {
            words: "w".into(),
            retry_after,
            ..Failure::new(Class::Said(kind), "p".into())
        })
    }

    fn header(error: Error, name: &str) -> Option<String> {
        let response = error.into_response(&RequestId::new());
        response
            .headers()
            .get(name)
            .map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn waits_are_told_so_that_clients_do_the_right_thing() {
        for (wait_s, told) in [
            (0, "1"),
            (7, "7"),
            (60, "60"),
            (61, "60"),
            (300, "60"),
            (3600, "3600"),
        ] {
            let told_now = header(failure(FaultKind::RateLimited, wait_s), "retry-after");
            assert_eq!(told_now.as_deref(), Some(told), "{wait_s}");
        }
        assert_eq!(
            header(failure(FaultKind::RateLimited, 3600), "x-should-retry").as_deref(),
            Some("false")
        );
        assert_eq!(
            header(failure(FaultKind::RateLimited, 60), "x-should-retry"),
            None
        );
        assert_eq!(header(failure(FaultKind::BadRequest, 60), "retry-after"), None);
    }

    #[test]
    fn want_of_memory_is_told_as_our_own() {
        let error = || Error::Upstream(Failure::new(Class::NoMemory, "p".into()));
        assert_eq!((error().status(), error().source_name()), (529, "bridge"));
        assert_eq!(header(error(), "retry-after").as_deref(), Some("1"));
    }

    #[test]
    fn a_bad_key_is_not_retried_and_no_configuration_is_no_bad_key() {
        let refused = Error::Auth(auth::Error::Invalid);
        assert_eq!((refused.status(), refused.source_name()), (401, "bridge"));
        assert_eq!(header(refused, "x-should-retry").as_deref(), Some("false"));
        let empty = Error::Unavailable(Unavailable::Empty);
        assert_eq!(empty.status(), 503);
        assert_eq!(header(empty, "retry-after").as_deref(), Some("1"));
    }
}
