//! Estimates of token counts, made without asking anyone.
//!
//! No public tokenizer exists for the models that clients think they talk to: o200k with
//! a factor is within about ten percent on code and English. Counted is what is sent,
//! so that what translation drops costs nothing. Base64 is never tokenised.

mod image;

use tiktoken_rs::{cl100k_base_singleton, o200k_base_singleton};

use crate::anthropic;
use crate::dialect::Tokenizer;
use crate::error::BadRequest;
use crate::openai::request::{DataUrl, Param, Part, Request, Tool};
use crate::openai::write::ToolFunction;
use crate::request::{Target, build};

const MESSAGE_TOKENS: u64 = 4;
const CONVERSATION_TOKENS: u64 = 3;
const TOOL_TOKENS: u64 = 8;
const TOOL_LIST_TOKENS: u64 = 12;
/// For estimates by length alone.
const BYTES_PER_TOKEN: u64 = 4;

/// Loads the tables, which takes a while the first time.
pub fn warm_up() {
    estimate(Tokenizer::O200k, 1.0, "warm");
}

/// The answer to `count_tokens`: input tokens of the request as this candidate would get it.
pub fn count(request: &anthropic::Request<'_>, target: &Target<'_>) -> Result<u64, BadRequest> {
    let (upstream, _) = build(request, target)?;
    let dialect = target.dialect;
    let mut tokens = CONVERSATION_TOKENS;
    let mut media = 0;
    each_text(&upstream, &mut |text| tokens += plain(dialect.tokenizer, text));
    each_media(&upstream, &mut |url, is_image| {
        media += media_tokens(url, is_image)
    });
    tokens += MESSAGE_TOKENS * upstream.messages.len() as u64;
    if !upstream.tools.is_empty() {
        tokens += TOOL_LIST_TOKENS + TOOL_TOKENS * upstream.tools.len() as u64;
    }
    Ok((scaled(tokens, dialect.token_factor) + media).max(1))
}

/// Tokens of one text, at least 1.
pub(crate) fn estimate(tokenizer: Tokenizer, factor: f64, text: &str) -> u64 {
    scaled(plain(tokenizer, text), factor).max(1)
}

/// A guess by length, cheap enough for every request.
pub(crate) fn rough(request: &Request<'_>) -> u64 {
    let (mut bytes, mut media) = (0, 0);
    each_message_text(request, &mut |text| bytes += text.len() as u64);
    bytes += request.tools.iter().map(tool_bytes).sum::<usize>() as u64;
    each_media(request, &mut |url, is_image| media += media_tokens(url, is_image));
    bytes / BYTES_PER_TOKEN + MESSAGE_TOKENS * request.messages.len() as u64 + media
}

/// About how long the request will be as JSON.
pub(crate) fn rough_bytes(request: &Request<'_>) -> usize {
    let mut bytes = 1024 + 96 * (request.messages.len() + request.tools.len());
    for message in &request.messages {
        for part in &message.content {
            bytes += match part {
                Part::Text { text, .. } => text.len() + text.len() / 8 + 40,
                Part::Image(url) | Part::File { data: url, .. } => url_bytes(*url) + 80,
            };
        }
        bytes += message
            .calls
            .iter()
            .map(|call| call.input.map_or(2, |raw| raw.get().len() * 5 / 4) + 120)
            .sum::<usize>();
    }
    bytes
        + request
            .tools
            .iter()
            .map(|tool| tool_bytes(tool) * 9 / 8)
            .sum::<usize>()
}

fn url_bytes(url: DataUrl<'_>) -> usize {
    match url {
        DataUrl::Verbatim(url) => url.len(),
        DataUrl::Base64 { data, .. } => data.len(),
    }
}

fn plain(tokenizer: Tokenizer, text: &str) -> u64 {
    let tokens = match tokenizer {
        Tokenizer::O200k => o200k_base_singleton().count_ordinary(text),
        Tokenizer::Cl100k => cl100k_base_singleton().count_ordinary(text),
        Tokenizer::Bytes => text.len().div_ceil(BYTES_PER_TOKEN as usize),
    };
    tokens as u64
}

fn scaled(tokens: u64, factor: f64) -> u64 {
    (tokens as f64 * factor).ceil() as u64
}

fn media_tokens(url: DataUrl<'_>, is_image: bool) -> u64 {
    match url {
        DataUrl::Verbatim(_) => image::TOKENS_MAX,
        DataUrl::Base64 { data, .. } if is_image => image::tokens(data),
        DataUrl::Base64 { data, .. } => image::pdf_tokens(data),
    }
}

fn tool_bytes(tool: &Tool<'_>) -> usize {
    tool.name.len() + tool.description.as_deref().map_or(0, str::len) + tool.parameters.bytes()
}

fn each_text(request: &Request<'_>, count: &mut dyn FnMut(&str)) {
    each_message_text(request, count);
    for tool in &request.tools {
        // A tool is counted as the JSON that the model is shown.
        count(&serde_json::to_string(&ToolFunction(tool)).unwrap_or_default());
    }
    for (_, param) in &request.params {
        if let Param::AnswerSchema { schema, .. } = param {
            count(&serde_json::to_string(schema).unwrap_or_default());
        }
    }
}

fn each_message_text(request: &Request<'_>, count: &mut dyn FnMut(&str)) {
    for message in &request.messages {
        for part in &message.content {
            if let Part::Text { text, .. } = part {
                count(text);
            }
        }
        for text in message.reasoning.iter().flat_map(|(_, texts)| texts) {
            count(text);
        }
        for call in &message.calls {
            count(&call.name);
            count(call.input.map_or("{}", |raw| raw.get()));
        }
    }
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
