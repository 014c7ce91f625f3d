//! The request that an upstream gets: borrowed from the client's, and written once by `write`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use super::schema::Schema;
use crate::dialect::NullContent;
use crate::json::escaped::{Escaped, Raw};
use crate::json::write::Text;

/// A request body. Fields of `extra` replace ours.
pub(crate) struct Request<'a> {
    pub(crate) model: &'a str,
    pub(crate) messages: Vec<Message<'a>>,
    pub(crate) tools: Vec<Tool<'a>>,
    pub(crate) tool_choice: Option<ToolChoice<'a>>,
    pub(crate) params: Vec<(Cow<'a, str>, Param<'a>)>,
    pub(crate) extra: &'a BTreeMap<String, Value>,
}

/// A value of a field beside the conversation.
pub(crate) enum Param<'a> {
    Raw(Raw<'a>),
    Value(&'a Value),
    Object(Vec<(&'a str, Param<'a>)>),
    Number(u64),
    Float(f64),
    Bool(bool),
    Text(Cow<'a, str>),
    Texts(Vec<&'a str>),
    /// `response_format` with a schema.
    AnswerSchema {
        schema: Schema<'a>,
        is_strict: bool,
    },
}

pub(crate) struct Message<'a> {
    pub(crate) role: &'static str,
    pub(crate) content: Vec<Part<'a>>,
    pub(crate) null_content: NullContent,
    /// Field name and texts of reasoning that goes back.
    pub(crate) reasoning: Option<(&'static str, Vec<Text<'a>>)>,
    /// Entries of `reasoning_details`, as JSON, that go back.
    pub(crate) reasoning_details: Vec<Box<RawValue>>,
    pub(crate) calls: Vec<Call<'a>>,
    pub(crate) tool_call_id: Option<Cow<'a, str>>,
    /// A flag that asks to continue this message.
    pub(crate) flag: Option<&'static str>,
}

/// A part of a message's content.
pub(crate) enum Part<'a> {
    Text {
        text: Text<'a>,
        glue: &'static str,
        mark: Mark,
    },
    Image(DataUrl<'a>),
    File {
        name: String,
        data: DataUrl<'a>,
    },
}

/// What marks the end of a cacheable prefix.
#[derive(Clone, Copy)]
pub(crate) enum Mark {
    None,
    /// None in this turn, but clients move their marks: a text that is joined with others
    /// in one turn and apart from them in the next is not the same prefix.
    Apart,
    CacheControl,
    Breakpoint,
}

/// Between texts that were blocks of their own.
pub(crate) const PARAGRAPH: &str = "\n\n";

/// A `data:` URL written from its pieces, or any URL verbatim.
#[derive(Clone, Copy)]
pub(crate) enum DataUrl<'a> {
    Verbatim(&'a str),
    Base64 { media_type: &'a str, data: Escaped<'a> },
}

pub(crate) struct Call<'a> {
    pub(crate) id: Cow<'a, str>,
    pub(crate) name: Cow<'a, str>,
    pub(crate) input: Option<Raw<'a>>,
    /// What the upstream gave with the call and wants back.
    pub(crate) extra_content: Option<Cow<'a, RawValue>>,
}

pub(crate) struct Tool<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) description: Option<Text<'a>>,
    pub(crate) parameters: Schema<'a>,
    pub(crate) is_strict: bool,
    pub(crate) mark: Mark,
}

pub(crate) enum ToolChoice<'a> {
    Word(&'static str),
    Function(Cow<'a, str>),
}

impl<'a> Param<'a> {
    pub(crate) fn word(word: &'a str) -> Self {
        Param::Text(Cow::Borrowed(word))
    }
}

impl<'a> Message<'a> {
    pub(crate) fn new(role: &'static str, content: Vec<Part<'a>>) -> Self {
        Message {
            role,
            content,
            null_content: NullContent::Null,
            reasoning: None,
            reasoning_details: Vec::new(),
            calls: Vec::new(),
            tool_call_id: None,
            flag: None,
        }
    }
}

impl<'a> Part<'a> {
    pub(crate) fn text(text: impl Into<Text<'a>>) -> Self {
        Part::Text {
            text: text.into(),
            glue: PARAGRAPH,
            mark: Mark::None,
        }
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Part::Text { .. })
    }

    pub(crate) fn is_file(&self) -> bool {
        matches!(self, Part::File { .. })
    }

    /// Whether the part is text that may be joined with others.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Part::Text { mark: Mark::None, .. })
    }
}

impl<'a> Call<'a> {
    /// The arguments as the client wrote them, white space and all.
    pub(crate) fn arguments(&self) -> &'a str {
        self.input.map_or("{}", Raw::get)
    }
}
