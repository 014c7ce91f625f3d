//! Reads single values that several resources have.

use std::time::{Duration, SystemTime};

use bridge_proto::fleet::v1 as proto;

use crate::snapshot::LossPolicy;

/// Longer durations are read as this, so that any of them can be added to any instant.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// `None` for unspecified; a policy of a newer schema is read as the strictest.
pub(super) fn loss_policy(value: i32) -> Option<LossPolicy> {
    match proto::LossPolicy::try_from(value) {
        Ok(proto::LossPolicy::Unspecified) => None,
        Ok(proto::LossPolicy::Report) => Some(LossPolicy::Report),
        Ok(proto::LossPolicy::Silent) => Some(LossPolicy::Silent),
        Ok(proto::LossPolicy::Strict) | Err(_) => Some(LossPolicy::Strict),
    }
}

pub(super) fn instant(timestamp: prost_types::Timestamp) -> Result<SystemTime, String> {
    timestamp
        .try_into()
        .map_err(|_| "a point in time is out of range".to_owned())
}

/// `None` if absent or zero.
pub(super) fn duration(message: Option<prost_types::Duration>) -> Result<Option<Duration>, String> {
    match message.map(Duration::try_from) {
        None => Ok(None),
        Some(Ok(duration)) => Ok((!duration.is_zero()).then_some(duration.min(DURATION_MAX))),
        Some(Err(_)) => Err("a duration is negative or out of range".into()),
    }
}
