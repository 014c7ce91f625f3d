//! Model names as clients write them: in any case, with a `[1m]` suffix, with a date,
//! with the name of a vendor or an alias in front.
//!
//! Data planes decide where a request goes; this is the same reading of names, so
//! that an admin is shown what they will do.

use super::model::Tier;

const LONG_CONTEXT_SUFFIX: &str = "[1m]";
const DATE_DIGITS: usize = 8;
/// Put before a provider's model so that clients that hide other names show it.
const ALIAS_PREFIXES: [&str; 2] = ["anthropic-", "claude-"];
/// Words of model families; a name that contains one belongs to its tier.
pub(super) const FAMILIES: [(&str, Tier); 5] = [
    ("haiku", Tier::Small),
    ("sonnet", Tier::Middle),
    ("opus", Tier::Big),
    ("fable", Tier::Big),
    ("mythos", Tier::Big),
];

/// The part of a name that a pattern covers, in which `*` is any run of characters: the
/// name as it is written, or without its vendor or alias if only so the pattern knows it.
pub(super) fn matched<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let pattern = undated(plain(pattern)).to_ascii_lowercase();
    let name = plain(name);
    let lower = name.to_ascii_lowercase();
    let aliased = ALIAS_PREFIXES
        .into_iter()
        .filter_map(|prefix| lower.strip_prefix(prefix));
    let mut forms = [lower.as_str(), without_vendor(&lower)]
        .into_iter()
        .chain(aliased);
    let covers = |form: &str| matches_wild(pattern.as_bytes(), form.as_bytes());
    let form = forms.find(|form| covers(form) || covers(undated(form)))?;
    // Every form is an end of the name.
    name.get(name.len() - form.len()..)
}

/// Whether a pattern covers every name that another one covers. It may say no where only
/// several patterns together do.
pub(super) fn covers(wide: &str, narrow: &str) -> bool {
    let read = |pattern: &str| undated(plain(pattern)).to_ascii_lowercase();
    // A star of the narrow one is a character that nothing but a star matches.
    matches_wild(read(wide).as_bytes(), read(narrow).as_bytes())
}

/// Whether a model has this name, but for case.
pub(super) fn is_named(model: &str, name: &str) -> bool {
    model.eq_ignore_ascii_case(plain(name))
}

/// Whether a model is the one of this name with a date behind it.
pub(super) fn is_dated_form(model: &str, name: &str) -> bool {
    is_named(undated(model), name)
}

/// Without the suffix that asks for a long context.
fn plain(name: &str) -> &str {
    let cut = name
        .len()
        .checked_sub(LONG_CONTEXT_SUFFIX.len())
        .and_then(|end| name.split_at_checked(end));
    cut.filter(|(_, suffix)| suffix.eq_ignore_ascii_case(LONG_CONTEXT_SUFFIX))
        .map_or(name, |(plain, _)| plain)
}

/// Without a date in the style of `-20251001` or `@20251001`.
fn undated(name: &str) -> &str {
    let cut = name
        .len()
        .checked_sub(DATE_DIGITS + 1)
        .and_then(|end| name.split_at_checked(end));
    let is_date =
        |date: &str| date.starts_with(['-', '@']) && date[1..].bytes().all(|byte| byte.is_ascii_digit());
    cut.filter(|(_, date)| is_date(date))
        .map_or(name, |(plain, _)| plain)
}

/// Without a vendor in the style of `anthropic/` or `us.anthropic.`.
fn without_vendor(name: &str) -> &str {
    let plain = name.rsplit_once('/').map_or(name, |(_, plain)| plain);
    plain.split_once("anthropic.").map_or(plain, |(_, plain)| plain)
}

/// The pieces between stars have to be found in order, the first at the start and the
/// last at the end.
fn matches_wild(pattern: &[u8], text: &[u8]) -> bool {
    let mut pieces = pattern.split(|byte| *byte == b'*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = pieces.next_back() else {
        return rest.is_empty();
    };
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        let Some(at) = rest.windows(piece.len()).position(|window| window == piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expected: bool) {
        assert_eq!(
            matched(pattern, name).is_some(),
            expected,
            "{pattern} against {name}"
        );
    }

    #[test]
    fn patterns_cover_every_form_of_a_name() {
        check("claude-opus-*", "Claude-Opus-4-8", true);
        check("Claude-Opus-*", "claude-opus-4-8", true);
        check("claude-opus-*", "claude-sonnet-5", false);
        check("claude-haiku-4-5", "claude-haiku-4-5-20251001", true);
        check("claude-haiku-4-5-20251001", "claude-haiku-4-5", true);
        check("claude-opus-4-8", "claude-opus-4-8[1m]", true);
        check("claude-opus-4-8[1M]", "claude-opus-4-8", true);
        check("claude-opus-4-8[1m]", "claude-opus-4-8[1m]", true);
        check("claude-opus-4-8", "anthropic/claude-opus-4-8", true);
        check("claude-opus-4-8", "us.anthropic.claude-opus-4-8-20260101", true);
        check("qwen-max", "anthropic-qwen-max", true);
    }

    #[test]
    fn what_is_matched_keeps_its_spelling_and_loses_what_the_pattern_does_not_know() {
        for (pattern, name, kept) in [
            ("gpt-*", "openai/GPT-9[1M]", "GPT-9"),
            ("openai/*", "OpenAI/gpt-9", "OpenAI/gpt-9"),
            ("gpt-*", "claude-gpt-9-20260101", "gpt-9-20260101"),
            ("模*", "vendor/模型", "模型"),
        ] {
            assert_eq!(matched(pattern, name), Some(kept), "{pattern} against {name}");
        }
    }

    #[test]
    fn a_star_is_any_run_of_characters() {
        check("*", "anything", true);
        check("a*c*e", "abcde", true);
        check("a*c*e", "ace", true);
        check("a*c*e", "abcdef", false);
        check("a*bc*bc", "abc", false);
        check("a**b", "ab", true);
        check("*b", "ab", true);
        check("ab", "abc", false);
        check("模*型", "模大型", true);
    }

    #[test]
    fn a_dated_model_is_meant_by_its_plain_name() {
        assert!(is_dated_form("M-20250101", "m"));
        assert!(!is_dated_form("m", "m-20250101"));
    }
}
