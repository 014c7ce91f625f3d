//! What traffic was, beside the configuration: sums by minute, hour and day, the request
//! log, what each key has spent, and which reports of nodes are in all of that.
//!
//! Nothing of it raises the revision, is audited or counts for the digest. A report is one
//! write: that it was counted and what it adds are there together or not at all.

mod carry;
mod count;
mod keys;
mod log;
mod read;
mod record;
mod sweep;

pub use log::{LogAsk, LogPage};
pub use read::UsageAsk;
pub use sweep::{Cursor, Swept};

pub(super) use carry::carry;
pub(super) use count::count;
pub(super) use sweep::{Outdated, find, forget};

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use super::{Error, Store, family::Family};
use crate::domain::{api_key::KeyId, limits::Period, usage::Boot, user::UserId};

/// What is known of the use of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUsage {
    /// Whose it is, or was: known for longer than the key.
    pub owner: Option<UserId>,
    /// The last minute in which it was used, in seconds since 1970; 0: never.
    pub last_used_s: u64,
    pub spent: BTreeMap<Period, Spent>,
}

impl KeyUsage {
    #[must_use]
    pub fn last_used(&self) -> Option<SystemTime> {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(self.last_used_s);
        (self.last_used_s > 0).then_some(at)
    }

    /// What was spent in the period that holds this moment, if anything.
    #[must_use]
    pub fn spent_in(&self, period: Period, at: SystemTime) -> Option<&Spent> {
        let start = period.start(at).duration_since(SystemTime::UNIX_EPOCH).ok()?;
        self.spent
            .get(&period)
            .filter(|spent| spent.start_s == start.as_secs())
    }
}

/// What was spent in a period of the calendar.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// When the period began, in seconds since 1970.
    pub start_s: u64,
    pub tokens: u64,
    pub cost_micros: u64,
}

impl Store {
    /// Up to where the reports of a boot are counted.
    pub async fn counted_sequence(&self, boot: &Boot) -> Result<u64, Error> {
        let key = keys::boot(boot);
        self.blocking(move |rows| {
            let row = rows.get(Family::UsageMeta, &key)?;
            row.map_or(Ok(0), |row| Ok(record::boot(&row)?.sequence))
        })
        .await
    }

    /// What is known of the use of some keys.
    pub async fn key_usage(&self, ids: Vec<KeyId>) -> Result<BTreeMap<String, KeyUsage>, Error> {
        self.blocking(move |rows| {
            let found = ids.iter().map(|id| {
                let row = rows.get(Family::KeyUsage, id.as_str().as_bytes())?;
                row.map(|row| Ok((id.to_string(), record::key_usage(&row)?)))
                    .transpose()
            });
            found.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// The same of every key that was ever used.
    pub async fn key_usages(&self) -> Result<BTreeMap<String, KeyUsage>, Error> {
        self.blocking(read::key_usages).await
    }
}
