//! What the file says about settings.

use super::{object::Object, variables::Variables};
use crate::domain::{
    FieldViolation, Invalid, LossPolicy, Violations,
    model::Tier,
    price::Price,
    settings::{Breaker, Draft, FallbackStrategy, Settings},
    usage::Tokens,
};

const BREAKER: &str = "circuit_breaker";
const PRICES: &str = "prices";

/// Settings that the file names; the rest stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportedSettings {
    fallback_strategy: Option<FallbackStrategy>,
    breaker_enabled: Option<bool>,
    failure_threshold: Option<u32>,
    recovery_timeout_s: Option<u32>,
    loss_policy: Option<LossPolicy>,
    default_tier: Option<Tier>,
    prices: Option<Vec<Price>>,
    currency: Option<String>,
}

impl ImportedSettings {
    /// Takes the settings out of the file; paths of fields that nobody knows are added
    /// to `unknown`.
    pub(super) fn read(
        file: &mut Object,
        variables: &mut Variables<'_>,
        violations: &mut Violations,
        unknown: &mut Vec<String>,
    ) -> Self {
        let mut settings = Self {
            fallback_strategy: word(
                "fallback_strategy",
                FallbackStrategy::parse,
                file,
                variables,
                violations,
            ),
            loss_policy: word("loss_policy", LossPolicy::parse, file, variables, violations),
            default_tier: word("default_tier", Tier::parse, file, variables, violations),
            prices: prices(file, violations, unknown),
            currency: file.text("currency", violations),
            ..Self::default()
        };
        let breaker = file.take(BREAKER);
        let breaker = breaker.and_then(|value| Object::of(BREAKER.to_owned(), value, violations));
        if let Some(mut breaker) = breaker {
            settings.breaker_enabled = breaker.boolean("enabled", violations);
            settings.failure_threshold = breaker.integer("failure_threshold", violations);
            settings.recovery_timeout_s = breaker.integer("recovery_timeout", violations);
            unknown.extend(breaker.into_unknown());
        }
        settings
    }

    /// The settings, as the file changes them.
    pub fn on(self, base: &Settings) -> Result<Settings, Vec<FieldViolation>> {
        let Self {
            fallback_strategy,
            breaker_enabled,
            failure_threshold,
            recovery_timeout_s,
            loss_policy,
            default_tier,
            prices,
            currency,
        } = self;
        let base = base.to_draft();
        Draft {
            fallback_strategy: fallback_strategy.unwrap_or(base.fallback_strategy),
            breaker: Breaker {
                enabled: breaker_enabled.unwrap_or(base.breaker.enabled),
                failure_threshold: failure_threshold.unwrap_or(base.breaker.failure_threshold),
                recovery_timeout_s: recovery_timeout_s.unwrap_or(base.breaker.recovery_timeout_s),
            },
            loss_policy: loss_policy.unwrap_or(base.loss_policy),
            default_tier: default_tier.or(base.default_tier),
            prices: prices.unwrap_or(base.prices),
            currency: currency.unwrap_or(base.currency),
            ..base
        }
        .check()
    }
}

/// `None`: the file says nothing of prices.
fn prices(file: &mut Object, violations: &mut Violations, unknown: &mut Vec<String>) -> Option<Vec<Price>> {
    file.names().contains(&PRICES.to_owned()).then(|| {
        let items = file.list(PRICES, violations).into_iter().enumerate();
        let rows =
            items.filter_map(|(index, item)| Object::of(format!("{PRICES}[{index}]"), item, violations));
        let rows: Vec<Object> = rows.collect();
        rows.into_iter()
            .map(|mut row| {
                let price = Price {
                    provider: row.text("provider", violations).unwrap_or_default(),
                    model: row.text("model", violations).unwrap_or_default(),
                    rates: Tokens {
                        input: row.integer("input", violations).unwrap_or_default(),
                        output: row.integer("output", violations).unwrap_or_default(),
                        cache_read: row.integer("cache_read", violations).unwrap_or_default(),
                        cache_creation: row.integer("cache_creation", violations).unwrap_or_default(),
                    },
                };
                unknown.extend(row.into_unknown());
                price
            })
            .collect()
    })
}

fn word<T>(
    name: &str,
    parse: impl Fn(&str) -> Result<T, Invalid>,
    file: &mut Object,
    variables: &mut Variables<'_>,
    violations: &mut Violations,
) -> Option<T> {
    let text = file.text(name, violations)?;
    violations.check(name, parse(&variables.resolve(&text)))
}
