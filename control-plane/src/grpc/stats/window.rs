//! Which time is asked for, and in which steps.

use std::time::{Duration, SystemTime};

use bridge_proto::admin::v1 as admin;
use prost_types::Timestamp;

use crate::domain::retention::Retention;
use crate::domain::usage::Step;
use crate::domain::{Invalid, Violations};
use crate::grpc::convert;
use crate::grpc::status::Error;

/// If the beginning is not said.
const LENGTH_DEFAULT: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest times that are told by minutes and by hours, if nobody says otherwise.
const BY_MINUTES_MAX: u64 = 6 * 60 * 60;
const BY_HOURS_MAX: u64 = 14 * 24 * 60 * 60;
/// Steps that one answer may have.
const STEPS_MAX: u64 = 4_000;

/// Whole steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) step: Step,
    /// Seconds since 1970.
    pub(super) from_s: u64,
    pub(super) below_s: u64,
}

impl Window {
    /// The time that is asked for, made longer to whole steps.
    pub(super) fn parse(
        filter: &admin::StatsFilter,
        step: Option<Step>,
        now: SystemTime,
        retention: &Retention,
    ) -> Result<Self, Error> {
        let (from_ms, below_ms) = milliseconds(filter, now)?;
        let (from_s, below_s) = (from_ms / 1_000, below_ms.div_ceil(1_000));
        let age = |step: Step| now_s(now).saturating_sub(from_s) <= kept_s(step, retention);
        let step = step.unwrap_or_else(|| match below_s - from_s {
            length if length <= BY_MINUTES_MAX && age(Step::Minute) => Step::Minute,
            length if length <= BY_HOURS_MAX && age(Step::Hour) => Step::Hour,
            _ => Step::Day,
        });
        let window = Self {
            step,
            from_s: step.start(from_s),
            below_s: step.start(below_s + step.seconds() - 1),
        };
        let steps = (window.below_s - window.from_s) / step.seconds();
        if steps > STEPS_MAX {
            return Err(Error::invalid(
                "step",
                format!("this time has {steps} steps; ask for a larger step or for at most {STEPS_MAX}"),
            ));
        }
        Ok(window)
    }
}

fn kept_s(step: Step, retention: &Retention) -> u64 {
    match step {
        Step::Minute => retention.minutes(),
        Step::Hour => retention.hours(),
        Step::Day => retention.days(),
    }
    .as_secs()
}

/// From when to when, in milliseconds since 1970.
pub(super) fn milliseconds(filter: &admin::StatsFilter, now: SystemTime) -> Result<(u64, u64), Error> {
    let mut violations = Violations::default();
    let mut time = |field: &str, wire| violations.check(field, convert::time(wire).and_then(after_1970));
    let (since, until) = (
        time("filter.since", filter.since),
        time("filter.until", filter.until),
    );
    let read = violations.finish(since.zip(until))?;
    let until = read.1.unwrap_or(now);
    let since = read.0.unwrap_or_else(|| {
        until
            .checked_sub(LENGTH_DEFAULT)
            .unwrap_or(SystemTime::UNIX_EPOCH)
    });
    let (from_ms, below_ms) = (unix_ms(since), unix_ms(until));
    if from_ms >= below_ms {
        return Err(Error::invalid("filter.since", "must be before `until`"));
    }
    Ok((from_ms, below_ms))
}

fn after_1970(time: Option<SystemTime>) -> Result<Option<SystemTime>, Invalid> {
    if time.is_some_and(|time| time < SystemTime::UNIX_EPOCH) {
        return Err(Invalid::new("must not be before 1970"));
    }
    Ok(time)
}

fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn now_s(now: SystemTime) -> u64 {
    unix_ms(now) / 1_000
}

/// `None`: by the length of the time.
pub(super) fn step(wire: i32) -> Result<Option<Step>, Error> {
    match admin::UsageStep::try_from(wire) {
        Ok(admin::UsageStep::Unspecified) => Ok(None),
        Ok(admin::UsageStep::Minute) => Ok(Some(Step::Minute)),
        Ok(admin::UsageStep::Hour) => Ok(Some(Step::Hour)),
        Ok(admin::UsageStep::Day) => Ok(Some(Step::Day)),
        Err(_) => Err(Error::invalid("step", "must be minute, hour or day")),
    }
}

pub(super) fn timestamp(unix_s: u64) -> Timestamp {
    Timestamp {
        seconds: i64::try_from(unix_s).unwrap_or(i64::MAX),
        nanos: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_715_767_215;

    fn window(since_s: Option<u64>, until_s: Option<u64>, step: Option<Step>) -> Result<Window, Error> {
        let filter = admin::StatsFilter {
            since: since_s.map(timestamp),
            until: until_s.map(timestamp),
            ..Default::default()
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(NOW_S);
        Window::parse(&filter, step, now, &Retention::default())
    }

    #[test]
    fn the_step_follows_from_the_length_and_from_what_is_kept() {
        let step = |length_s| window(Some(NOW_S - length_s), None, None).unwrap().step;
        assert_eq!(window(None, None, None).unwrap().step, Step::Hour);
        assert_eq!((step(60), step(BY_MINUTES_MAX)), (Step::Minute, Step::Minute));
        assert_eq!(
            (step(BY_MINUTES_MAX + 1), step(BY_HOURS_MAX)),
            (Step::Hour, Step::Hour)
        );
        assert_eq!(step(BY_HOURS_MAX + 1), Step::Day);
        let hour_of_last_week = window(Some(NOW_S - 604_800), Some(NOW_S - 601_200), None);
        assert_eq!(
            hour_of_last_week.unwrap().step,
            Step::Hour,
            "its minutes are gone"
        );
    }

    #[test]
    fn whole_steps_cover_what_is_asked_for() {
        let found = window(Some(NOW_S - 90), Some(NOW_S), Some(Step::Minute)).unwrap();
        assert_eq!((found.from_s % 60, found.below_s % 60), (0, 0));
        assert!(found.from_s <= NOW_S - 90 && NOW_S <= found.below_s);
    }

    #[test]
    fn too_many_steps_and_no_time_at_all_are_refused() {
        assert!(window(Some(NOW_S - 60 * STEPS_MAX), None, Some(Step::Minute)).is_err());
        assert!(window(Some(NOW_S - 60 * (STEPS_MAX - 2)), None, Some(Step::Minute)).is_ok());
        assert!(window(Some(NOW_S), Some(NOW_S), None).is_err());
        assert!(window(Some(0), None, Some(Step::Day)).is_err());
    }
}
