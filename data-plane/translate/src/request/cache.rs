//! Marks that end a prefix which is worth caching.
//!
//! A client marks a block; what goes up is the mark that the upstream knows, on the last
//! text that the block became. How long the prefix lives is the upstream's affair.

use crate::anthropic::Request;
use crate::dialect::CacheControl;
use crate::openai::request::{Mark, Message, Part};

use super::context::Context;

/// A field of the whole request that marks its end.
const WHOLE: &str = "cache_control";

/// The upstream's mark for a block that the client marked.
pub(super) fn mark(is_marked: bool, cx: &Context<'_>) -> Mark {
    match (cx.dialect().cache_control, is_marked) {
        (CacheControl::Strip, _) => Mark::None,
        (CacheControl::Passthrough | CacheControl::OpenaiBreakpoint, false) => Mark::Apart,
        (CacheControl::Passthrough, true) => Mark::CacheControl,
        (CacheControl::OpenaiBreakpoint, true) => Mark::Breakpoint,
    }
}

/// Marks the last text of some parts, if the client marked what they come from.
pub(super) fn put_on_last(parts: &mut [Part<'_>], is_marked: bool, cx: &Context<'_>) {
    if !is_marked {
        return;
    }
    let texts = parts.iter_mut().rev();
    let last = texts.filter_map(|part| match part {
        Part::Text { mark, .. } => Some(mark),
        Part::Image(_) | Part::File { .. } => None,
    });
    if let Some(last) = last.into_iter().next() {
        *last = mark(true, cx);
    }
}

/// Marks the end of the conversation, if the request as a whole is marked.
pub(super) fn put_on_end(request: &Request<'_>, messages: &mut [Message<'_>], cx: &Context<'_>) {
    let mut fields = request.options.other.iter();
    let is_marked = fields.any(|(name, value)| name == WHOLE && value.get() != "null");
    if let Some(last) = messages.last_mut() {
        put_on_last(&mut last.content, is_marked, cx);
    }
}
