//! What holds for all requests.

use super::{
    FieldViolation, Invalid, LossPolicy, Violations,
    model::Tier,
    price::{PRICES_MAX, Price},
    retention::Retention,
    user_keys::UserKeys,
};

/// Bounds of each setting.
const TOKENS_MAX: u32 = 100_000_000;
const FAILURE_THRESHOLD_MAX: u32 = 1_000;
const RECOVERY_TIMEOUT_S_MAX: u32 = 3_600;
const ATTEMPTS_MAX: u32 = 20;
const REQUEST_DEADLINE_S_MAX: u32 = 3_600;
/// Shorter, a heartbeat that comes late would end the service.
const STALE_LIMIT_S_MIN: u32 = 30;
const STALE_LIMIT_S_MAX: u32 = 30 * 24 * 60 * 60;
const STALE_LIMIT_S_DEFAULT: u32 = 24 * 60 * 60;
const CURRENCY_CHARS_MAX: usize = 8;
const CURRENCY_DEFAULT: &str = "USD";

/// How the candidates of a request are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackStrategy {
    /// By priority; equal priorities in random order.
    Priority,
    /// In random order.
    Random,
}

impl FallbackStrategy {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Priority => "priority",
            Self::Random => "random",
        }
    }

    pub fn parse(text: &str) -> Result<Self, super::Invalid> {
        match text {
            "priority" => Ok(Self::Priority),
            "random" => Ok(Self::Random),
            _ => Err(super::Invalid::new("must be priority or random")),
        }
    }
}

/// When a data plane stops asking an upstream, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    /// False also turns quarantine and cool-down off.
    pub enabled: bool,
    pub failure_threshold: u32,
    pub recovery_timeout_s: u32,
}

/// Settings that are not yet checked, and what they are at first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub fallback_strategy: FallbackStrategy,
    pub breaker: Breaker,
    pub min_tokens_limit: u32,
    pub max_tokens_limit: u32,
    pub max_attempts: u32,
    pub request_deadline_s: u32,
    pub allow_query_api_key: bool,
    /// For keys that do not say it themselves.
    pub loss_policy: LossPolicy,
    /// Of a name that nothing else maps; `None`: such a name is the client's mistake.
    pub default_tier: Option<Tier>,
    /// How long a data plane serves on without having heard of us; 0: for ever.
    pub stale_limit_s: u32,
    /// The first that fits counts.
    pub prices: Vec<Price>,
    pub currency: String,
    pub retention: Retention,
    pub user_keys: UserKeys,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            fallback_strategy: FallbackStrategy::Priority,
            breaker: Breaker {
                enabled: true,
                failure_threshold: 5,
                recovery_timeout_s: 60,
            },
            min_tokens_limit: 100,
            max_tokens_limit: 1_000_000,
            max_attempts: 4,
            request_deadline_s: 600,
            allow_query_api_key: true,
            loss_policy: LossPolicy::Report,
            default_tier: None,
            stale_limit_s: STALE_LIMIT_S_DEFAULT,
            prices: Vec::new(),
            currency: CURRENCY_DEFAULT.to_owned(),
            retention: Retention::default(),
            user_keys: UserKeys::default(),
        }
    }
}

impl Draft {
    pub fn check(self) -> Result<Settings, Vec<FieldViolation>> {
        let mut violations = Violations::default();
        let mut range = |field: &str, value: u32, max: u32| {
            if !(1..=max).contains(&value) {
                violations.add(field, format!("must be 1 to {max}"));
            }
        };
        range(
            "circuit_breaker.failure_threshold",
            self.breaker.failure_threshold,
            FAILURE_THRESHOLD_MAX,
        );
        range(
            "circuit_breaker.recovery_timeout",
            self.breaker.recovery_timeout_s,
            RECOVERY_TIMEOUT_S_MAX,
        );
        range("min_tokens_limit", self.min_tokens_limit, TOKENS_MAX);
        range("max_tokens_limit", self.max_tokens_limit, TOKENS_MAX);
        range("max_attempts", self.max_attempts, ATTEMPTS_MAX);
        range(
            "request_deadline",
            self.request_deadline_s,
            REQUEST_DEADLINE_S_MAX,
        );
        if self.stale_limit_s != 0 && !(STALE_LIMIT_S_MIN..=STALE_LIMIT_S_MAX).contains(&self.stale_limit_s) {
            violations.add(
                "stale_limit",
                format!("must be 0 or {STALE_LIMIT_S_MIN} to {STALE_LIMIT_S_MAX}"),
            );
        }
        if self.min_tokens_limit > self.max_tokens_limit {
            violations.add("min_tokens_limit", "must not be above max_tokens_limit");
        }
        self.check_accounts(&mut violations);
        violations.finish(Some(Settings(self)))
    }
}

impl Draft {
    /// What is charged, and how long it is remembered.
    fn check_accounts(&self, violations: &mut Violations) {
        if self.prices.len() > PRICES_MAX {
            violations.add("prices", format!("must have at most {PRICES_MAX} entries"));
        }
        for (index, price) in self.prices.iter().enumerate() {
            if let Err(part) = price.check() {
                violations.nest(&format!("prices[{index}]"), part);
            }
        }
        violations.check("currency", check_currency(&self.currency));
        if let Err(part) = self.retention.check() {
            violations.nest("retention", part);
        }
        if let Err(part) = self.user_keys.check() {
            violations.nest("user_keys", part);
        }
    }
}

fn check_currency(text: &str) -> Result<(), Invalid> {
    let is_word = text.chars().all(char::is_alphanumeric);
    if (1..=CURRENCY_CHARS_MAX).contains(&text.chars().count()) && is_word {
        return Ok(());
    }
    Err(Invalid::new(format!(
        "must be an ISO 4217 code or a word of 1 to {CURRENCY_CHARS_MAX} letters and digits"
    )))
}

/// Settings that have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings(Draft);

impl Settings {
    #[must_use]
    pub fn to_draft(&self) -> Draft {
        self.0.clone()
    }

    /// Whether something differs that only an admin may change.
    #[must_use]
    pub fn differs_in_security(&self, other: &Self) -> bool {
        self.0.allow_query_api_key != other.0.allow_query_api_key
            || self.0.stale_limit_s != other.0.stale_limit_s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::limits;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(Draft::default().check().unwrap().to_draft(), Draft::default());
    }

    #[test]
    fn every_bound_is_checked() {
        let draft = Draft {
            breaker: Breaker {
                enabled: true,
                failure_threshold: 0,
                recovery_timeout_s: 3_601,
            },
            min_tokens_limit: 0,
            max_tokens_limit: u32::MAX,
            max_attempts: 21,
            request_deadline_s: 0,
            stale_limit_s: STALE_LIMIT_S_MAX + 1,
            prices: vec![Price::default(); PRICES_MAX + 1],
            currency: "a dollar".into(),
            retention: Retention {
                minute_hours: 0,
                ..Retention::default()
            },
            user_keys: UserKeys {
                max_keys: 10_001,
                limits: limits::Draft {
                    requests_per_minute: Some(0),
                    ..limits::Draft::default()
                },
            },
            ..Draft::default()
        };
        assert_eq!(
            draft.check().unwrap_err().len(),
            7 + 1 + (PRICES_MAX + 1) + 1 + 1 + 2
        );
    }

    #[test]
    fn a_limit_of_age_is_none_or_longer_than_a_late_heartbeat() {
        let is_valid = |stale_limit_s| {
            let draft = Draft {
                stale_limit_s,
                ..Draft::default()
            };
            draft.check().is_ok()
        };
        assert!(is_valid(0) && is_valid(STALE_LIMIT_S_MIN));
        assert!(!is_valid(1) && !is_valid(STALE_LIMIT_S_MIN - 1));
    }

    #[test]
    fn the_limits_of_tokens_are_in_order() {
        let draft = Draft {
            min_tokens_limit: 10,
            max_tokens_limit: 9,
            ..Draft::default()
        };
        assert_eq!(draft.check().unwrap_err()[0].field, "min_tokens_limit");
    }
}
