//! Names for people: `anthropic-qwen3-coder-plus` is "Qwen3 Coder Plus".

use super::name::{Name, undated};

/// Longest word without a vowel that is taken for an abbreviation.
const ABBREVIATION_CHARS_MAX: usize = 3;

/// Without vendor, alias and date; words apart, version numbers together.
pub(crate) fn display_name(id: &str) -> String {
    let name = Name::new(id);
    let plain = undated(name.for_people());
    let mut words: Vec<String> = Vec::new();
    for word in plain.split(['-', '_', ' ', ':']).filter(|word| !word.is_empty()) {
        match words.last_mut() {
            // `4-8` is a version.
            Some(last) if is_number(last) && is_number(word) => {
                last.push('.');
                last.push_str(word);
            }
            _ => words.push(spelled(word)),
        }
    }
    if words.is_empty() {
        id.to_owned()
    } else {
        words.join(" ")
    }
}

fn is_number(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn spelled(word: &str) -> String {
    let is_abbreviation = word.chars().count() <= ABBREVIATION_CHARS_MAX
        && !word.contains(['a', 'e', 'i', 'o', 'u', 'y'])
        && word.starts_with(|c: char| c.is_ascii_alphabetic());
    if is_abbreviation {
        return word.to_ascii_uppercase();
    }
    let mut chars = word.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_people() {
        for (id, name) in [
            ("haiku", "Haiku"),
            ("claude-opus-4-8", "Claude Opus 4.8"),
            ("claude-haiku-4-5-20251001", "Claude Haiku 4.5"),
            ("qwen3-coder-plus", "Qwen3 Coder Plus"),
            ("anthropic-qwen-max", "Qwen Max"),
            ("claude-qwen-max", "Claude Qwen Max"),
            (
                "Qwen/Qwen3-Coder-30B-A3B-Instruct",
                "Qwen3 Coder 30B A3B Instruct",
            ),
            ("anthropic-deepseek-ai/DeepSeek-R1", "DeepSeek R1"),
            ("gpt-4o", "GPT 4o"),
            ("glm-4.5", "GLM 4.5"),
            ("qwen2.5vl:7b", "Qwen2.5vl 7b"),
            ("模型", "模型"),
            ("-", "-"),
        ] {
            assert_eq!(display_name(id), name, "{id}");
        }
    }
}
