//! The way back for whole answers.
//!
//! A whole answer runs through the same machine as a stream: it is a stream of one chunk.

use crate::anthropic::response::End;
use crate::anthropic::{self, event};
use crate::error::{self, UpstreamFault};
use crate::ids::Ids;
use crate::json::surrogate::Carry;
use crate::loss::LossList;
use crate::stop_reason::StopReason;
use crate::stream::Collector;
use crate::stream::core::Core;
use crate::stream::parse;
use crate::stream::sink::{EventSink, MessageSink, Sink};
use crate::usage::Usage;

pub use crate::anthropic::response::Answer;
pub use crate::reply::Reply;

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

/// What a whole answer came to that was written as events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub usage: Usage,
    /// What the upstream said and the client does not get.
    pub losses: LossList,
    pub stop_reason: StopReason,
}

/// Writes a whole answer as the events of a stream, for a client that wants one.
pub fn to_anthropic_events(
    body: &[u8],
    reply: &Reply,
    ids: Ids,
    out: &mut Vec<u8>,
) -> Result<Told, UpstreamFault> {
    let sink = EventSink::new(reply, &ids);
    let mut core = Core::new(reply.clone(), ids, sink);
    read_whole(body, reply, &mut core)?;
    let (end, usage) = core.end()?;
    let losses = core.losses();
    let sink = core.sink_mut();
    sink.finish(&end, &usage);
    out.append(&mut sink.out);
    Ok(Told {
        usage,
        losses,
        stop_reason: end.reason(),
    })
}

/// The answer to a request that wants no output (`max_tokens: 0`): no upstream is asked.
pub fn without_output(request: &anthropic::Request<'_>, ids: &Ids) -> Answer {
    let (end, usage) = no_output();
    Answer {
        losses: no_cache(),
        ..Answer::new(&ids.message(), request.model(), b"[]", &end, usage)
    }
}

/// The same for a client that wants a stream.
pub fn without_output_events(request: &anthropic::Request<'_>, ids: &Ids, out: &mut Vec<u8>) -> Told {
    let (end, usage) = no_output();
    event::message_start(out, &ids.message(), request.model(), &usage);
    event::message_delta(out, &end, &usage);
    event::message_stop(out);
    Told {
        usage,
        losses: no_cache(),
        stop_reason: end.reason(),
    }
}

/// Whoever wants no output wants a warm cache.
fn no_cache() -> LossList {
    let mut losses = LossList::default();
    losses.add("max_tokens", "no cache is warmed");
    losses
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
    let mut carry = Carry::of_whole();
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
