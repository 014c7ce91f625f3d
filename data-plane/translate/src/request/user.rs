//! What stands between two assistant turns: results first, then what the user says.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::anthropic::{Block, Content, Message, Role};
use crate::dialect::{ToolResultImages, UserAfterTool};
use crate::error::{BadRequest, Path};
use crate::openai::request as wire;
use crate::openai::request::Part;

use super::context::Context;
use super::run::Run;
use super::system::{self, Reminder};
use super::{cache, media};

/// Stands in for a result that the client did not send.
const NO_RESULT: &str = "(no result)";
/// A result that starts with one of these needs no word that it is an error.
const ERROR_MARKS: &[&str] = &["error", "<tool_use_error>"];

/// A result on its way to its call.
struct ToolResult<'r> {
    id: &'r str,
    content: &'r Content<'r>,
    is_error: bool,
    is_marked: bool,
    message: usize,
    block: usize,
}

/// Adds the messages of one run.
pub(super) fn translate<'r>(
    run: &Run<'r>,
    cx: &mut Context<'r>,
    out: &mut Vec<wire::Message<'r>>,
    prompt: &mut Vec<Part<'r>>,
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
        by_id.insert(cx.call_ids.of_result(result.id), result);
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
            Role::System => match system::inside(message, n, cx)? {
                None => {}
                Some(Reminder::Top(mut parts)) => prompt.append(&mut parts),
                Some(Reminder::Text(parts)) => said.parts.extend(parts),
                Some(Reminder::Message(mut message)) => {
                    said.flush(cx, out);
                    match out.last_mut() {
                        Some(last) if last.role == message.role && said.merges => {
                            last.content.append(&mut message.content);
                        }
                        Some(_) | None => out.push(message),
                    }
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
        .filter_map(|(message, place, block)| {
            let Block::ToolResult {
                tool_use_id,
                content,
                is_error,
                is_marked,
            } = block
            else {
                return None;
            };
            Some(ToolResult {
                id: tool_use_id,
                content,
                is_error: *is_error,
                is_marked: *is_marked,
                message,
                block: place,
            })
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
        parts.push(Part::text(*text));
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
        let id = cx.call_ids.of_result(tool_use_id);
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
            (Some(tool), UserAfterTool::Merge) if parts.iter().all(Part::is_text) => {
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
            let (noun, noun_at_start) = if media.iter().any(Part::is_file) {
                ("file", "File")
            } else {
                ("image", "Image")
            };
            let many = if media_count == 1 { "" } else { "s" };
            let text = format!("[{media_count} {noun}{many}, see the next user message]");
            texts.push(Part::text(text));
            said.push(Part::text(format!(
                "{noun_at_start} from tool call {}:",
                result.id
            )));
            said.extend(media);
        }
    }
    if texts.is_empty() && inline.is_empty() {
        texts.push(Part::text(&*cx.dialect().empty_tool_result));
    }
    if result.is_error {
        mark_error(&mut texts);
    }
    cache::put_on_last(&mut texts, result.is_marked, cx);
    texts.append(&mut inline);
    Ok(wire::Message::new("tool", texts))
}

fn mark_error(texts: &mut Vec<Part<'_>>) {
    let Some(Part::Text { text, .. }) = texts.first_mut() else {
        return texts.insert(0, Part::text("Error"));
    };
    let plain = text.decoded();
    let says_so = ERROR_MARKS.iter().any(|mark| {
        let start = plain.get(..mark.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(mark))
    });
    if !says_so {
        *text = format!("Error: {plain}").into();
    }
}
