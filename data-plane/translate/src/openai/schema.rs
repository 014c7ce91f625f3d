//! JSON schemas, cleaned as far as an upstream needs it. Key order is kept, since prompt
//! caches depend on it, and no schema ever fails a request.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dialect::SchemaLevel;
use crate::json::lenient;

/// Deeper schemas are not meant for models.
const DEPTH_MAX: u32 = 64;

/// Annotations that say nothing about values and that some servers refuse.
const ANNOTATIONS: &[&str] = &["$schema", "$id", "$comment"];

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

/// The object that stands for a schema which is none.
const EMPTY_OBJECT: &str = r#"{"type":"object","properties":{}}"#;

/// A cleaned schema.
#[derive(Debug)]
pub(crate) enum Schema<'a> {
    /// Top-level words of the client's schema as they came, and what was missing.
    Entries {
        entries: Vec<(Cow<'a, str>, &'a RawValue)>,
        needs_type: bool,
        needs_properties: bool,
    },
    Tree(Node),
    /// Written by us.
    Fixed(&'static str),
}

/// A schema as a tree with its key order.
#[derive(Debug)]
pub(crate) enum Node {
    Object(Vec<(String, Node)>),
    Leaf(Value),
    List(Vec<Node>),
}

impl<'a> Schema<'a> {
    /// The parameters of a tool: always an object with `properties`.
    pub(crate) fn of_tool(raw: &'a RawValue, level: SchemaLevel) -> Self {
        match level {
            SchemaLevel::Full => Self::without_annotations(raw, true),
            SchemaLevel::Basic => Self::basic(raw),
        }
    }

    /// The schema of an answer.
    pub(crate) fn of_answer(raw: &'a RawValue, level: SchemaLevel) -> Self {
        match level {
            SchemaLevel::Full => Self::without_annotations(raw, false),
            SchemaLevel::Basic => Self::basic(raw),
        }
    }

    fn without_annotations(raw: &'a RawValue, is_tool: bool) -> Self {
        let Ok(Entries(mut entries)) = serde_json::from_str::<Entries<'a>>(raw.get()) else {
            return Schema::Fixed(EMPTY_OBJECT);
        };
        entries.retain(|(key, _)| !ANNOTATIONS.contains(&&**key));
        let has = |word: &str| entries.iter().any(|(key, _)| key == word);
        let is_object = entries
            .iter()
            .find(|(key, _)| key == "type")
            .is_none_or(|(_, raw)| raw.get() == "\"object\"");
        Schema::Entries {
            needs_type: is_tool && !has("type"),
            needs_properties: is_tool && is_object && !has("properties"),
            entries,
        }
    }

    fn basic(raw: &'a RawValue) -> Self {
        let Ok(node) = serde_json::from_str::<Node>(raw.get()) else {
            return Schema::Fixed(EMPTY_OBJECT);
        };
        let mut node = reduce(node);
        if let Node::Object(entries) = &mut node
            && !entries.iter().any(|(key, _)| key == "type")
        {
            entries.insert(0, ("type".to_owned(), Node::Leaf(Value::from("object"))));
            complete(entries);
        }
        Schema::Tree(node)
    }

    /// About how long it is as JSON.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Schema::Entries { entries, .. } => entries
                .iter()
                .map(|(key, raw)| key.len() + raw.get().len() + 8)
                .sum(),
            Schema::Tree(_) => EMPTY_OBJECT.len(),
            Schema::Fixed(text) => text.len(),
        }
    }
}

/// Keeps what a small server understands and rewrites what has an equivalent.
fn reduce(node: Node) -> Node {
    let Node::Object(words) = node else { return node };
    let mut kept: Vec<(String, Node)> = Vec::with_capacity(words.len());
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
            ("allOf", Node::List(parts)) => merge_all(&mut kept, parts),
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
                (Some(Node::Object(have)), Node::Object(more)) => have.extend(more),
                (Some(Node::List(have)), Node::List(more)) => have.extend(more),
                (Some(_), _) => {}
                (None, value) => kept.push((word, value)),
            }
        }
    }
}

fn put(kept: &mut Vec<(String, Node)>, word: &str, value: Node) {
    if !kept.iter().any(|(known, _)| known == word) {
        kept.push((word.to_owned(), value));
    }
}

/// Several servers refuse an object without `properties`.
fn complete(words: &mut Vec<(String, Node)>) {
    let is_object = words.iter().any(|(word, value)| {
        word == "type" && matches!(value, Node::Leaf(Value::String(name)) if name == "object")
    });
    if is_object && !words.iter().any(|(word, _)| word == "properties") {
        words.push(("properties".to_owned(), Node::Object(Vec::new())));
    }
}

impl Serialize for Schema<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Schema::Tree(node) => node.serialize(serializer),
            Schema::Fixed(text) => RawText(text).serialize(serializer),
            Schema::Entries {
                entries,
                needs_type,
                needs_properties,
            } => {
                let mut map = serializer.serialize_map(None)?;
                if *needs_type {
                    map.serialize_entry("type", "object")?;
                }
                for (key, raw) in entries {
                    map.serialize_entry(key, raw)?;
                }
                if *needs_properties {
                    map.serialize_entry("properties", &serde_json::Map::new())?;
                }
                map.end()
            }
        }
    }
}

/// JSON text that is known to be well-formed.
struct RawText(&'static str);

impl Serialize for RawText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(self.0)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Node::Leaf(value) => value.serialize(serializer),
            Node::List(list) => list.serialize(serializer),
            Node::Object(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, value))),
        }
    }
}

struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a schema object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(lenient::TextSeed)? {
            let value = map.next_value()?;
            entries.push((key.unwrap_or_default(), value));
        }
        Ok(Entries(entries))
    }
}

impl<'de> Deserialize<'de> for Node {
    /// Scalars through `Value`; maps and lists by way of their raw parts, to keep order.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?;
        Node::parse(raw, 0).map_err(serde::de::Error::custom)
    }
}

impl Node {
    fn parse(raw: &RawValue, depth: u32) -> Result<Node, serde_json::Error> {
        if depth > DEPTH_MAX {
            return Ok(Node::Leaf(Value::Bool(true)));
        }
        let text = raw.get();
        if text.starts_with('{') {
            let Entries(entries) = serde_json::from_str(text)?;
            let entries = entries
                .into_iter()
                .map(|(key, raw)| Ok((key.into_owned(), Node::parse(raw, depth + 1)?)));
            return entries
                .collect::<Result<_, serde_json::Error>>()
                .map(Node::Object);
        }
        if text.starts_with('[') {
            let list: Vec<&RawValue> = serde_json::from_str(text)?;
            return list
                .into_iter()
                .map(|raw| Node::parse(raw, depth + 1))
                .collect::<Result<_, _>>()
                .map(Node::List);
        }
        serde_json::from_str(text).map(Node::Leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(level: SchemaLevel, schema: &str, expect: &str) {
        let raw: &RawValue = serde_json::from_str(schema).unwrap();
        assert_eq!(
            serde_json::to_string(&Schema::of_tool(raw, level)).unwrap(),
            expect,
            "{schema}"
        );
    }

    #[test]
    fn r10_full_keeps_order_and_completes_the_object() {
        let full = SchemaLevel::Full;
        check(
            full,
            r#"{"$schema":"x","type":"object","properties":{"z":{},"a":{}}}"#,
            r#"{"type":"object","properties":{"z":{},"a":{}}}"#,
        );
        check(
            full,
            r#"{"type":"object"}"#,
            r#"{"type":"object","properties":{}}"#,
        );
        check(full, "{}", r#"{"type":"object","properties":{}}"#);
        check(full, "true", EMPTY_OBJECT);
    }

    #[test]
    fn p45_basic_keeps_what_small_servers_take() {
        check(
            SchemaLevel::Basic,
            r#"{"type":"object","additionalProperties":false,"properties":{"b":{"const":"x"},"a":{"type":["string","null"],"format":"uri","minLength":1},"n":{"exclusiveMinimum":0,"type":"integer"},"o":{"oneOf":[{"type":"object"},{"pattern":"x"}]}}}"#,
            r#"{"type":"object","properties":{"b":{"enum":["x"]},"a":{"type":"string","nullable":true},"n":{"minimum":0,"type":"integer"},"o":{"anyOf":[{"type":"object","properties":{}},{}]}}}"#,
        );
        check(
            SchemaLevel::Basic,
            r#"{"allOf":[{"properties":{"a":{"type":"string"}}},{"properties":{"b":{"type":"string"}}}]}"#,
            r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}}"#,
        );
    }
}
