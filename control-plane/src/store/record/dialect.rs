//! Knobs of a dialect and options of models.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::provider::{KnobValue, ModelOptionsDraft, OverridesDraft};

/// Knobs by name.
pub(super) type OverridesRecord = BTreeMap<String, KnobRecord>;

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum KnobRecord {
    Flag(bool),
    Number(f64),
    Text(String),
    List(Vec<String>),
}

#[derive(Serialize, Deserialize)]
pub(super) struct ModelOptionsRecord {
    model: String,
    context_window: Option<u32>,
    max_output_tokens: Option<u32>,
    dialect_overrides: OverridesRecord,
}

pub(super) fn overrides_record(draft: OverridesDraft) -> OverridesRecord {
    let knob = |(name, value)| {
        let value = match value {
            KnobValue::Flag(flag) => KnobRecord::Flag(flag),
            KnobValue::Number(number) => KnobRecord::Number(number),
            KnobValue::Text(text) => KnobRecord::Text(text),
            KnobValue::List(texts) => KnobRecord::List(texts),
        };
        (name, value)
    };
    draft.into_iter().map(knob).collect()
}

pub(super) fn overrides_draft(record: OverridesRecord) -> OverridesDraft {
    let knob = |(name, value)| {
        let value = match value {
            KnobRecord::Flag(flag) => KnobValue::Flag(flag),
            KnobRecord::Number(number) => KnobValue::Number(number),
            KnobRecord::Text(text) => KnobValue::Text(text),
            KnobRecord::List(texts) => KnobValue::List(texts),
        };
        (name, value)
    };
    record.into_iter().map(knob).collect()
}

impl ModelOptionsRecord {
    pub(super) fn of(draft: ModelOptionsDraft) -> Self {
        let ModelOptionsDraft {
            model,
            context_window,
            max_output_tokens,
            dialect_overrides,
        } = draft;
        Self {
            model,
            context_window,
            max_output_tokens,
            dialect_overrides: overrides_record(dialect_overrides),
        }
    }

    pub(super) fn into_draft(self) -> ModelOptionsDraft {
        let Self {
            model,
            context_window,
            max_output_tokens,
            dialect_overrides,
        } = self;
        ModelOptionsDraft {
            model,
            context_window,
            max_output_tokens,
            dialect_overrides: overrides_draft(dialect_overrides),
        }
    }
}
