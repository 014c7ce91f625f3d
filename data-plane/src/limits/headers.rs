//! What a client is told of its limits with every answer.
//!
//! The limit is the key's; what remains of it is what this node would still grant. Tokens of
//! prompts and of answers have one limit together, so that both are told the same.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{account::Left, calendar::rfc3339};
use crate::snapshot::limits::KeyLimits;

type Names = [HeaderName; 3];

const REQUESTS: Names = [
    HeaderName::from_static("anthropic-ratelimit-requests-limit"),
    HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
    HeaderName::from_static("anthropic-ratelimit-requests-reset"),
];
const TOKENS: [Names; 3] = [
    [
        HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
    ],
    [
        HeaderName::from_static("anthropic-ratelimit-input-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-input-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-input-tokens-reset"),
    ],
    [
        HeaderName::from_static("anthropic-ratelimit-output-tokens-limit"),
        HeaderName::from_static("anthropic-ratelimit-output-tokens-remaining"),
        HeaderName::from_static("anthropic-ratelimit-output-tokens-reset"),
    ],
];

pub(super) fn of(limits: &KeyLimits, left: Left, now: SystemTime) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let (Some(limit), Some(left)) = (limits.requests_per_minute, left.requests) {
        put(&mut headers, &REQUESTS, limit.into(), left, now);
    }
    if let (Some(limit), Some(left)) = (limits.tokens_per_minute, left.tokens) {
        for names in &TOKENS {
            put(&mut headers, names, limit, left, now);
        }
    }
    headers
}

fn put(
    headers: &mut HeaderMap,
    names: &Names,
    limit: u64,
    (remaining, reset_s): (u64, u64),
    now: SystemTime,
) {
    let [limit_name, remaining_name, reset_name] = names;
    headers.insert(limit_name, HeaderValue::from(limit));
    headers.insert(remaining_name, HeaderValue::from(remaining));
    if let Ok(at) = HeaderValue::try_from(rfc3339(now + Duration::from_secs(reset_s))) {
        headers.insert(reset_name, at);
    }
}
