//! What translation is measured against: the least that any translator must do. Both know
//! the shape of this one request and would fail on most others.
//!
//! **scan** finds members, messages, tools and blocks and copies every string and schema as
//! it is written. **borrow** reads strings as strings, borrowed where they can be, and writes
//! them again; schemas and inputs stay raw there too.

use std::borrow::Cow;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// `S` is a string: raw or read.
#[derive(Deserialize, Serialize)]
struct Request<'a, S> {
    model: S,
    #[serde(borrow)]
    messages: Vec<Message<'a, S>>,
    #[serde(borrow)]
    system: Vec<Block<'a, S>>,
    #[serde(borrow)]
    tools: Vec<Tool<'a, S>>,
    metadata: &'a RawValue,
    max_tokens: u32,
    temperature: f64,
    stream: bool,
}

#[derive(Deserialize, Serialize)]
struct Message<'a, S> {
    role: S,
    #[serde(borrow)]
    content: Vec<Block<'a, S>>,
}

#[derive(Deserialize, Serialize)]
struct Block<'a, S> {
    #[serde(rename = "type")]
    kind: S,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_use_id: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<S>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    input: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<S>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<S>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize, Serialize)]
struct Tool<'a, S> {
    name: S,
    description: S,
    #[serde(borrow)]
    input_schema: &'a RawValue,
}

/// Strings in options are only borrowed inside a type of their own.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(Deserialize, Serialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Text<'a>,
    choices: Vec<Choice<'a>>,
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize, Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(borrow)]
    delta: Delta<'a>,
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize, Serialize)]
struct Delta<'a> {
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    content: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<Vec<Call<'a>>>,
}

#[derive(Deserialize, Serialize)]
struct Call<'a> {
    index: u32,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    function: Function<'a>,
}

#[derive(Deserialize, Serialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    arguments: Text<'a>,
}

pub(crate) fn scan(body: &[u8]) -> Result<Vec<u8>> {
    let request: Request<'_, &RawValue> = serde_json::from_slice(body)?;
    write(&request, body.len())
}

pub(crate) fn borrow(body: &[u8]) -> Result<Vec<u8>> {
    let request: Request<'_, Text<'_>> = serde_json::from_slice(body)?;
    write(&request, body.len())
}

/// Borrow for one event of a stream; `[DONE]` is handed on.
pub(crate) fn borrow_event(event: &[u8], out: &mut Vec<u8>) -> Result<()> {
    let json = event.strip_prefix(b"data: ").unwrap_or(event);
    if !json.starts_with(b"{") {
        out.extend_from_slice(event);
        return Ok(());
    }
    let chunk: Chunk<'_> = serde_json::from_slice(json)?;
    out.extend_from_slice(b"data: ");
    serde_json::to_writer(&mut *out, &chunk)?;
    out.extend_from_slice(b"\n\n");
    Ok(())
}

fn write<S: Serialize>(request: &Request<'_, S>, bytes: usize) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes);
    serde_json::to_writer(&mut out, request)?;
    Ok(out)
}
