//! Whether a schema may be asked for strictly.
//!
//! OpenAI's strict mode refuses a request whose schema leaves anything open. A client's
//! schema that does is followed as well as the model can instead.

use std::collections::HashSet;

use serde_json::Value;

use super::node::Node;

/// Words that strict mode does not know.
const UNKNOWN: &[&str] = &[
    "allOf",
    "oneOf",
    "not",
    "if",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "propertyNames",
];

/// Whether every object says all that it has, and the whole is one.
pub(super) fn takes(schema: &Node) -> bool {
    let Node::Object(words) = schema else { return false };
    find(words, "properties").is_some() && find(words, "anyOf").is_none() && is_closed(schema)
}

fn is_closed(schema: &Node) -> bool {
    let Node::Object(words) = schema else { return true };
    if words.iter().any(|(word, _)| UNKNOWN.contains(&word.as_str())) {
        return false;
    }
    let is_object = matches!(find(words, "type"), Some(Node::Leaf(Value::String(kind))) if kind == "object");
    let has_properties = find(words, "properties").is_some();
    if (is_object || has_properties) && !says_all(words) {
        return false;
    }
    words.iter().all(|(word, value)| match (word.as_str(), value) {
        ("properties" | "$defs" | "definitions", Node::Object(schemas)) => {
            schemas.iter().all(|(_, schema)| is_closed(schema))
        }
        ("anyOf", Node::List(schemas)) => schemas.iter().all(is_closed),
        ("items", schema) => is_closed(schema),
        _ => true,
    })
}

/// Nothing but its properties, and all of them.
fn says_all(words: &[(String, Node)]) -> bool {
    let is_sealed = matches!(
        find(words, "additionalProperties"),
        Some(Node::Leaf(Value::Bool(false)))
    );
    let required = match find(words, "required") {
        Some(Node::List(names)) => names.as_slice(),
        Some(Node::Object(_) | Node::Leaf(_)) | None => &[],
    };
    let required: HashSet<&str> = required.iter().filter_map(text).collect();
    match find(words, "properties") {
        Some(Node::Object(properties)) => {
            is_sealed
                && properties
                    .iter()
                    .all(|(name, _)| required.contains(name.as_str()))
        }
        Some(Node::List(_) | Node::Leaf(_)) | None => false,
    }
}

fn text(node: &Node) -> Option<&str> {
    match node {
        Node::Leaf(Value::String(text)) => Some(text),
        Node::Leaf(_) | Node::List(_) | Node::Object(_) => None,
    }
}

fn find<'n>(words: &'n [(String, Node)], word: &str) -> Option<&'n Node> {
    words
        .iter()
        .find(|(known, _)| known == word)
        .map(|(_, node)| node)
}
