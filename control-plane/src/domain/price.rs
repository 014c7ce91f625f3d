//! What tokens cost: a table whose first fitting row counts, in whole numbers throughout.

use super::{FieldViolation, Invalid, Violations, name::ProviderName, usage::Tokens};

/// Longest table.
pub const PRICES_MAX: usize = 100;
/// Highest price: a million of the currency for a million tokens.
const PRICE_MAX: u64 = 1_000_000_000_000;
/// Longest name or pattern, in bytes.
const MODEL_BYTES_MAX: usize = 128;
/// Prices are for so many tokens.
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// A row of the table, as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Price {
    /// Empty: every provider.
    pub provider: String,
    /// The upstream's name of the model, or a pattern with `*`.
    pub model: String,
    /// Millionths of the currency for a million tokens of each class.
    pub rates: Tokens,
}

impl Price {
    pub fn check(&self) -> Result<(), Vec<FieldViolation>> {
        let mut violations = Violations::default();
        if !self.provider.is_empty() {
            violations.check("provider", ProviderName::parse(&self.provider));
        }
        violations.check("model", check_pattern(&self.model));
        let Tokens {
            input,
            output,
            cache_read,
            cache_creation,
        } = self.rates;
        for (field, rate) in [
            ("input", input),
            ("output", output),
            ("cache_read", cache_read),
            ("cache_creation", cache_creation),
        ] {
            if rate > PRICE_MAX {
                violations.add(field, format!("must be at most {PRICE_MAX}"));
            }
        }
        violations.finish(Some(()))
    }

    fn fits(&self, provider: &str, model: &str) -> bool {
        (self.provider.is_empty() || self.provider == provider) && matches(&self.model, model)
    }
}

fn check_pattern(text: &str) -> Result<(), Invalid> {
    let is_plain = !text.chars().any(|c| c.is_control() || c.is_whitespace());
    if (1..=MODEL_BYTES_MAX).contains(&text.len()) && is_plain {
        return Ok(());
    }
    Err(Invalid::new(format!(
        "must be the upstream's name of a model or a pattern with `*`: 1 to {MODEL_BYTES_MAX} bytes without white space"
    )))
}

/// What tokens cost, in millionths of the currency, to the nearest; `None` if no row fits.
#[must_use]
pub fn cost_micros(prices: &[Price], provider: &str, model: &str, tokens: &Tokens) -> Option<u64> {
    let price = prices.iter().find(|price| price.fits(provider, model))?;
    let cost = |count: u64, rate: u64| u128::from(count) * u128::from(rate);
    let sum = cost(tokens.input, price.rates.input)
        .saturating_add(cost(tokens.output, price.rates.output))
        .saturating_add(cost(tokens.cache_read, price.rates.cache_read))
        .saturating_add(cost(tokens.cache_creation, price.rates.cache_creation));
    let micros = sum.saturating_add(TOKENS_PER_PRICE / 2) / TOKENS_PER_PRICE;
    Some(u64::try_from(micros).unwrap_or(u64::MAX))
}

/// Whether a name is what a pattern says, in which `*` is any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some(at) = left.find(part) else { return false };
        left = left.get(at + part.len()..).unwrap_or_default();
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(provider: &str, model: &str, input: u64) -> Price {
        Price {
            provider: provider.into(),
            model: model.into(),
            rates: Tokens {
                input,
                output: 2 * input,
                ..Tokens::default()
            },
        }
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        for (pattern, name, is_match) in [
            ("qwen-max", "qwen-max", true),
            ("qwen-max", "qwen-max-2", false),
            ("qwen-*", "qwen-", true),
            ("*-max", "qwen-max", true),
            ("q*n*x", "qwen-max", true),
            ("q*n*x", "qwen-may", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("**", "x", true),
            ("模*型", "模大型", true),
        ] {
            assert_eq!(matches(pattern, name), is_match, "{pattern} {name}");
        }
    }

    #[test]
    fn the_first_row_that_fits_counts() {
        let prices = [price("a", "m", 7), price("", "m*", 3), price("", "*", 1)];
        let million = Tokens {
            input: 1_000_000,
            ..Tokens::default()
        };
        let cost = |provider, model| cost_micros(&prices, provider, model, &million);
        assert_eq!(cost("a", "m"), Some(7));
        assert_eq!(cost("b", "m"), Some(3));
        assert_eq!(cost("b", "x"), Some(1));
        assert_eq!(cost_micros(&prices[..1], "b", "m", &million), None);
    }

    #[test]
    fn nothing_overflows_and_what_is_less_than_half_is_nothing() {
        let dear = [price("", "*", PRICE_MAX)];
        let all = Tokens {
            input: u64::MAX,
            output: u64::MAX,
            cache_read: u64::MAX,
            cache_creation: u64::MAX,
        };
        assert_eq!(cost_micros(&dear, "", "", &all), Some(u64::MAX));
        let cheap = [price("", "*", 1)];
        let cost = |input| {
            let tokens = Tokens {
                input,
                ..Tokens::default()
            };
            cost_micros(&cheap, "", "", &tokens)
        };
        assert_eq!((cost(499_999), cost(500_000)), (Some(0), Some(1)));
    }

    #[test]
    fn every_field_of_a_row_is_checked() {
        let mut wrong = price("No Name", "", PRICE_MAX);
        assert_eq!(wrong.check().unwrap_err().len(), 3);
        wrong = price("", "qwen-*", 1);
        assert!(wrong.check().is_ok());
    }
}
