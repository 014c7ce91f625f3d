//! Estimates of tokens and bytes, made without asking anyone.
//!
//! No public tokenizer exists for the models that clients think they talk to: o200k with
//! a factor comes near (the README has figures). Base64 is never tokenised.

mod counter;
mod image;

use crate::dialect::{Dialect, Tokenizer};
use crate::json::write::Text;
use crate::openai::chunk::ReasoningDetail;
use crate::openai::request::{Call, DataUrl, Param, Part, Request, Tool};

use self::counter::{BYTES_PER_TOKEN, Counter};

const MESSAGE_TOKENS: u64 = 4;
const CONVERSATION_TOKENS: u64 = 3;
const TOOL_TOKENS: u64 = 8;
const TOOL_LIST_TOKENS: u64 = 12;
/// What JSON puts around things: the whole, a message or tool, a part, a call.
const BODY_BYTES: usize = 1024;
const ENTRY_BYTES: usize = 96;
const PART_BYTES: usize = 80;
const CALL_BYTES: usize = 128;

/// Gets the tokenizer ready, so that the first count does not have to.
pub(crate) fn load() {
    counter::load();
}

/// Tokens of a whole request, its texts run through the tokenizer.
pub(crate) fn prompt(request: &Request<'_>, dialect: &Dialect) -> u64 {
    let mut counter = Counter::new(dialect.tokenizer);
    let mut media = 0;
    each_text(request, &mut |text| counter.add(&text.decoded()));
    each_media(request, &mut |url, is_image| media += media_tokens(url, is_image));
    let mut tokens = CONVERSATION_TOKENS + counter.tokens() + MESSAGE_TOKENS * request.messages.len() as u64;
    if !request.tools.is_empty() {
        tokens += TOOL_LIST_TOKENS + TOOL_TOKENS * request.tools.len() as u64;
    }
    (scaled(tokens, dialect.token_factor) + media).max(1)
}

/// Tokens of one text, at least 1.
pub(crate) fn text(tokenizer: Tokenizer, factor: f64, text: &str) -> u64 {
    let mut counter = Counter::new(tokenizer);
    counter.add(text);
    scaled(counter.tokens(), factor).max(1)
}

/// Tokens of a whole request by its length alone, cheap enough for every one.
pub(crate) fn rough_prompt(request: &Request<'_>) -> u64 {
    let (mut bytes, mut media) = (0, 0);
    each_message_text(request, &mut |text| bytes += text.written_bytes() as u64);
    bytes += request.tools.iter().map(tool_bytes).sum::<usize>() as u64;
    each_media(request, &mut |url, is_image| media += media_tokens(url, is_image));
    bytes / BYTES_PER_TOKEN as u64 + MESSAGE_TOKENS * request.messages.len() as u64 + media
}

/// About how long the request will be as JSON: the buffer for it should not have to grow.
pub(crate) fn body_bytes(request: &Request<'_>) -> usize {
    let mut bytes = BODY_BYTES + ENTRY_BYTES * (request.messages.len() + request.tools.len());
    for message in &request.messages {
        for part in &message.content {
            bytes += match part {
                Part::Text { text, .. } => text_bytes(text) + PART_BYTES,
                Part::Image(url) | Part::File { data: url, .. } => url_bytes(*url) + PART_BYTES,
            };
        }
        bytes += message.calls.iter().map(call_bytes).sum::<usize>();
    }
    bytes + request.tools.iter().map(tool_bytes).sum::<usize>()
}

/// What is not escaped yet gets an escape for one byte in eight.
fn text_bytes(text: &Text<'_>) -> usize {
    match text {
        Text::Escaped(escaped) => escaped.as_written().len(),
        Text::Plain(plain) => plain.len() * 9 / 8,
    }
}

/// JSON inside a string: its quotes are escaped.
fn call_bytes(call: &Call<'_>) -> usize {
    call.input.map_or(0, |raw| raw.get().len() * 5 / 4) + CALL_BYTES
}

fn url_bytes(url: DataUrl<'_>) -> usize {
    match url {
        DataUrl::Verbatim(url) => url.len(),
        DataUrl::Base64 { data, .. } => data.as_written().len(),
    }
}

fn scaled(tokens: u64, factor: f64) -> u64 {
    (tokens as f64 * factor).ceil() as u64
}

fn media_tokens(url: DataUrl<'_>, is_image: bool) -> u64 {
    match url {
        DataUrl::Verbatim(_) => image::TOKENS_MAX,
        DataUrl::Base64 { data, .. } if is_image => image::tokens(&data.decoded()),
        DataUrl::Base64 { data, .. } => image::pdf_tokens(&data.decoded()),
    }
}

fn tool_bytes(tool: &Tool<'_>) -> usize {
    tool.name.len() + tool.description.as_ref().map_or(0, text_bytes) + tool.parameters.bytes()
}

fn each_text(request: &Request<'_>, count: &mut dyn FnMut(&Text<'_>)) {
    each_message_text(request, count);
    for tool in &request.tools {
        // A tool is counted as the JSON that the model is shown.
        count(&written(|out| tool.write_function(out)));
    }
    for (_, param) in &request.params {
        if let Param::AnswerSchema { schema, .. } = param {
            count(&written(|out| schema.write(out)));
        }
    }
}

fn each_message_text(request: &Request<'_>, count: &mut dyn FnMut(&Text<'_>)) {
    for message in &request.messages {
        for part in &message.content {
            if let Part::Text { text, .. } = part {
                count(text);
            }
        }
        // What is encrypted has no tokens that we could know.
        let details = message.reasoning_details.iter();
        for text in details.filter_map(|detail| ReasoningDetail::read(detail)) {
            count(&Text::Plain(text));
        }
        for text in message.reasoning.iter().flat_map(|(_, texts)| texts) {
            count(text);
        }
        for call in &message.calls {
            count(&Text::from(&*call.name));
            count(&Text::from(call.arguments()));
        }
    }
}

/// What a function writes, as text.
fn written(write: impl FnOnce(&mut Vec<u8>)) -> Text<'static> {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8_lossy(&out).into_owned().into()
}

fn each_media(request: &Request<'_>, count: &mut dyn FnMut(DataUrl<'_>, bool)) {
    for part in request.messages.iter().flat_map(|message| &message.content) {
        match part {
            Part::Text { .. } => {}
            Part::Image(url) => count(*url, true),
            Part::File { data, .. } => count(*data, false),
        }
    }
}
