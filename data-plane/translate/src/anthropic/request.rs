//! The client's request: borrowed from its body, and valid as far as we need it.

use std::borrow::Cow;

use super::block::{Block, Content};
use super::tool::Tools;
use crate::dialect::Effort;
use crate::json::escaped::Raw;

/// A request to `/v1/messages` or `/v1/messages/count_tokens`.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    pub model: Cow<'a, str>,
    pub stream: bool,
    pub system: Option<Content<'a>>,
    pub messages: Vec<Message<'a>>,
    pub tools: Tools<'a>,
    pub sampling: Sampling<'a>,
    pub options: Options<'a>,
}

/// One message.
#[derive(Debug, Clone)]
pub struct Message<'a> {
    pub role: Role,
    pub content: Content<'a>,
    /// `clear_at: "next_user_message"` of a system message.
    pub clear_at_next_user: bool,
    /// `output_config.effort` of a system message.
    pub effort: Option<Effort>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    User,
    Assistant,
    System,
}

/// How the model is to choose its words. Numbers keep the client's spelling.
#[derive(Debug, Clone, Default)]
pub struct Sampling<'a> {
    /// Absent only on `count_tokens`.
    pub max_tokens: Option<u64>,
    pub stop_sequences: Vec<Cow<'a, str>>,
    pub temperature: Option<Raw<'a>>,
    pub top_p: Option<Raw<'a>>,
    pub top_k: Option<Raw<'a>>,
}

/// What is neither conversation nor sampling.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    pub thinking: Thinking,
    pub effort: Option<Effort>,
    /// The JSON schema of `output_config.format`.
    pub answer_schema: Option<Raw<'a>>,
    pub user_id: Option<Cow<'a, str>>,
    pub service_tier: Option<Cow<'a, str>>,
    /// Fields that have no place in the types above, known or not.
    pub other: Vec<(Cow<'a, str>, Raw<'a>)>,
}

/// What the client wants of thinking.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Thinking {
    #[default]
    Absent,
    Disabled,
    /// `adaptive` or `between_tools`.
    Adaptive {
        is_omitted: bool,
    },
    Enabled {
        budget_tokens: Option<u64>,
        is_omitted: bool,
    },
}

impl<'a> Request<'a> {
    /// The model that the client asked for, verbatim.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// Whether the client wants a stream.
    pub fn is_stream(&self) -> bool {
        self.stream
    }

    /// `max_tokens: 0` warms a cache: it is answered without asking anyone.
    pub fn wants_no_output(&self) -> bool {
        self.sampling.max_tokens == Some(0)
    }

    /// Whether a tool was called in this conversation.
    pub(crate) fn has_tool_calls(&self) -> bool {
        let mut blocks = self.messages.iter().flat_map(|message| message.content.blocks());
        blocks.any(|block| matches!(block, Block::ToolUse { .. }))
    }

    /// Whether the client asked for thinking without its text.
    pub fn hides_thinking(&self) -> bool {
        match self.options.thinking {
            Thinking::Adaptive { is_omitted } | Thinking::Enabled { is_omitted, .. } => is_omitted,
            Thinking::Absent | Thinking::Disabled => false,
        }
    }

    /// Whether the client asked to see thinking.
    pub fn wants_thinking(&self) -> bool {
        matches!(
            self.options.thinking,
            Thinking::Adaptive { .. } | Thinking::Enabled { .. }
        )
    }
}
