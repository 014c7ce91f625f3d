//! Durations that a caller may set within bounds.

use std::time::Duration;

use crate::grpc::status::Error;

/// Absent means the default; more than `max` and less than nothing are refused.
pub(crate) fn parse(
    field: &str,
    wire: Option<prost_types::Duration>,
    default: Duration,
    max: Duration,
) -> Result<Duration, Error> {
    let Some(wire) = wire else { return Ok(default) };
    match Duration::try_from(wire) {
        Ok(duration) if duration <= max => Ok(duration),
        Ok(_) | Err(_) => Err(Error::invalid(field, format!("must be 0 to {} s", max.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: Duration = Duration::from_secs(5);
    const MAX: Duration = Duration::from_secs(60);

    fn check(seconds: i64, expected: Option<u64>) {
        let wire = prost_types::Duration { seconds, nanos: 0 };
        assert_eq!(
            parse("timeout", Some(wire), DEFAULT, MAX).ok(),
            expected.map(Duration::from_secs)
        );
    }

    #[test]
    fn a_duration_stays_within_its_bounds() {
        check(0, Some(0));
        check(60, Some(60));
        check(61, None);
        check(-1, None);
        assert_eq!(parse("timeout", None, DEFAULT, MAX).unwrap(), DEFAULT);
    }
}
