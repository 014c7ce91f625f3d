use proptest::prelude::*;

use super::*;

mod plant;

use plant::{Kind, Plant};

fn always(_: u64) -> bool {
    true
}

/// A processor of which we get one millisecond in ten, in turns of this many.
fn one_in_ten(turn: u64) -> impl Fn(u64) -> bool {
    move |now| now % (10 * turn) < turn
}

/// Kinds of requests, from those that are over at once to those that go on for long.
const KINDS: [Kind; 4] = [
    Kind::whole(0.35, 5),
    Kind::whole(1.0, 2000),
    Kind::stream(0.35, 0.02, 100, 4),
    Kind::stream(0.35, 0.03, 200, 50),
];

/// Goodput of the last 10 s of a storm, in parts of what can be done.
fn goodput(kind: Kind, refusal_ms: f64, load: f64) -> f64 {
    let mut plant = Plant::new(kind, refusal_ms);
    let capacity = kind.capacity();
    let settle = if load > 10.0 { 15_000 } else { 5_000 } + 3 * kind.length_ms();
    plant.run(load * capacity, settle, always);
    plant.forget();
    plant.run(load * capacity, 10_000, always);
    plant.served() / 10.0 / capacity
}

#[test]
fn what_can_be_done_is_done_at_any_load() {
    for kind in KINDS {
        for load in [0.5, 0.9, 1.5, 3.0, 10.0, 30.0] {
            let rate = goodput(kind, 0.0, load);
            // Of thirty times as much hardly anybody is let in, and the probe waits behind refusals.
            let least = if load > 10.0 { 0.8 } else { 0.9 };
            assert!(rate >= least * load.min(1.0), "{kind:?} * {load}: {rate}");
        }
    }
}

#[test]
fn refusals_that_cost_something_leave_the_rest_for_requests() {
    for kind in KINDS {
        let cost = kind.cost();
        for part in [0.01, 0.03] {
            let rate = goodput(kind, cost * part, 3.0);
            // Of a second, what refusals leave.
            let best = (1.0 - 3.0 * part) / (1.0 - part);
            assert!(rate >= 0.9 * best, "{kind:?}, {part}: {rate} of {best}");
        }
    }
}

#[test]
fn nobody_is_refused_below_the_capacity() {
    for kind in KINDS {
        let mut plant = Plant::new(kind, 0.01);
        plant.run(0.85 * kind.capacity(), 30_000, always);
        assert_eq!(plant.refused(), 0, "{kind:?}");
    }
}

#[test]
fn neighbours_are_no_reason_to_refuse() {
    for turn in [1, 3, 10, 30] {
        for per_second in [10.0, 50.0, 100.0, 150.0] {
            let mut plant = Plant::new(Kind::whole(0.5, 5), 0.05);
            plant.run(per_second, 30_000, one_in_ten(turn));
            assert_eq!(plant.refused(), 0, "{per_second}/s in turns of {turn} ms");
        }
    }
    // As debug builds among tests: now and then nothing is left for a second.
    let mut plant = Plant::new(Kind::whole(3.0, 5), 0.5);
    plant.run(100.0, 60_000, |now| now % 5_000 > 1_000 && now % 2 == 0);
    assert_eq!(plant.refused(), 0);
}

#[test]
fn a_neighbour_that_stays_leaves_less_and_that_is_used() {
    for kind in KINDS {
        let half = |now: u64| now.is_multiple_of(2);
        let mut plant = Plant::new(kind, 0.0);
        let capacity = kind.capacity() / 2.0;
        plant.run(3.0 * capacity, 20_000 + 3 * kind.length_ms(), half);
        plant.forget();
        plant.run(3.0 * capacity, 20_000, half);
        let rate = plant.served() / 20.0 / capacity;
        assert!(rate >= 0.9, "{kind:?}: {rate}");
        assert!(plant.longest_wait() < Duration::from_secs(1), "{kind:?}");
    }
}

#[test]
fn a_quota_is_a_small_processor() {
    // 25 of 100 ms, as orchestrators grant them.
    let ours = |now: u64| now % 100 < 25;
    for kind in KINDS {
        let mut plant = Plant::new(kind, 0.0).with_quota(0.25, Duration::from_millis(75));
        let capacity = kind.capacity() / 4.0;
        plant.run(3.0 * capacity, 10_000 + 3 * kind.length_ms(), ours);
        plant.forget();
        plant.run(3.0 * capacity, 20_000, ours);
        let rate = plant.served() / 20.0 / capacity;
        assert!(rate >= 0.9, "{kind:?}: {rate}");
    }
}

#[test]
fn a_storm_from_rest_is_met_within_half_a_second() {
    for load in [3.0, 10.0] {
        let kind = Kind::whole(0.35, 5);
        let mut plant = Plant::new(kind, 0.01);
        plant.run(5.0, 5_000, always);
        plant.run(load * kind.capacity(), 450, always);
        assert!(plant.limit().is_some(), "{load} times the capacity");
    }
}

#[test]
fn bursts_are_not_refused() {
    for burst in [50, 128, 500] {
        let mut plant = Plant::new(Kind::whole(0.4, 5), 0.02);
        for _ in 0..20 {
            plant.arrive(burst);
            plant.run(20.0, 2_000, always);
        }
        assert_eq!(plant.refused(), 0, "{burst} at once");
    }
}

#[test]
fn a_slow_upstream_is_no_reason_to_refuse() {
    let mut plant = Plant::new(Kind::whole(0.4, 20_000), 0.02);
    plant.run(500.0, 60_000, always);
    assert_eq!(plant.refused(), 0);
    assert!(plant.in_flight() > 9_000, "{}", plant.in_flight());
}

#[test]
fn all_are_let_in_soon_after_a_storm() {
    for kind in KINDS {
        for load in [3.0, 5.0] {
            let mut plant = Plant::new(kind, 0.01);
            plant.run(load * kind.capacity(), 10_000 + kind.length_ms(), always);
            assert!(plant.limit().is_some(), "{kind:?} * {load}");
            // Those who were let in go on for as long as they last.
            plant.run(5.0, 1_500 + kind.length_ms(), always);
            assert_eq!(plant.limit(), None, "{kind:?} * {load}");
            plant.forget();
            plant.run(0.5 * kind.capacity(), 5_000, always);
            assert_eq!(plant.refused(), 0, "{kind:?} * {load}");
        }
    }
}

#[test]
fn a_queue_has_to_stand() {
    let tick = |controller: &mut Controller, times: u32, waited| {
        (0..times)
            .map(|_| {
                controller.measured(Seen {
                    look: Look {
                        passed: INTERVAL,
                        waited,
                        used: 1.0,
                        busy: 1.0,
                    },
                    in_flight: 1000,
                    refused: 0,
                })
            })
            .last()
            .flatten()
    };
    let mut controller = Controller::default();
    // The average has to rise, too.
    assert_eq!(tick(&mut controller, 50, Duration::ZERO), None);
    assert_eq!(tick(&mut controller, 5, OURS.late), None);
    assert_eq!(tick(&mut controller, 1, Duration::ZERO), None);
    assert_eq!(tick(&mut controller, 5, OURS.late), None);
    assert_eq!(tick(&mut controller, 1, OURS.late), Some(990));
}

proptest! {
    #[test]
    fn some_may_always_be_in_flight(measurements: Vec<(u16, u16, u8, u8, u16, u16)>) {
        let mut controller = Controller::default();
        for (passed_ms, waited_ms, used, busy, in_flight, refused) in measurements {
            let limit = controller.measured(Seen {
                look: Look {
                    passed: Duration::from_millis(passed_ms.into()),
                    waited: Duration::from_millis(waited_ms.into()),
                    used: f64::from(used) / 128.0,
                    busy: f64::from(busy) / 128.0,
                },
                in_flight: in_flight.into(),
                refused: refused.into(),
            });
            prop_assert!(limit.is_none_or(|limit| limit >= LIMIT_MIN as u64));
        }
    }
}
