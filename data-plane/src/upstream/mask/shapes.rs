//! What a secret looks like, as a table of patterns.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::MASKED;

const URL: &str = "[url]";

/// An address, with whatever it carries.
const ADDRESS: &str = r"[A-Za-z0-9._~+/=:%?&#@*-]*://[A-Za-z0-9._~+/=:%?&#@*-]*";
/// `Bearer …`, also within a header, JSON or a query.
const BEARER: &str = r#"(?i-u:\b(bearer)((?:%20|[\s:='"`\\])+))[A-Za-z0-9._~+/=:%?&#@*-]*[A-Za-z0-9][A-Za-z0-9._~+/=:%?&#@*-]*"#;
/// A key of a form that vendors give theirs, at the beginning of a word; and a JWT.
const FORMED: &str = concat!(
    r"(^|[^A-Za-z0-9])(?:",
    r"(?:[Ss][Kk]|rk|pk)-[A-Za-z0-9._~+/=:%*-]+|eyJ[A-Za-z0-9._~+/=:%*-]+",
    r"|(?:sk|gsk|hf|r8|ghp|tgp|fw)_[A-Za-z0-9_-]{12,}|(?:xai|nvapi|pplx|tp|ms|csk)-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{20,}",
    r")",
);
/// A word for a secret, perhaps some small words, and a value of at least 12 characters: shorter
/// ones are words and counts.
const NAMED: &str = concat!(
    r#"((?-u:\b)(?i-u:(?:[a-z0-9]+[-_])*(?:api[-_ ]?key|key|token|secret|password|authorization)s?)"#,
    r#"(?:\s+(?i-u:provided|given|used|value|header|is|was|of))*[\s"'`(:=\\]+)"#,
    r"([A-Za-z0-9._~+/=%@*-]{12,})",
);

static SHAPES: LazyLock<Result<Shapes, regex::Error>> = LazyLock::new(|| {
    Ok(Shapes {
        address: Regex::new(ADDRESS)?,
        bearer: Regex::new(BEARER)?,
        formed: Regex::new(FORMED)?,
        named: Regex::new(NAMED)?,
    })
});

struct Shapes {
    address: Regex,
    bearer: Regex,
    formed: Regex,
    named: Regex,
}

/// The words without addresses and whatever looks like a secret.
pub(super) fn mask(words: &str) -> String {
    // Whoever cannot tell what a secret is shows nothing.
    let Ok(shapes) = &*SHAPES else {
        return MASKED.to_owned();
    };
    let words = shapes.address.replace_all(words, URL);
    let words = shapes.bearer.replace_all(&words, "${1}${2}***");
    let words = shapes.formed.replace_all(&words, "${1}***");
    shapes.named.replace_all(&words, named).into_owned()
}

fn named(found: &Captures<'_>) -> String {
    let [name, value] = [1, 2].map(|group| found.get(group).map_or("", |part| part.as_str()));
    let shown = if is_random(value) { MASKED } else { value };
    format!("{name}{shown}")
}

/// Words have neither digits nor, within, capitals.
fn is_random(value: &str) -> bool {
    let has_digit = value.bytes().any(|byte| byte.is_ascii_digit());
    let is_mixed = value.bytes().any(|byte| byte.is_ascii_lowercase())
        && value.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
    has_digit || is_mixed
}
