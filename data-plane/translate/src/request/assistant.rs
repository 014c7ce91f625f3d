//! One turn of the assistant: what it said, its calls, and the reasoning that goes back.

use crate::anthropic::{Block, Content, Message};
use crate::dialect::{ReasoningBack, ReasoningField};
use crate::openai::request as wire;
use crate::openai::request::{PARAGRAPH, Part};

use super::context::Context;
use super::run::Run;
use super::{cache, luggage, media};

/// Adds the messages of one run.
pub(super) fn translate<'r>(run: &Run<'r>, cx: &mut Context<'r>, out: &mut Vec<wire::Message<'r>>) {
    let first = out.len();
    for (n, message) in run.iter() {
        let mut next = one(message, n, cx);
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
                previous.reasoning_details.append(&mut next.reasoning_details);
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
            luggage::mend_calls(&mut message.calls, cx.target);
        }
    }
}

fn one<'r>(message: &'r Message<'r>, n: usize, cx: &mut Context<'r>) -> wire::Message<'r> {
    let mut out = wire::Message::new("assistant", Vec::new());
    out.null_content = cx.dialect().assistant_null_content;
    let mut thoughts = Vec::new();
    if let Content::Text(text) = &message.content
        && !text.is_empty()
    {
        out.content.push(Part::text(*text));
    }
    let wants_thinking = luggage::wants_thinking(cx.dialect());
    // Texts that were cut apart belong together; texts around something else do not.
    let mut glue = PARAGRAPH;
    for (place, block) in message.content.blocks().iter().enumerate() {
        let next_glue = if matches!(block, Block::Text { .. }) {
            ""
        } else {
            PARAGRAPH
        };
        match block {
            Block::Text { text, is_marked } => {
                if !text.is_empty() {
                    out.content.push(Part::Text {
                        text: (*text).into(),
                        glue,
                        mark: cache::mark(*is_marked, cx),
                    });
                }
            }
            // Signatures are checked only for whom the thinking is of use.
            Block::Thinking { .. } | Block::RedactedThinking { .. } if !wants_thinking => {}
            Block::Thinking { thinking, .. } => {
                let opened = luggage::open(block);
                let is_ours = opened.is_some() || cx.dialect().foreign_reasoning;
                if is_ours && !thinking.is_empty() {
                    thoughts.push((*thinking).into());
                }
                out.reasoning_details.extend(luggage::details(opened, cx.target));
            }
            Block::RedactedThinking { .. } => {
                let opened = luggage::open(block);
                out.reasoning_details.extend(luggage::details(opened, cx.target));
            }
            Block::ToolUse { id, name, input } => {
                let name = cx.names.upstream(name);
                out.calls.push(wire::Call {
                    id: cx.call_ids.of_call(id, &name),
                    name,
                    input: *input,
                    extra_content: cx.extras.of_call(id),
                });
            }
            Block::ServerTool { text } if !text.is_empty() => out.content.push(Part::text(&**text)),
            Block::Compaction { text: Some(text) } => out.content.push(media::summary(text)),
            Block::ServerTool { .. }
            | Block::Compaction { text: None }
            | Block::ToolChange(_)
            | Block::Marker => {}
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
