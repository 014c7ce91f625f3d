//! Model rules as the file writes them.

use serde_json::Value;

use super::{Reader, canonical, object::Object};
use crate::domain::model::{self, ModelPattern, RULES_MAX, RuleId, Target};

/// A rule that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedRule {
    /// Exported files have it.
    pub id: Option<RuleId>,
    pub pattern: ModelPattern,
    pub target: Target,
}

/// Rules with their paths in the file.
pub(super) fn read(reader: &mut Reader<'_>, values: Vec<Value>) -> Vec<(String, ImportedRule)> {
    if values.len() > RULES_MAX {
        reader
            .violations
            .add("model_rules", format!("must be at most {RULES_MAX}"));
        return Vec::new();
    }
    let mut rules: Vec<(String, ImportedRule)> = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let path = format!("model_rules[{index}]");
        let Some(mut object) = Object::of(path.clone(), value, &mut reader.violations) else {
            continue;
        };
        let draft = model::Draft {
            pattern: reader.text(&mut object, "match").unwrap_or_default(),
            tier: reader.text(&mut object, "tier"),
            provider: reader.text(&mut object, "provider").map(|name| canonical(&name)),
            model: reader.text(&mut object, "model"),
        };
        let id = reader.text(&mut object, "id");
        let id = id.and_then(|id| reader.violations.check(format!("{path}.id"), RuleId::parse(&id)));
        if id.is_some() && rules.iter().any(|(_, other)| other.id == id) {
            reader.violations.add(format!("{path}.id"), "is there twice");
        }
        reader.warn_unknown(object);
        match draft.check() {
            Ok((pattern, target)) => rules.push((path, ImportedRule { id, pattern, target })),
            Err(violations) => reader.violations.nest(&path, violations),
        }
    }
    rules
}
