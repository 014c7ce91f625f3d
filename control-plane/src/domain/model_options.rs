//! What an admin knows of single models of a provider.

use std::collections::BTreeSet;

use super::{
    Violations,
    name::ModelName,
    overrides::{self, Overrides},
};

/// Most models with options of their own: as many as the tiers have room for.
const ENTRIES_MAX: usize = 48;
/// What one entry takes beside its model and knobs.
const FIELDS_BYTES: usize = 96;
/// Bounds of windows and answers, in tokens.
const TOKENS_MAX: u32 = 100_000_000;

/// Options as somebody writes them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    pub model: String,
    pub context_window: Option<u32>,
    pub max_output_tokens: Option<u32>,
    pub dialect_overrides: overrides::Draft,
}

/// Options of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelOptions {
    pub model: ModelName,
    /// Tokens of prompt and answer together.
    pub context_window: Option<u32>,
    /// Tokens of one answer.
    pub max_output_tokens: Option<u32>,
    /// On top of the provider's.
    pub dialect_overrides: Overrides,
}

impl ModelOptions {
    #[must_use]
    pub fn to_draft(&self) -> Draft {
        let Self {
            model,
            context_window,
            max_output_tokens,
            dialect_overrides,
        } = self;
        Draft {
            model: model.as_str().to_owned(),
            context_window: *context_window,
            max_output_tokens: *max_output_tokens,
            dialect_overrides: dialect_overrides.to_draft(),
        }
    }

    /// About how much room they take when written down, in bytes.
    pub(super) fn weight(&self) -> usize {
        FIELDS_BYTES + overrides::weight(self.model.as_str()) + self.dialect_overrides.weight()
    }
}

pub(super) fn check(violations: &mut Violations, drafts: &[Draft]) -> Vec<ModelOptions> {
    if drafts.len() > ENTRIES_MAX {
        violations.add(
            "model_options",
            format!("must have at most {ENTRIES_MAX} entries"),
        );
        return Vec::new();
    }
    let mut seen = BTreeSet::new();
    let mut checked = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.iter().enumerate() {
        let field = format!("model_options[{index}]");
        let Some(options) = check_one(violations, &field, draft) else {
            continue;
        };
        if !seen.insert(options.model.clone()) {
            violations.add(
                format!("{field}.model"),
                format!("{} is there twice", options.model.as_str()),
            );
        }
        checked.push(options);
    }
    checked
}

fn check_one(violations: &mut Violations, field: &str, draft: &Draft) -> Option<ModelOptions> {
    let Draft {
        model,
        context_window,
        max_output_tokens,
        dialect_overrides,
    } = draft;
    for (name, tokens) in [
        ("context_window", context_window),
        ("max_output_tokens", max_output_tokens),
    ] {
        if tokens.is_some_and(|tokens| !(1..=TOKENS_MAX).contains(&tokens)) {
            violations.add(format!("{field}.{name}"), format!("must be 1 to {TOKENS_MAX}"));
        }
    }
    if let (Some(window), Some(output)) = (context_window, max_output_tokens)
        && output > window
    {
        violations.add(
            format!("{field}.max_output_tokens"),
            "must not be above context_window",
        );
    }
    let overrides_field = format!("{field}.dialect_overrides");
    let dialect_overrides = overrides::check_model(violations, &overrides_field, dialect_overrides);
    let model = violations.check(format!("{field}.model"), ModelName::parse(model))?;
    Some(ModelOptions {
        model,
        context_window: *context_window,
        max_output_tokens: *max_output_tokens,
        dialect_overrides,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::overrides::Value;

    fn fields(drafts: &[Draft]) -> Vec<String> {
        let mut violations = Violations::default();
        check(&mut violations, drafts);
        violations.into_vec().into_iter().map(|one| one.field).collect()
    }

    #[test]
    fn every_mistake_is_told_with_its_place() {
        let good = Draft {
            model: "m".into(),
            context_window: Some(8_192),
            max_output_tokens: Some(8_192),
            dialect_overrides: [("vision".to_owned(), Value::Flag(true))].into(),
        };
        assert_eq!(fields(std::slice::from_ref(&good)), Vec::<String>::new());
        let bad = Draft {
            model: "a b".into(),
            context_window: Some(0),
            max_output_tokens: Some(TOKENS_MAX + 1),
            dialect_overrides: [("auth".to_owned(), Value::Flag(true))].into(),
        };
        let expected = [
            "model_options[1].context_window",
            "model_options[1].max_output_tokens",
            "model_options[1].max_output_tokens",
            "model_options[1].dialect_overrides.auth",
            "model_options[1].model",
            "model_options[2].model",
        ];
        assert_eq!(fields(&[good.clone(), bad, good.clone()]), expected);
        assert_eq!(fields(&vec![good; ENTRIES_MAX + 1]), ["model_options"]);
    }
}
