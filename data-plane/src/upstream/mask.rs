//! Makes an upstream's words fit to be shown: no secret, no address, not too long.

use secrecy::{ExposeSecret, SecretString};

/// Longest text of an upstream that a client or a log sees.
const WORDS_CHARS_MAX: usize = 500;
/// A shorter configured value (a tenant's number, say) is no secret worth mangling words for.
const SECRET_BYTES_MIN: usize = 6;
const KEY_PREFIX: &str = "sk-";
const TOKEN_PREFIX: &str = "eyJ";
const MASKED: &str = "***";
const URL: &str = "[url]";

/// Masks what we configured, what looks like a key or a token, and URLs.
pub(crate) fn mask(words: &str, secrets: &[SecretString]) -> String {
    let known = secrets
        .iter()
        .map(ExposeSecret::expose_secret)
        .filter(|secret| secret.len() >= SECRET_BYTES_MIN)
        .fold(words.to_owned(), |words, secret| words.replace(secret, MASKED));
    let mut masked = String::with_capacity(known.len());
    let mut follows_bearer = false;
    for piece in known.split_inclusive(|c: char| !is_of_token(c)) {
        let token = piece.trim_end_matches(|c: char| !is_of_token(c));
        masked.push_str(replacement(token, follows_bearer).unwrap_or(token));
        masked.extend(
            piece[token.len()..]
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c }),
        );
        if !token.is_empty() {
            follows_bearer = token.trim_end_matches(':').eq_ignore_ascii_case("bearer");
        }
    }
    clip(masked)
}

fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~+/=:%?&#@*".contains(c)
}

fn replacement(token: &str, follows_bearer: bool) -> Option<&'static str> {
    if token.is_empty() {
        None
    } else if token.contains("://") {
        Some(URL)
    } else if follows_bearer || holds_key(token) || token.starts_with(TOKEN_PREFIX) {
        Some(MASKED)
    } else {
        None
    }
}

/// `sk-…` at the start of a word: `key=sk-1` holds one, `task-1` does not.
fn holds_key(token: &str) -> bool {
    token
        .match_indices(KEY_PREFIX)
        .any(|(at, _)| !token[..at].ends_with(|before: char| before.is_ascii_alphanumeric()))
}

fn clip(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(WORDS_CHARS_MAX) {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(words: &str, expect: &str) {
        assert_eq!(mask(words, &["hunter2-secret".into(), "1".into()]), expect);
    }

    #[test]
    fn secrets_and_addresses_are_masked() {
        check(
            "Incorrect API key provided: sk-abc***xyz.",
            "Incorrect API key provided: ***",
        );
        check(
            "header Authorization: Bearer abc.def",
            "header Authorization: Bearer ***",
        );
        check("token eyJhbGciOi.J9.x was bad", "token *** was bad");
        check("x=hunter2-secret", "x=***");
        check(
            "see https://internal.host:8443/v1?key=1 for more",
            "see [url] for more",
        );
        check(
            "key 'sk-1234' is wrong, key=sk-1234 too",
            "key '***' is wrong, *** too",
        );
    }

    #[test]
    fn other_words_stay() {
        check(
            "model qwen-max: 16 tokens > 8 (task-1)",
            "model qwen-max: 16 tokens > 8 (task-1)",
        );
        check("余额不足\n", "余额不足 ");
    }

    #[test]
    fn long_words_are_cut_between_characters() {
        assert_eq!(mask(&"字".repeat(900), &[]).chars().count(), WORDS_CHARS_MAX);
    }
}
