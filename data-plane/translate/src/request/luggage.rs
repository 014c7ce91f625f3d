//! What the candidate gave with earlier turns and wants back, read from our own signatures.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::target::Target;
use crate::anthropic::{Block, Request};
use crate::dialect::{Dialect, ReasoningBack, ReasoningDetails, ToolExtra};
use crate::openai::request as wire;
use crate::signature::{self, Opened};

/// What Google documents for calls whose signature is not at hand.
const SKIP_VALIDATION: &str = r#"{"google":{"thought_signature":"skip_thought_signature_validator"}}"#;

/// `extra_content` of earlier calls, by the ids that the client knows.
#[derive(Debug, Default)]
pub(crate) struct Extras(HashMap<String, Box<RawValue>>);

impl Extras {
    /// Looks through the whole conversation: luggage may stand before or after its call.
    pub(crate) fn read(request: &Request<'_>, target: &Target<'_>) -> Self {
        if target.dialect.tool_extra == ToolExtra::Off {
            return Extras::default();
        }
        let blocks = request
            .messages
            .iter()
            .flat_map(|message| message.content.blocks());
        let opened = blocks.filter_map(open).filter(|opened| is_theirs(opened, target));
        Extras(opened.flat_map(|opened| opened.calls).collect())
    }

    pub(super) fn of_call<'r>(&self, id: &str) -> Option<Cow<'r, RawValue>> {
        self.0.get(id).cloned().map(Cow::Owned)
    }
}

/// Whether anything of earlier thinking goes up again.
pub(super) fn wants_thinking(dialect: &Dialect) -> bool {
    dialect.reasoning_back != ReasoningBack::Never || dialect.reasoning_details != ReasoningDetails::Off
}

/// The signature of a block, if it is one of ours and still fits its text.
pub(super) fn open(block: &Block<'_>) -> Option<Opened> {
    match block {
        Block::Thinking { thinking, signature } => signature::open(signature, &thinking.decoded()),
        Block::RedactedThinking { data } => signature::open(data, ""),
        Block::Text { .. }
        | Block::Image(_)
        | Block::Document(_)
        | Block::SearchResult { .. }
        | Block::ToolUse { .. }
        | Block::ToolResult { .. }
        | Block::ToolReference { .. }
        | Block::ServerTool { .. }
        | Block::Compaction { .. }
        | Block::ToolChange(_)
        | Block::Marker
        | Block::Unknown { .. } => None,
    }
}

/// The `reasoning_details` that a block carries for this candidate.
pub(super) fn details(opened: Option<Opened>, target: &Target<'_>) -> Vec<Box<RawValue>> {
    if target.dialect.reasoning_details == ReasoningDetails::Off {
        return Vec::new();
    }
    let theirs = opened.filter(|opened| is_theirs(opened, target));
    theirs.map(|opened| opened.details).unwrap_or_default()
}

/// Of parallel calls only the first has a signature. A turn without any, say of another
/// model, would be refused.
pub(super) fn mend_calls(calls: &mut [wire::Call<'_>], target: &Target<'_>) {
    if target.dialect.tool_extra == ToolExtra::Off || calls.iter().any(|call| call.extra_content.is_some()) {
        return;
    }
    if let Some(first) = calls.first_mut() {
        first.extra_content = serde_json::from_str(SKIP_VALIDATION).ok().map(Cow::Borrowed);
    }
}

fn is_theirs(opened: &Opened, target: &Target<'_>) -> bool {
    opened.is_from(target.provider, target.model)
}
