//! System prompts: the leading one, and those inside the conversation.

use crate::anthropic::claude_code::{BILLING_HEADER, REMINDER_END, REMINDER_START};
use crate::anthropic::{Content, Message, Request};
use crate::dialect::{MidSystem, StructuredOutput, SystemRole};
use crate::error::{BadRequest, Path};
use crate::json::Compact;
use crate::json::write::Text;
use crate::openai::request as wire;
use crate::openai::request::Part;

use super::context::Context;
use super::media;

/// A system message on its way to its place.
pub(super) enum Reminder<'r> {
    Message(wire::Message<'r>),
    Top(Vec<Part<'r>>),
    Text(Vec<Part<'r>>),
}

/// The leading system prompt.
pub(super) fn prompt<'r>(
    request: &'r Request<'r>,
    cx: &mut Context<'r>,
) -> Result<Vec<Part<'r>>, BadRequest> {
    let strips = cx.dialect().strip_billing_header;
    let is_billing = move |text: &Text<'_>| strips && text.starts_with(BILLING_HEADER);
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
            "Answer with one JSON object that follows this JSON schema:\n{}",
            Compact(schema.get())
        )));
    }
    Ok(parts)
}

/// Puts the leading system prompt where the upstream wants it.
pub(super) fn put<'r>(parts: Vec<Part<'r>>, cx: &Context<'_>, out: &mut Vec<wire::Message<'r>>) {
    let dialect = cx.dialect();
    let is_system = |message: &wire::Message<'_>| matches!(message.role, "system" | "developer");
    let first = out.iter().position(|message| !is_system(message));
    if let Some(first) = first.filter(|_| dialect.first_must_be_user)
        && out.get(first).is_some_and(|message| message.role == "assistant")
    {
        out.insert(first, wire::Message::new("user", vec![Part::text("(continued)")]));
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
        Some(first) if first.role == role && dialect.merge_same_role => {
            first.content.splice(0..0, parts);
        }
        Some(_) | None => out.insert(0, wire::Message::new(role, parts)),
    }
}

/// Where a `role:"system"` message inside the conversation goes.
pub(super) fn inside<'r>(
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
        MidSystem::User => Reminder::Text(wrapped(parts)),
    }))
}

/// One reminder around all texts of a message.
fn wrapped(mut parts: Vec<Part<'_>>) -> Vec<Part<'_>> {
    let texts = parts.iter_mut().filter_map(|part| match part {
        Part::Text { text, .. } => Some(text),
        Part::Image(_) | Part::File { .. } => None,
    });
    let mut texts: Vec<_> = texts.collect();
    if let Some(first) = texts.first_mut() {
        **first = format!("{REMINDER_START}{}", first.decoded()).into();
    }
    if let Some(last) = texts.last_mut() {
        **last = format!("{}{REMINDER_END}", last.decoded()).into();
    }
    parts
}
