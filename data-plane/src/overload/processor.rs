//! How many requests may be in flight, by how long work waits for the processor.
//!
//! Pure: measurements and time are arguments. How many are in flight says nothing by itself,
//! since most of them wait for upstreams; so there is no limit until work waits here. Then the
//! limit is a little less than what is in flight, and settles where work is done in time,
//! however much more comes and however long a request goes on costing something. A queue is
//! what does not go away: the shortest wait of an interval tells, as in CoDel.
//!
//! Work also waits while somebody else has the processor. Refusing is no help against that,
//! unless it goes on; so it counts as a queue of ours at once only while we use up what we may
//! use.

use std::time::Duration;

/// The least that is judged.
const INTERVAL: Duration = Duration::from_millis(50);
/// The part of the processors that we use when they are ours, as an average over `AVERAGE` or,
/// as long as there is no limit, in one interval: of a busy one the system itself takes some.
const USED: f64 = 0.7;
const AVERAGE: Duration = Duration::from_millis(250);
/// The part of the time that threads of ours are at work when it is us who have too much.
const BUSY: f64 = 0.9;
const OURS: Bounds = Bounds {
    late: Duration::from_millis(6),
    timely: Duration::from_millis(3),
    // Longer than the burst of a client that sends dozens at once.
    standing: Duration::from_millis(250),
};
const SHARED: Bounds = Bounds {
    late: Duration::from_millis(50),
    timely: Duration::from_millis(25),
    standing: Duration::from_secs(3),
};
/// Of what is in flight, for a wait at the bound and for one that is longer than `TOO_LATE` of it.
const CUT: f64 = 0.01;
const CUT_MAX: f64 = 0.15;
const TOO_LATE: u32 = 10;
/// Growth of the limit in an interval without a queue, and in one with time to spare.
const GROWTH: f64 = 0.01;
const GROWTH_SPARE: f64 = 0.2;
/// Added each time, so that a low limit grows, too.
const GROWTH_LEAST: f64 = 0.3;
/// So many may always be in flight.
const LIMIT_MIN: f64 = 8.0;
/// For how long nobody has to be refused before there is no limit any more.
const RELEASE: Duration = Duration::from_millis(500);

/// What was seen between two looks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Look {
    pub(super) passed: Duration,
    /// How long something that was to be done at once had to wait, beyond what a quota takes.
    pub(super) waited: Duration,
    /// The part of the processors that we used, of those that we may use.
    pub(super) used: f64,
    /// The part of the time that our threads were at work, or wanted to be; more than all of it
    /// if some tell late.
    pub(super) busy: f64,
}

/// The same, and what requests did meanwhile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) look: Look,
    pub(super) in_flight: u64,
    /// How many were refused because of the limit.
    pub(super) refused: u32,
}

#[derive(Debug)]
pub(super) struct Controller {
    limit: Option<f64>,
    used: f64,
    busy: f64,
    interval: Interval,
    /// How long a queue has stood since it was first seen.
    standing: Option<Duration>,
    /// How long the limit has hindered nobody.
    unhindered: Duration,
}

/// What is a queue, what is none any more, and how long it has to stand.
#[derive(Debug)]
struct Bounds {
    late: Duration,
    timely: Duration,
    standing: Duration,
}

/// Ticks that are judged together.
#[derive(Debug)]
struct Interval {
    passed: Duration,
    /// Seconds of the processors that we may use.
    used: f64,
    waited_min: Duration,
    in_flight_max: u64,
    refused: u32,
}

impl Interval {
    const EMPTY: Self = Self {
        passed: Duration::ZERO,
        used: 0.0,
        waited_min: Duration::MAX,
        in_flight_max: 0,
        refused: 0,
    };

    fn add(&mut self, seen: Seen) {
        let Seen {
            look,
            in_flight,
            refused,
        } = seen;
        self.passed = self.passed.saturating_add(look.passed);
        self.used += look.used * look.passed.as_secs_f64();
        self.waited_min = self.waited_min.min(look.waited);
        self.in_flight_max = self.in_flight_max.max(in_flight);
        self.refused = self.refused.saturating_add(refused);
    }

    /// The part of the processors that we used, of those that we may use.
    fn used(&self) -> f64 {
        self.used / self.passed.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Default for Controller {
    fn default() -> Self {
        Self {
            limit: None,
            used: 0.0,
            busy: 0.0,
            interval: Interval::EMPTY,
            standing: None,
            unhindered: Duration::ZERO,
        }
    }
}

impl Controller {
    /// One measurement. Returns how many may be in flight; `None`: any number.
    pub(super) fn measured(&mut self, seen: Seen) -> Option<u64> {
        let Look {
            passed, used, busy, ..
        } = seen.look;
        let weight = passed.as_secs_f64() / (passed + AVERAGE).as_secs_f64();
        self.used += (used - self.used) * weight;
        self.busy += (busy - self.busy) * weight;
        self.interval.add(seen);
        if self.interval.passed >= INTERVAL {
            let interval = std::mem::replace(&mut self.interval, Interval::EMPTY);
            self.judge(&interval);
        }
        self.limit.map(|limit| limit as u64)
    }

    /// Whether work waits, or would without a limit.
    pub(super) fn sees_a_queue(&self) -> bool {
        self.standing.is_some() || self.limit.is_some()
    }

    fn judge(&mut self, interval: &Interval) {
        // The average follows slowly, and a storm fills a node within its first half second.
        let is_rising = self.limit.is_none() && interval.used() >= USED;
        let is_ours = self.used >= USED || is_rising;
        let bounds = if is_ours { OURS } else { SHARED };
        if interval.waited_min >= bounds.late && (is_ours || self.busy >= BUSY) {
            // However long the first waits: a burst may be gone with the next.
            let standing = self
                .standing
                .map_or(Duration::ZERO, |time| time.saturating_add(interval.passed));
            self.standing = Some(standing);
            if self.limit.is_some() || standing >= bounds.standing {
                self.narrow(interval, cut(interval.waited_min, bounds.late));
            }
            return;
        }
        self.standing = None;
        if interval.waited_min < bounds.timely {
            let is_spare = !is_ours && self.busy < BUSY;
            self.widen(interval, if is_spare { GROWTH_SPARE } else { GROWTH });
        }
    }

    fn narrow(&mut self, interval: &Interval, cut: f64) {
        let in_flight = interval.in_flight_max as f64;
        // Streams that were let in before go on: that their number does not fall at once is no
        // reason for a limit that is ever lower.
        let limit = (in_flight * (1.0 - cut)).max(LIMIT_MIN);
        self.limit = Some(self.limit.map_or(limit, |before| before.min(limit)));
        self.unhindered = Duration::ZERO;
    }

    fn widen(&mut self, interval: &Interval, growth: f64) {
        let Some(limit) = self.limit else { return };
        self.limit = Some(limit * (1.0 + growth) + GROWTH_LEAST);
        self.unhindered = match interval.refused {
            0 => self.unhindered.saturating_add(interval.passed),
            _ => Duration::ZERO,
        };
        if self.unhindered >= RELEASE {
            self.limit = None;
        }
    }
}

/// The longer the queue, the more.
fn cut(waited: Duration, late: Duration) -> f64 {
    let too_late = late * TOO_LATE;
    let excess = waited.saturating_sub(late).as_secs_f64() / (too_late - late).as_secs_f64();
    CUT + (CUT_MAX - CUT) * excess.min(1.0)
}

#[cfg(test)]
mod tests;
