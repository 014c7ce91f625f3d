//! Model names as clients write them: in any case, with a `[1m]` suffix, with a date,
//! with the name of a vendor in front.

use crate::snapshot::Tier;

const LONG_CONTEXT_SUFFIX: &str = "[1m]";
const DATE_DIGITS: usize = 8;
/// Put before a provider's model so that clients that hide other names show it.
pub(super) const DISCOVERY_PREFIX: &str = "anthropic-";
const ALIAS_PREFIXES: [&str; 2] = [DISCOVERY_PREFIX, "claude-"];
/// Words of model families; a name that contains one belongs to its tier.
const FAMILIES: [(&str, Tier); 5] = [
    ("haiku", Tier::Small),
    ("sonnet", Tier::Middle),
    ("opus", Tier::Big),
    ("fable", Tier::Big),
    ("mythos", Tier::Big),
];

/// A name in lower case, and where its plainer forms lie in it.
#[derive(Debug)]
pub(crate) struct Name<'a> {
    asked: &'a str,
    lower: String,
}

impl<'a> Name<'a> {
    pub(crate) fn new(asked: &'a str) -> Self {
        let asked = plain(asked.trim());
        Self {
            asked,
            lower: asked.to_ascii_lowercase(),
        }
    }

    /// The client's spelling, without the suffix that is no part of the name.
    pub(crate) fn as_asked(&self) -> &'a str {
        self.asked
    }

    /// From the closest to the plainest: as written, without its vendor, without the prefix
    /// of an alias; each with and without its date.
    pub(crate) fn forms(&self) -> impl Iterator<Item = &str> {
        self.undressed().flat_map(|form| [form, undated(form)])
    }

    /// Ends of the name that may stand for it, dates left on.
    fn undressed(&self) -> impl Iterator<Item = &str> {
        let whole = self.lower.as_str();
        let aliased = ALIAS_PREFIXES
            .iter()
            .filter_map(move |prefix| whole.strip_prefix(prefix));
        [whole, without_vendor(whole)].into_iter().chain(aliased)
    }

    /// The last bytes of the client's spelling.
    fn asked_end(&self, bytes: usize) -> &'a str {
        let start = self.asked.len().saturating_sub(bytes);
        self.asked.get(start..).unwrap_or(self.asked)
    }

    /// The client's spelling, without vendor and without the alias that only makes it visible.
    pub(super) fn for_people(&self) -> &'a str {
        let plain = strip_prefix_ignoring_case(self.asked, DISCOVERY_PREFIX).unwrap_or(self.asked);
        without_vendor(plain)
    }

    pub(crate) fn tier(&self) -> Option<Tier> {
        match self.lower.as_str() {
            "small" => Some(Tier::Small),
            "middle" => Some(Tier::Middle),
            "big" => Some(Tier::Big),
            name => FAMILIES
                .iter()
                .find(|(family, _)| name.contains(family))
                .map(|(_, tier)| *tier),
        }
    }
}

/// Words of model families. Each leads to its tier as a name of its own, too.
pub(super) fn families() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|(family, _)| *family)
}

/// The family of a name that has one.
pub(crate) fn line(id: &str) -> Option<&'static str> {
    let id = id.to_ascii_lowercase();
    families().find(|family| id.contains(family))
}

/// Whether a pattern, in which `*` is any run of characters, covers any form of a name.
pub(crate) fn matches(pattern: &str, name: &Name) -> bool {
    matched(pattern, name).is_some()
}

/// The name as the client spelled it, without the vendor or alias that the pattern does not
/// know; none if the pattern does not cover it.
pub(super) fn matched<'a>(pattern: &str, name: &Name<'a>) -> Option<&'a str> {
    let pattern = undated(plain(pattern)).as_bytes();
    let covers = |form: &str| matches_wild(pattern, form.as_bytes());
    name.undressed()
        .find(|form| covers(form) || covers(undated(form)))
        .map(|form| name.asked_end(form.len()))
}

/// Without the suffix that asks for a long context.
fn plain(name: &str) -> &str {
    name.len()
        .checked_sub(LONG_CONTEXT_SUFFIX.len())
        .and_then(|end| name.split_at_checked(end))
        .filter(|(_, suffix)| suffix.eq_ignore_ascii_case(LONG_CONTEXT_SUFFIX))
        .map_or(name, |(plain, _)| plain)
}

/// Without a date in the style of `-20251001` or `@20251001`.
pub(super) fn undated(name: &str) -> &str {
    name.len()
        .checked_sub(DATE_DIGITS + 1)
        .and_then(|end| name.split_at_checked(end))
        .filter(|(_, date)| {
            date.starts_with(['-', '@']) && date[1..].bytes().all(|byte| byte.is_ascii_digit())
        })
        .map_or(name, |(plain, _)| plain)
}

/// Without a vendor in the style of `anthropic/` or `us.anthropic.`.
fn without_vendor(name: &str) -> &str {
    let plain = name.rsplit_once('/').map_or(name, |(_, plain)| plain);
    plain.split_once("anthropic.").map_or(plain, |(_, plain)| plain)
}

fn strip_prefix_ignoring_case<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = name.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Linear: after a mismatch only the last `*` is widened.
fn matches_wild(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(byte) if byte.eq_ignore_ascii_case(&text[read]) => {
                at += 1;
                read += 1;
            }
            Some(_) | None => {
                let Some((star_at, star_read)) = star else {
                    return false;
                };
                star = Some((star_at, star_read + 1));
                at = star_at + 1;
                read = star_read + 1;
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, name: &str, expect: bool) {
        assert_eq!(
            matches(pattern, &Name::new(name)),
            expect,
            "{pattern} against {name}"
        );
    }

    #[test]
    fn patterns_cover_every_form_of_a_name() {
        check("claude-opus-*", "Claude-Opus-4-8", true);
        check("claude-opus-*", "claude-sonnet-5", false);
        check("claude-haiku-4-5", "claude-haiku-4-5-20251001", true);
        check("claude-haiku-4-5-20251001", "claude-haiku-4-5", true);
        check("claude-opus-4-8", "claude-opus-4-8[1m]", true);
        check("claude-opus-4-8[1M]", "claude-opus-4-8", true);
        check("claude-opus-4-8[1m]", "claude-opus-4-8[1m]", true);
        check("claude-opus-4-8", "anthropic/claude-opus-4-8", true);
        check("claude-opus-4-8", "us.anthropic.claude-opus-4-8-20260101", true);
        check("qwen-max", "anthropic-qwen-max", true);
        check("*", "anything", true);
        check("a*c*e", "abcde", true);
        check("a*c*e", "abcdef", false);
        check("", "x", false);
    }

    #[test]
    fn a_matched_name_keeps_its_spelling_and_loses_what_is_ours() {
        for (pattern, asked, kept) in [
            ("gpt-*", "GPT-9[1M]", "GPT-9"),
            ("gpt-*", "openai/GPT-9", "GPT-9"),
            ("gpt-*", "anthropic-Gpt-9", "Gpt-9"),
            ("gpt-*", "claude-gpt-9-20260101", "gpt-9-20260101"),
            ("openai/*", "OpenAI/gpt-9", "OpenAI/gpt-9"),
            ("*", "us.anthropic.claude-opus-5", "us.anthropic.claude-opus-5"),
            (
                "claude-opus-5",
                "us.anthropic.Claude-Opus-5-20260101",
                "Claude-Opus-5-20260101",
            ),
            ("模*", "vendor/模型", "模型"),
        ] {
            assert_eq!(
                matched(pattern, &Name::new(asked)),
                Some(kept),
                "{pattern} against {asked}"
            );
        }
        assert_eq!(matched("gpt-*", &Name::new("gemini")), None);
    }

    #[test]
    fn words_of_tiers_are_found_in_any_case() {
        for (name, tier) in [
            ("haiku", Some(Tier::Small)),
            ("Claude-Sonnet-5", Some(Tier::Middle)),
            ("claude-opus-4-8[1m]", Some(Tier::Big)),
            ("claude-fable-5", Some(Tier::Big)),
            ("claude-mythos-1", Some(Tier::Big)),
            ("big", Some(Tier::Big)),
            ("bigcode", None),
            ("gpt-9", None),
        ] {
            assert_eq!(Name::new(name).tier(), tier, "{name}");
        }
    }

    #[test]
    fn only_a_date_is_cut_off() {
        assert_eq!(undated("gpt-4o-2024-08-06"), "gpt-4o-2024-08-06");
        assert_eq!(undated("claude-opus-4@20250101"), "claude-opus-4");
        assert_eq!(undated("模型-12345678"), "模型");
        assert_eq!(undated("模型模型模型"), "模型模型模型");
    }
}
