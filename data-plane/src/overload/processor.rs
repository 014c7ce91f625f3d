//! What share of the requests is let in, by how late a timer fires.
//!
//! Pure: lateness and time are arguments. A moment of lateness is nothing; a queue that stands
//! is shed until it is short. Few requests cannot be the reason and are never shed. A neighbour
//! on the machine makes timers late as well, however little there is to do here: whoever has
//! a queue does not rest, so lateness counts only while the workers are busy.

use std::time::Duration;

/// Lateness that is a queue.
const LATE: Duration = Duration::from_millis(10);
/// How long it has to stand: longer than the burst of a client that sends dozens at once.
const STANDING: Duration = Duration::from_millis(250);
/// Requests in that time that may be the reason.
const ARRIVALS_MIN: u32 = 128;
/// The part of their time that workers with a queue are at work; their own waiting aside.
const BUSY: f64 = 0.75;
/// Over how long that is averaged: workers tell what they did in lumps.
const BUSY_OVER: Duration = STANDING;
/// Cut of the share for every late measurement.
const CUT: f64 = 0.8;
/// Growth of the share for every timely one: half a second from nothing to all.
const GROWTH: f64 = 0.02;
/// Some are always let in: they show when it is over.
const SHARE_MIN: f64 = 0.01;

/// What was seen since the last measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measured {
    pub(super) lateness: Duration,
    pub(super) arrivals: u32,
    pub(super) passed: Duration,
    /// The part of that time in which the workers were at work.
    pub(super) busy: f64,
}

#[derive(Debug)]
pub(super) struct Controller {
    share: f64,
    busy: f64,
    late_for: Duration,
    arrivals: u32,
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            share: 1.0,
            busy: 0.0,
            late_for: Duration::ZERO,
            arrivals: 0,
        }
    }
}

impl Controller {
    pub(super) fn is_shedding(&self) -> bool {
        self.share < 1.0
    }

    /// Takes one measurement; returns the share.
    pub(super) fn measured(&mut self, measured: Measured) -> f64 {
        let Measured {
            lateness,
            arrivals,
            passed,
            busy,
        } = measured;
        let weight = passed.as_secs_f64() / (passed + BUSY_OVER).as_secs_f64();
        self.busy += (busy - self.busy) * weight;
        if lateness < LATE {
            self.late_for = Duration::ZERO;
            self.arrivals = 0;
        } else {
            self.late_for = self.late_for.saturating_add(passed);
            self.arrivals = self.arrivals.saturating_add(arrivals);
        }
        let is_queue = lateness >= LATE && self.busy >= BUSY;
        let is_standing = self.late_for >= STANDING && self.arrivals >= ARRIVALS_MIN;
        if !is_queue {
            self.share = (self.share + GROWTH).min(1.0);
        } else if self.is_shedding() || is_standing {
            self.share = (self.share * CUT).max(SHARE_MIN);
        }
        self.share
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    fn at_work(lateness: Duration, arrivals: u32) -> Measured {
        Measured {
            lateness,
            arrivals,
            passed: TICK + lateness,
            busy: 1.0,
        }
    }

    /// One that has been busy for long.
    fn busy() -> Controller {
        Controller {
            busy: 1.0,
            ..Controller::default()
        }
    }

    fn late(controller: &mut Controller, times: u32, arrivals: u32) -> f64 {
        (0..times).fold(1.0, |_, _| controller.measured(at_work(LATE, arrivals)))
    }

    #[test]
    fn a_moment_of_lateness_sheds_nobody() {
        let mut controller = busy();
        assert_eq!(late(&mut controller, 12, 100), 1.0);
        assert_eq!(controller.measured(at_work(Duration::ZERO, 100)), 1.0);
        assert_eq!(late(&mut controller, 12, 100), 1.0);
        assert!(late(&mut controller, 1, 100) < 1.0);
    }

    #[test]
    fn few_requests_are_not_the_reason() {
        assert_eq!(late(&mut busy(), 127, 1), 1.0);
        let long_late = at_work(Duration::from_secs(5), ARRIVALS_MIN - 1);
        assert_eq!(busy().measured(long_late), 1.0);
    }

    #[test]
    fn a_neighbours_work_is_no_queue() {
        let mut controller = Controller::default();
        for tick in 0..1000 {
            // What was done in three ticks is told at once.
            let busy = if tick % 3 == 0 { 1.5 } else { 0.0 };
            let measured = Measured {
                busy,
                ..at_work(LATE * 3, 100)
            };
            assert_eq!(controller.measured(measured), 1.0, "{tick}");
        }
    }

    #[test]
    fn work_that_is_told_in_lumps_is_work() {
        let mut controller = Controller::default();
        for tick in 0..100 {
            let busy = if tick % 3 == 0 { 3.0 } else { 0.0 };
            controller.measured(Measured {
                busy,
                ..at_work(LATE, 100)
            });
        }
        assert!(controller.is_shedding());
    }

    #[test]
    fn it_is_over_half_a_second_after_the_queue_is_gone() {
        let mut controller = busy();
        assert_eq!(late(&mut controller, 1000, 100), SHARE_MIN);
        for _ in 0..50 {
            controller.measured(at_work(Duration::ZERO, 100));
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
                share = controller.measured(Measured {
                    lateness,
                    arrivals: arrivals as u32,
                    passed: TICK,
                    busy: done / (CAPACITY * TICK.as_secs_f64()),
                });
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
        fn the_share_is_a_share(measurements: Vec<(u16, u32, u8)>) {
            let mut controller = Controller::default();
            for (late_ms, arrivals, busy) in measurements {
                let share = controller.measured(Measured {
                    busy: f64::from(busy) / 100.0,
                    ..at_work(Duration::from_millis(late_ms.into()), arrivals)
                });
                prop_assert!((SHARE_MIN..=1.0).contains(&share));
                prop_assert_eq!(controller.is_shedding(), share < 1.0);
            }
        }
    }
}
