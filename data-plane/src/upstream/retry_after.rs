//! How long an upstream asks to be left alone, in the many ways to say it.

use std::time::{Duration, SystemTime};

use bridge_translate::error::duration;
use http::HeaderMap;
use time::{OffsetDateTime, format_description::well_known::Rfc2822};

/// Headers whose value is a length of time.
const LENGTHS: [&str; 3] = [
    "retry-after",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
];

pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    if let Some(ms) = text("retry-after-ms").and_then(|ms| ms.trim().parse::<f64>().ok()) {
        return Duration::try_from_secs_f64(ms / 1000.0).ok();
    }
    let length = LENGTHS.iter().find_map(|name| duration(text(name)?));
    length.or_else(|| date(text("retry-after")?, SystemTime::now()))
}

fn date(text: &str, now: SystemTime) -> Option<Duration> {
    let at = OffsetDateTime::parse(text.trim(), &Rfc2822).ok()?;
    Some(SystemTime::from(at).duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, value: &'static str, expect: Option<u64>) {
        let headers = [(
            http::HeaderName::from_static(name),
            http::HeaderValue::from_static(value),
        )];
        let read = retry_after(&headers.into_iter().collect());
        assert_eq!(read, expect.map(Duration::from_millis), "{name}: {value}");
    }

    #[test]
    fn every_way_to_say_it_is_read() {
        check("retry-after", "7", Some(7_000));
        check("retry-after-ms", "1500", Some(1_500));
        check("x-ratelimit-reset-requests", "1m2.5s", Some(62_500));
        check("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT", Some(0));
        check("retry-after", "soon", None);
        check("retry-after-ms", "-5", None);
        check("x-other", "5", None);
    }

    #[test]
    fn a_date_ahead_is_a_wait() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_470);
        assert_eq!(
            date("Wed, 21 Oct 2015 07:28:00 GMT", now),
            Some(Duration::from_secs(10))
        );
    }
}
