//! A family of models: what its names look like, and how it differs from its preset.

use crate::dialect::knobs::Dialect;

/// Some models of some presets, and what is different about them.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) presets: &'static [&'static str],
    /// `*` stands for anything; matched without case, with and without the vendor's prefix.
    pub(super) models: &'static [&'static str],
    adapt: fn(&mut Dialect),
}

/// One row of the table.
pub(super) const fn family(
    presets: &'static [&'static str],
    models: &'static [&'static str],
    adapt: fn(&mut Dialect),
) -> Family {
    Family {
        presets,
        models,
        adapt,
    }
}

impl Family {
    /// Whether a model belongs to it.
    pub(super) fn has(&self, model: &str) -> bool {
        let model = model.to_ascii_lowercase();
        let bare = model.rsplit('/').next().unwrap_or_default();
        self.models
            .iter()
            .any(|pattern| fits(pattern, &model) || fits(pattern, bare))
    }

    /// What its models speak instead of the preset.
    pub(super) fn of(&self, preset: &Dialect) -> Dialect {
        let mut dialect = preset.clone();
        (self.adapt)(&mut dialect);
        dialect
    }
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(mut name) = name.strip_prefix(head) else {
        return false;
    };
    let (middles, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    for middle in middles.split('*') {
        let Some(at) = name.find(middle) else { return false };
        name = name.get(at + middle.len()..).unwrap_or_default();
    }
    name.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, name, expected) in [
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5.1", false),
            ("gpt-5*", "gpt-5.1", true),
            ("*coder*", "qwen3-coder-plus", true),
            ("*coder*", "code", false),
            ("glm-*v", "glm-4.5v", true),
            ("glm-*v", "glm-4.5v-flash", false),
            ("gemini-3*pro*", "gemini-3.1-pro-preview", true),
            ("gemini-3*pro*", "gemini-3-flash", false),
            ("a*b*b", "ab", false),
            ("*", "", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
