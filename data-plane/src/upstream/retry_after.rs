//! How long an upstream asks to be left alone, in the many ways to say it.
//!
//! The most exact way counts: milliseconds before seconds, a plain answer before the state
//! of some limit. Of several limits the one that is used up decides, since only that one
//! was in the way; and limits count only for a refusal that is about them, because servers
//! report their state with every answer.

use std::time::{Duration, SystemTime};

use bridge_translate::error::duration;
use http::HeaderMap;

/// Limits that OpenAI and Groq report one by one.
const LIMITS: [Limit; 2] = [
    Limit {
        reset: "x-ratelimit-reset-requests",
        remaining: "x-ratelimit-remaining-requests",
    },
    Limit {
        reset: "x-ratelimit-reset-tokens",
        remaining: "x-ratelimit-remaining-tokens",
    },
];
/// Headers with the moment, or the time until, when a window begins anew.
const RESETS: [&str; 3] = ["x-ratelimit-reset", "ratelimit-reset", "x-ratelimit-reset-after"];
/// Numbers from here on are moments, in seconds since 1970; smaller ones are waits.
const EPOCH_SECONDS_MIN: f64 = 1e9;
/// Numbers from here on are moments, in milliseconds since 1970.
const EPOCH_MILLIS_MIN: f64 = 1e12;
const TOO_MANY_REQUESTS: u16 = 429;

struct Limit {
    reset: &'static str,
    remaining: &'static str,
}

/// The wait that the headers of a refusal ask for.
pub(crate) fn retry_after(status: u16, headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let exact = text("retry-after-ms").and_then(|ms| seconds(ms.parse::<f64>().ok()? / 1000.0));
    let plain = || text("retry-after").and_then(|wait| duration(wait).or_else(|| date(wait, now)));
    let limit = || {
        let waits = LIMITS
            .iter()
            .filter_map(|limit| Some((text(limit.remaining) == Some("0"), duration(text(limit.reset)?)?)));
        // Used up first, then the longest.
        waits.max().map(|(_, wait)| wait)
    };
    let reset = || RESETS.iter().find_map(|name| moment(text(name)?, now));
    let said = exact.or_else(plain);
    if status != TOO_MANY_REQUESTS {
        return said;
    }
    said.or_else(limit).or_else(reset)
}

fn date(text: &str, now: SystemTime) -> Option<Duration> {
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

/// Seconds or milliseconds since 1970, or a wait.
fn moment(text: &str, now: SystemTime) -> Option<Duration> {
    let Ok(number) = text.parse::<f64>() else {
        return duration(text).or_else(|| date(text, now));
    };
    if number < EPOCH_SECONDS_MIN {
        return seconds(number);
    }
    let since_1970 = if number < EPOCH_MILLIS_MIN {
        number
    } else {
        number / 1000.0
    };
    let at = SystemTime::UNIX_EPOCH.checked_add(seconds(since_1970)?)?;
    Some(at.duration_since(now).unwrap_or_default())
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 21 October 2015, 07:27:50 UTC.
    const NOW: Duration = Duration::from_secs(1_445_412_470);

    fn check(headers: &[(&'static str, &'static str)], expect_ms: Option<u64>) {
        let map: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    http::HeaderValue::from_static(value),
                )
            })
            .collect();
        let read = retry_after(429, &map, SystemTime::UNIX_EPOCH + NOW);
        assert_eq!(read, expect_ms.map(Duration::from_millis), "{headers:?}");
    }

    #[test]
    fn every_way_to_say_it_is_read() {
        check(&[("retry-after", "7")], Some(7_000));
        check(&[("retry-after", "1.5")], Some(1_500));
        check(&[("retry-after-ms", "1500")], Some(1_500));
        check(&[("x-ratelimit-reset-requests", "1m2.5s")], Some(62_500));
        check(&[("x-ratelimit-reset-tokens", "120ms")], Some(120));
        check(&[("x-ratelimit-reset", "1445412480")], Some(10_000));
        check(&[("x-ratelimit-reset", "1445412480500")], Some(10_500));
        check(&[("x-ratelimit-reset", "45")], Some(45_000));
        check(&[("ratelimit-reset", "3")], Some(3_000));
        check(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], Some(10_000));
        check(
            &[("retry-after", "Wednesday, 21-Oct-15 07:28:00 GMT")],
            Some(10_000),
        );
        check(&[("x-other", "5")], None);
    }

    #[test]
    fn what_is_over_needs_no_wait() {
        check(&[("retry-after", "Wed, 21 Oct 2015 07:27:00 GMT")], Some(0));
        check(&[("x-ratelimit-reset", "1445412400")], Some(0));
    }

    #[test]
    fn nonsense_gives_way_to_the_next_best() {
        check(&[("retry-after", "soon")], None);
        check(&[("retry-after", "")], None);
        check(&[("retry-after-ms", "-5")], None);
        check(&[("retry-after-ms", "NaN"), ("retry-after", "2")], Some(2_000));
        check(&[("retry-after", "1e300")], None);
        check(&[("x-ratelimit-reset", "1e300")], None);
    }

    #[test]
    fn limits_do_not_explain_a_server_error() {
        let headers = [(
            http::HeaderName::from_static("x-ratelimit-reset-requests"),
            http::HeaderValue::from_static("6h"),
        )];
        assert_eq!(
            retry_after(500, &headers.into_iter().collect(), SystemTime::now()),
            None
        );
    }

    #[test]
    fn the_limit_that_is_used_up_decides() {
        let waits = |requests: &'static str, tokens: &'static str| {
            [
                ("x-ratelimit-reset-requests", "6h"),
                ("x-ratelimit-remaining-requests", requests),
                ("x-ratelimit-reset-tokens", "8s"),
                ("x-ratelimit-remaining-tokens", tokens),
            ]
        };
        check(&waits("900", "0"), Some(8_000));
        check(&waits("0", "500"), Some(21_600_000));
        check(&waits("0", "0"), Some(21_600_000));
    }
}
