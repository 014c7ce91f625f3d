//! How the upstream's request is written: straight from its parts into one buffer, without
//! a tree, without joining texts first, and what the client wrote as the client wrote it.

use super::request::{Call, DataUrl, Mark, Message, Param, Part, Request, Tool, ToolChoice};
use super::schema::Schema;
use crate::dialect::NullContent;
use crate::json::write::{List, Object, Text, push_as_text};
use crate::json::{push_escaped, push_number, push_str};

impl Request<'_> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        let ours = |name: &str| !self.extra.contains_key(name);
        if ours("model") {
            object.text("model", self.model);
        }
        if ours("messages") {
            each(object.member("messages"), &self.messages, Message::write);
        }
        if !self.tools.is_empty() && ours("tools") {
            each(object.member("tools"), &self.tools, Tool::write);
        }
        if let Some(choice) = self.tool_choice.as_ref().filter(|_| ours("tool_choice")) {
            choice.write(object.member("tool_choice"));
        }
        for (name, value) in self.params.iter().filter(|(name, _)| ours(name)) {
            value.write(object.named_member(name));
        }
        for (name, value) in self.extra {
            object
                .named_member(name)
                .extend_from_slice(value.to_string().as_bytes());
        }
        object.end();
    }
}

impl Message<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        object.text("role", self.role);
        if let Some(id) = &self.tool_call_id {
            object.text("tool_call_id", id);
        }
        match self.null_content {
            _ if !self.content.is_empty() => content(&self.content, object.member("content")),
            NullContent::Null => object.raw("content", "null"),
            NullContent::Empty => object.raw("content", "\"\""),
            NullContent::Omit => {}
        }
        if let Some((field, texts)) = &self.reasoning {
            let out = object.member(field);
            out.push(b'"');
            texts.iter().for_each(|text| text.push_inside(out));
            out.push(b'"');
        }
        if !self.reasoning_details.is_empty() {
            each(
                object.member("reasoning_details"),
                &self.reasoning_details,
                |detail, out| {
                    out.extend_from_slice(detail.get().as_bytes());
                },
            );
        }
        if !self.calls.is_empty() {
            each(object.member("tool_calls"), &self.calls, Call::write);
        }
        if let Some(flag) = self.flag {
            object.raw(flag, "true");
        }
        object.end();
    }
}

/// One string if nothing but texts is in it.
fn content(parts: &[Part<'_>], out: &mut Vec<u8>) {
    let is_one_text = matches!(
        parts,
        [Part::Text {
            mark: Mark::Apart,
            ..
        }]
    );
    if !is_one_text && !parts.iter().all(Part::is_plain) {
        return each(out, parts, Part::write);
    }
    out.push(b'"');
    let mut is_first = true;
    for part in parts {
        let Part::Text { text, glue, .. } = part else {
            continue;
        };
        if !std::mem::take(&mut is_first) {
            push_escaped(out, glue);
        }
        text.push_inside(out);
    }
    out.push(b'"');
}

impl Part<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        match self {
            Part::Text { text, mark, .. } => {
                object.text("type", "text");
                text.push(object.member("text"));
                mark.write(&mut object);
            }
            Part::Image(url) => {
                object.text("type", "image_url");
                let mut image = Object::begin(object.member("image_url"));
                url.write(image.member("url"));
                image.end();
            }
            Part::File { name, data } => {
                object.text("type", "file");
                let mut file = Object::begin(object.member("file"));
                file.text("filename", name);
                data.write(file.member("file_data"));
                file.end();
            }
        }
        object.end();
    }
}

impl DataUrl<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            DataUrl::Verbatim(url) => push_str(out, url),
            DataUrl::Base64 { data, .. } if data.starts_with("data:") => Text::from(*data).push(out),
            DataUrl::Base64 { media_type, data } => {
                out.extend_from_slice(b"\"data:");
                push_escaped(out, media_type);
                out.extend_from_slice(b";base64,");
                let written = data.as_written();
                if memchr::memchr2(b' ', b'\\', written.as_bytes()).is_none() {
                    out.extend_from_slice(written.as_bytes());
                } else {
                    // Some encoders break lines.
                    let plain = data.decoded();
                    let pieces = plain.split_ascii_whitespace();
                    pieces.for_each(|piece| push_escaped(out, piece));
                }
                out.push(b'"');
            }
        }
    }
}

impl Mark {
    fn write(self, object: &mut Object<'_>) {
        match self {
            Mark::None | Mark::Apart => {}
            Mark::CacheControl => object.raw("cache_control", r#"{"type":"ephemeral"}"#),
            Mark::Breakpoint => object.raw("prompt_cache_breakpoint", r#"{"mode":"explicit"}"#),
        }
    }
}

impl Call<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        object.text("id", &self.id);
        object.text("type", "function");
        let mut function = Object::begin(object.member("function"));
        function.text("name", &self.name);
        push_as_text(function.member("arguments"), self.arguments());
        function.end();
        if let Some(extra) = &self.extra_content {
            object.raw("extra_content", extra.get());
        }
        object.end();
    }
}

impl Tool<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        object.text("type", "function");
        self.write_function(object.member("function"));
        self.mark.write(&mut object);
        object.end();
    }

    /// The inside of a tool, which token counting reads on its own.
    pub(crate) fn write_function(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        object.text("name", &self.name);
        if let Some(description) = &self.description {
            description.push(object.member("description"));
        }
        self.parameters.write(object.member("parameters"));
        if self.is_strict {
            object.raw("strict", "true");
        }
        object.end();
    }
}

impl ToolChoice<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            ToolChoice::Word(word) => push_str(out, word),
            ToolChoice::Function(name) => {
                let mut object = Object::begin(out);
                object.text("type", "function");
                let mut function = Object::begin(object.member("function"));
                function.text("name", name);
                function.end();
                object.end();
            }
        }
    }
}

impl Param<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Param::Raw(raw) => out.extend_from_slice(raw.get().as_bytes()),
            Param::Value(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Param::Object(entries) => {
                let mut object = Object::begin(out);
                for (name, value) in entries {
                    value.write(object.named_member(name));
                }
                object.end();
            }
            Param::Float(number) => {
                out.extend_from_slice(serde_json::Value::from(*number).to_string().as_bytes());
            }
            Param::Number(number) => push_number(out, *number),
            Param::Bool(flag) => out.extend_from_slice(if *flag { b"true" } else { b"false" }),
            Param::Text(text) => push_str(out, text),
            Param::Texts(texts) => each(out, texts, |text, out| push_str(out, text)),
            Param::AnswerSchema { schema, is_strict } => answer_schema(schema, *is_strict, out),
        }
    }
}

fn answer_schema(schema: &Schema<'_>, is_strict: bool, out: &mut Vec<u8>) {
    let mut object = Object::begin(out);
    object.text("type", "json_schema");
    let mut named = Object::begin(object.member("json_schema"));
    named.text("name", "output");
    schema.write(named.member("schema"));
    if is_strict {
        named.raw("strict", "true");
    }
    named.end();
    object.end();
}

/// A list of things that write themselves.
fn each<T>(out: &mut Vec<u8>, things: &[T], write: impl Fn(&T, &mut Vec<u8>)) {
    let mut list = List::begin(out);
    for thing in things {
        write(thing, list.element());
    }
    list.end();
}
