//! One turn of either side: calls and reasoning, or results and what the user says.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::anthropic::{Block, Content, Message, Role};
use crate::dialect::{ReasoningBack, ReasoningField, ToolIdFormat, ToolResultImages, UserAfterTool};
use crate::error::{BadRequest, Path};
use crate::ids::short_hash;
use crate::openai::request as wire;
use crate::openai::request::{PARAGRAPH, Part};
use crate::reply::is_our_signature;

use super::messages::{Reminder, Run, mid_system};
use super::{Context, media};

/// Stands in for a result that the client did not send.
const NO_RESULT: &str = "(no result)";
/// Mistral takes ids of exactly nine letters and digits.
const MISTRAL_ID_CHARS: usize = 9;

/// The assistant's messages of one turn.
pub(super) fn assistant<'r>(run: &Run<'r>, cx: &mut Context<'r>, out: &mut Vec<wire::Message<'r>>) {
    let first = out.len();
    for (n, message) in run.iter() {
        let mut next = assistant_message(message, n, cx);
        if run.is_last() {
            // Calls that nobody answered yet cannot be sent.
            next.calls.clear();
        }
        if next.content.is_empty() && next.calls.is_empty() {
            continue;
        }
        let merges = cx.dialect().merge_same_role;
        // An empty user turn leaves two turns of the assistant side by side.
        let previous = out
            .last_mut()
            .filter(|last| last.role == next.role && (merges || !last.calls.is_empty()));
        match previous {
            Some(previous) => {
                previous.content.append(&mut next.content);
                previous.calls.append(&mut next.calls);
                match (&mut previous.reasoning, next.reasoning) {
                    (Some((_, have)), Some((_, mut more))) => have.append(&mut more),
                    (none @ None, more) => *none = more,
                    (Some(_), None) => {}
                }
            }
            None => out.push(next),
        }
    }
    for message in out.get_mut(first.saturating_sub(1)..).into_iter().flatten() {
        if message.role == "assistant" {
            send_reasoning_back(message, cx);
        }
    }
}

fn assistant_message<'r>(message: &'r Message<'r>, n: usize, cx: &mut Context<'r>) -> wire::Message<'r> {
    let mut out = wire::Message::new("assistant", Vec::new());
    out.null_content = cx.dialect().assistant_null_content;
    let mut thoughts = Vec::new();
    if let Content::Text(text) = &message.content
        && !text.is_empty()
    {
        out.content.push(Part::text(&**text));
    }
    // Texts that were cut apart belong together; texts around something else do not.
    let mut glue = PARAGRAPH;
    for (place, block) in message.content.blocks().iter().enumerate() {
        let next_glue = if matches!(block, Block::Text { .. }) {
            ""
        } else {
            PARAGRAPH
        };
        match block {
            Block::Text { text, .. } => {
                if !text.is_empty() {
                    out.content.push(Part::Text {
                        text: Cow::Borrowed(text),
                        glue,
                        mark: wire::Mark::None,
                    });
                }
            }
            Block::Thinking { thinking, signature } => {
                let is_ours = is_our_signature(signature) || cx.dialect().foreign_reasoning;
                if is_ours && !thinking.is_empty() {
                    thoughts.push(Cow::Borrowed(&**thinking));
                }
            }
            Block::ToolUse { id, name, input } => out.calls.push(wire::Call {
                id: upstream_id(id, Some(name), cx),
                name: cx.names.upstream(name),
                input: *input,
            }),
            Block::ServerTool { text } if !text.is_empty() => out.content.push(Part::text(&**text)),
            Block::Compaction { text: Some(text) } => {
                out.content.push(Part::text(format!(
                    "Summary of the earlier conversation:\n{text}"
                )));
            }
            Block::ServerTool { .. }
            | Block::Compaction { text: None }
            | Block::Marker
            | Block::RedactedThinking => {}
            Block::Image(_)
            | Block::Document(_)
            | Block::SearchResult { .. }
            | Block::ToolResult { .. }
            | Block::ToolReference { .. }
            | Block::Unknown { .. } => {
                let path = format!("messages.{n}.content.{place}.{}", block.kind());
                cx.losses.add(path, "an assistant message cannot carry it");
            }
        }
        glue = next_glue;
    }
    out.reasoning = (!thoughts.is_empty()).then_some((reasoning_field(cx), thoughts));
    out
}

fn send_reasoning_back(message: &mut wire::Message<'_>, cx: &Context<'_>) {
    let has_calls = !message.calls.is_empty();
    match cx.dialect().reasoning_back {
        ReasoningBack::Never => message.reasoning = None,
        ReasoningBack::ToolTurns if !has_calls => message.reasoning = None,
        ReasoningBack::ToolTurns => {}
        // Servers that want it back refuse a turn with calls and without it.
        ReasoningBack::Always if has_calls && message.reasoning.is_none() => {
            message.reasoning = Some((reasoning_field(cx), Vec::new()));
        }
        ReasoningBack::Always => {}
    }
}

fn reasoning_field(cx: &Context<'_>) -> &'static str {
    match cx.dialect().reasoning_field {
        ReasoningField::ReasoningContent => "reasoning_content",
        ReasoningField::Reasoning => "reasoning",
    }
}

fn upstream_id<'r>(id: &'r str, name: Option<&str>, cx: &mut Context<'r>) -> Cow<'r, str> {
    match cx.dialect().tool_id_format {
        ToolIdFormat::Keep => Cow::Borrowed(id),
        ToolIdFormat::Mistral9 => Cow::Owned(short_hash(id, MISTRAL_ID_CHARS)),
        ToolIdFormat::Kimi => {
            let count = cx.tool_ids.len();
            let known = cx
                .tool_ids
                .entry(id)
                .or_insert_with(|| format!("functions.{}:{count}", name.unwrap_or_default()));
            Cow::Owned(known.clone())
        }
    }
}

/// A result on its way to its call.
struct ToolResult<'r> {
    id: &'r str,
    content: &'r Content<'r>,
    is_error: bool,
    message: usize,
    block: usize,
}

/// Everything between two assistant turns: results first, then what the user says.
pub(super) fn user<'r>(
    run: &Run<'r>,
    cx: &mut Context<'r>,
    out: &mut Vec<wire::Message<'r>>,
    system: &mut Vec<Part<'r>>,
) -> Result<(), BadRequest> {
    let results = results_in(run);
    let calls: Vec<Cow<'r, str>> = out
        .last()
        .map(|message| message.calls.iter().map(|call| call.id.clone()).collect())
        .unwrap_or_default();
    let mut said = Said {
        parts: Vec::new(),
        merges: cx.dialect().merge_same_role,
    };
    // Two results for one call: the last one counts.
    let mut by_id = HashMap::with_capacity(results.len());
    for result in &results {
        by_id.insert(upstream_id(result.id, None, cx), result);
    }
    for call in &calls {
        let found = by_id.get(call);
        let mut message = match found {
            Some(result) => tool_message(result, cx, &mut said.parts)?,
            None => wire::Message::new("tool", vec![Part::text(NO_RESULT)]),
        };
        message.tool_call_id = Some(call.clone());
        out.push(message);
    }
    let calls: HashSet<Cow<'r, str>> = calls.into_iter().collect();
    for (n, message) in run.iter() {
        match message.role {
            Role::System if message.clear_at_next_user && run.has_user_after(n) => {}
            Role::System => match mid_system(message, n, cx)? {
                None => {}
                Some(Reminder::Top(mut parts)) => system.append(&mut parts),
                Some(Reminder::Text(parts)) => said.parts.extend(parts),
                Some(Reminder::Message(message)) => {
                    said.flush(cx, out);
                    out.push(message);
                }
            },
            Role::User | Role::Assistant => {
                if !said.merges {
                    said.flush(cx, out);
                }
                push_said(message, n, &calls, cx, &mut said.parts)?;
            }
        }
    }
    said.flush(cx, out);
    Ok(())
}

fn results_in<'r>(run: &Run<'r>) -> Vec<ToolResult<'r>> {
    let blocks = run.iter().flat_map(|(n, message)| {
        message
            .content
            .blocks()
            .iter()
            .enumerate()
            .map(move |(place, block)| (n, place, block))
    });
    blocks
        .filter_map(|(message, place, block)| match block {
            Block::ToolResult {
                tool_use_id,
                content,
                is_error,
            } => Some(ToolResult {
                id: tool_use_id,
                content,
                is_error: *is_error,
                message,
                block: place,
            }),
            _ => None,
        })
        .collect()
}

fn push_said<'r>(
    message: &'r Message<'r>,
    n: usize,
    calls: &HashSet<Cow<'r, str>>,
    cx: &mut Context<'r>,
    parts: &mut Vec<Part<'r>>,
) -> Result<(), BadRequest> {
    let (root, name) = (Path::Root("messages"), "content");
    let place = Path::Index(&root, n);
    let path = Path::Field(&place, name);
    if let Content::Text(text) = &message.content
        && !text.is_empty()
    {
        parts.push(Part::text(&**text));
    }
    for (at, block) in message.content.blocks().iter().enumerate() {
        let path = Path::Index(&path, at);
        let Block::ToolResult {
            tool_use_id, content, ..
        } = block
        else {
            media::push(block, &path, parts, cx)?;
            continue;
        };
        let id = upstream_id(tool_use_id, None, cx);
        if !calls.contains(&id) {
            parts.push(Part::text("[result of an unknown tool call]"));
            let mut orphan = media::parts(content, &path, cx)?;
            if let Some(Part::Text { glue, .. }) = orphan.first_mut() {
                *glue = "\n";
            }
            parts.append(&mut orphan);
        }
    }
    Ok(())
}

/// What the user says until something must stand in between.
struct Said<'r> {
    parts: Vec<Part<'r>>,
    merges: bool,
}

impl<'r> Said<'r> {
    fn flush(&mut self, cx: &Context<'_>, out: &mut Vec<wire::Message<'r>>) {
        if self.parts.is_empty() {
            return;
        }
        let mut parts = std::mem::take(&mut self.parts);
        if self.merges
            && let Some(last) = out.last_mut().filter(|last| last.role == "user")
        {
            last.content.append(&mut parts);
            return;
        }
        let tool = out.last_mut().filter(|message| message.role == "tool");
        match (tool, cx.dialect().user_after_tool) {
            (Some(tool), UserAfterTool::Merge)
                if parts.iter().all(|part| part.is_text() && !part.is_marked()) =>
            {
                tool.content.append(&mut parts);
                return;
            }
            (Some(_), UserAfterTool::Merge | UserAfterTool::Assistant) => {
                out.push(wire::Message::new("assistant", vec![Part::text("OK.")]));
            }
            (Some(_) | None, UserAfterTool::Ok) | (None, UserAfterTool::Merge | UserAfterTool::Assistant) => {
            }
        }
        out.push(wire::Message::new("user", parts));
    }
}

/// A tool message; its images go where the dialect wants them.
fn tool_message<'r>(
    result: &ToolResult<'r>,
    cx: &mut Context<'r>,
    said: &mut Vec<Part<'r>>,
) -> Result<wire::Message<'r>, BadRequest> {
    let root = Path::Root("messages");
    let message = Path::Index(&root, result.message);
    let content = Path::Field(&message, "content");
    let block = Path::Index(&content, result.block);
    let parts = media::parts(result.content, &Path::Field(&block, "content"), cx)?;
    let (mut texts, media): (Vec<_>, Vec<_>) = parts.into_iter().partition(Part::is_text);
    let media_count = media.len();
    let mut inline = Vec::new();
    match cx.dialect().tool_result_images {
        _ if media.is_empty() => {}
        ToolResultImages::Inline => inline = media,
        ToolResultImages::Drop => {
            cx.losses.add(
                format!("{block}.content.image"),
                "the provider takes no images in tool results",
            );
            texts.push(Part::text(
                "[image omitted: the model cannot see images in tool results]",
            ));
        }
        ToolResultImages::User => {
            let noun = if media_count == 1 {
                "1 image".to_owned()
            } else {
                format!("{media_count} images")
            };
            texts.push(Part::text(format!("[{noun}, see the next user message]")));
            said.push(Part::text(format!("Image from tool call {}:", result.id)));
            said.extend(media);
        }
    }
    if texts.is_empty() && inline.is_empty() {
        texts.push(Part::text(&*cx.dialect().empty_tool_result));
    }
    if result.is_error {
        mark_error(&mut texts);
    }
    texts.append(&mut inline);
    Ok(wire::Message::new("tool", texts))
}

fn mark_error(texts: &mut Vec<Part<'_>>) {
    let Some(Part::Text { text, .. }) = texts.first_mut() else {
        return texts.insert(0, Part::text("Error"));
    };
    let start = text
        .get(..text.len().min(16))
        .unwrap_or(text)
        .to_ascii_lowercase();
    if !start.starts_with("error") && !start.starts_with("<tool_use_error>") {
        *text = Cow::Owned(format!("Error: {text}"));
    }
}
