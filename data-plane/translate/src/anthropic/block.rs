//! Content blocks of a request: one variant per thing that translation treats its own way.

use std::borrow::Cow;
use std::fmt::Write;

use super::tool_change::ToolChange;
use super::wire::{WireBlock, WireContent, WireSource, WireSourceFields};
use crate::error::{BadRequest, Path};
use crate::json::Compact;
use crate::json::escaped::{Escaped, Raw};

/// Content of a message or a tool result.
#[derive(Debug, Clone)]
pub enum Content<'a> {
    Text(Escaped<'a>),
    Blocks(Vec<Block<'a>>),
}

/// One content block.
#[derive(Debug, Clone)]
pub enum Block<'a> {
    Text {
        text: Escaped<'a>,
        /// Ends a prefix that is worth caching.
        is_marked: bool,
    },
    Image(Image<'a>),
    Document(Document<'a>),
    SearchResult {
        title: Cow<'a, str>,
        source: Cow<'a, str>,
        text: String,
    },
    Thinking {
        thinking: Escaped<'a>,
        signature: Cow<'a, str>,
    },
    RedactedThinking {
        data: Cow<'a, str>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        input: Option<Raw<'a>>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: Content<'a>,
        is_error: bool,
        is_marked: bool,
    },
    ToolReference {
        tool_name: Cow<'a, str>,
    },
    /// A call or result of a tool that Anthropic's servers ran, as visible text.
    ServerTool {
        text: String,
    },
    /// A summary of what came before; without text there is nothing to carry.
    Compaction {
        text: Option<Cow<'a, str>>,
    },
    ToolChange(ToolChange<'a>),
    /// A marker that says nothing to a model.
    Marker,
    Unknown {
        kind: Cow<'a, str>,
    },
}

/// An image, and whether it may be made smaller.
#[derive(Debug, Clone)]
pub struct Image<'a> {
    pub source: Source<'a>,
    /// Too large a one is to be an error instead.
    pub refuses_downsizing: bool,
}

/// A document with its captions.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    pub source: Source<'a>,
    pub title: Option<Cow<'a, str>>,
    pub context: Option<Cow<'a, str>>,
}

/// Where the bytes of an image or document are.
#[derive(Debug, Clone)]
pub enum Source<'a> {
    Base64(Media<'a>),
    Url(Cow<'a, str>),
    Text(Cow<'a, str>),
    Content(Content<'a>),
    /// A file of Anthropic's Files API, or a kind that we do not know.
    Elsewhere,
}

/// Bytes in base64 with their type.
#[derive(Debug, Clone)]
pub struct Media<'a> {
    pub media_type: Cow<'a, str>,
    pub data: Escaped<'a>,
}

impl<'a> Content<'a> {
    pub(super) fn read(wire: WireContent<'a>, path: &Path<'_>) -> Result<Self, BadRequest> {
        match wire {
            WireContent::Text(text) => Ok(Content::Text(text)),
            WireContent::Absent => Ok(Content::Blocks(Vec::new())),
            WireContent::One(block) => Ok(Content::Blocks(vec![Block::read(*block, path)?])),
            WireContent::Blocks(blocks) => blocks
                .into_iter()
                .enumerate()
                .map(|(n, block)| Block::read(block, &Path::Index(path, n)))
                .collect::<Result<_, _>>()
                .map(Content::Blocks),
            WireContent::Unusable => Err(BadRequest::at(
                path,
                "Input should be a string or a list of content blocks",
            )),
        }
    }

    /// The blocks; a plain string has none.
    pub fn blocks(&self) -> &[Block<'a>] {
        match self {
            Content::Text(_) => &[],
            Content::Blocks(blocks) => blocks,
        }
    }
}

impl<'a> Block<'a> {
    fn read(mut wire: WireBlock<'a>, path: &Path<'_>) -> Result<Self, BadRequest> {
        let Some(kind) = wire.kind.take().map(Escaped::decoded) else {
            return Err(BadRequest::at(format_args!("{path}.type"), "Field required"));
        };
        let given = |field: Option<Escaped<'a>>, name: &str| {
            field.ok_or_else(|| BadRequest::at(format_args!("{path}.{kind}.{name}"), "Field required"))
        };
        let required = |field, name| given(field, name).map(Escaped::decoded);
        let plain = |field: Option<Escaped<'a>>| field.map(Escaped::decoded).unwrap_or_default();
        Ok(match &*kind {
            "text" => Block::Text {
                text: given(wire.text, "text")?,
                is_marked: wire.cache_control.is_some(),
            },
            "image" => Block::Image(Image {
                source: Source::read(wire.source, path)?,
                refuses_downsizing: wire.refuses_downsizing,
            }),
            "document" => Block::Document(Document {
                source: Source::read(wire.source, path)?,
                title: wire.title.map(Escaped::decoded),
                context: wire.context.map(Escaped::decoded),
            }),
            "search_result" => Block::SearchResult {
                title: plain(wire.title),
                source: match wire.source {
                    WireSource::Text(text) => text.decoded(),
                    WireSource::Absent | WireSource::Fields(_) | WireSource::Unusable => Cow::Borrowed(""),
                },
                text: visible_text(&wire.content),
            },
            "thinking" => Block::Thinking {
                thinking: wire.thinking.unwrap_or_default(),
                signature: plain(wire.signature),
            },
            "redacted_thinking" => Block::RedactedThinking {
                data: plain(wire.data),
            },
            "tool_use" => Block::ToolUse {
                id: required(wire.id, "id")?,
                name: required(wire.name, "name")?,
                input: wire.input,
            },
            "tool_result" => Block::ToolResult {
                tool_use_id: required(wire.tool_use_id, "tool_use_id")?,
                content: Content::read(wire.content, &Path::Field(path, "content"))?,
                is_error: wire.is_error,
                is_marked: wire.cache_control.is_some(),
            },
            "tool_reference" => Block::ToolReference {
                tool_name: required(wire.tool_name, "tool_name")?,
            },
            "server_tool_use" | "mcp_tool_use" => Block::ServerTool {
                text: server_call(&wire),
            },
            "compaction" => Block::Compaction {
                text: match wire.content {
                    WireContent::Text(text) => Some(text.decoded()),
                    WireContent::Absent
                    | WireContent::Unusable
                    | WireContent::Blocks(_)
                    | WireContent::One(_) => None,
                },
            },
            "tool_addition" | "tool_removal" => {
                let tool = wire.tool.map(|tool| *tool);
                Block::ToolChange(ToolChange::read(tool, kind == "tool_addition", path)?)
            }
            "fallback" | "mcp_tool_listing" => Block::Marker,
            // `web_search_tool_result`, `code_execution_tool_result` and their kin.
            result if result.ends_with("_tool_result") => Block::ServerTool {
                text: visible_text(&wire.content),
            },
            _ => Block::Unknown { kind },
        })
    }

    /// The block's `type`, for loss paths.
    pub fn kind(&self) -> &str {
        match self {
            Block::Text { .. } => "text",
            Block::Image(_) => "image",
            Block::Document(_) => "document",
            Block::SearchResult { .. } => "search_result",
            Block::Thinking { .. } => "thinking",
            Block::RedactedThinking { .. } => "redacted_thinking",
            Block::ToolUse { .. } => "tool_use",
            Block::ToolResult { .. } => "tool_result",
            Block::ToolReference { .. } => "tool_reference",
            Block::ServerTool { .. } => "server_tool",
            Block::Compaction { .. } => "compaction",
            Block::ToolChange(change) => change.kind(),
            Block::Marker => "marker",
            Block::Unknown { kind } => kind,
        }
    }
}

impl<'a> Source<'a> {
    fn read(wire: WireSource<'a>, path: &Path<'_>) -> Result<Self, BadRequest> {
        let missing = || BadRequest::at(format_args!("{path}.source"), "Field required");
        let WireSource::Fields(fields) = wire else {
            return Err(missing());
        };
        let WireSourceFields {
            kind,
            media_type,
            data,
            url,
            content,
        } = *fields;
        let kind = kind.map(Escaped::decoded);
        match (kind.as_deref(), data, url.map(Escaped::decoded)) {
            (Some("base64"), Some(data), _) => Ok(Source::Base64(Media {
                media_type: media_type.map(Escaped::decoded).unwrap_or_default(),
                data,
            })),
            (Some("base64" | "text"), None, _) => Err(BadRequest::at(
                format_args!("{path}.source.data"),
                "Field required",
            )),
            (Some("text"), Some(data), _) => Ok(Source::Text(data.decoded())),
            (Some("url"), _, Some(url)) => Ok(Source::Url(url)),
            (Some("url"), _, None) => Err(BadRequest::at(
                format_args!("{path}.source.url"),
                "Field required",
            )),
            (Some("content"), ..) => {
                Content::read(content, &Path::Field(path, "source.content")).map(Source::Content)
            }
            (Some(_), ..) => Ok(Source::Elsewhere),
            (None, ..) => Err(BadRequest::at(
                format_args!("{path}.source.type"),
                "Field required",
            )),
        }
    }
}

fn server_call(wire: &WireBlock<'_>) -> String {
    let name = wire.name.map_or(Cow::Borrowed("unknown"), Escaped::decoded);
    let input = wire.input.map_or("{}", Raw::get);
    format!("[server tool {name} called with {}]", Compact(input))
}

/// What a person would see of a server tool's result; encrypted parts are not for us.
fn visible_text(content: &WireContent<'_>) -> String {
    let mut text = String::new();
    push_visible(content, &mut text);
    text
}

fn push_visible(content: &WireContent<'_>, text: &mut String) {
    match content {
        WireContent::Absent | WireContent::Unusable => {}
        WireContent::Text(plain) => push_line(text, &plain.decoded()),
        WireContent::One(block) => push_visible_block(block, text),
        WireContent::Blocks(blocks) => blocks.iter().for_each(|block| push_visible_block(block, text)),
    }
}

fn push_visible_block(block: &WireBlock<'_>, text: &mut String) {
    let [title, url, name] =
        [block.title, block.url, block.tool_name].map(|field| field.map(Escaped::decoded));
    if let (Some(title), Some(url)) = (&title, &url) {
        push_line(text, "");
        // Writing to a String cannot fail.
        let _ = write!(text, "- {title} \u{2014} {url}");
    } else if let Some(url) = &url {
        push_line(text, url);
    }
    for part in [block.text, block.stdout, block.stderr].into_iter().flatten() {
        push_line(text, &part.decoded());
    }
    if let Some(name) = &name {
        push_line(text, &format!("Tool loaded: {name}"));
    }
    if let WireSource::Fields(source) = &block.source
        && source.kind.is_some_and(|kind| kind.decoded() == "text")
        && let Some(data) = source.data
    {
        push_line(text, &data.decoded());
    }
    push_visible(&block.content, text);
    push_visible(&block.tool_references, text);
}

fn push_line(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
}
