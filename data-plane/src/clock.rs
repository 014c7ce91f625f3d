//! What time it is for whatever expires.
//!
//! A wall clock may be wrong from the start and may jump at any time, this machine's as
//! well as the control plane's; a false hour would open expired keys or close good ones.
//! So time is carried on by the monotonic clock, from what the control plane said at
//! first contact. Afterwards two of three clocks have to agree before it moves: the one
//! that is carried on, this machine's and the control plane's.
//!
//! Breakers, deadlines and idle times do not come here: they are monotonic throughout.

use std::{
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime},
};

#[derive(Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// The time at `started`, in milliseconds since 1970.
    start_unix_ms: AtomicI64,
    /// Whether the control plane has said what time it is.
    is_told: AtomicBool,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(Instant::now(), SystemTime::now())
    }
}

impl Clock {
    /// Until somebody says otherwise, this machine's clock is right.
    pub(crate) fn new(now: Instant, wall: SystemTime) -> Self {
        Self {
            started: now,
            start_unix_ms: AtomicI64::new(unix_ms(wall)),
            is_told: AtomicBool::new(false),
        }
    }

    pub(crate) fn at(&self, now: Instant) -> SystemTime {
        from_unix_ms(self.at_unix_ms(now))
    }

    pub(crate) fn at_unix_ms(&self, now: Instant) -> i64 {
        self.start_unix_ms
            .load(Ordering::Relaxed)
            .saturating_add(self.since_start_ms(now))
    }

    /// It was once known to be this late: what this process knows of an earlier one.
    pub(crate) fn is_at_least(&self, now: Instant, unix_ms: i64) {
        let start = unix_ms.saturating_sub(self.since_start_ms(now));
        self.start_unix_ms.fetch_max(start, Ordering::Relaxed);
    }

    /// The control plane says that it is `server`, while this machine's clock says `wall`.
    pub(crate) fn told(&self, now: Instant, wall: SystemTime, server: SystemTime) {
        let carried = self.at_unix_ms(now);
        let server = unix_ms(server);
        let believed = if self.is_told.swap(true, Ordering::Relaxed) {
            median([carried, unix_ms(wall), server])
        } else {
            server
        };
        self.start_unix_ms.store(
            believed.saturating_sub(self.since_start_ms(now)),
            Ordering::Relaxed,
        );
    }

    fn since_start_ms(&self, now: Instant) -> i64 {
        millis(now.saturating_duration_since(self.started))
    }
}

fn median(mut clocks: [i64; 3]) -> i64 {
    clocks.sort_unstable();
    clocks[1]
}

pub(crate) fn unix_ms(time: SystemTime) -> i64 {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => millis(after),
        Err(before) => -millis(before.duration()),
    }
}

pub(crate) fn from_unix_ms(unix_ms: i64) -> SystemTime {
    let distance = Duration::from_millis(unix_ms.unsigned_abs());
    let time = if unix_ms < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    // Beyond what the system can name there is no time to tell.
    time.unwrap_or(SystemTime::UNIX_EPOCH)
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const NOON: i64 = 1_800_000_000_000;

    /// The clock of a node, and what the three clocks say after each step.
    struct Bed {
        clock: Clock,
        now: Instant,
        true_ms: i64,
        wall_off: i64,
        server_off: i64,
    }

    impl Bed {
        fn new(wall_off: i64) -> Self {
            let now = Instant::now();
            Self {
                clock: Clock::new(now, from_unix_ms(NOON + wall_off)),
                now,
                true_ms: NOON,
                wall_off,
                server_off: 0,
            }
        }

        fn pass(&mut self, ms: i64) {
            self.now += Duration::from_millis(ms.unsigned_abs());
            self.true_ms += ms;
        }

        fn heartbeat(&mut self) {
            self.pass(5_000);
            self.clock.told(
                self.now,
                from_unix_ms(self.true_ms + self.wall_off),
                from_unix_ms(self.true_ms + self.server_off),
            );
        }

        fn off_by(&self) -> i64 {
            self.clock.at_unix_ms(self.now) - self.true_ms
        }
    }

    #[test]
    fn the_control_plane_corrects_a_wrong_clock_at_first_contact() {
        for wrong in [-HOUR, HOUR] {
            let mut bed = Bed::new(wrong);
            assert_eq!(bed.off_by(), wrong);
            bed.heartbeat();
            assert_eq!(bed.off_by(), 0);
            bed.pass(24 * HOUR);
            assert_eq!(bed.off_by(), 0, "and stays corrected without it");
        }
    }

    #[test]
    fn no_single_jump_moves_it() {
        for jump in [-HOUR, HOUR] {
            let mut bed = Bed::new(0);
            bed.heartbeat();
            bed.wall_off = jump;
            assert_eq!(bed.off_by(), 0);
            bed.heartbeat();
            assert_eq!(bed.off_by(), 0, "this machine's clock jumped");
            bed.wall_off = 0;
            bed.server_off = jump;
            for _ in 0..10 {
                bed.heartbeat();
                assert_eq!(bed.off_by(), 0, "the control plane's clock jumped");
            }
        }
    }

    #[test]
    fn two_that_agree_move_it() {
        let mut bed = Bed::new(0);
        bed.server_off = HOUR;
        bed.heartbeat();
        assert_eq!(bed.off_by(), HOUR);
        bed.server_off = 0;
        bed.heartbeat();
        assert_eq!(bed.off_by(), 0, "the control plane's clock was set right");
        // The machine slept: the monotonic clock stood still.
        bed.true_ms += 8 * HOUR;
        bed.heartbeat();
        assert_eq!(bed.off_by(), 0);
    }

    #[test]
    fn a_heartbeat_that_was_long_on_its_way_changes_nothing() {
        let mut bed = Bed::new(0);
        bed.heartbeat();
        bed.server_off = -60_000;
        bed.heartbeat();
        assert_eq!(bed.off_by(), 0);
    }

    #[test]
    fn time_does_not_run_back_over_a_restart() {
        let bed = Bed::new(-HOUR);
        bed.clock.is_at_least(bed.now, NOON);
        assert_eq!(bed.off_by(), 0);
        bed.clock.is_at_least(bed.now, NOON - HOUR);
        assert_eq!(bed.off_by(), 0);
    }

    #[test]
    fn times_beyond_all_reason_are_times() {
        let now = Instant::now();
        let clock = Clock::new(now, SystemTime::UNIX_EPOCH - Duration::from_secs(5));
        assert_eq!(clock.at_unix_ms(now), -5_000);
        clock.is_at_least(now, i64::MAX);
        let _ = clock.at(now + Duration::from_secs(1));
        assert_eq!(unix_ms(from_unix_ms(-5_000)), -5_000);
    }
}
