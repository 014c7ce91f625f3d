//! How the upstream's request is written: straight from its parts, without a tree and
//! without joining texts first.

use std::borrow::Cow;
use std::fmt::{self, Display};

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::request::{Call, DataUrl, Mark, Message, Param, Part, Request, Tool, ToolChoice};
use super::schema::Schema;
use crate::dialect::NullContent;
use crate::json::{AsText, Compact};

impl Mark<'_> {
    fn write<M: SerializeMap>(self, map: &mut M) -> Result<(), M::Error> {
        match self {
            Mark::None => Ok(()),
            Mark::CacheControl(raw) => map.serialize_entry("cache_control", raw),
            Mark::Breakpoint => map.serialize_entry("prompt_cache_breakpoint", &One("mode", "explicit")),
        }
    }
}

impl Display for DataUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DataUrl::Verbatim(url) => f.write_str(url),
            DataUrl::Base64 { data, .. } if data.starts_with("data:") => f.write_str(data),
            DataUrl::Base64 { media_type, data } => {
                write!(f, "data:{media_type};base64,")?;
                data.split_ascii_whitespace()
                    .try_for_each(|piece| f.write_str(piece))
            }
        }
    }
}

/// Texts with what stands between them.
struct Joined<'p, 'a>(&'p [Part<'a>]);

impl Display for Joined<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut is_first = true;
        for part in self.0 {
            let Part::Text { text, glue, .. } = part else {
                continue;
            };
            if !is_first {
                f.write_str(glue)?;
            }
            f.write_str(text)?;
            is_first = false;
        }
        Ok(())
    }
}

/// An object with one string in it.
struct One<'a>(&'static str, &'a str);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.0, self.1)?;
        map.end()
    }
}

struct Content<'p, 'a>(&'p [Part<'a>]);

impl Serialize for Content<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            [
                Part::Text {
                    text,
                    mark: Mark::None,
                    ..
                },
            ] => serializer.serialize_str(text),
            parts if parts.iter().all(Part::is_plain) => serializer.collect_str(&Joined(parts)),
            parts => {
                let mut seq = serializer.serialize_seq(Some(parts.len()))?;
                for part in parts {
                    seq.serialize_element(part)?;
                }
                seq.end()
            }
        }
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self {
            Part::Text { text, mark, .. } => {
                map.serialize_entry("type", "text")?;
                map.serialize_entry("text", text)?;
                mark.write(&mut map)?;
            }
            Part::Image(url) => {
                map.serialize_entry("type", "image_url")?;
                map.serialize_entry("image_url", &Url(url))?;
            }
            Part::File { name, data } => {
                map.serialize_entry("type", "file")?;
                map.serialize_entry("file", &File { name, data })?;
            }
        }
        map.end()
    }
}

struct Url<'p>(&'p DataUrl<'p>);

impl Serialize for Url<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("url", &AsText(self.0))?;
        map.end()
    }
}

struct File<'p> {
    name: &'p str,
    data: &'p DataUrl<'p>,
}

impl Serialize for File<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("filename", self.name)?;
        map.serialize_entry("file_data", &AsText(self.data))?;
        map.end()
    }
}

/// Texts with nothing between them.
struct Texts<'p, 'a>(&'p [Cow<'a, str>]);

impl Display for Texts<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|text| f.write_str(text))
    }
}

impl Serialize for Message<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", self.role)?;
        if let Some(id) = &self.tool_call_id {
            map.serialize_entry("tool_call_id", id)?;
        }
        if !self.content.is_empty() {
            map.serialize_entry("content", &Content(&self.content))?;
        } else {
            match self.null_content {
                NullContent::Null => map.serialize_entry("content", &())?,
                NullContent::Empty => map.serialize_entry("content", "")?,
                NullContent::Omit => {}
            }
        }
        if let Some((field, texts)) = &self.reasoning {
            map.serialize_entry(field, &AsText(Texts(texts)))?;
        }
        if !self.reasoning_details.is_empty() {
            map.serialize_entry("reasoning_details", &self.reasoning_details)?;
        }
        if !self.calls.is_empty() {
            map.serialize_entry("tool_calls", &self.calls)?;
        }
        if let Some(flag) = self.flag {
            map.serialize_entry(flag, &true)?;
        }
        map.end()
    }
}

impl Serialize for Call<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("type", "function")?;
        map.serialize_entry(
            "function",
            &Function {
                name: &self.name,
                arguments: self.arguments(),
            },
        )?;
        if let Some(extra) = &self.extra_content {
            map.serialize_entry("extra_content", extra)?;
        }
        map.end()
    }
}

struct Function<'p> {
    name: &'p str,
    arguments: Compact<'p>,
}

impl Serialize for Function<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", self.name)?;
        map.serialize_entry("arguments", &AsText(self.arguments))?;
        map.end()
    }
}

impl Serialize for Tool<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", "function")?;
        map.serialize_entry("function", &ToolFunction(self))?;
        self.mark.write(&mut map)?;
        map.end()
    }
}

/// The inside of a tool, which token counting reads on its own.
pub(crate) struct ToolFunction<'p, 'a>(pub(crate) &'p Tool<'a>);

impl Serialize for ToolFunction<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let tool = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &tool.name)?;
        if let Some(description) = &tool.description {
            map.serialize_entry("description", description)?;
        }
        map.serialize_entry("parameters", &tool.parameters)?;
        if tool.is_strict {
            map.serialize_entry("strict", &true)?;
        }
        map.end()
    }
}

impl Serialize for ToolChoice<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            ToolChoice::Word(word) => serializer.serialize_str(word),
            ToolChoice::Function(name) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("type", "function")?;
                map.serialize_entry("function", &One("name", name))?;
                map.end()
            }
        }
    }
}

impl Serialize for Param<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Param::Raw(raw) => raw.serialize(serializer),
            Param::Object(entries) => {
                serializer.collect_map(entries.iter().map(|(name, value)| (name, value)))
            }
            Param::Float(number) => serializer.serialize_f64(*number),
            Param::Number(number) => serializer.serialize_u64(*number),
            Param::Bool(flag) => serializer.serialize_bool(*flag),
            Param::Text(text) => serializer.serialize_str(text),
            Param::Texts(texts) => texts.serialize(serializer),
            Param::AnswerSchema { schema, is_strict } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("type", "json_schema")?;
                map.serialize_entry(
                    "json_schema",
                    &NamedSchema {
                        schema,
                        is_strict: *is_strict,
                    },
                )?;
                map.end()
            }
        }
    }
}

struct NamedSchema<'p, 'a> {
    schema: &'p Schema<'a>,
    is_strict: bool,
}

impl Serialize for NamedSchema<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", "output")?;
        map.serialize_entry("schema", self.schema)?;
        if self.is_strict {
            map.serialize_entry("strict", &true)?;
        }
        map.end()
    }
}

impl Serialize for Request<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let ours = |name: &str| !self.extra.contains_key(name);
        if ours("model") {
            map.serialize_entry("model", self.model)?;
        }
        if ours("messages") {
            map.serialize_entry("messages", &self.messages)?;
        }
        if !self.tools.is_empty() && ours("tools") {
            map.serialize_entry("tools", &self.tools)?;
        }
        if let Some(choice) = self.tool_choice.as_ref().filter(|_| ours("tool_choice")) {
            map.serialize_entry("tool_choice", choice)?;
        }
        for (name, value) in self.params.iter().filter(|(name, _)| ours(name)) {
            map.serialize_entry(name, value)?;
        }
        for (name, value) in self.extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
