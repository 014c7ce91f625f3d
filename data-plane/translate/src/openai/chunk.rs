//! What upstreams send: a chunk of a stream or a whole answer, read leniently.
//!
//! A whole answer differs from a chunk only in `message` instead of `delta`, and some
//! servers mix the two up, so both are read by the same types.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::lenient;
use crate::usage::{Timings, UpstreamUsage};

/// One chunk, or one whole answer. What most chunks do not have is boxed, since a chunk is
/// moved several times before anyone looks at it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Chunk<'a> {
    #[serde(borrow)]
    pub(crate) choices: Choices<'a>,
    #[serde(deserialize_with = "lenient::object")]
    pub(crate) usage: Option<Box<UpstreamUsage>>,
    #[serde(deserialize_with = "lenient::object")]
    pub(crate) x_groq: Option<Box<XGroq>>,
    #[serde(deserialize_with = "lenient::object")]
    pub(crate) timings: Option<Box<Timings>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    errors: Option<&'a RawValue>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    object: Option<Cow<'a, str>>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
    #[serde(borrow)]
    detail: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct XGroq {
    #[serde(deserialize_with = "lenient::object")]
    pub(crate) usage: Option<UpstreamUsage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Choice<'a> {
    #[serde(deserialize_with = "lenient::count")]
    pub(crate) index: u64,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    message: Option<Box<Delta<'a>>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(crate) finish_reason: Option<Cow<'a, str>>,
    /// vLLM: the stop sequence that matched.
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(crate) stop_reason: Option<Cow<'a, str>>,
    /// SGLang: the same.
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(crate) matched_stop: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "lenient::object")]
    pub(crate) usage: Option<Box<UpstreamUsage>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Delta<'a> {
    #[serde(borrow)]
    pub(crate) content: Parts<'a>,
    #[serde(borrow)]
    pub(crate) reasoning_content: Parts<'a>,
    #[serde(borrow)]
    pub(crate) reasoning: Parts<'a>,
    #[serde(borrow)]
    pub(crate) reasoning_details: List<&'a RawValue>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(crate) refusal: Option<Cow<'a, str>>,
    /// What a search found.
    #[serde(borrow)]
    pub(crate) annotations: List<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) tool_calls: List<ToolDelta<'a>>,
    #[serde(borrow)]
    pub(crate) function_call: Option<FunctionDelta<'a>>,
    /// It came as a whole message.
    #[serde(skip)]
    pub(crate) is_whole: bool,
}

/// The part of a reasoning detail that people read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ReasoningDetail<'a> {
    #[serde(borrow, deserialize_with = "lenient::text")]
    text: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    summary: Option<Cow<'a, str>>,
}

impl<'a> ReasoningDetail<'a> {
    /// Its text, or a summary of it.
    pub(crate) fn read(raw: &'a RawValue) -> Option<Cow<'a, str>> {
        let ReasoningDetail { text, summary } = serde_json::from_str(raw.get()).ok()?;
        text.or(summary)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ToolDelta<'a> {
    #[serde(deserialize_with = "lenient::number")]
    pub(crate) index: Option<u64>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(crate) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) function: Option<FunctionDelta<'a>>,
    /// Gemini: what must come back with the call.
    #[serde(borrow)]
    pub(crate) extra_content: Option<&'a RawValue>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct FunctionDelta<'a> {
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(crate) name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl<'a> Chunk<'a> {
    /// The first choice; other choices are nobody's.
    pub(crate) fn into_choice(self) -> Option<Choice<'a>> {
        self.choices.first
    }

    /// Whether there is an answer in it at all.
    pub(crate) fn has_first_choice(&self) -> bool {
        self.choices.first.is_some()
    }

    /// Whether this is an error in the shape of an answer.
    pub(crate) fn is_error(&self) -> bool {
        let said = |raw: Option<&RawValue>| {
            raw.is_some_and(|raw| !matches!(raw.get(), "null" | "false" | "{}" | "[]" | "\"\""))
        };
        said(self.error)
            || said(self.errors)
            || self.object.as_deref() == Some("error")
            || (self.choices.is_empty && (said(self.message) || said(self.msg) || said(self.detail)))
    }
}

impl<'a> Choice<'a> {
    /// What is new. In a whole message each call in the list is one of its own, whatever
    /// ids and indices it has.
    pub(crate) fn take_delta(&mut self) -> Delta<'a> {
        if let Some(delta) = self.delta.take() {
            return delta;
        }
        let mut message = self
            .message
            .take()
            .map_or_else(Delta::default, |message| *message);
        message.is_whole = true;
        for (place, call) in message.tool_calls.0.iter_mut().enumerate() {
            call.index = Some(place as u64);
        }
        message
    }
}

impl<'a> FunctionDelta<'a> {
    /// The arguments as text: a string's content, an object's JSON.
    pub(crate) fn arguments(&self) -> Cow<'a, str> {
        let Some(raw) = self.arguments.map(RawValue::get) else {
            return Cow::Borrowed("");
        };
        if raw.starts_with('"') {
            let mut deserializer = serde_json::Deserializer::from_str(raw);
            return lenient::text(&mut deserializer)
                .ok()
                .flatten()
                .unwrap_or_default();
        }
        if raw == "null" {
            Cow::Borrowed("")
        } else {
            Cow::Borrowed(raw)
        }
    }
}

/// The list of choices, as far as it matters: there is no place for more than one answer.
#[derive(Debug)]
pub(crate) struct Choices<'a> {
    /// The one with index 0.
    pub(crate) first: Option<Choice<'a>>,
    pub(crate) is_empty: bool,
}

impl Default for Choices<'_> {
    fn default() -> Self {
        Choices {
            first: None,
            is_empty: true,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Choices<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ChoicesVisitor)
    }
}

struct ChoicesVisitor;

impl<'de> Visitor<'de> for ChoicesVisitor {
    type Value = Choices<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of choices")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut choices = Choices::default();
        while choices.first.is_none() {
            let Some(choice) = seq.next_element::<Choice<'de>>()? else {
                return Ok(choices);
            };
            choices.is_empty = false;
            choices.first = Some(choice).filter(|choice| choice.index == 0);
        }
        lenient::skip_seq(seq)?;
        Ok(choices)
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Choices::default())
    }
}

/// A list; whatever holds nothing is an empty one.
#[derive(Debug)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        List(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            list.push(element);
        }
        Ok(List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        match map.next_key::<IgnoredAny>()? {
            None => Ok(List::default()),
            Some(_) => Err(A::Error::custom("an object where a list belongs")),
        }
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Ok(List::default())
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(List::default())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(List::default())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(List::default())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(List::default())
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(List::default())
    }
}

/// Text that may come as a string or, from Mistral, as a list of typed parts.
#[derive(Debug, Default)]
pub(crate) enum Parts<'a> {
    #[default]
    Absent,
    Text(Cow<'a, str>),
    List(Vec<Part<'a>>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Part<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::text")]
    pub(crate) kind: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    pub(crate) text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) thinking: Parts<'a>,
}

impl<'a> Parts<'a> {
    /// The plain text, if this is not a list of parts.
    pub(crate) fn text(&self) -> &str {
        match self {
            Parts::Text(text) => text,
            Parts::Absent | Parts::List(_) => "",
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Parts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PartsVisitor)
    }
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Parts<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of parts")
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Parts::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Parts::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = seq.next_element::<Part<'de>>()? {
            parts.push(part);
        }
        Ok(Parts::List(parts))
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        Part::deserialize(MapAccessDeserializer::new(map)).map(|part| Parts::List(vec![part]))
    }
    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Parts::Absent)
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Parts::Absent)
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Parts::Absent)
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Ok(Parts::Absent)
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Parts::Absent)
    }
}
