//! The walk over the conversation.
//!
//! Upstreams want each tool run right behind the calls that it answers, in call order,
//! with strings for content; clients send results in the order the tools finished, with
//! reminders in between and images inside. So the walk goes by turns: a run of assistant
//! messages, then everything up to the next one.

use std::borrow::Cow;

use crate::anthropic::{Block, Content, Message, Request, Role};
use crate::dialect::{MidSystem, Prefill, PrefillFlag, StructuredOutput, SystemRole};
use crate::error::{BadRequest, Path};
use crate::openai::request as wire;
use crate::openai::request::Part;

use super::{Context, media, turn};

/// Start of Claude Code's first system block. It differs between sessions and would
/// spoil every prefix cache.
const BILLING_HEADER: &str = "x-anthropic-billing-header:";

/// The upstream's messages.
pub(super) fn translate<'r>(
    request: &'r Request<'r>,
    cx: &mut Context<'r>,
) -> Result<Vec<wire::Message<'r>>, BadRequest> {
    let mut out = Vec::with_capacity(request.messages.len() + 1);
    let mut system = system_parts(request, cx)?;
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
            turn::assistant(&run, cx, &mut out);
        } else {
            turn::user(&run, cx, &mut out, &mut system)?;
        }
        at = end;
    }
    if out.is_empty() {
        return Err(BadRequest::at(
            "messages",
            "text content blocks must be non-empty",
        ));
    }
    if let Some(last) = messages.last() {
        prefill(last, messages.len() - 1, cx, &mut out)?;
    }
    put_system(system, cx, &mut out);
    Ok(out)
}

/// Messages of one side, as they follow each other.
pub(super) struct Run<'r> {
    pub(super) messages: &'r [Message<'r>],
    pub(super) at: usize,
    pub(super) end: usize,
    /// Place of the last user message of the whole conversation.
    pub(super) last_user: Option<usize>,
}

impl<'r> Run<'r> {
    /// The messages with their places in the request.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &'r Message<'r>)> + use<'r> {
        let (messages, at, end) = (self.messages, self.at, self.end);
        messages.iter().enumerate().take(end).skip(at)
    }

    /// Whether nothing follows.
    pub(super) fn is_last(&self) -> bool {
        self.end == self.messages.len()
    }

    /// Whether a user message follows the message at this place.
    pub(super) fn has_user_after(&self, n: usize) -> bool {
        self.last_user.is_some_and(|last| last > n)
    }
}

fn system_parts<'r>(request: &'r Request<'r>, cx: &mut Context<'r>) -> Result<Vec<Part<'r>>, BadRequest> {
    let strips = cx.dialect().strip_billing_header;
    let is_billing = move |text: &str| strips && text.starts_with(BILLING_HEADER);
    let mut parts = match &request.system {
        None => Vec::new(),
        Some(content) => media::parts(content, &Path::Root("system"), cx)?,
    };
    parts.retain(|part| !matches!(part, Part::Text { text, .. } if is_billing(text)));
    if let Some(schema) = request.options.answer_schema
        && matches!(
            cx.dialect().structured_output,
            StructuredOutput::JsonObject | StructuredOutput::Prompt
        )
    {
        parts.push(Part::text(format!(
            "Answer with one JSON object that follows this JSON schema:\n{schema}"
        )));
    }
    Ok(parts)
}

fn put_system<'r>(parts: Vec<Part<'r>>, cx: &Context<'_>, out: &mut Vec<wire::Message<'r>>) {
    let dialect = cx.dialect();
    let first_role = out.first().map(|message| message.role);
    if dialect.first_must_be_user && first_role == Some("assistant") {
        out.insert(0, wire::Message::new("user", vec![Part::text("(continued)")]));
    }
    if parts.is_empty() {
        return;
    }
    let role = match dialect.system_role {
        SystemRole::System => "system",
        SystemRole::Developer => "developer",
        SystemRole::User => "user",
    };
    match out.first_mut() {
        Some(first) if role == "user" && first.role == "user" && dialect.merge_same_role => {
            first.content.splice(0..0, parts);
        }
        Some(_) | None => out.insert(0, wire::Message::new(role, parts)),
    }
}

/// A last message of the assistant is the start of the answer.
fn prefill<'r>(
    last: &Message<'_>,
    n: usize,
    cx: &mut Context<'r>,
    out: &mut [wire::Message<'r>],
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
        let length = text.trim_end().len();
        match text {
            Cow::Borrowed(text) => *text = text.get(..length).unwrap_or_default(),
            Cow::Owned(text) => text.truncate(length),
        }
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
                Part::Text { text, .. } => Some(&**text),
                Part::Image(_) | Part::File { .. } => None,
            });
            cx.prefill = Some(texts.collect());
        }
    }
    Ok(())
}

/// Where a `role:"system"` message inside the conversation goes.
pub(super) fn mid_system<'r>(
    message: &'r Message<'r>,
    n: usize,
    cx: &mut Context<'r>,
) -> Result<Option<Reminder<'r>>, BadRequest> {
    let root = Path::Root("messages");
    let parts = match &message.content {
        Content::Text(text) if text.is_empty() => Vec::new(),
        content => media::parts(content, &Path::Field(&Path::Index(&root, n), "content"), cx)?,
    };
    if parts.is_empty() {
        return Ok(None);
    }
    Ok(Some(match cx.dialect().mid_system {
        MidSystem::System => Reminder::Message(wire::Message::new("system", parts)),
        MidSystem::Developer => Reminder::Message(wire::Message::new("developer", parts)),
        MidSystem::Top => Reminder::Top(parts),
        MidSystem::User => Reminder::Text(parts.into_iter().map(reminder).collect()),
    }))
}

/// A system message on its way to its place.
pub(super) enum Reminder<'r> {
    Message(wire::Message<'r>),
    Top(Vec<Part<'r>>),
    Text(Vec<Part<'r>>),
}

fn reminder(part: Part<'_>) -> Part<'_> {
    match part {
        Part::Text { text, glue, mark } => {
            let text = Cow::Owned(format!("<system-reminder>\n{text}\n</system-reminder>"));
            Part::Text { text, glue, mark }
        }
        part @ (Part::Image(_) | Part::File { .. }) => part,
    }
}
