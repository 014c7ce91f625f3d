//! Schemas for servers that know a subset of JSON schema: what they understand is kept,
//! what has an equivalent is rewritten, the rest goes.

use std::collections::HashSet;

use serde_json::Value;

use super::node::Node;

/// What servers with a subset of JSON schema take.
const BASIC_WORDS: &[&str] = &[
    "type",
    "description",
    "enum",
    "properties",
    "required",
    "items",
    "anyOf",
    "nullable",
    "format",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "title",
    "default",
];

/// Keeps what a small server understands and rewrites what has an equivalent.
pub(super) fn reduce(node: Node) -> Node {
    let Node::Object(words) = node else { return node };
    let mut kept: Vec<(String, Node)> = Vec::with_capacity(words.len());
    let mut merged = Vec::new();
    for (word, value) in words {
        match (word.as_str(), value) {
            ("const", value) => put(&mut kept, "enum", Node::List(vec![value])),
            ("exclusiveMinimum", Node::Leaf(n)) if n.is_number() => put(&mut kept, "minimum", Node::Leaf(n)),
            ("exclusiveMaximum", Node::Leaf(n)) if n.is_number() => put(&mut kept, "maximum", Node::Leaf(n)),
            ("type", Node::List(types)) => reduce_types(&mut kept, types),
            ("oneOf" | "anyOf", Node::List(options)) => {
                put(
                    &mut kept,
                    "anyOf",
                    Node::List(options.into_iter().map(reduce).collect()),
                );
            }
            ("allOf", Node::List(parts)) => merged = parts,
            ("properties", Node::Object(properties)) => {
                let properties = properties
                    .into_iter()
                    .map(|(name, schema)| (name, reduce(schema)))
                    .collect();
                put(&mut kept, "properties", Node::Object(properties));
            }
            ("items", items @ Node::Object(_)) => put(&mut kept, "items", reduce(items)),
            ("format", Node::Leaf(Value::String(format))) if !matches!(&*format, "enum" | "date-time") => {}
            (word, value) if BASIC_WORDS.contains(&word) => put(&mut kept, word, value),
            _ => {}
        }
    }
    merge_all(&mut kept, merged);
    complete(&mut kept);
    Node::Object(kept)
}

/// `["string","null"]` is a string that may be null; of several types the first counts.
fn reduce_types(kept: &mut Vec<(String, Node)>, types: Vec<Node>) {
    let is_null = |node: &Node| matches!(node, Node::Leaf(Value::String(name)) if name == "null");
    let is_nullable = types.iter().any(is_null);
    if let Some(first) = types.into_iter().find(|node| !is_null(node)) {
        put(kept, "type", first);
    }
    if is_nullable {
        put(kept, "nullable", Node::Leaf(Value::Bool(true)));
    }
}

/// Puts the parts of an `allOf` into the schema that holds it; what it says itself counts first.
fn merge_all(kept: &mut Vec<(String, Node)>, parts: Vec<Node>) {
    for part in parts {
        let Node::Object(words) = reduce(part) else {
            continue;
        };
        for (word, value) in words {
            let there = kept
                .iter_mut()
                .find(|(known, _)| *known == word)
                .map(|(_, node)| node);
            match (there, value) {
                (Some(Node::Object(have)), Node::Object(more)) => add_missing(have, more),
                (Some(Node::List(have)), Node::List(more)) => have.extend(more),
                (Some(_), _) => {}
                (None, value) => kept.push((word, value)),
            }
        }
    }
}

fn add_missing(have: &mut Vec<(String, Node)>, more: Vec<(String, Node)>) {
    let mut names: HashSet<String> = have.iter().map(|(name, _)| name.clone()).collect();
    have.extend(more.into_iter().filter(|(name, _)| names.insert(name.clone())));
}

fn put(kept: &mut Vec<(String, Node)>, word: &str, value: Node) {
    if !kept.iter().any(|(known, _)| known == word) {
        kept.push((word.to_owned(), value));
    }
}

/// Several servers refuse an object without `properties`.
pub(super) fn complete(words: &mut Vec<(String, Node)>) {
    let is_object = words.iter().any(|(word, value)| {
        word == "type" && matches!(value, Node::Leaf(Value::String(name)) if name == "object")
    });
    if is_object && !words.iter().any(|(word, _)| word == "properties") {
        words.push(("properties".to_owned(), Node::Object(Vec::new())));
    }
}
