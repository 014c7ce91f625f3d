//! What the way back needs of the request.
//!
//! Made once by the way out, shared by all that reads an answer: errors, streams and
//! whole answers look here for the client's own words.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::dialect::{Dialect, ReasoningDetails, ThinkTags, Tokenizer, ToolExtra};
use crate::signature::Signer;

/// What the way back needs of the request: owned, cheap to clone.
#[derive(Debug, Clone)]
pub struct Reply {
    shared: Arc<Shared>,
    estimate: u64,
}

/// The part of a reply that never changes.
#[derive(Debug)]
pub(crate) struct Shared {
    /// The model that the client asked for; answers echo it.
    pub(crate) model: String,
    pub(crate) signer: Signer,
    /// Tool names that were changed for the upstream: (upstream's, client's).
    pub(crate) names: Vec<(String, String)>,
    pub(crate) used_ids: UsedIds,
    pub(crate) stop_sequences: Vec<String>,
    /// The start of the answer that the client wrote itself, and the upstream may repeat.
    pub(crate) prefill: Option<String>,
    /// The upstream was asked to search the web.
    pub(crate) searches: bool,
    pub(crate) rules: Rules,
}

/// The knobs that matter on the way back.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) shows_thinking: bool,
    /// Luggage travels in thinking blocks, so only clients that get them can carry it.
    pub(crate) keeps_details: bool,
    pub(crate) keeps_tool_extra: bool,
    pub(crate) think_tags: ThinkTags,
    pub(crate) eof_is_end: bool,
    pub(crate) prompt_includes_cache: bool,
    pub(crate) buffers_tool_args: bool,
    pub(crate) single_tool: bool,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) token_factor: f64,
}

/// Ids of the tool calls in the request, as sorted hashes. A collision only costs a new id.
#[derive(Debug)]
pub(crate) struct UsedIds(Vec<u64>);

impl Rules {
    pub(crate) fn new(dialect: &Dialect, shows_thinking: bool, single_tool: bool) -> Self {
        Rules {
            shows_thinking,
            keeps_details: shows_thinking && dialect.reasoning_details == ReasoningDetails::Roundtrip,
            keeps_tool_extra: shows_thinking && dialect.tool_extra == ToolExtra::Roundtrip,
            think_tags: dialect.think_tags,
            eof_is_end: dialect.eof_is_end,
            prompt_includes_cache: dialect.usage_prompt_includes_cache,
            buffers_tool_args: dialect.buffer_tool_args,
            single_tool: single_tool && dialect.enforce_single_tool,
            tokenizer: dialect.tokenizer,
            token_factor: dialect.token_factor,
        }
    }
}

impl<'i> FromIterator<&'i str> for UsedIds {
    fn from_iter<T: IntoIterator<Item = &'i str>>(ids: T) -> Self {
        let mut hashes: Vec<u64> = ids.into_iter().map(hash).collect();
        hashes.sort_unstable();
        hashes.dedup();
        UsedIds(hashes)
    }
}

impl Reply {
    pub(crate) fn new(shared: Shared, estimate: u64) -> Self {
        Reply {
            shared: Arc::new(shared),
            estimate: estimate.max(1),
        }
    }

    /// Replaces the rough estimate of input tokens, say by [`crate::tokens::count`].
    pub fn with_estimate(mut self, input_tokens: u64) -> Self {
        self.estimate = input_tokens.max(1);
        self
    }

    /// Input tokens, estimated.
    pub fn estimate(&self) -> u64 {
        self.estimate
    }

    /// The model that the client asked for.
    pub fn model(&self) -> &str {
        &self.shared.model
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.shared.rules
    }

    /// The client's name of a tool that the upstream calls.
    pub(crate) fn client_name<'n>(&'n self, upstream: &'n str) -> &'n str {
        self.shared
            .names
            .iter()
            .find(|(sent, _)| sent == upstream)
            .map_or(upstream, |(_, name)| name)
    }

    pub(crate) fn is_used(&self, id: &str) -> bool {
        self.shared.used_ids.0.binary_search(&hash(id)).is_ok()
    }
}

fn hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}
