use std::sync::Arc;

use super::*;
use crate::{
    snapshot::{BreakerSettings, decode::tests as fixture},
    upstream::outcome::Class,
};
use bridge_translate::error::FaultKind;

const SETTINGS: BreakerSettings = BreakerSettings {
    enabled: true,
    failure_threshold: 2,
    recovery_timeout: Duration::from_secs(60),
};
const CREDENTIALS: Class = Class::Said(FaultKind::Credentials);

fn terms(now: Instant) -> Terms<'static> {
    Terms {
        now,
        settings: &SETTINGS,
        jitter: 0.0,
    }
}

fn candidate(provider: &str, revision: u64) -> Candidate {
    let mut provider = fixture::provider(provider, 1, &["m"], &[]);
    provider.revision = revision;
    Candidate {
        provider: Arc::new(provider),
        model: "m".into(),
    }
}

fn failed(class: Class, wait_s: Option<u64>) -> Lesson {
    Lesson::of(class, wait_s.map(Duration::from_secs), Credential::Configured)
}

/// One call and what comes of it.
fn call(guards: &mut Guards, candidate: &Candidate, lesson: Lesson, now: Instant) -> Changes {
    assert_eq!(guards.look(candidate, None, terms(now)), Ok(()));
    let right = guards.admit(candidate, None, terms(now)).unwrap();
    guards.record(candidate, right, lesson, terms(now))
}

/// Looking sees what asking is told.
fn refused(guards: &mut Guards, candidate: &Candidate, now: Instant) -> Option<Refused> {
    let seen = guards.look(candidate, None, terms(now)).err();
    let refused = guards.admit(candidate, None, terms(now)).err();
    assert_eq!(seen, refused);
    refused
}

#[test]
fn each_failure_is_remembered_where_its_row_says() {
    let now = Instant::now();
    let (limited, banned, broken) = (candidate("a", 1), candidate("b", 1), candidate("c", 1));
    let mut guards = Guards::default();
    let cools = call(&mut guards, &limited, failed(Class::RATE_LIMITED, Some(7)), now);
    assert_eq!(cools.cools_for, Some(Duration::from_secs(7)));
    let refuses = call(&mut guards, &banned, failed(CREDENTIALS, None), now);
    assert_eq!(refuses.quarantine, Some(quarantine::Change::Begun));
    call(&mut guards, &broken, failed(Class::Reset, None), now);
    let opens = call(&mut guards, &broken, failed(Class::Reset, None), now);
    assert_eq!(opens.breaker, Some(Transition::Opened(breaker::Reason::InARow)));

    let until = now + Duration::from_secs(7);
    assert_eq!(
        refused(&mut guards, &limited, now),
        Some(Refused::Cooling { until })
    );
    let class = CREDENTIALS;
    assert_eq!(
        refused(&mut guards, &banned, now),
        Some(Refused::Quarantined { class })
    );
    let probe_at = now + SETTINGS.recovery_timeout;
    assert_eq!(
        refused(&mut guards, &broken, now),
        Some(Refused::Open { probe_at })
    );
}

#[test]
fn a_callers_own_credential_leaves_no_trace() {
    let now = Instant::now();
    let candidate = candidate("a", 1);
    let mut guards = Guards::default();
    for class in [CREDENTIALS, Class::RATE_LIMITED, Class::Said(FaultKind::Quota)] {
        for _ in 0..30 {
            let lesson = Lesson::of(class, None, Credential::Callers);
            assert_eq!(call(&mut guards, &candidate, lesson, now), Changes::default());
        }
    }
}

#[test]
fn switched_off_nothing_is_refused_and_nothing_remembered() {
    let now = Instant::now();
    let candidate = candidate("a", 1);
    let off = BreakerSettings {
        enabled: false,
        ..SETTINGS
    };
    let terms = Terms {
        settings: &off,
        ..terms(now)
    };
    let mut guards = Guards::default();
    for class in [Class::Reset, CREDENTIALS, Class::RATE_LIMITED] {
        for _ in 0..3 {
            let right = guards.admit(&candidate, None, terms).unwrap();
            guards.record(&candidate, right, failed(class, Some(9)), terms);
        }
    }
    assert_eq!(refused(&mut guards, &candidate, now), None);
}

#[test]
fn what_was_remembered_is_forgotten_once_it_is_switched_off() {
    let now = Instant::now();
    let all = [candidate("a", 1), candidate("b", 1), candidate("c", 1)];
    let mut guards = Guards::default();
    for (one, class) in all.iter().zip([Class::Reset, CREDENTIALS, Class::RATE_LIMITED]) {
        let rights = [(); 2].map(|()| guards.admit(one, None, terms(now)).unwrap());
        for right in rights {
            guards.record(one, right, failed(class, Some(9)), terms(now));
        }
        assert!(refused(&mut guards, one, now).is_some(), "{class:?}");
    }
    let off = BreakerSettings {
        enabled: false,
        ..SETTINGS
    };
    let off = Terms {
        settings: &off,
        ..terms(now)
    };
    assert!(guards.admit(&all[0], None, off).is_ok());
    assert_eq!(guards.breakers().unhealthy().count(), 0);
    assert_eq!(guards.quarantines().refused().count(), 0);
    for one in &all {
        assert_eq!(refused(&mut guards, one, now), None);
    }
}

#[test]
fn what_a_configuration_does_not_hold_is_forgotten() {
    let now = Instant::now();
    let (kept, gone) = (candidate("kept", 1), candidate("gone", 1));
    let mut guards = Guards::default();
    for one in [&kept, &gone] {
        let rights = [(); 3].map(|()| guards.admit(one, None, terms(now)).unwrap());
        for (right, class) in rights.into_iter().zip([Class::Reset, Class::Reset, CREDENTIALS]) {
            guards.record(one, right, failed(class, None), terms(now));
        }
    }
    guards.keep(&[Arc::clone(&kept.provider)]);
    assert_eq!(refused(&mut guards, &gone, now), None);
    let class = CREDENTIALS;
    assert_eq!(
        refused(&mut guards, &kept, now),
        Some(Refused::Quarantined { class })
    );

    guards.keep(&[candidate("kept", 2).provider]);
    assert_eq!(
        guards.quarantines().refused().count(),
        0,
        "its record has changed"
    );
    assert_eq!(guards.breakers().unhealthy().count(), 1);
}

#[test]
fn late_answers_of_what_a_configuration_does_not_hold_are_not_remembered() {
    let now = Instant::now();
    let (gone, before, after) = (candidate("gone", 1), candidate("p", 1), candidate("p", 2));
    let classes = [Class::Reset, CREDENTIALS, Class::RATE_LIMITED];
    for off_between in [false, true] {
        let mut guards = Guards::default();
        let rights =
            [&gone, &before].map(|one| classes.map(|_| guards.admit(one, None, terms(now)).unwrap()));
        guards.keep(&[Arc::clone(&after.provider)]);
        if off_between {
            guards.forget();
        }
        let [of_gone, of_before] = rights;
        for (right, class) in of_gone.into_iter().zip(classes) {
            let changes = guards.record(&gone, right, failed(class, Some(9)), terms(now));
            assert_eq!(changes, Changes::default(), "{class:?}");
        }
        // Of the same provider only the credential is another one.
        let [_, banned, limited] = of_before;
        let changes = guards.record(&before, banned, failed(CREDENTIALS, None), terms(now));
        assert_eq!(changes, Changes::default());
        assert_eq!(guards.quarantines().refused().count(), 0);
        let changes = guards.record(&before, limited, failed(Class::RATE_LIMITED, None), terms(now));
        assert!(changes.cools_for.is_some());
    }
}

#[test]
fn a_late_word_about_an_old_credential_says_nothing_about_the_new_one() {
    let now = Instant::now();
    let (before, after) = (candidate("p", 1), candidate("p", 2));
    let mut guards = Guards::default();
    let late = [(); 2].map(|()| guards.admit(&before, None, terms(now)).unwrap());
    guards.keep(&[Arc::clone(&after.provider)]);
    call(&mut guards, &after, failed(CREDENTIALS, None), now);
    for (right, lesson) in late.into_iter().zip([Lesson::Success, failed(CREDENTIALS, None)]) {
        guards.record(&before, right, lesson, terms(now));
        let class = CREDENTIALS;
        assert_eq!(
            refused(&mut guards, &after, now),
            Some(Refused::Quarantined { class })
        );
    }
}

#[test]
fn a_cool_down_is_worth_waiting_for_if_nothing_else_is_in_the_way() {
    let now = Instant::now();
    let until = now + Duration::from_secs(1);
    let (plain, open, banned) = (
        candidate("plain", 1),
        candidate("open", 1),
        candidate("banned", 1),
    );
    let mut guards = Guards::default();
    for (one, also) in [
        (&plain, None),
        (&open, Some(Class::Reset)),
        (&banned, Some(CREDENTIALS)),
    ] {
        let rights = [(); 3].map(|()| guards.admit(one, None, terms(now)).unwrap());
        let limited = (rights[0], Class::RATE_LIMITED);
        let classes = also
            .into_iter()
            .flat_map(|class| [(rights[1], class), (rights[2], class)]);
        for (right, class) in std::iter::once(limited).chain(classes) {
            guards.record(one, right, failed(class, Some(1)), terms(now));
        }
    }
    assert_eq!(guards.cools_until(&plain, None, now), Some(until));
    assert_eq!(guards.cools_until(&plain, Some(Held::Open), now), None);
    assert_eq!(guards.cools_until(&plain, None, until), None, "it is over");
    assert_eq!(guards.cools_until(&open, None, now), None);
    assert_eq!(guards.cools_until(&open, Some(Held::Closed), now), Some(until));
    assert_eq!(guards.cools_until(&banned, None, now), None);
}

#[test]
fn a_pause_does_not_use_up_the_probe_of_the_breaker() {
    let now = Instant::now();
    let candidate = candidate("a", 1);
    let mut guards = Guards::default();
    // Both were on their way before one of them failed.
    let rights = [(); 3].map(|()| guards.admit(&candidate, None, terms(now)).unwrap());
    for (right, class) in rights
        .into_iter()
        .zip([Class::Reset, Class::Reset, Class::RATE_LIMITED])
    {
        let late = now + Duration::from_secs(30);
        guards.record(&candidate, right, failed(class, Some(60)), terms(late));
    }
    let cooled = now + Duration::from_secs(90);
    let almost = cooled - Duration::from_millis(1);
    assert_eq!(
        refused(&mut guards, &candidate, almost),
        Some(Refused::Cooling { until: cooled })
    );
    let right = guards.admit(&candidate, None, terms(cooled)).unwrap();
    assert_eq!(right.permit, Permit::Probe);
}

#[test]
fn a_probe_that_begins_to_answer_has_proved_it_and_is_judged_again_at_its_end() {
    let now = Instant::now();
    let candidate = candidate("a", 1);
    let mut guards = Guards::default();
    for _ in 0..2 {
        call(&mut guards, &candidate, failed(Class::Reset, None), now);
    }
    let later = now + SETTINGS.recovery_timeout;
    let right = guards.admit(&candidate, None, terms(later)).unwrap();
    assert!(right.is_probe());
    let changes = guards.record(&candidate, right, Lesson::Success, terms(later));
    assert_eq!(changes.breaker, Some(Transition::Closed));
    let right = right.proved();
    guards.record(&candidate, right, failed(Class::Stalled, None), terms(later));
    let again = call(&mut guards, &candidate, failed(Class::Stalled, None), later);
    assert!(again.breaker.is_some(), "the late failure counted");
}

#[test]
fn an_admin_decides_before_the_breaker() {
    let now = Instant::now();
    let candidate = candidate("a", 1);
    let mut guards = Guards::default();
    let held_open = guards.admit(&candidate, Some(Held::Open), terms(now)).err();
    assert_eq!(held_open, Some(Refused::HeldOpen));
    for _ in 0..2 {
        call(&mut guards, &candidate, failed(Class::Reset, None), now);
    }
    assert!(refused(&mut guards, &candidate, now).is_some());
    let right = guards.admit(&candidate, Some(Held::Closed), terms(now)).unwrap();
    assert!(!right.is_probe());
}

#[test]
fn the_last_resort_is_neither_banned_nor_cooling() {
    let now = Instant::now();
    let plan = [
        candidate("banned", 1),
        candidate("limited", 1),
        candidate("open", 1),
    ];
    let mut guards = Guards::default();
    for one in &plan {
        for _ in 0..2 {
            call(&mut guards, one, failed(Class::Reset, None), now);
        }
    }
    let late = |guards: &mut Guards, one: &Candidate, lesson| {
        let right = Right {
            permit: Permit::Normal,
            proves_credential: false,
        };
        guards.record(one, right, lesson, terms(now));
    };
    late(&mut guards, &plan[0], failed(CREDENTIALS, None));
    late(&mut guards, &plan[1], failed(Class::RATE_LIMITED, Some(9)));
    let all: Vec<_> = plan.iter().collect();
    let (place, right) = guards.last_resort(&all, now).unwrap();
    assert_eq!((place, right.permit), (2, Permit::LastResort));
    assert!(guards.last_resort(&all, now).is_none(), "once a second");
}
