//! What share of the requests is let in, by how late a timer fires.
//!
//! Pure: lateness and time are arguments. A moment of lateness is nothing, a neighbour on
//! the machine may have caused it; a queue that stands is shed until it is short. Few requests
//! cannot be the reason and are never shed.

use std::time::Duration;

/// Lateness that is a queue.
const LATE: Duration = Duration::from_millis(10);
/// How long it has to stand: longer than the burst of a client that sends dozens at once.
const STANDING: Duration = Duration::from_millis(250);
/// Requests in that time that may be the reason.
const ARRIVALS_MIN: u32 = 128;
/// Cut of the share for every late measurement.
const CUT: f64 = 0.8;
/// Growth of the share for every timely one: half a second from nothing to all.
const GROWTH: f64 = 0.02;
/// Some are always let in: they show when it is over.
const SHARE_MIN: f64 = 0.01;

#[derive(Debug)]
pub(super) struct Controller {
    share: f64,
    late_for: Duration,
    arrivals: u32,
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            share: 1.0,
            late_for: Duration::ZERO,
            arrivals: 0,
        }
    }
}

impl Controller {
    pub(super) fn is_shedding(&self) -> bool {
        self.share < 1.0
    }

    /// One measurement: how late, how many came, how long since the last. Returns the share.
    pub(super) fn measured(&mut self, lateness: Duration, arrivals: u32, passed: Duration) -> f64 {
        if lateness < LATE {
            self.late_for = Duration::ZERO;
            self.arrivals = 0;
            self.share = (self.share + GROWTH).min(1.0);
        } else {
            self.late_for = self.late_for.saturating_add(passed);
            self.arrivals = self.arrivals.saturating_add(arrivals);
            let is_standing = self.late_for >= STANDING && self.arrivals >= ARRIVALS_MIN;
            if self.is_shedding() || is_standing {
                self.share = (self.share * CUT).max(SHARE_MIN);
            }
        }
        self.share
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    fn late(controller: &mut Controller, times: u32, arrivals: u32) -> f64 {
        (0..times).fold(1.0, |_, _| controller.measured(LATE, arrivals, TICK + LATE))
    }

    #[test]
    fn a_moment_of_lateness_sheds_nobody() {
        let mut controller = Controller::default();
        assert_eq!(late(&mut controller, 12, 100), 1.0);
        assert_eq!(controller.measured(Duration::ZERO, 100, TICK), 1.0);
        assert_eq!(late(&mut controller, 12, 100), 1.0);
        assert!(late(&mut controller, 1, 100) < 1.0);
    }

    #[test]
    fn few_requests_are_not_the_reason() {
        let mut controller = Controller::default();
        assert_eq!(late(&mut controller, 127, 1), 1.0);
        assert_eq!(
            Controller::default().measured(Duration::from_secs(5), ARRIVALS_MIN - 1, TICK),
            1.0
        );
    }

    #[test]
    fn it_is_over_half_a_second_after_the_queue_is_gone() {
        let mut controller = Controller::default();
        assert_eq!(late(&mut controller, 1000, 100), SHARE_MIN);
        for _ in 0..50 {
            controller.measured(Duration::ZERO, 100, TICK);
        }
        assert!(!controller.is_shedding());
    }

    /// A server that handles so many requests a second, and offered load in multiples of it:
    /// what is let in settles at what can be done, and the queue stays short.
    #[test]
    fn at_any_load_the_share_settles_at_the_capacity() {
        const CAPACITY: f64 = 2000.0;
        for load in [0.5, 0.9, 1.5, 3.0, 10.0] {
            let (mut controller, mut queue, mut share) = (Controller::default(), 0.0_f64, 1.0);
            let (mut served, mut longest) = (0.0, 0.0_f64);
            let ticks = 2000;
            for tick in 0..ticks {
                let arrivals = load * CAPACITY * TICK.as_secs_f64();
                queue += arrivals * share;
                let done = queue.min(CAPACITY * TICK.as_secs_f64());
                queue -= done;
                let lateness = Duration::from_secs_f64(queue / CAPACITY);
                share = controller.measured(lateness, arrivals as u32, TICK);
                if tick > 600 {
                    served += done;
                    longest = longest.max(queue / CAPACITY);
                }
            }
            let rate = served / (f64::from(ticks - 601) * TICK.as_secs_f64());
            let wanted = CAPACITY * load.min(1.0);
            assert!(rate >= 0.95 * wanted, "{load}: {rate} of {wanted}");
            assert!(longest < 0.1, "{load}: a queue of {longest} s");
        }
    }

    proptest! {
        #[test]
        fn the_share_is_a_share(measurements: Vec<(u16, u32)>) {
            let mut controller = Controller::default();
            for (late_ms, arrivals) in measurements {
                let share = controller.measured(Duration::from_millis(late_ms.into()), arrivals, TICK);
                prop_assert!((SHARE_MIN..=1.0).contains(&share));
                prop_assert_eq!(controller.is_shedding(), share < 1.0);
            }
        }
    }
}
