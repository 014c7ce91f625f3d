//! The way back for whole answers, and what both ways back need to know.
//!
//! A whole answer runs through the same machine as a stream: it is a stream of one chunk.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::anthropic::response::{End, write_message};
use crate::anthropic::{self, event};
use crate::dialect::{Dialect, ThinkTags, Tokenizer};
use crate::error::{self, UpstreamFault};
use crate::ids::{Ids, base62};
use crate::json::surrogate::Carry;
use crate::stop_reason::StopReason;
use crate::stream::Collector;
use crate::stream::core::Core;
use crate::stream::parse;
use crate::stream::sink::{EventSink, MessageSink, Sink};
use crate::usage::Usage;

/// A whole answer in Anthropic's form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub body: Vec<u8>,
    pub usage: Usage,
    pub stop_reason: StopReason,
}

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
    pub(crate) signature: String,
    /// Tool names that were changed for the upstream: (upstream's, client's).
    pub(crate) names: Vec<(String, String)>,
    /// Hashes of the tool call ids in the request, sorted. A collision only costs a new id.
    pub(crate) used_ids: Vec<u64>,
    pub(crate) stop_sequences: Vec<String>,
    /// The start of the answer that the client wrote itself, and the upstream may repeat.
    pub(crate) prefill: Option<String>,
    pub(crate) rules: Rules,
}

/// The knobs that matter on the way back.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) shows_thinking: bool,
    pub(crate) think_tags: ThinkTags,
    pub(crate) eof_is_end: bool,
    pub(crate) prompt_includes_cache: bool,
    pub(crate) buffers_tool_args: bool,
    pub(crate) single_tool: bool,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) token_factor: f64,
}

impl Rules {
    pub(crate) fn new(dialect: &Dialect, shows_thinking: bool, single_tool: bool) -> Self {
        Rules {
            shows_thinking,
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
        self.shared.used_ids.binary_search(&id_hash(id)).is_ok()
    }
}

pub(crate) fn id_hash(id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// Translates a whole answer.
pub fn to_anthropic(body: &[u8], reply: &Reply, ids: Ids) -> Result<Answer, UpstreamFault> {
    if looks_like_stream(body) {
        let mut collector = Collector::new(reply.clone(), ids);
        collector.push(body);
        return collector.end();
    }
    let mut core = Core::new(reply.clone(), ids, MessageSink::default());
    read_whole(body, reply, &mut core)?;
    core.into_answer()
}

/// Writes a whole answer as the events of a stream, for a client that wants one.
pub fn to_anthropic_events(
    body: &[u8],
    reply: &Reply,
    ids: Ids,
    out: &mut Vec<u8>,
) -> Result<Usage, UpstreamFault> {
    let sink = EventSink::new(reply, &ids);
    let mut core = Core::new(reply.clone(), ids, sink);
    read_whole(body, reply, &mut core)?;
    let (end, usage) = core.end()?;
    let sink = core.sink_mut();
    sink.finish(&end, &usage);
    out.append(&mut sink.out);
    Ok(usage)
}

/// The answer to a request that wants no output (`max_tokens: 0`): no upstream is asked.
pub fn without_output(request: &anthropic::Request<'_>, ids: &Ids) -> Answer {
    let (end, usage) = no_output();
    let mut body = Vec::new();
    write_message(&mut body, &ids.message(), request.model(), b"[]", &end, &usage);
    Answer {
        body,
        usage,
        stop_reason: StopReason::MaxTokens,
    }
}

/// The same for a client that wants a stream.
pub fn without_output_events(request: &anthropic::Request<'_>, ids: &Ids, out: &mut Vec<u8>) -> Usage {
    let (end, usage) = no_output();
    event::message_start(out, &ids.message(), request.model(), &usage);
    event::message_delta(out, &end, &usage);
    event::message_stop(out);
    usage
}

fn no_output() -> (End, Usage) {
    let end = End {
        stop_reason: Some(StopReason::MaxTokens),
        ..End::default()
    };
    (
        end,
        Usage {
            input_tokens: 1,
            is_estimated: true,
            ..Usage::default()
        },
    )
}

fn read_whole<S: Sink>(body: &[u8], reply: &Reply, core: &mut Core<S>) -> Result<(), UpstreamFault> {
    let text = String::from_utf8_lossy(body);
    let mut carry = Carry::default();
    parse::with_chunk(text.trim(), &mut carry, |chunk, _| {
        if chunk.is_error() || !chunk.has_first_choice() {
            return Err(error::from_body(body, reply));
        }
        core.chunk(chunk)
    })
    .unwrap_or_else(|| Err(error::from_body(body, reply)))
}

fn looks_like_stream(body: &[u8]) -> bool {
    let start = body.trim_ascii_start();
    start.starts_with(b"data:") || start.starts_with(b"event:") || start.starts_with(b":")
}

/// The mark of our own thinking blocks: never empty, never native-looking.
pub(crate) fn signature(provider: &str) -> String {
    use base64::Engine as _;
    let mut json = b"{\"p\":".to_vec();
    crate::json::push_str(&mut json, provider);
    json.push(b'}');
    format!(
        "{SIGNATURE_PREFIX}{}",
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json)
    )
}

/// Start of every signature that we made.
pub(crate) const SIGNATURE_PREFIX: &str = "brg1.";

/// A short name for a digest, for ids towards upstreams.
pub(crate) fn short_hash(text: &str, chars: usize) -> String {
    use sha2::{Digest as _, Sha256};
    base62(&Sha256::digest(text.as_bytes()), chars)
}
