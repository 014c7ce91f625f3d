//! What an installation consists of, and the rules it obeys.
//!
//! Types here cannot hold an invalid value: text comes in through `parse`, whole
//! things through a `Draft` whose `check` reports every violation at once. Nothing
//! here knows the disk, the wire or the clock; time and randomness are arguments.

pub mod api_key;
pub mod audit;
mod base_url;
pub mod breaker_override;
mod credential;
mod dialect;
mod endpoint;
mod extra_body;
pub mod health;
pub mod join_token;
mod knobs;
pub mod limits;
mod loss_policy;
pub mod model;
mod model_name;
mod model_options;
mod name;
pub mod node;
mod overrides;
pub mod price;
pub mod provider;
mod provider_models;
mod provider_secrets;
pub mod reach;
pub mod retention;
pub mod service_token;
pub mod session;
pub mod settings;
mod text;
pub mod usage;
pub mod user;
pub mod user_keys;
mod violation;

use std::time::{Duration, SystemTime};

pub use loss_policy::LossPolicy;
pub use text::{DisplayName, Email};
pub use violation::{FieldViolation, Invalid, Violations};

/// The last second of the year 9999, since 1970: later times have no writing in the contract
/// and in files.
const LAST_SECOND: u64 = 253_402_300_799;

fn can_be_written(at: SystemTime) -> bool {
    let since = at.duration_since(SystemTime::UNIX_EPOCH);
    since.is_ok_and(|since| since.as_secs() <= LAST_SECOND)
}

/// As the store keeps times: what is answered to a change and what is read later are
/// the same.
#[must_use]
pub fn to_the_millisecond(at: SystemTime) -> SystemTime {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let sub_millis = Duration::from_nanos(u64::from(since.subsec_nanos() % 1_000_000));
    SystemTime::UNIX_EPOCH + since.saturating_sub(sub_millis)
}

/// When a thing was made and last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    pub created_at: SystemTime,
    pub updated_at: SystemTime,
}

impl Times {
    /// For a thing that is made now.
    #[must_use]
    pub fn new(now: SystemTime) -> Self {
        Self {
            created_at: now,
            updated_at: now,
        }
    }

    /// For a thing that is changed now.
    #[must_use]
    pub fn touched(self, now: SystemTime) -> Self {
        Self {
            created_at: self.created_at,
            updated_at: now,
        }
    }
}
