//! Content blocks to parts: text, images, documents, and notes for what cannot be sent.

use std::borrow::Cow;

use crate::anthropic::{Block, Content, Document, Image, Media, Source};
use crate::dialect::{ImageUrls, Pdf};
use crate::error::{BadRequest, Path};
use crate::openai::request::{DataUrl, PARAGRAPH, Part};

use super::cache;
use super::context::Context;

const BLIND_NOTE: &str = "[image omitted: the model cannot see images]";
/// Blocks that stand for something on Anthropic's side.
const ELSEWHERE: &[&str] = &["container_upload", "browser_state"];
const PDF_TYPE: &str = "application/pdf";
/// File name of a PDF without a title.
const PDF_NAME: &str = "document";

/// The parts of content that is not the assistant's and holds no results.
pub(super) fn parts<'r>(
    content: &'r Content<'r>,
    path: &Path<'_>,
    cx: &mut Context<'r>,
) -> Result<Vec<Part<'r>>, BadRequest> {
    match content {
        Content::Text(text) if text.is_empty() => Ok(Vec::new()),
        Content::Text(text) => Ok(vec![Part::text(*text)]),
        Content::Blocks(blocks) => {
            let mut out = Vec::with_capacity(blocks.len());
            for (n, block) in blocks.iter().enumerate() {
                push(block, &Path::Index(path, n), &mut out, cx)?;
            }
            Ok(out)
        }
    }
}

/// Adds what one block becomes.
pub(super) fn push<'r>(
    block: &'r Block<'r>,
    path: &Path<'_>,
    out: &mut Vec<Part<'r>>,
    cx: &mut Context<'r>,
) -> Result<(), BadRequest> {
    let mut lose = |reason| cx.losses.add(format!("{path}.{}", block.kind()), reason);
    match block {
        Block::Text { text, .. } if text.is_empty() => {}
        Block::Text { text, is_marked } => out.push(Part::Text {
            text: (*text).into(),
            glue: PARAGRAPH,
            mark: cache::mark(*is_marked, cx),
        }),
        Block::Image(Image {
            source,
            refuses_downsizing,
        }) => {
            if *refuses_downsizing {
                let wish = format!("{path}.transformations.oversized_image");
                cx.losses.add(wish, "the provider may make images smaller");
            }
            out.push(image(source, path, cx)?);
        }
        Block::Document(document) => push_document(document, path, out, cx)?,
        Block::SearchResult { title, source, text } => {
            let (title, source) = (attribute(title), attribute(source));
            out.push(Part::text(format!(
                "<search_result title=\"{title}\" source=\"{source}\">\n{text}\n</search_result>"
            )));
        }
        Block::ToolReference { tool_name } => out.push(Part::text(format!("Tool loaded: {tool_name}"))),
        Block::ServerTool { text } if text.is_empty() => {}
        Block::ServerTool { text } => out.push(Part::text(&**text)),
        Block::Compaction { text: Some(text) } => out.push(summary(text)),
        Block::Compaction { text: None }
        | Block::ToolChange(_)
        | Block::Marker
        | Block::Thinking { .. }
        | Block::RedactedThinking { .. } => {}
        // Results are taken out before; a call outside an assistant turn is nobody's.
        Block::ToolUse { .. } | Block::ToolResult { .. } => lose("out of place"),
        Block::Unknown { kind } if ELSEWHERE.contains(&&**kind) => {
            lose("kept where the provider cannot reach it");
            out.push(Part::text(format!(
                "[{kind} omitted: it is kept where this provider cannot reach it]"
            )));
        }
        Block::Unknown { .. } => lose("unknown block type"),
    }
    Ok(())
}

/// What stands for a conversation that was compacted.
pub(super) fn summary<'r>(text: &str) -> Part<'r> {
    Part::text(format!("Summary of the earlier conversation:\n{text}"))
}

fn image<'r>(source: &'r Source<'r>, path: &Path<'_>, cx: &mut Context<'r>) -> Result<Part<'r>, BadRequest> {
    if !cx.dialect().vision {
        cx.losses
            .add(format!("{path}.image"), "the model cannot see images");
        return Ok(Part::text(BLIND_NOTE));
    }
    match source {
        Source::Base64(Media { media_type, data }) => Ok(Part::Image(DataUrl::Base64 {
            media_type,
            data: *data,
        })),
        Source::Url(url) if !is_web(url) => Err(BadRequest::at(
            format_args!("{path}.source.url"),
            "Only http and https URLs are supported",
        )),
        Source::Url(_) if cx.dialect().image_urls == ImageUrls::Reject => Err(BadRequest::at(
            format_args!("{path}.source.url"),
            "This provider does not take image URLs",
        )),
        Source::Url(url) => Ok(Part::Image(DataUrl::Verbatim(url))),
        Source::Text(_) | Source::Content(_) | Source::Elsewhere => {
            cx.losses
                .add(format!("{path}.image"), "the provider cannot read this source");
            Ok(Part::text(
                "[image omitted: it is stored where this provider cannot read it]",
            ))
        }
    }
}

fn is_web(url: &str) -> bool {
    let scheme = url.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http"))
}

fn push_document<'r>(
    document: &'r Document<'r>,
    path: &Path<'_>,
    out: &mut Vec<Part<'r>>,
    cx: &mut Context<'r>,
) -> Result<(), BadRequest> {
    match &document.source {
        Source::Text(text) => out.push(Part::text(wrapped(document, text))),
        Source::Content(content) => push_content_document(document, content, path, out, cx)?,
        Source::Base64(Media { media_type, data })
            if cx.dialect().pdf == Pdf::File && media_type == PDF_TYPE =>
        {
            let title = document.title.as_deref().unwrap_or(PDF_NAME);
            let name = if title.to_ascii_lowercase().ends_with(".pdf") {
                title.to_owned()
            } else {
                format!("{title}.pdf")
            };
            out.push(Part::File {
                name,
                data: DataUrl::Base64 {
                    media_type,
                    data: *data,
                },
            });
        }
        Source::Base64(Media { media_type, data }) => {
            cx.losses
                .add(format!("{path}.document"), "the model cannot read it");
            let bytes = data.decoded().trim_end_matches('=').len() * 3 / 4;
            let what = format!("{media_type}, {bytes} bytes");
            out.push(Part::text(omitted(document, &what)));
        }
        Source::Url(_) | Source::Elsewhere => {
            cx.losses.add(
                format!("{path}.document"),
                "stored where the provider cannot read it",
            );
            out.push(Part::text(omitted(document, "stored elsewhere")));
        }
    }
    Ok(())
}

/// Texts inside one wrapping, images behind it.
fn push_content_document<'r>(
    document: &'r Document<'r>,
    content: &'r Content<'r>,
    path: &Path<'_>,
    out: &mut Vec<Part<'r>>,
    cx: &mut Context<'r>,
) -> Result<(), BadRequest> {
    let inner = parts(content, &Path::Field(path, "source.content"), cx)?;
    let mut text = String::new();
    let mut media = Vec::new();
    for part in inner {
        match part {
            Part::Text { text: piece, .. } => {
                if !text.is_empty() {
                    text.push_str(PARAGRAPH);
                }
                text.push_str(&piece.decoded());
            }
            part @ (Part::Image(_) | Part::File { .. }) => media.push(part),
        }
    }
    out.push(Part::text(wrapped(document, &text)));
    out.append(&mut media);
    Ok(())
}

fn wrapped(document: &Document<'_>, text: &str) -> String {
    let mut head = "<document".to_owned();
    for (name, value) in [("title", &document.title), ("context", &document.context)] {
        if let Some(value) = value {
            head.push_str(&format!(" {name}=\"{}\"", attribute(value)));
        }
    }
    format!("{head}>\n{text}\n</document>")
}

fn omitted(document: &Document<'_>, what: &str) -> String {
    let title = document
        .title
        .as_deref()
        .map(|title| format!(" \"{title}\""))
        .unwrap_or_default();
    format!("[document{title} ({what}) omitted: the model cannot read it]")
}

/// A text that cannot end the attribute that it stands in.
fn attribute(text: &str) -> Cow<'_, str> {
    if text.contains(['"', '\n', '<', '>']) {
        return Cow::Owned(text.replace('"', "'").replace(['\n', '<', '>'], " "));
    }
    Cow::Borrowed(text)
}
