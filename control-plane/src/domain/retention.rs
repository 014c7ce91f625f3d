//! How long it is kept what traffic was.

use std::time::Duration;

use super::{FieldViolation, Violations};

const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;
const MINUTE_HOURS_MAX: u32 = 168;
const HOUR_DAYS_MAX: u32 = 366;
const DAY_DAYS_MAX: u32 = 3_660;
const REQUEST_HOURS_MAX: u32 = 8_760;
const REQUEST_ENTRIES_MAX: u32 = 1_000_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Sums of minutes, in hours.
    pub minute_hours: u32,
    /// Sums of hours, in days.
    pub hour_days: u32,
    /// Sums of days, in days.
    pub day_days: u32,
    /// The request log.
    pub request_hours: u32,
    pub request_entries: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            minute_hours: 48,
            hour_days: 62,
            day_days: 731,
            request_hours: 168,
            request_entries: 20_000,
        }
    }
}

impl Retention {
    pub fn check(&self) -> Result<(), Vec<FieldViolation>> {
        let Self {
            minute_hours,
            hour_days,
            day_days,
            request_hours,
            request_entries,
        } = *self;
        let mut violations = Violations::default();
        for (field, value, min, max) in [
            ("minute_hours", minute_hours, 1, MINUTE_HOURS_MAX),
            ("hour_days", hour_days, 1, HOUR_DAYS_MAX),
            ("day_days", day_days, 1, DAY_DAYS_MAX),
            ("request_hours", request_hours, 0, REQUEST_HOURS_MAX),
            ("request_entries", request_entries, 0, REQUEST_ENTRIES_MAX),
        ] {
            if !(min..=max).contains(&value) {
                violations.add(field, format!("must be {min} to {max}"));
            }
        }
        violations.finish(Some(()))
    }

    #[must_use]
    pub fn minutes(&self) -> Duration {
        Duration::from_secs(u64::from(self.minute_hours) * HOUR_S)
    }

    #[must_use]
    pub fn hours(&self) -> Duration {
        Duration::from_secs(u64::from(self.hour_days) * DAY_S)
    }

    #[must_use]
    pub fn days(&self) -> Duration {
        Duration::from_secs(u64::from(self.day_days) * DAY_S)
    }

    #[must_use]
    pub fn requests(&self) -> Duration {
        Duration::from_secs(u64::from(self.request_hours) * HOUR_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_every_bound_is_checked() {
        assert!(Retention::default().check().is_ok());
        let nothing = Retention {
            minute_hours: 0,
            hour_days: 0,
            day_days: 0,
            request_hours: 0,
            request_entries: 0,
        };
        assert_eq!(
            nothing.check().unwrap_err().len(),
            3,
            "a log may be off, sums may not"
        );
        let all = Retention {
            minute_hours: u32::MAX,
            hour_days: u32::MAX,
            day_days: u32::MAX,
            request_hours: u32::MAX,
            request_entries: u32::MAX,
        };
        assert_eq!(all.check().unwrap_err().len(), 5);
    }
}
