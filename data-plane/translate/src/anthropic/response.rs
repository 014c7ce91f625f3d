//! The message: every key always present, for whole answers and `message_start`.

use crate::json::{push_number, push_str};
use crate::loss::LossList;
use crate::stop_reason::StopReason;
use crate::usage::Usage;

/// A whole answer, as the client gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub body: Vec<u8>,
    pub usage: Usage,
    pub stop_reason: StopReason,
    /// What the upstream said and the client does not get.
    pub losses: LossList,
}

impl Answer {
    pub(crate) fn new(id: &str, model: &str, content: &[u8], end: &End, usage: Usage) -> Self {
        let mut body = Vec::new();
        write_message(&mut body, id, model, content, end, &usage);
        Answer {
            body,
            usage,
            stop_reason: end.reason(),
            losses: LossList::default(),
        }
    }
}

/// How an answer ended; in `message_start` it has not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) stop_reason: Option<StopReason>,
    pub(crate) stop_sequence: Option<String>,
    /// The model's own words when it refused.
    pub(crate) refusal: Option<String>,
}

impl End {
    /// Why it ended, told as `end_turn` if nobody said.
    pub(crate) fn reason(&self) -> StopReason {
        self.stop_reason.unwrap_or(StopReason::EndTurn)
    }
}

/// Writes a whole message; `content` is a JSON array.
pub(crate) fn write_message(
    out: &mut Vec<u8>,
    id: &str,
    model: &str,
    content: &[u8],
    end: &End,
    usage: &Usage,
) {
    out.extend_from_slice(b"{\"id\":");
    push_str(out, id);
    out.extend_from_slice(b",\"type\":\"message\",\"role\":\"assistant\",\"model\":");
    push_str(out, model);
    out.extend_from_slice(b",\"content\":");
    out.extend_from_slice(content);
    out.push(b',');
    write_end(out, end);
    out.extend_from_slice(b",\"diagnostics\":null,\"context_management\":null,\"usage\":{");
    write_counts(out, usage);
    out.extend_from_slice(b",\"cache_creation\":{\"ephemeral_5m_input_tokens\":");
    push_number(out, usage.cache_creation_input_tokens);
    out.extend_from_slice(
        b",\"ephemeral_1h_input_tokens\":0},\"service_tier\":\"standard\",\"inference_geo\":null,\"speed\":null}}",
    );
}

/// The keys that tell how the answer ended, without braces.
pub(crate) fn write_end(out: &mut Vec<u8>, end: &End) {
    out.extend_from_slice(b"\"stop_reason\":");
    match end.stop_reason {
        Some(reason) => push_str(out, reason.as_str()),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"stop_sequence\":");
    push_optional(out, end.stop_sequence.as_deref());
    out.extend_from_slice(b",\"stop_details\":");
    if end.stop_reason == Some(StopReason::Refusal) {
        out.extend_from_slice(b"{\"type\":\"refusal\",\"category\":null,\"explanation\":");
        push_optional(out, end.refusal.as_deref());
        out.push(b'}');
    } else {
        out.extend_from_slice(b"null");
    }
    out.extend_from_slice(b",\"container\":null");
}

/// The counts that plain answers and `message_delta` share, without braces.
pub(crate) fn write_counts(out: &mut Vec<u8>, usage: &Usage) {
    out.extend_from_slice(b"\"input_tokens\":");
    push_number(out, usage.input_tokens);
    out.extend_from_slice(b",\"cache_creation_input_tokens\":");
    push_number(out, usage.cache_creation_input_tokens);
    out.extend_from_slice(b",\"cache_read_input_tokens\":");
    push_number(out, usage.cache_read_input_tokens);
    out.extend_from_slice(b",\"output_tokens\":");
    push_number(out, usage.output_tokens);
    out.extend_from_slice(b",\"output_tokens_details\":");
    if usage.thinking_tokens > 0 {
        out.extend_from_slice(b"{\"thinking_tokens\":");
        push_number(out, usage.thinking_tokens);
        out.push(b'}');
    } else {
        out.extend_from_slice(b"null");
    }
    out.extend_from_slice(b",\"server_tool_use\":");
    if usage.web_searches > 0 {
        out.extend_from_slice(b"{\"web_search_requests\":");
        push_number(out, usage.web_searches);
        out.extend_from_slice(b",\"web_fetch_requests\":0}");
    } else {
        out.extend_from_slice(b"null");
    }
}

fn push_optional(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => push_str(out, text),
        None => out.extend_from_slice(b"null"),
    }
}
