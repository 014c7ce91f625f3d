//! Requests of keys with limits, at chosen moments.

use std::time::Duration;

use bridge_translate::usage::Usage;

use super::*;
use crate::snapshot::{
    decode::tests as fixture,
    limits::{Budget, KeyLimits, Unit},
};

/// 2024-02-29 12:00 UTC.
const NOON_S: u64 = 1_709_208_000;
const SECOND: Duration = Duration::from_secs(1);

struct Bed {
    limits: Arc<Limits>,
    key: ApiKey,
    prices: Arc<[Price]>,
    started: Instant,
}

impl Bed {
    fn new(limits: KeyLimits) -> Self {
        let started = Instant::now();
        let price = Price {
            provider: String::new(),
            model: "dear".into(),
            input: 0,
            output: 1_000_000,
            cache_read: 0,
            cache_creation: 0,
        };
        Self {
            limits: Arc::new(Limits::new(started)),
            key: ApiKey {
                limits: Some(Box::new(limits)),
                ..fixture::key("abcDEF012345")
            },
            prices: [price].into(),
            started,
        }
    }

    fn wall(&self, after: Duration) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOON_S) + after
    }

    fn ask(&self, after: Duration, tokens: u64) -> Verdict {
        let asking = Asking {
            body_bytes: usize::try_from(tokens * BYTES_PER_TOKEN).unwrap(),
            now: self.started + after,
            wall: self.wall(after),
        };
        self.limits.admit(&self.key, &self.prices, &asking).unwrap()
    }

    /// Asks and is served at once, with so many tokens of an answer.
    fn serve(&self, after: Duration, prompt: u64, answer: u64) -> Result<(), Refusal> {
        let grant = self.ask(after, prompt).grant?;
        let usage = Usage {
            input_tokens: prompt,
            output_tokens: answer,
            ..Usage::default()
        };
        grant.settle(&usage, Some(("p", "dear")), self.started + after);
        Ok(())
    }
}

fn requests(count: u32) -> KeyLimits {
    KeyLimits {
        requests_per_minute: Some(count),
        ..KeyLimits::default()
    }
}

fn tokens(count: u64) -> KeyLimits {
    KeyLimits {
        tokens_per_minute: Some(count),
        ..KeyLimits::default()
    }
}

#[test]
fn a_key_without_limits_is_not_kept_in_mind() {
    let bed = Bed::new(requests(1));
    let free = fixture::key("abcDEF012345");
    let asking = Asking {
        body_bytes: 1,
        now: bed.started,
        wall: bed.wall(Duration::ZERO),
    };
    assert!(bed.limits.admit(&free, &bed.prices, &asking).is_none());
    assert!(bed.limits.uses(bed.started, 10).is_empty());
}

#[test]
fn no_sixty_seconds_have_more_requests_than_the_limit() {
    let bed = Bed::new(requests(5));
    let mut granted = Vec::new();
    for half_second in 0..600_u64 {
        let after = Duration::from_millis(half_second * 500);
        if bed.serve(after, 1, 1).is_ok() {
            granted.push(after);
        }
    }
    assert!(granted.len() >= 5 * 4, "{} in five minutes", granted.len());
    for window in granted.windows(6) {
        assert!(
            window[5] - window[0] >= Duration::from_secs(60) - SECOND,
            "{window:?}"
        );
    }
}

#[test]
fn a_refusal_says_what_and_until_when() {
    let bed = Bed::new(requests(2));
    let headers = bed.ask(Duration::ZERO, 1).headers;
    assert_eq!(headers["anthropic-ratelimit-requests-limit"], "2");
    assert_eq!(headers["anthropic-ratelimit-requests-remaining"], "1");
    assert_eq!(
        headers["anthropic-ratelimit-requests-reset"],
        "2024-02-29T12:01:00Z"
    );
    assert!(!headers.contains_key("anthropic-ratelimit-tokens-limit"));
    bed.serve(10 * SECOND, 1, 1).unwrap();
    let Verdict { grant, headers } = bed.ask(15 * SECOND, 1);
    let refusal = grant.unwrap_err();
    assert_eq!(refusal.wait, 45 * SECOND);
    assert_eq!(
        refusal.to_string(),
        "this API key may use 2 requests per minute; 2 were used in the last minute; \
         try again at 2024-02-29T12:01:00Z"
    );
    assert_eq!(headers["anthropic-ratelimit-requests-remaining"], "0");
    assert!(!refusal.is_for_long());
    let used = bed.limits.uses(bed.started + 15 * SECOND, 10);
    assert_eq!(used[0].1.requests, 3, "what was refused was asked for");
}

#[test]
fn tokens_count_as_estimated_until_they_are_known() {
    let bed = Bed::new(tokens(100));
    let Verdict { grant, headers } = bed.ask(Duration::ZERO, 60);
    let running = grant.unwrap();
    assert_eq!(headers["anthropic-ratelimit-output-tokens-remaining"], "40");
    assert!(bed.ask(SECOND, 50).grant.is_err());
    let usage = Usage {
        input_tokens: 10,
        output_tokens: 20,
        ..Usage::default()
    };
    running.settle(&usage, None, bed.started + 2 * SECOND);
    bed.serve(3 * SECOND, 70, 40).unwrap();
    let refusal = bed.ask(4 * SECOND, 1).grant.unwrap_err();
    assert!(refusal.to_string().contains("140 were used"), "{refusal}");
    assert_eq!(refusal.wait, 59 * SECOND);
}

#[test]
fn what_is_larger_than_the_limit_is_let_in_alone() {
    let bed = Bed::new(tokens(100));
    bed.serve(Duration::ZERO, 500, 0).unwrap();
    assert!(bed.ask(30 * SECOND, 1).grant.is_err());
    assert!(bed.ask(60 * SECOND, 1).grant.is_ok());
}

#[test]
fn a_place_is_given_back_however_a_request_ends() {
    let bed = Bed::new(KeyLimits {
        concurrent_requests: Some(2),
        ..KeyLimits::default()
    });
    let one = bed.ask(Duration::ZERO, 1).grant.unwrap();
    let two = bed.ask(Duration::ZERO, 1).grant.unwrap();
    let refusal = bed.ask(Duration::ZERO, 1).grant.unwrap_err();
    assert!(
        refusal.to_string().contains("2 requests at once; 2 are running"),
        "{refusal}"
    );
    drop(one);
    two.settle(&Usage::default(), None, bed.started);
    let _one = bed.ask(Duration::ZERO, 1).grant.unwrap();
    let _two = bed.ask(Duration::ZERO, 1).grant.unwrap();
    assert_eq!(bed.limits.uses(bed.started, 1)[0].1.concurrent, 3);
}

#[test]
fn budgets_are_spent_until_the_calendar_gives_them_back() {
    let budget = |period, unit, amount| Budget { period, unit, amount };
    let bed = Bed::new(KeyLimits {
        budgets: vec![
            budget(Period::Day, Unit::CostMicros, 50),
            budget(Period::Month, Unit::Tokens, 1_000),
        ],
        ..KeyLimits::default()
    });
    bed.serve(Duration::ZERO, 5, 49).unwrap();
    bed.serve(SECOND, 5, 49).unwrap();
    let refusal = bed.ask(2 * SECOND, 5).grant.unwrap_err();
    assert!(refusal.is_for_long());
    assert_eq!(
        refusal.to_string(),
        "this API key's budget for the day is spent: 98 of 50 millionths of the currency; \
         try again at 2024-03-01T00:00:00Z"
    );
    assert_eq!(refusal.wait, Duration::from_secs(12 * 3_600 - 2));
    assert!(bed.ask(Duration::from_secs(12 * 3_600), 5).grant.is_ok());
}

#[test]
fn the_control_plane_says_what_the_others_spent() {
    let bed = Bed::new(KeyLimits {
        budgets: vec![Budget {
            period: Period::Day,
            unit: Unit::Tokens,
            amount: 100,
        }],
        ..requests(10)
    });
    bed.serve(Duration::ZERO, 10, 10).unwrap();
    let told = |used| Spent {
        period: Period::Day,
        told: BudgetTold {
            used,
            resets_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_251_200),
        },
    };
    let share = Share {
        requests_per_minute: Some(3),
        ..Share::default()
    };
    bed.limits.reported(1, [(&bed.key.id, 20, 0)].into_iter());
    bed.limits.shared(bed.key.id, share, &[told(90)], 1, bed.started);
    bed.serve(SECOND, 5, 4).unwrap();
    bed.serve(SECOND, 0, 1).unwrap();
    let refusal = bed.ask(SECOND, 1).grant.unwrap_err();
    assert!(refusal.to_string().contains("100 of 100 tokens"), "{refusal}");
    bed.limits.shared(bed.key.id, share, &[told(20)], 1, bed.started);
    let refusal = bed.ask(SECOND, 1).grant.unwrap_err();
    assert!(
        refusal
            .to_string()
            .contains("10 requests per minute, 3 of them on this node"),
        "{refusal}"
    );
}

#[test]
fn keys_that_are_not_used_any_more_make_room() {
    let bed = Bed::new(requests(5));
    let ask = |n: usize, after: Duration| {
        let key = ApiKey {
            limits: Some(Box::new(requests(5))),
            ..fixture::key(&format!("key{n:09}"))
        };
        let asking = Asking {
            body_bytes: 0,
            now: bed.started + after,
            wall: bed.wall(after),
        };
        bed.limits
            .admit(&key, &bed.prices, &asking)
            .unwrap()
            .grant
            .is_ok()
    };
    assert!((0..KEYS_MAX).all(|n| ask(n, SECOND)));
    assert!(!ask(KEYS_MAX, 2 * SECOND), "more cannot be kept apart");
    assert!(ask(7, 2 * SECOND));
    assert!(ask(KEYS_MAX, 61 * SECOND));
}

#[test]
fn looking_sees_what_asking_is_told_and_changes_nothing() {
    let budget = Budget {
        period: Period::Day,
        unit: Unit::Tokens,
        amount: 40,
    };
    let limits = |change: fn(&mut KeyLimits)| {
        let mut limits = KeyLimits::default();
        change(&mut limits);
        limits
    };
    let all = [
        limits(|limits| limits.requests_per_minute = Some(2)),
        limits(|limits| limits.tokens_per_minute = Some(25)),
        limits(|limits| limits.concurrent_requests = Some(2)),
        KeyLimits {
            budgets: vec![budget],
            ..KeyLimits::default()
        },
    ];
    for limits in all {
        let bed = Bed::new(limits);
        let (mut running, mut refused) = (Vec::new(), 0);
        for n in 0..6 {
            let after = n * SECOND;
            let asking = Asking {
                body_bytes: usize::try_from(10 * BYTES_PER_TOKEN).unwrap(),
                now: bed.started + after,
                wall: bed.wall(after),
            };
            let seen: Vec<_> = (0..3).map(|_| bed.limits.look(&bed.key, &asking)).collect();
            let told = bed.ask(after, 10).grant;
            refused += usize::from(told.is_err());
            let told = told.map(|grant| running.push(grant));
            assert!(
                seen.iter().all(|seen| *seen == told),
                "{:?}: {seen:?}, {told:?}",
                bed.key.limits
            );
        }
        assert!((1..6).contains(&refused), "{:?}", bed.key.limits);
        let asked = bed.limits.uses(bed.started + 5 * SECOND, 1);
        assert_eq!(asked[0].1.requests, 6, "looking is not asking");
    }
    let stranger = Bed::new(KeyLimits {
        requests_per_minute: Some(1),
        ..KeyLimits::default()
    });
    let asking = Asking {
        body_bytes: 1,
        now: stranger.started,
        wall: stranger.wall(Duration::ZERO),
    };
    assert_eq!(stranger.limits.look(&stranger.key, &asking), Ok(()));
    assert_eq!(stranger.limits.uses(stranger.started, 1), []);
}
