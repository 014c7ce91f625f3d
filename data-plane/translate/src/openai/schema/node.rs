//! A schema as a tree, for the levels that rewrite it.

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Entries;

/// Deeper schemas are not meant for models.
const DEPTH_MAX: u32 = 64;

/// A schema as a tree with its key order.
#[derive(Debug)]
pub(crate) enum Node {
    Object(Vec<(String, Node)>),
    Leaf(Value),
    List(Vec<Node>),
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
