//! What an answer costs, in whole numbers: the same sum as the control plane's.

use bridge_translate::usage::Usage;

use crate::snapshot::limits::Price;

/// Prices are for so many tokens.
const TOKENS_PER_PRICE: u128 = 1_000_000;

/// In millionths of the currency, to the nearest; nothing where there is no price.
pub(crate) fn cost_micros(prices: &[Price], provider: &str, model: &str, usage: &Usage) -> u64 {
    let fits = |price: &&Price| {
        (price.provider.is_empty() || price.provider == provider) && matches(&price.model, model)
    };
    let Some(price) = prices.iter().find(fits) else {
        return 0;
    };
    let cost = |count: u64, rate: u64| u128::from(count) * u128::from(rate);
    let sum = cost(usage.input_tokens, price.input)
        .saturating_add(cost(usage.output_tokens, price.output))
        .saturating_add(cost(usage.cache_read_input_tokens, price.cache_read))
        .saturating_add(cost(usage.cache_creation_input_tokens, price.cache_creation));
    let micros = sum.saturating_add(TOKENS_PER_PRICE / 2) / TOKENS_PER_PRICE;
    u64::try_from(micros).unwrap_or(u64::MAX)
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

    #[test]
    fn the_first_price_that_fits_counts() {
        let price = |provider: &str, model: &str, output| Price {
            provider: provider.into(),
            model: model.into(),
            input: 0,
            output,
            cache_read: 0,
            cache_creation: 0,
        };
        let prices = [price("a", "m", 7), price("", "m*x", 3)];
        let usage = Usage {
            output_tokens: 1_500_000,
            ..Usage::default()
        };
        let cost = |provider, model| cost_micros(&prices, provider, model, &usage);
        assert_eq!((cost("a", "m"), cost("b", "m-x"), cost("b", "m")), (11, 5, 0));
        assert_eq!(cost_micros(&[price("", "*", u64::MAX)], "", "", &usage), u64::MAX);
    }
}
