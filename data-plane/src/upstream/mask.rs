//! Makes an upstream's words fit to be shown: no secret, no address, not too long.
//!
//! Our own secrets are known, and go wherever they stand. Others (a key that was replaced, one
//! of whoever runs the upstream) go by what they look like; in doubt a word too many is masked.

mod shapes;
#[cfg(test)]
mod tests;

use secrecy::{ExposeSecret, SecretString};

/// Longest text of an upstream that a client or a log sees.
const WORDS_CHARS_MAX: usize = 500;
/// A shorter configured value (a tenant's number, say) is no secret worth mangling words for.
const SECRET_BYTES_MIN: usize = 6;
const MASKED: &str = "***";

/// Masks what we configured, what looks like a key or a token, and URLs.
pub(crate) fn mask(words: &str, secrets: &[SecretString]) -> String {
    let mut known: Vec<&str> = secrets
        .iter()
        .map(ExposeSecret::expose_secret)
        .filter(|secret| secret.len() >= SECRET_BYTES_MIN)
        .collect();
    // One may be the beginning of another, whose rest would stay.
    known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    let words = known
        .into_iter()
        .fold(words.to_owned(), |words, secret| words.replace(secret, MASKED));
    clip(&shapes::mask(&words))
}

/// One line of bounded length.
fn clip(text: &str) -> String {
    let shown = text.chars().take(WORDS_CHARS_MAX);
    shown.map(|c| if c.is_control() { ' ' } else { c }).collect()
}
