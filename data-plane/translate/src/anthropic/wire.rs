//! The loose form in which content arrives, before it is validated.
//!
//! One flat struct for all block types: `&RawValue` and borrowed strings do not survive
//! serde's tagged enums. Every field is lenient; `block` turns this into what is meant.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::lenient;

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct WireBlock<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::text")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) text: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) input: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) tool_use_id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) tool_name: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "lenient::flag")]
    pub(super) is_error: bool,
    #[serde(borrow)]
    pub(super) content: WireContent<'a>,
    #[serde(borrow)]
    pub(super) source: WireSource<'a>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) title: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) context: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) thinking: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) signature: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) data: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) url: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) stdout: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) stderr: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) tool_references: WireContent<'a>,
    #[serde(borrow)]
    pub(super) cache_control: Option<&'a RawValue>,
}

/// `content` of a message, a tool result, a document: text, blocks, or one object.
#[derive(Debug, Default)]
pub(super) enum WireContent<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Blocks(Vec<WireBlock<'a>>),
    One(Box<WireBlock<'a>>),
    /// A number or a bool.
    Unusable,
}

/// `source` of an image or document; a search result has a string there.
#[derive(Debug, Default)]
pub(super) enum WireSource<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Fields(Box<WireSourceFields<'a>>),
    Unusable,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct WireSourceFields<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::text")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) media_type: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) data: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) url: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) content: WireContent<'a>,
}

impl<'de: 'a, 'a> Deserialize<'de> for WireContent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for WireSource<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SourceVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = WireContent<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of content blocks")
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(WireContent::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(WireContent::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut blocks = Vec::new();
        while let Some(block) = seq.next_element::<WireBlock<'de>>()? {
            blocks.push(block);
        }
        Ok(WireContent::Blocks(blocks))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        WireBlock::deserialize(MapAccessDeserializer::new(map)).map(|block| WireContent::One(Box::new(block)))
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(WireContent::Absent)
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(WireContent::Unusable)
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(WireContent::Unusable)
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(WireContent::Unusable)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(WireContent::Unusable)
    }
}

struct SourceVisitor;

impl<'de> Visitor<'de> for SourceVisitor {
    type Value = WireSource<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a source")
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(WireSource::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(WireSource::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        WireSourceFields::deserialize(MapAccessDeserializer::new(map))
            .map(|fields| WireSource::Fields(Box::new(fields)))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
        lenient::skip_seq(seq).map(|()| WireSource::Unusable)
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(WireSource::Absent)
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(WireSource::Unusable)
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(WireSource::Unusable)
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(WireSource::Unusable)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(WireSource::Unusable)
    }
}
