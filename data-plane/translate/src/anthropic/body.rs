//! The loose form in which the whole body arrives, before it is validated.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::tool::{WireTool, WireToolChoice};
use super::wire::WireContent;
use crate::json::lenient;

/// Clients send about twenty fields; a list of thousands is an attack on whoever compares them.
const FIELDS_MAX: usize = 128;

/// The top level as it arrives. Later duplicates of a field are refused.
#[derive(Default)]
pub(super) struct WireBody<'a> {
    pub(super) model: Option<Cow<'a, str>>,
    pub(super) stream: Option<&'a RawValue>,
    pub(super) system: WireContent<'a>,
    pub(super) messages: Option<Vec<WireMessage<'a>>>,
    pub(super) tools: Option<Vec<WireTool<'a>>>,
    pub(super) tool_choice: Option<WireToolChoice<'a>>,
    pub(super) max_tokens: Option<&'a RawValue>,
    pub(super) stop_sequences: Option<Vec<Option<Cow<'a, str>>>>,
    pub(super) temperature: Option<&'a RawValue>,
    pub(super) top_p: Option<&'a RawValue>,
    pub(super) top_k: Option<&'a RawValue>,
    pub(super) thinking: Option<WireThinking<'a>>,
    pub(super) output_config: Option<WireOutputConfig<'a>>,
    pub(super) output_format: Option<&'a RawValue>,
    pub(super) metadata: Option<WireMetadata<'a>>,
    pub(super) service_tier: Option<Cow<'a, str>>,
    pub(super) other: Vec<(Cow<'a, str>, &'a RawValue)>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct WireMessage<'a> {
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) role: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) content: WireContent<'a>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) clear_at: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) output_config: Option<WireOutputConfig<'a>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct WireThinking<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::text")]
    pub(super) kind: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "lenient::count")]
    pub(super) budget_tokens: u64,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) display: Option<Cow<'a, str>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct WireOutputConfig<'a> {
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) effort: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) format: Option<&'a RawValue>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct WireFormat<'a> {
    #[serde(borrow)]
    pub(super) schema: Option<&'a RawValue>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct WireMetadata<'a> {
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(super) user_id: Option<Cow<'a, str>>,
}

/// A string that borrows, for places where serde would copy.
#[derive(serde::Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow, deserialize_with = "lenient::text")] Option<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for WireBody<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BodyVisitor)
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = WireBody<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    /// By hand, because collecting unknown fields with `flatten` would buffer every value.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WireBody<'de>, A::Error> {
        let mut wire = WireBody::default();
        let mut seen: Vec<Cow<'de, str>> = Vec::with_capacity(16);
        while let Some(Text(key)) = map.next_key::<Text<'de>>()? {
            let Some(key) = key else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen.contains(&key) {
                return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
            }
            if seen.len() == FIELDS_MAX {
                return Err(A::Error::custom(format_args!("more than {FIELDS_MAX} fields")));
            }
            match &*key {
                "model" => wire.model = map.next_value::<Text<'de>>()?.0,
                "stream" => wire.stream = Some(map.next_value()?),
                "system" => wire.system = map.next_value()?,
                "messages" => wire.messages = map.next_value()?,
                "tools" => wire.tools = map.next_value()?,
                "tool_choice" => wire.tool_choice = map.next_value()?,
                "max_tokens" => wire.max_tokens = Some(map.next_value()?),
                "stop_sequences" => {
                    let texts: Option<Vec<Text<'de>>> = map.next_value()?;
                    wire.stop_sequences = texts.map(|texts| texts.into_iter().map(|text| text.0).collect());
                }
                "temperature" => wire.temperature = Some(map.next_value()?),
                "top_p" => wire.top_p = Some(map.next_value()?),
                "top_k" => wire.top_k = Some(map.next_value()?),
                "thinking" => wire.thinking = map.next_value()?,
                "output_config" => wire.output_config = map.next_value()?,
                "output_format" => wire.output_format = Some(map.next_value()?),
                "metadata" => wire.metadata = map.next_value()?,
                "service_tier" => wire.service_tier = map.next_value::<Text<'de>>()?.0,
                _ => {
                    let value = map.next_value::<&'de RawValue>()?;
                    wire.other.push((key.clone(), value));
                }
            }
            seen.push(key);
        }
        Ok(wire)
    }
}
