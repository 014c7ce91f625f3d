//! Entries of the request log, as they are asked for and shown.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bridge_proto::admin::v1 as admin;
use bridge_proto::fleet::v1 as fleet;

use super::owners::Owners;
use super::series::tokens;
use crate::domain::usage::{Attempt, Entry, Logged};
use crate::grpc::status::Error;

/// Longest token: a time and the name of a request.
const TOKEN_BYTES_MAX: usize = 256;

/// What the client saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Any,
    Exactly(u32),
    /// 4 for 400 to 499.
    Hundred(u32),
    Error,
}

impl Status {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" => Ok(Self::Any),
            "error" => Ok(Self::Error),
            "2xx" => Ok(Self::Hundred(2)),
            "4xx" => Ok(Self::Hundred(4)),
            "5xx" => Ok(Self::Hundred(5)),
            _ => match text.parse() {
                Ok(status @ 100..=599) => Ok(Self::Exactly(status)),
                Ok(_) | Err(_) => Err(Error::invalid(
                    "status",
                    "must be a status such as 200, or 2xx, 4xx, 5xx or error",
                )),
            },
        }
    }

    pub(super) fn covers(self, entry: &Entry) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(status) => entry.http_status == status,
            Self::Hundred(hundred) => entry.http_status / 100 == hundred,
            Self::Error => !entry.error_type.is_empty(),
        }
    }
}

/// Where its answer came from.
pub(super) fn place_of(entry: &Entry) -> (&str, &str) {
    entry
        .attempts
        .last()
        .map_or(("", ""), |attempt| (&attempt.provider, &attempt.upstream_model))
}

pub(super) fn token(key: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(key)
}

pub(super) fn place(token: &str) -> Result<Option<Vec<u8>>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let refused = || Error::invalid("page_token", "is not one of this list");
    if token.len() > TOKEN_BYTES_MAX {
        return Err(refused());
    }
    URL_SAFE_NO_PAD.decode(token).map(Some).map_err(|_| refused())
}

pub(super) fn record(logged: Logged, owners: &Owners) -> admin::RequestRecord {
    let Logged {
        entry,
        node_id,
        cost_micros,
    } = logged;
    let known = owners.of(&entry.key_id);
    admin::RequestRecord {
        node_id,
        key_name: known.map(|known| known.name.clone()).unwrap_or_default(),
        owner_user_id: known
            .and_then(|known| known.owner)
            .map(|owner| owner.to_string())
            .unwrap_or_default(),
        cost_micros,
        entry: Some(to_proto(entry)),
    }
}

fn to_proto(entry: Entry) -> fleet::RequestLogEntry {
    let Entry {
        request_id,
        started_ms,
        key_id,
        model,
        is_stream,
        http_status,
        error_type,
        stop_reason,
        tokens: used,
        is_estimated,
        latency_ms,
        first_token_ms,
        attempts,
        losses,
        config_revision,
    } = entry;
    fleet::RequestLogEntry {
        request_id,
        started_at: Some(prost_types::Timestamp {
            seconds: i64::try_from(started_ms / 1_000).unwrap_or(i64::MAX),
            nanos: i32::try_from(started_ms % 1_000 * 1_000_000).unwrap_or(0),
        }),
        key_id,
        model,
        is_stream,
        http_status,
        error_type,
        stop_reason,
        tokens: Some(tokens(used)),
        is_estimated,
        latency: Some(duration(latency_ms)),
        first_token: first_token_ms.map(duration),
        attempts: attempts.into_iter().map(attempt).collect(),
        losses,
        config_revision,
    }
}

fn attempt(attempt: Attempt) -> fleet::AttemptLog {
    let Attempt {
        provider,
        upstream_model,
        http_status,
        outcome,
        latency_ms,
    } = attempt;
    fleet::AttemptLog {
        provider,
        upstream_model,
        http_status,
        outcome,
        latency: Some(duration(latency_ms)),
    }
}

fn duration(ms: u64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(ms / 1_000).unwrap_or(i64::MAX),
        nanos: i32::try_from(ms % 1_000 * 1_000_000).unwrap_or(0),
    }
}
