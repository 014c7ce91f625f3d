//! Knobs of a dialect and options of models, as the file writes them.
//!
//! Only their JSON is read here; what a knob may be set to is the domain's to check,
//! so that the file and the admin API are told the same.

use serde_json::Value;

use super::{object::Object, variables::Variables};
use crate::domain::{
    Violations,
    provider::{KnobValue, ModelOptionsDraft, OverridesDraft, is_knob},
};

const OVERRIDES: &str = "dialect_overrides";
const OPTIONS: &str = "model_options";

/// Reads `dialect_overrides` of a provider or model.
pub(super) fn overrides(
    owner: &mut Object,
    variables: &mut Variables<'_>,
    violations: &mut Violations,
    unknown: &mut Vec<String>,
) -> OverridesDraft {
    let Some(value) = owner.take(OVERRIDES) else {
        return OverridesDraft::new();
    };
    let path = format!("{}.{OVERRIDES}", owner.path());
    let Some(mut object) = Object::of(path.clone(), value, violations) else {
        return OverridesDraft::new();
    };
    let mut draft = OverridesDraft::new();
    for name in object.names() {
        if !is_knob(&name) {
            continue;
        }
        let Some(value) = object.take(&name) else {
            continue;
        };
        match knob(value, variables) {
            Some(value) => {
                draft.insert(name, value);
            }
            None => violations.add(format!("{path}.{name}"), "must be a list of texts"),
        }
    }
    unknown.extend(object.into_unknown());
    draft
}

/// Reads `model_options` of a provider.
pub(super) fn model_options(
    provider: &mut Object,
    variables: &mut Variables<'_>,
    violations: &mut Violations,
    unknown: &mut Vec<String>,
) -> Vec<ModelOptionsDraft> {
    let entries = provider.list(OPTIONS, violations);
    let mut drafts = Vec::with_capacity(entries.len());
    for (index, entry) in entries.into_iter().enumerate() {
        let path = format!("{}.{OPTIONS}[{index}]", provider.path());
        let Some(mut object) = Object::of(path, entry, violations) else {
            // What follows keeps its place, so that it is reported by it.
            drafts.push(ModelOptionsDraft::default());
            continue;
        };
        let model = object.text("model", violations).unwrap_or_default();
        drafts.push(ModelOptionsDraft {
            model: variables.resolve(&model),
            context_window: object.integer("context_window", violations),
            max_output_tokens: object.integer("max_output_tokens", violations),
            dialect_overrides: overrides(&mut object, variables, violations, unknown),
        });
        unknown.extend(object.into_unknown());
    }
    drafts
}

/// `None`: a list that has something else than texts in it.
fn knob(value: Value, variables: &mut Variables<'_>) -> Option<KnobValue> {
    match value {
        Value::Bool(flag) => Some(KnobValue::Flag(flag)),
        // A number that is too large for the type is refused as out of range.
        Value::Number(number) => Some(KnobValue::Number(number.as_f64().unwrap_or(f64::INFINITY))),
        Value::String(text) => Some(KnobValue::Text(variables.resolve(&text))),
        Value::Array(items) => {
            let text = |item: Value| item.as_str().map(|text| variables.resolve(text));
            let texts: Option<_> = items.into_iter().map(text).collect();
            texts.map(KnobValue::List)
        }
        object @ Value::Object(_) => Some(KnobValue::Text(resolved(object, variables).to_string())),
        Value::Null => None,
    }
}

/// The value with the variables of all its texts resolved.
fn resolved(value: Value, variables: &mut Variables<'_>) -> Value {
    match value {
        Value::String(text) => Value::String(variables.resolve(&text)),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| resolved(item, variables));
            Value::Array(items.collect())
        }
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, resolved(value, variables)));
            Value::Object(fields.collect())
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    }
}
