//! JSON schemas, cleaned as far as an upstream needs it. Key order is kept, since prompt
//! caches depend on it, and no schema ever fails a request.

mod basic;
mod inline;
mod node;

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::dialect::SchemaLevel;
use crate::json::lenient;

use self::node::Node;

/// Annotations that say nothing about values and that some servers refuse.
const ANNOTATIONS: &[&str] = &["$schema", "$id", "$comment"];

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

impl<'a> Schema<'a> {
    /// The parameters of a tool: always an object with `properties`.
    pub(crate) fn of_tool(raw: &'a RawValue, level: SchemaLevel) -> Self {
        match level {
            SchemaLevel::Full => Self::without_annotations(raw, true),
            SchemaLevel::Openai => Self::inlined(raw, true),
            SchemaLevel::Basic => Self::basic(raw),
        }
    }

    /// The schema of an answer.
    pub(crate) fn of_answer(raw: &'a RawValue, level: SchemaLevel) -> Self {
        match level {
            SchemaLevel::Full => Self::without_annotations(raw, false),
            SchemaLevel::Openai => Self::inlined(raw, false),
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

    /// Local references written out; a schema without any is not taken apart.
    fn inlined(raw: &'a RawValue, is_tool: bool) -> Self {
        if !has_references(raw) {
            return Self::without_annotations(raw, is_tool);
        }
        let Ok(mut node) = serde_json::from_str::<Node>(raw.get()) else {
            return Schema::Fixed(EMPTY_OBJECT);
        };
        inline::expand(&mut node);
        if let Node::Object(words) = &mut node {
            words.retain(|(word, _)| !ANNOTATIONS.contains(&word.as_str()));
            if is_tool {
                be_an_object(words);
            }
        }
        Schema::Tree(node)
    }

    fn basic(raw: &'a RawValue) -> Self {
        let Ok(mut node) = serde_json::from_str::<Node>(raw.get()) else {
            return Schema::Fixed(EMPTY_OBJECT);
        };
        if has_references(raw) {
            inline::expand(&mut node);
        }
        let mut node = basic::reduce(node);
        if let Node::Object(words) = &mut node {
            be_an_object(words);
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

fn has_references(raw: &RawValue) -> bool {
    memchr::memmem::find(raw.get().as_bytes(), b"$ref").is_some()
}

/// Parameters are an object, whether the client says it or not.
fn be_an_object(words: &mut Vec<(String, Node)>) {
    if !words.iter().any(|(word, _)| word == "type") {
        words.insert(0, ("type".to_owned(), Node::Leaf(Value::from("object"))));
    }
    basic::complete(words);
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
    fn openai_writes_references_out() {
        check(
            SchemaLevel::Openai,
            r##"{"$schema":"x","properties":{"a":{"$ref":"#/$defs/A","description":"mine"},"$ref":{"type":"string"}},"$defs":{"A":{"type":"object","description":"its","properties":{"b":{"$ref":"#/$defs/B"}}},"B":{"enum":[1]}}}"##,
            r#"{"type":"object","properties":{"a":{"description":"mine","type":"object","properties":{"b":{"enum":[1]}}},"$ref":{"type":"string"}}}"#,
        );
        check(
            SchemaLevel::Openai,
            r#"{"$id":"x","properties":{"a":{}}}"#,
            r#"{"type":"object","properties":{"a":{}}}"#,
        );
    }

    #[test]
    fn references_that_cannot_be_written_out_stay() {
        let recursive = r##"{"type":"object","properties":{"tree":{"$ref":"#/$defs/T"}},"$defs":{"T":{"type":"array","items":{"$ref":"#/$defs/T"}}}}"##;
        check(SchemaLevel::Openai, recursive, recursive);
        let foreign = r#"{"type":"object","properties":{"a":{"$ref":"https://example.com/a.json"}}}"#;
        check(SchemaLevel::Openai, foreign, foreign);
        let nowhere = r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/none"}},"$defs":{}}"##;
        check(SchemaLevel::Openai, nowhere, nowhere);
    }

    /// Each level doubles what the one below holds.
    #[test]
    fn references_that_explode_stay() {
        let mut defs = r#""D0":{"type":"string"}"#.to_owned();
        for n in 1..40 {
            let below = n - 1;
            defs.push_str(&format!(
                r##","D{n}":{{"anyOf":[{{"$ref":"#/$defs/D{below}"}},{{"$ref":"#/$defs/D{below}"}}]}}"##
            ));
        }
        let bomb = format!(
            r##"{{"type":"object","properties":{{"a":{{"$ref":"#/$defs/D39"}}}},"$defs":{{{defs}}}}}"##
        );
        check(SchemaLevel::Openai, &bomb, &bomb);
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
        check(
            SchemaLevel::Basic,
            r##"{"properties":{"a":{"$ref":"#/definitions/A"}},"definitions":{"A":{"type":"string"}}}"##,
            r#"{"type":"object","properties":{"a":{"type":"string"}}}"#,
        );
    }
}
