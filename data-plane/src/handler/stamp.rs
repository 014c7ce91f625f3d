//! The headers that every answer carries.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::{request_id::RequestId, usage::meter::Trail};

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const PROVIDER: HeaderName = HeaderName::from_static("x-bridge-provider");
const MODEL: HeaderName = HeaderName::from_static("x-bridge-model");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-bridge-attempts");
const CONFIG_VERSION: HeaderName = HeaderName::from_static("x-bridge-config-version");
const LOSS: HeaderName = HeaderName::from_static("x-bridge-loss");
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) fn request_id(headers: &mut HeaderMap, id: &RequestId) {
    set(headers, REQUEST_ID, id.as_str());
}

/// Where the request went and what was lost on the way.
pub(super) fn trail(headers: &mut HeaderMap, trail: &Trail) {
    let Trail {
        latest,
        attempts,
        revision,
        losses,
        passed,
        limits,
    } = trail;
    headers.extend(passed.clone());
    self::limits(headers, limits);
    if let Some((provider, model)) = latest {
        set(headers, PROVIDER, provider);
        set(headers, MODEL, model);
        headers.insert(ATTEMPTS, HeaderValue::from(*attempts));
    }
    if let Some(revision) = revision {
        headers.insert(CONFIG_VERSION, HeaderValue::from(*revision));
    }
    if let Some(losses) = losses {
        set(headers, LOSS, losses);
    }
}

/// What the key may still do goes before what an upstream says of ours.
pub(super) fn limits(headers: &mut HeaderMap, limits: &HeaderMap) {
    for (name, value) in limits {
        headers.insert(name, value.clone());
    }
}

pub(super) fn events(headers: &mut HeaderMap) {
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
}

pub(super) fn json(headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
}

/// A name that no header may hold is percent-encoded where it must be.
fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    let value = HeaderValue::from_str(text).or_else(|_| {
        let encoded: String = url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        HeaderValue::from_str(&encoded)
    });
    if let Ok(value) = value {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_header() {
        let mut headers = HeaderMap::new();
        let latest = Some(("a\r\nx: y".into(), "模型".into()));
        trail(
            &mut headers,
            &Trail {
                latest,
                attempts: 2,
                revision: Some(7),
                losses: None,
                passed: HeaderMap::new(),
                limits: HeaderMap::new(),
            },
        );
        assert_eq!(headers[PROVIDER], "a%0D%0Ax%3A+y");
        assert_eq!(headers[MODEL].as_bytes(), "模型".as_bytes());
        assert_eq!(headers[ATTEMPTS], "2");
        assert_eq!(headers[CONFIG_VERSION], "7");
        assert!(!headers.contains_key(LOSS));
    }
}
