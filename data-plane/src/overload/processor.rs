//! What share of the requests is let in, by how late a timer fires while this process is at
//! work.
//!
//! Pure: measurements and time are arguments. A timer is late when requests wait for the
//! processor, or when somebody else on the machine has it; only the former ends by refusing,
//! and only in it are our own threads at work all the time. A queue is what does not go away:
//! the least lateness of an interval tells, as in CoDel.

use std::time::Duration;

/// The least that is judged.
const INTERVAL: Duration = Duration::from_millis(50);
/// Lateness that is a queue, and what is none any more.
const LATE: Duration = Duration::from_millis(10);
const TIMELY: Duration = Duration::from_millis(5);
/// The part of the time that threads are at work, of those that are never idle. Looking for
/// what has arrived does not count as work.
const BUSY: f64 = 0.6;
/// Over how long that is averaged: threads tell what they did in lumps.
const BUSY_OVER: Duration = STANDING;
/// How long a queue has to stand: longer than the burst of a client that sends dozens at once.
const STANDING: Duration = Duration::from_millis(250);
/// Requests in that time that may be the reason.
const ARRIVALS_MIN: u32 = 128;
/// Of the share, for an interval at the limit and for one that is as late as `TOO_LATE`.
const CUT: f64 = 0.05;
const CUT_MAX: f64 = 0.5;
const TOO_LATE: Duration = Duration::from_millis(100);
/// Growth of the share in an interval without a queue, and in one with time to spare.
const GROWTH: f64 = 0.01;
const GROWTH_IDLE: f64 = 0.1;
/// Refusing more than this saves too little: it costs something, too. Those who are let in show
/// when it is over.
const SHARE_MIN: f64 = 1.0 / 16.0;

/// What was seen between two ticks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) passed: Duration,
    pub(super) lateness: Duration,
    /// The part of it that our threads were at work; more than all of it if some tell late.
    pub(super) busy: f64,
    pub(super) arrivals: u32,
}

#[derive(Debug)]
pub(super) struct Controller {
    share: f64,
    busy: f64,
    interval: Interval,
    /// How long a queue has stood since it was first seen, and what came meanwhile.
    late_for: Option<Duration>,
    arrivals: u32,
}

/// Ticks that are judged together.
#[derive(Debug)]
struct Interval {
    passed: Duration,
    lateness_min: Duration,
    arrivals: u32,
}

/// What an interval tells.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Verdict {
    Idle,
    Timely,
    /// Neither a queue nor none.
    Full,
    Late(Duration),
}

impl Interval {
    const EMPTY: Self = Self {
        passed: Duration::ZERO,
        lateness_min: Duration::MAX,
        arrivals: 0,
    };

    fn add(&mut self, seen: Seen) {
        self.passed = self.passed.saturating_add(seen.passed);
        self.lateness_min = self.lateness_min.min(seen.lateness);
        self.arrivals = self.arrivals.saturating_add(seen.arrivals);
    }

    fn verdict(&self, busy: f64) -> Verdict {
        if busy < BUSY {
            Verdict::Idle
        } else if self.lateness_min < TIMELY {
            Verdict::Timely
        } else if self.lateness_min < LATE {
            Verdict::Full
        } else {
            Verdict::Late(self.lateness_min)
        }
    }
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            share: 1.0,
            busy: 0.0,
            interval: Interval::EMPTY,
            late_for: None,
            arrivals: 0,
        }
    }
}

impl Controller {
    pub(super) fn is_shedding(&self) -> bool {
        self.share < 1.0
    }

    /// One measurement. Returns the share.
    pub(super) fn measured(&mut self, seen: Seen) -> f64 {
        let weight = seen.passed.as_secs_f64() / (seen.passed + BUSY_OVER).as_secs_f64();
        self.busy += (seen.busy - self.busy) * weight;
        self.interval.add(seen);
        if self.interval.passed >= INTERVAL {
            let interval = std::mem::replace(&mut self.interval, Interval::EMPTY);
            self.judge(&interval);
        }
        self.share
    }

    fn judge(&mut self, interval: &Interval) {
        let verdict = interval.verdict(self.busy);
        let Verdict::Late(lateness) = verdict else {
            (self.late_for, self.arrivals) = (None, 0);
            let growth = match verdict {
                Verdict::Idle => GROWTH_IDLE,
                Verdict::Timely => GROWTH,
                Verdict::Full | Verdict::Late(_) => 0.0,
            };
            self.share = (self.share + growth).min(1.0);
            return;
        };
        // However late the first is: a burst may be gone with the next.
        let late_for = self
            .late_for
            .map_or(Duration::ZERO, |time| time.saturating_add(interval.passed));
        self.late_for = Some(late_for);
        self.arrivals = self.arrivals.saturating_add(interval.arrivals);
        let is_standing = late_for >= STANDING && self.arrivals >= ARRIVALS_MIN;
        if self.is_shedding() || is_standing {
            self.share = (self.share * (1.0 - cut(lateness))).max(SHARE_MIN);
        }
    }
}

/// The longer the queue, the more.
fn cut(lateness: Duration) -> f64 {
    let excess = lateness.saturating_sub(LATE).as_secs_f64() / (TOO_LATE - LATE).as_secs_f64();
    CUT + (CUT_MAX - CUT) * excess.min(1.0)
}

#[cfg(test)]
mod tests;
