//! Messages on their way to a native provider: what only we or somebody else could have
//! written is left out or made to fit.

use std::borrow::Cow;

use crate::anthropic::claude_code::{REMINDER_END, REMINDER_START};
use crate::anthropic::{Block, Request, Role};
use crate::ids;
use crate::json;
use crate::signature::is_ours;

use super::draft::{Draft, History};
use super::walk::{Member, Span};

const ID_PREFIX: &str = "toolu_";
const ID_HASH_CHARS: usize = 24;

/// Whether the last turn has results for calls of the one before.
pub(super) fn is_within_tool_loop(request: &Request<'_>) -> bool {
    let last = request
        .messages
        .iter()
        .rev()
        .find(|message| message.role != Role::System);
    last.is_some_and(|message| {
        let blocks = message.content.blocks();
        blocks
            .iter()
            .any(|block| matches!(block, Block::ToolResult { .. }))
    })
}

pub(super) fn edit(draft: &mut Draft<'_>, messages: &Span, history: History) {
    let text = draft.text;
    let list = text.elements(messages);
    let roles: Vec<Option<Cow<'_, str>>> = list
        .iter()
        .map(|message| text.string(&text.member(message, "role")?))
        .collect();
    let last_user = roles.iter().rposition(|role| role.as_deref() == Some("user"));
    let mut is_removed = vec![false; list.len()];
    for (n, message) in list.iter().enumerate() {
        let members = text.members(message);
        let Some(content) = members.iter().find(|member| text.is(&member.key, "content")) else {
            continue;
        };
        is_removed[n] = match roles[n].as_deref() {
            Some("assistant") => draft.assistant(n, &content.value, history),
            Some("system") if draft.moves_reminders() => {
                draft.reminder(n, &members, last_user.is_some_and(|last| n < last))
            }
            Some(_) | None => {
                for block in text.elements(&content.value) {
                    draft.block(&block);
                }
                false
            }
        };
    }
    draft.edits.remove(&list, &is_removed);
}

impl Draft<'_> {
    /// Leaves out thinking that the provider would refuse. Whether nothing else was said.
    fn assistant(&mut self, n: usize, content: &Span, history: History) -> bool {
        let blocks = self.text.elements(content);
        let is_removed: Vec<_> = blocks
            .iter()
            .map(|block| self.is_unwanted_thinking(block, history))
            .collect();
        for (m, (block, is_removed)) in blocks.iter().zip(&is_removed).enumerate() {
            if !is_removed {
                self.block(block);
            } else if history == History::WithoutThinking {
                self.losses.add(
                    format!("messages.{n}.content.{m}"),
                    "the provider refused this thinking",
                );
            }
        }
        self.edits.remove(&blocks, &is_removed);
        !is_removed.is_empty() && !is_removed.contains(&false)
    }

    fn is_unwanted_thinking(&self, block: &Span, history: History) -> bool {
        let said = |name| self.text.string(&self.text.member(block, name)?);
        let Some(kind) = said("type") else { return false };
        let proof = match &*kind {
            "thinking" => said("signature"),
            "redacted_thinking" => said("data"),
            _ => return false,
        };
        let proof = proof.unwrap_or_default();
        history == History::WithoutThinking || proof.is_empty() || is_ours(&proof)
    }

    /// What every block may need: an id that the provider takes, a plain cache mark.
    fn block(&mut self, block: &Span) {
        let text = self.text;
        for Member { key, value } in text.members(block) {
            let Some(name) = text.string(&key) else { continue };
            match &*name {
                "id" | "tool_use_id" => {
                    if let Some(id) = text.string(&value).filter(|id| !ids::is_well_formed(id)) {
                        let mut fitting = Vec::new();
                        let hash = ids::short_hash(&id, ID_HASH_CHARS);
                        json::push_str(&mut fitting, &format!("{ID_PREFIX}{hash}"));
                        self.edits.replace(value, fitting);
                    }
                }
                "content" => text
                    .elements(&value)
                    .iter()
                    .for_each(|inner| self.strip_ttl(inner)),
                _ => {}
            }
        }
        self.strip_ttl(block);
    }

    /// A system message between the turns, as the user's words. Whether nothing is left to say.
    fn reminder(&mut self, n: usize, members: &[Member], is_followed_by_user: bool) -> bool {
        let text = self.text;
        let is_over = members
            .iter()
            .any(|member| text.is(&member.key, "clear_at") && text.is(&member.value, "next_user_message"));
        if is_over && is_followed_by_user {
            return true;
        }
        let mut is_removed = Vec::new();
        for Member { key, value } in members {
            let name = text.string(key).unwrap_or_default();
            is_removed.push(!matches!(&*name, "role" | "content"));
            match &*name {
                "role" => self.edits.replace(value.clone(), "\"user\""),
                "content" if !self.wrap(n, value) => return true,
                "content" | "clear_at" => {}
                _ => self.losses.add(
                    format!("messages.{n}.{name}"),
                    "the provider has no system messages between turns",
                ),
            }
        }
        let items: Vec<_> = members
            .iter()
            .map(|member| member.key.start..member.value.end)
            .collect();
        self.edits.remove(&items, &is_removed);
        false
    }

    /// Puts the tags of a reminder around the texts. Whether there is any.
    fn wrap(&mut self, n: usize, content: &Span) -> bool {
        let text = self.text;
        let blocks = text.elements(content);
        let texts: Vec<_> = blocks
            .iter()
            .map(|block| {
                text.member(block, "text")
                    .filter(|said| text.string(said).is_some())
            })
            .collect();
        let is_removed: Vec<_> = texts.iter().map(Option::is_none).collect();
        for (m, (block, is_removed)) in blocks.iter().zip(&is_removed).enumerate() {
            if *is_removed {
                self.losses.add(
                    format!("messages.{n}.content.{m}"),
                    "the provider has no system messages between turns",
                );
            } else {
                self.block(block);
            }
        }
        self.edits.remove(&blocks, &is_removed);
        let mut said: Vec<_> = texts.into_iter().flatten().collect();
        if text.string(content).is_some() {
            said.push(content.clone());
        }
        let (Some(first), Some(last)) = (said.first(), said.last()) else {
            return false;
        };
        self.edits.insert(first.start + 1, escaped(REMINDER_START));
        self.edits.insert(last.end - 1, escaped(REMINDER_END));
        true
    }
}

fn escaped(text: &str) -> Vec<u8> {
    let mut escaped = Vec::new();
    json::push_escaped(&mut escaped, text);
    escaped
}
