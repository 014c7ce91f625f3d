//! When budgets begin anew.

use std::time::{Duration, SystemTime};

use time::{Date, OffsetDateTime, Time};

use crate::snapshot::limits::Period;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The end of the period that holds this moment.
pub(super) fn end(period: Period, at: SystemTime) -> SystemTime {
    let today = date(at);
    let (back, days) = match period {
        Period::Day => (0, 1),
        Period::Week => (today.weekday().number_days_from_monday(), 7),
        Period::Month => (today.day() - 1, today.month().length(today.year())),
    };
    let first = today
        .checked_sub(time::Duration::days(back.into()))
        .unwrap_or(today);
    let start_s = first.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp();
    SystemTime::UNIX_EPOCH + Duration::from_secs(start_s.max(0).unsigned_abs()) + DAY * u32::from(days)
}

/// Beyond what a calendar has, the day on which all time begins.
fn date(at: SystemTime) -> Date {
    utc(at).date()
}

fn utc(at: SystemTime) -> OffsetDateTime {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// As headers have it: `2024-05-15T10:00:00Z`.
pub(super) fn rfc3339(at: SystemTime) -> String {
    utc(at)
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_end_with_the_calendar_in_utc() {
        // 2024-02-29 12:00, a Thursday.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_208_000);
        for (period, told) in [
            (Period::Day, "2024-03-01T00:00:00Z"),
            (Period::Week, "2024-03-04T00:00:00Z"),
            (Period::Month, "2024-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(end(period, now)), told, "{period:?}");
        }
        assert_eq!(rfc3339(now), "2024-02-29T12:00:00Z");
    }
}
