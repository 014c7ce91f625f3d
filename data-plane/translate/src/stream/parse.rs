//! One event's data to one chunk, with the mending that real servers need.

use serde_json::Value;

use super::core::Core;
use super::sink::Sink;
use crate::error::{self, UpstreamFault};
use crate::json::surrogate::{self, Carry};
use crate::openai::chunk::Chunk;
use crate::sse::Event;

/// Whether more is to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    More,
    End,
}

/// Feeds one event to the core.
pub(super) fn event<S: Sink>(
    event: &Event<'_>,
    carry: &mut Carry,
    core: &mut Core<S>,
) -> Result<Next, UpstreamFault> {
    let data = event.data.trim();
    if data.is_empty() {
        return Ok(Next::More);
    }
    if data == "[DONE]" {
        return core.done().map(|()| Next::End);
    }
    let fault = |core: &Core<S>| error::from_body(data.as_bytes(), core.reply());
    if event.name == "error" {
        return Err(fault(core));
    }
    carry.turn();
    let read = with_chunk(data, carry, |chunk, is_half_lost| {
        if chunk.is_error() {
            return Err(fault(core));
        }
        if is_half_lost {
            core.broken_character()?;
        }
        let is_tail = chunk.choices.is_empty && chunk.usage.is_some();
        core.chunk(chunk)?;
        // Usage in a chunk of its own, after the finish reason, is the last thing to wait for.
        Ok(if is_tail && core.has_finish() {
            Next::End
        } else {
            Next::More
        })
    });
    read.unwrap_or_else(|| Err(error::nonsense("an event of the stream is not a valid chunk")))
}

/// Parses a chunk and hands it on, and whether half a character before it was lost.
/// `None` if it cannot be read at all.
pub(crate) fn with_chunk<T>(
    json: &str,
    carry: &mut Carry,
    then: impl FnOnce(Chunk<'_>, bool) -> T,
) -> Option<T> {
    // Not only if the parser minds: it skips what it does not look into.
    let mended = surrogate::mend(json, carry);
    let is_half_lost = carry.waiting.is_some();
    if let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(&mended) {
        return Some(then(chunk, is_half_lost));
    }
    // Duplicate keys: the last one counts, as a tree of maps has it.
    let tree: Value = serde_json::from_str(&mended).ok()?;
    let unique = tree.to_string();
    serde_json::from_str::<Chunk<'_>>(&unique)
        .ok()
        .map(|chunk| then(chunk, is_half_lost))
}
