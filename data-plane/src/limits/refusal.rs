//! Which limit a request met, in words that its sender can act on.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use super::calendar::rfc3339;
use crate::snapshot::limits::{Period, Unit};

/// How long whoever is over the limit of requests at once is asked to wait.
const WAIT_FOR_AN_END: Duration = Duration::from_secs(1);
/// If too many keys are in use.
const WAIT_FOR_ROOM: Duration = Duration::from_secs(30);

/// 429: the request may come again later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    met: Met,
    pub(crate) wait: Duration,
    resets_at: Option<SystemTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    PerMinute {
        what: &'static str,
        limit: u64,
        /// What this node grants of it.
        share: u64,
        used: u64,
    },
    AtOnce {
        limit: u64,
        share: u64,
        running: u64,
    },
    Budget {
        period: Period,
        unit: Unit,
        amount: u64,
        used: u64,
    },
    FullTable,
}

impl Refusal {
    pub(super) fn per_minute(
        what: &'static str,
        (limit, share): (u64, u64),
        used: u64,
        wait_s: u64,
        now: SystemTime,
    ) -> Self {
        let wait = Duration::from_secs(wait_s.max(1));
        Self {
            met: Met::PerMinute {
                what,
                limit,
                share,
                used,
            },
            wait,
            resets_at: Some(now + wait),
        }
    }

    pub(super) fn at_once((limit, share): (u64, u64), running: u64) -> Self {
        Self {
            met: Met::AtOnce {
                limit,
                share,
                running,
            },
            wait: WAIT_FOR_AN_END,
            resets_at: None,
        }
    }

    pub(super) fn budget(
        (period, unit): (Period, Unit),
        amount: u64,
        used: u64,
        resets_at: SystemTime,
        now: SystemTime,
    ) -> Self {
        Self {
            met: Met::Budget {
                period,
                unit,
                amount,
                used,
            },
            wait: resets_at.duration_since(now).unwrap_or_default(),
            resets_at: Some(resets_at),
        }
    }

    pub(super) fn of_full_table() -> Self {
        Self {
            met: Met::FullTable,
            wait: WAIT_FOR_ROOM,
            resets_at: None,
        }
    }

    /// Whether a client that tries again by itself only wastes its time.
    pub(crate) fn is_for_long(&self) -> bool {
        matches!(self.met, Met::Budget { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.met {
            Met::PerMinute {
                what,
                limit,
                share,
                used,
            } => {
                write!(f, "this API key may use {limit} {what} per minute")?;
                part(f, limit, share)?;
                write!(f, "; {used} were used in the last minute")?;
            }
            Met::AtOnce {
                limit,
                share,
                running,
            } => {
                write!(f, "this API key may have {limit} requests at once")?;
                part(f, limit, share)?;
                write!(f, "; {running} are running")?;
            }
            Met::Budget {
                period,
                unit,
                amount,
                used,
            } => {
                let period = match period {
                    Period::Day => "day",
                    Period::Week => "week",
                    Period::Month => "month",
                };
                let unit = match unit {
                    Unit::Tokens => "tokens",
                    Unit::CostMicros => "millionths of the currency",
                };
                write!(
                    f,
                    "this API key's budget for the {period} is spent: {used} of {amount} {unit}"
                )?;
            }
            Met::FullTable => write!(
                f,
                "more API keys with limits are in use here than can be kept apart"
            )?,
        }
        match self.resets_at {
            Some(at) => write!(f, "; try again at {}", rfc3339(at)),
            None => write!(f, "; try again in a moment"),
        }
    }
}

fn part(f: &mut fmt::Formatter<'_>, limit: u64, share: u64) -> fmt::Result {
    if share < limit {
        write!(f, ", {share} of them on this node")?;
    }
    Ok(())
}
