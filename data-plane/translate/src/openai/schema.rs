//! JSON schemas, cleaned as far as an upstream needs it. Key order is kept, since prompt
//! caches depend on it, and no schema ever fails a request.

mod basic;
mod inline;
mod node;
mod strict;

use serde_json::Value;

use crate::dialect::SchemaLevel;
use crate::json::cursor::Cursor;
use crate::json::escaped::{Escaped, Raw};
use crate::json::fields::Member;
use crate::json::write::Object;

pub(crate) use self::inline::Budget;
use self::node::Node;

/// Annotations that say nothing about values and that some servers refuse.
const ANNOTATIONS: &[&str] = &["$schema", "$id", "$comment"];

/// The object that stands for a schema which is none.
const EMPTY_OBJECT: &str = r#"{"type":"object","properties":{}}"#;

/// A cleaned schema.
#[derive(Debug)]
pub(crate) enum Schema<'a> {
    /// Top-level words of the client's schema as they came, and what was missing.
    Words {
        words: Words<'a>,
        needs_type: bool,
        needs_properties: bool,
    },
    Tree {
        root: Node,
        /// How long the client's schema is.
        client_bytes: usize,
    },
    /// Written by us.
    Fixed(&'static str),
}

/// Read with the request, or by ourselves. (A `Cow` would make everything around it invariant.)
#[derive(Debug)]
pub(crate) enum Words<'a> {
    Borrowed(&'a [Member<'a>]),
    Owned(Vec<Member<'a>>),
}

impl<'a> Schema<'a> {
    /// The parameters of a tool: always an object with `properties`. `words` are the members of
    /// `raw`, if it is an object.
    pub(crate) fn of_tool(
        raw: Raw<'a>,
        words: Option<&'a [Member<'a>]>,
        level: SchemaLevel,
        budget: &mut Budget,
    ) -> Self {
        let words = words.map(Words::Borrowed);
        match level {
            SchemaLevel::Full => Self::without_annotations(words, true),
            SchemaLevel::Openai => Self::inlined(raw, words, true, budget),
            SchemaLevel::Basic => Self::basic(raw, budget),
        }
    }

    /// The schema of an answer.
    pub(crate) fn of_answer(raw: Raw<'a>, level: SchemaLevel, budget: &mut Budget) -> Self {
        let members = Cursor::new(raw.get()).members();
        let words = members.ok().and_then(|(_, words)| words).map(Words::Owned);
        match level {
            SchemaLevel::Full => Self::without_annotations(words, false),
            SchemaLevel::Openai => Self::inlined(raw, words, false, budget),
            SchemaLevel::Basic => Self::basic(raw, budget),
        }
    }

    fn without_annotations(words: Option<Words<'a>>, is_tool: bool) -> Self {
        let Some(words) = words else {
            return Schema::Fixed(EMPTY_OBJECT);
        };
        let find = |word: &str| words.as_slice().iter().find(|(name, _)| name.is(word));
        let is_object = find("type").is_none_or(|(_, raw)| raw.get() == "\"object\"");
        Schema::Words {
            needs_type: is_tool && find("type").is_none(),
            needs_properties: is_tool && is_object && find("properties").is_none(),
            words,
        }
    }

    /// Local references written out; a schema without any is not taken apart.
    fn inlined(raw: Raw<'a>, words: Option<Words<'a>>, is_tool: bool, budget: &mut Budget) -> Self {
        if !has_references(raw) {
            return Self::without_annotations(words, is_tool);
        }
        let Ok(mut node) = Node::read(raw) else {
            return Schema::Fixed(EMPTY_OBJECT);
        };
        inline::expand(&mut node, budget);
        if let Node::Object(words) = &mut node {
            words.retain(|(word, _)| !ANNOTATIONS.contains(&word.as_str()));
            if is_tool {
                be_an_object(words);
            }
        }
        Schema::Tree {
            root: node,
            client_bytes: raw.get().len(),
        }
    }

    fn basic(raw: Raw<'a>, budget: &mut Budget) -> Self {
        let Ok(mut node) = Node::read(raw) else {
            return Schema::Fixed(EMPTY_OBJECT);
        };
        if has_references(raw) {
            inline::expand(&mut node, budget);
        }
        let mut node = basic::reduce(node);
        if let Node::Object(words) = &mut node {
            be_an_object(words);
        }
        Schema::Tree {
            root: node,
            client_bytes: raw.get().len(),
        }
    }

    /// About how long it is as JSON.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Schema::Words { words, .. } => words
                .as_slice()
                .iter()
                .map(|(name, raw)| name.as_written().len() + raw.get().len() + 8)
                .sum(),
            Schema::Tree { client_bytes, .. } => *client_bytes,
            Schema::Fixed(text) => text.len(),
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Schema::Tree { root, .. } => root.write(out),
            Schema::Fixed(text) => out.extend_from_slice(text.as_bytes()),
            Schema::Words {
                words,
                needs_type,
                needs_properties,
            } => {
                let mut object = Object::begin(out);
                if *needs_type {
                    object.text("type", "object");
                }
                let kept = words.as_slice().iter().filter(|(name, _)| !is_annotation(*name));
                for (name, raw) in kept {
                    object
                        .escaped_member(*name)
                        .extend_from_slice(raw.get().as_bytes());
                }
                if *needs_properties {
                    object.raw("properties", "{}");
                }
                object.end();
            }
        }
    }
}

impl<'a> Words<'a> {
    fn as_slice(&self) -> &[Member<'a>] {
        match self {
            Words::Borrowed(words) => words,
            Words::Owned(words) => words,
        }
    }
}

fn is_annotation(name: Escaped<'_>) -> bool {
    ANNOTATIONS.iter().any(|word| name.is(word))
}

/// Whether an upstream that is strict takes this schema.
pub(crate) fn takes_strict(raw: Raw<'_>) -> bool {
    Node::read(raw).is_ok_and(|schema| strict::takes(&schema))
}

fn has_references(raw: Raw<'_>) -> bool {
    memchr::memmem::find(raw.get().as_bytes(), b"$ref").is_some()
}

/// Parameters are an object, whether the client says it or not.
fn be_an_object(words: &mut Vec<(String, Node)>) {
    if !words.iter().any(|(word, _)| word == "type") {
        words.insert(0, ("type".to_owned(), Node::Leaf(Value::from("object"))));
    }
    basic::complete(words);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(level: SchemaLevel, schema: &str, expect: &str) {
        let (raw, words) = Cursor::new(schema).members().unwrap();
        let mut out = Vec::new();
        Schema::of_tool(raw, words.as_deref(), level, &mut Budget::default()).write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expect, "{schema}");
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
    fn only_closed_schemas_are_strict() {
        let closed = r#"{"type":"object","properties":{"a":{"type":"array","items":{"type":"object","properties":{},"additionalProperties":false}}},"required":["a"],"additionalProperties":false}"#;
        let rows = [
            (closed, true),
            (
                r#"{"type":"object","properties":{"a":{}},"additionalProperties":false}"#,
                false,
            ),
            (
                r#"{"type":"object","properties":{"a":{}},"required":["a"]}"#,
                false,
            ),
            (r#"{"type":"object","additionalProperties":false}"#, false),
            (
                r#"{"type":"object","properties":{"a":{"oneOf":[]}},"required":["a"],"additionalProperties":false}"#,
                false,
            ),
            (
                r#"{"type":"object","properties":{"a":{"type":"object"}},"required":["a"],"additionalProperties":false}"#,
                false,
            ),
            (r#"{"anyOf":[]}"#, false),
            ("true", false),
        ];
        for (schema, expected) in rows {
            let raw = Cursor::new(schema).members().unwrap().0;
            assert_eq!(takes_strict(raw), expected, "{schema}");
        }
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
            r#"{"allOf":[{"properties":{"a":{"type":"string"},"b":{"type":"integer"}}}],"properties":{"b":{"type":"string"}}}"#,
            r#"{"type":"object","properties":{"b":{"type":"string"},"a":{"type":"string"}}}"#,
        );
        check(
            SchemaLevel::Basic,
            r##"{"properties":{"a":{"$ref":"#/definitions/A"}},"definitions":{"A":{"type":"string"}}}"##,
            r#"{"type":"object","properties":{"a":{"type":"string"}}}"#,
        );
    }
}
