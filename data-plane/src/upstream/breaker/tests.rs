mod reference;

use proptest::prelude::*;

use super::*;

const SETTINGS: BreakerSettings = BreakerSettings {
    enabled: true,
    failure_threshold: 3,
    recovery_timeout: Duration::from_secs(60),
};
/// More than any test records.
const NEVER_IN_A_ROW: BreakerSettings = BreakerSettings {
    failure_threshold: u32::MAX,
    ..SETTINGS
};

fn at(now: Instant) -> Terms<'static> {
    Terms {
        now,
        settings: &SETTINGS,
        jitter: 0.0,
    }
}

fn record(breakers: &mut Breakers, outcome: Outcome, times: u32, terms: Terms<'_>) -> Option<Transition> {
    (0..times)
        .map(|_| breakers.record("p", "m", (Permit::Normal, outcome), terms))
        .last()
        .flatten()
}

fn fail(breakers: &mut Breakers, times: u32, now: Instant) -> Option<Transition> {
    record(breakers, Outcome::HardFailure, times, at(now))
}

fn failures(breakers: &Breakers) -> Option<u32> {
    match breakers.0.get("p", "m")? {
        State::Closed { failures, .. } => Some(*failures),
        State::Open { .. } | State::HalfOpen { .. } => None,
    }
}

#[test]
fn it_opens_on_consecutive_failures_and_lets_one_probe_through() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    assert_eq!(
        fail(&mut breakers, 3, now),
        Some(Transition::Opened(Reason::InARow))
    );
    let later = now + SETTINGS.recovery_timeout;
    assert_eq!(
        breakers.admit("p", "m", at(now)),
        Err(Refused { retry_at: later })
    );
    assert_eq!(breakers.admit("p", "other", at(now)), Ok(Permit::Normal));
    assert_eq!(breakers.admit("p", "m", at(later)), Ok(Permit::Probe));
    let refused = Refused {
        retry_at: later + PROBE_PATIENCE,
    };
    assert_eq!(breakers.admit("p", "m", at(later)), Err(refused));
    let closed = breakers.record("p", "m", (Permit::Probe, Outcome::Success), at(later));
    assert_eq!(closed, Some(Transition::Closed));
    assert_eq!(breakers.admit("p", "m", at(later)), Ok(Permit::Normal));
    assert_eq!(breakers.unhealthy().count(), 0);
}

#[test]
fn a_success_between_failures_starts_the_count_anew() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    fail(&mut breakers, 2, now);
    record(&mut breakers, Outcome::Success, 1, at(now));
    fail(&mut breakers, 2, now);
    assert_eq!(failures(&breakers), Some(2));
}

#[test]
fn it_opens_when_fewer_than_half_of_twenty_succeed() {
    let now = Instant::now();
    let terms = Terms {
        settings: &NEVER_IN_A_ROW,
        ..at(now)
    };
    let check = |successes, soft, hard, opens: bool| {
        let mut breakers = Breakers::default();
        record(&mut breakers, Outcome::Success, successes, terms);
        record(&mut breakers, Outcome::SoftFailure, soft, terms);
        record(&mut breakers, Outcome::HardFailure, hard, terms);
        let is_open = breakers.admit("p", "m", terms).is_err();
        assert_eq!(is_open, opens, "{successes} successes, {soft} + {hard} failures");
    };
    check(10, 0, 10, false);
    check(9, 0, 10, false);
    check(9, 0, 11, true);
    check(9, 11, 0, true);
    check(0, 0, 19, false);
    check(0, 10, 10, true);
    check(100, 0, 100, false);
    check(100, 50, 51, true);
}

#[test]
fn what_was_long_ago_does_not_count_for_the_rate() {
    let now = Instant::now();
    let terms = |seconds| Terms {
        now: now + Duration::from_secs(seconds),
        settings: &NEVER_IN_A_ROW,
        jitter: 0.0,
    };
    let mut breakers = Breakers::default();
    record(&mut breakers, Outcome::HardFailure, 19, terms(0));
    record(&mut breakers, Outcome::HardFailure, 19, terms(10));
    assert!(breakers.admit("p", "m", terms(10)).is_ok());
    record(&mut breakers, Outcome::HardFailure, 1, terms(19));
    assert!(breakers.admit("p", "m", terms(19)).is_err());
}

#[test]
fn rate_limits_alone_are_no_consecutive_failures() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    fail(&mut breakers, 2, now);
    record(&mut breakers, Outcome::SoftFailure, 10, at(now));
    assert_eq!(failures(&breakers), Some(2));
}

#[test]
fn the_pause_is_longer_by_chance_and_never_shorter() {
    let now = Instant::now();
    for (jitter, expected_s) in [(0.0, 60), (0.5, 66), (1.0, 72), (7.0, 72)] {
        let mut breakers = Breakers::default();
        let terms = Terms { jitter, ..at(now) };
        record(&mut breakers, Outcome::HardFailure, 3, terms);
        let retry_at = now + Duration::from_secs(expected_s);
        assert_eq!(breakers.admit("p", "m", terms), Err(Refused { retry_at }));
    }
}

#[test]
fn a_probe_that_learnt_nothing_leaves_the_next_one_free() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    fail(&mut breakers, 3, now);
    let later = now + SETTINGS.recovery_timeout;
    assert_eq!(breakers.admit("p", "m", at(later)), Ok(Permit::Probe));
    breakers.record("p", "m", (Permit::Probe, Outcome::Nothing), at(later));
    assert_eq!(breakers.admit("p", "m", at(later)), Ok(Permit::Probe));
}

#[test]
fn a_rate_limit_fails_the_probe() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    fail(&mut breakers, 3, now);
    let later = now + SETTINGS.recovery_timeout;
    assert_eq!(breakers.admit("p", "m", at(later)), Ok(Permit::Probe));
    let probe = (Permit::Probe, Outcome::SoftFailure);
    assert_eq!(breakers.record("p", "m", probe, at(later)), None);
    let retry_at = later + SETTINGS.recovery_timeout;
    assert_eq!(breakers.admit("p", "m", at(later)), Err(Refused { retry_at }));
    let (_, _, state) = breakers.unhealthy().next().unwrap();
    let State::Open { opened, .. } = state else {
        panic!("{state:?}")
    };
    assert_eq!(opened.since, now, "it has been open all the time");
}

#[test]
fn if_all_are_open_the_least_bad_one_is_asked_once_a_second() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    let failed = (Permit::Normal, Outcome::HardFailure);
    let plan = [("p", "late"), ("p", "early")];
    for (model, opened) in [("early", now), ("late", now + Duration::from_secs(1))] {
        for _ in 0..3 {
            breakers.record("p", model, failed, at(opened));
        }
    }
    let mut resort = |ms| breakers.last_resort(plan.into_iter(), now + Duration::from_millis(ms));
    assert_eq!(resort(2_000), Some(1));
    assert_eq!(resort(2_999), None);
    assert_eq!(resort(3_000), Some(1));
    let probe_at = now + SETTINGS.recovery_timeout;
    let terms = at(now + Duration::from_secs(4));
    let failed = (Permit::LastResort, Outcome::HardFailure);
    assert_eq!(breakers.record("p", "early", failed, terms), None);
    let refused = Refused { retry_at: probe_at };
    assert_eq!(
        breakers.admit("p", "early", terms),
        Err(refused),
        "the probe is neither sooner nor later"
    );
    let answered = (Permit::LastResort, Outcome::Success);
    let closed = breakers.record("p", "early", answered, terms);
    assert_eq!(closed, Some(Transition::Closed));
}

#[test]
fn a_candidate_that_flows_or_is_being_probed_is_no_last_resort() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    let mut resort = |now| breakers.last_resort(std::iter::once(("p", "m")), now);
    assert_eq!(resort(now), None);
    let mut breakers = Breakers::default();
    fail(&mut breakers, 3, now);
    let later = now + SETTINGS.recovery_timeout;
    assert_eq!(breakers.admit("p", "m", at(later)), Ok(Permit::Probe));
    let mut resort =
        |ms| breakers.last_resort(std::iter::once(("p", "m")), later + Duration::from_millis(ms));
    assert_eq!(resort(4_999), None, "the probe may still answer");
    assert_eq!(
        resort(5_000),
        Some(0),
        "it takes long, and nobody is asked meanwhile"
    );
    assert_eq!(resort(5_999), None, "once a second");
    let answered = (Permit::LastResort, Outcome::Success);
    let closed = breakers.record("p", "m", answered, at(later + PROBE_PATIENCE));
    assert_eq!(closed, Some(Transition::Closed));
}

#[test]
fn a_candidate_of_which_nothing_is_known_does_not_keep_the_others_from_being_asked() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    fail(&mut breakers, 3, now);
    let plan = [("p", "stranger"), ("p", "m")];
    assert_eq!(breakers.last_resort(plan.into_iter(), now), Some(1));
}

#[test]
fn what_works_makes_room_for_what_fails() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    for model in 0..crate::upstream::by_model::ENTRIES_MAX {
        let worked = (Permit::Normal, Outcome::Success);
        breakers.record("p", &model.to_string(), worked, at(now));
    }
    fail(&mut breakers, 3, now + Seen::LENGTH);
    assert_eq!(breakers.unhealthy().count(), 1);
    assert_eq!(breakers.0.len(), 1);
}

#[test]
fn what_failed_long_ago_makes_room_too() {
    let now = Instant::now();
    let mut breakers = Breakers::default();
    for model in 0..crate::upstream::by_model::ENTRIES_MAX {
        // Half of them open, half of them failed once.
        for _ in 0..1 + 2 * (model % 2) {
            breakers.record(
                "p",
                &model.to_string(),
                (Permit::Normal, Outcome::HardFailure),
                at(now),
            );
        }
    }
    let pause_is_over = now + SETTINGS.recovery_timeout;
    let almost = now + MEMORY - Duration::from_secs(1);
    fail(&mut breakers, 3, almost);
    assert_eq!(failures(&breakers), None, "no room");
    assert_eq!(breakers.0.len(), crate::upstream::by_model::ENTRIES_MAX);
    fail(&mut breakers, 3, pause_is_over + MEMORY);
    assert_eq!(breakers.0.len(), 1);
}
