//! The candidate that a request is translated for.

use crate::dialect::Dialect;

/// The candidate that a request is translated for.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// The provider's name, for messages and signatures.
    pub provider: &'a str,
    /// The upstream's name of the model.
    pub model: &'a str,
    pub dialect: &'a Dialect,
    /// The global limits on `max_tokens`.
    pub token_limits: TokenLimits,
    /// The model's own limit, if it is known.
    pub max_output_tokens: Option<u32>,
}

/// Bounds that hold for every request, whatever the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimits {
    pub min: u32,
    pub max: u32,
}
