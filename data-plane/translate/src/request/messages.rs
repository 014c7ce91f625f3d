//! The walk over the conversation.
//!
//! Upstreams want each tool run right behind the calls that it answers, in call order,
//! with strings for content; clients send results in the order the tools finished, with
//! reminders in between and images inside. So the walk goes by turns: a run of assistant
//! messages, then everything up to the next one.

use crate::anthropic::{Block, Message, Request, Role};
use crate::dialect::{Prefill, PrefillFlag};
use crate::error::BadRequest;
use crate::openai::request as wire;
use crate::openai::request::Part;

use super::context::Context;
use super::run::Run;
use super::{assistant, cache, system, user};

/// The upstream's messages.
pub(super) fn translate<'r>(
    request: &'r Request<'r>,
    cx: &mut Context<'r>,
) -> Result<Vec<wire::Message<'r>>, BadRequest> {
    let mut out = Vec::with_capacity(request.messages.len() + 1);
    let mut prompt = system::prompt(request, cx)?;
    let messages = &request.messages;
    let last_user = messages.iter().rposition(|message| message.role == Role::User);
    let mut at = 0;
    while let Some(first) = messages.get(at) {
        let is_assistant = first.role == Role::Assistant;
        let end = messages[at..]
            .iter()
            .position(|message| (message.role == Role::Assistant) != is_assistant)
            .map_or(messages.len(), |length| at + length);
        let run = Run {
            messages,
            at,
            end,
            last_user,
        };
        if is_assistant {
            assistant::translate(&run, cx, &mut out);
        } else {
            user::translate(&run, cx, &mut out, &mut prompt)?;
        }
        at = end;
    }
    if out.is_empty() {
        return Err(no_messages());
    }
    if let Some(last) = messages.last() {
        prefill(last, messages.len() - 1, cx, &mut out)?;
        if out.is_empty() {
            return Err(no_messages());
        }
    }
    cache::put_on_end(request, &mut out, cx);
    system::put(prompt, cx, &mut out);
    Ok(out)
}

fn no_messages() -> BadRequest {
    BadRequest::at("messages", "text content blocks must be non-empty")
}

/// A last message of the assistant is the start of the answer.
fn prefill<'r>(
    last: &Message<'_>,
    n: usize,
    cx: &mut Context<'r>,
    out: &mut Vec<wire::Message<'r>>,
) -> Result<(), BadRequest> {
    let Some(message) = out.last_mut().filter(|message| message.role == "assistant") else {
        return Ok(());
    };
    let has_calls = last
        .content
        .blocks()
        .iter()
        .any(|block| matches!(block, Block::ToolUse { .. }));
    if last.role != Role::Assistant || has_calls {
        return Ok(());
    }
    if let Some(Part::Text { text, .. }) = message.content.last_mut() {
        let kept = text.decoded().trim_end().to_owned();
        if kept.is_empty() {
            message.content.pop();
        } else {
            *text = kept.into();
        }
    }
    if message.content.is_empty() {
        // White space is no start of an answer.
        out.pop();
        return Ok(());
    }
    match cx.dialect().prefill {
        Prefill::Reject => {
            return Err(BadRequest::new(
                "This model does not support assistant message prefill.",
            ));
        }
        Prefill::Pass => cx.losses.add(
            format!("messages.{n}"),
            "the provider may not continue a prefilled answer",
        ),
        Prefill::Continue => {
            message.flag = match cx.dialect().prefill_flag {
                PrefillFlag::None | PrefillFlag::Template => None,
                PrefillFlag::Prefix => Some("prefix"),
                PrefillFlag::Partial => Some("partial"),
            };
            let texts = message.content.iter().filter_map(|part| match part {
                Part::Text { text, .. } => Some(text.decoded()),
                Part::Image(_) | Part::File { .. } => None,
            });
            cx.prefill = Some(texts.collect());
        }
    }
    Ok(())
}
