//! The events of a stream, written straight into the caller's buffer.
//!
//! Each is exactly `event: <type>`, `data: <one-line JSON>` and a blank line, with the
//! JSON `type` equal to the event name: older clients need both.

use super::response::{End, write_counts, write_end, write_message};
use crate::json::{push_escaped, push_number, push_str};
use crate::usage::Usage;

pub(crate) fn message_start(out: &mut Vec<u8>, id: &str, model: &str, usage: &Usage) {
    out.extend_from_slice(b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":");
    write_message(out, id, model, b"[]", &End::default(), usage);
    out.extend_from_slice(b"}\n\n");
}

pub(crate) fn ping(out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ping\ndata: {\"type\":\"ping\"}\n\n");
}

pub(crate) fn start_text(out: &mut Vec<u8>, index: u64) {
    start(out, index);
    out.extend_from_slice(b"{\"type\":\"text\",\"text\":\"\"}}\n\n");
}

pub(crate) fn start_thinking(out: &mut Vec<u8>, index: u64) {
    start(out, index);
    out.extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n");
}

pub(crate) fn start_redacted(out: &mut Vec<u8>, index: u64, data: &str) {
    start(out, index);
    out.extend_from_slice(b"{\"type\":\"redacted_thinking\",\"data\":");
    push_str(out, data);
    out.extend_from_slice(b"}}\n\n");
}

pub(crate) fn start_tool(out: &mut Vec<u8>, index: u64, id: &str, name: &str) {
    start(out, index);
    out.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":");
    push_str(out, id);
    out.extend_from_slice(b",\"name\":");
    push_str(out, name);
    out.extend_from_slice(b",\"input\":{}}}\n\n");
}

pub(crate) fn text_delta(out: &mut Vec<u8>, index: u64, text: &str) {
    delta(out, index, b"{\"type\":\"text_delta\",\"text\":\"", text);
}

pub(crate) fn thinking_delta(out: &mut Vec<u8>, index: u64, text: &str) {
    delta(out, index, b"{\"type\":\"thinking_delta\",\"thinking\":\"", text);
}

pub(crate) fn signature_delta(out: &mut Vec<u8>, index: u64, signature: &str) {
    delta(
        out,
        index,
        b"{\"type\":\"signature_delta\",\"signature\":\"",
        signature,
    );
}

pub(crate) fn input_delta(out: &mut Vec<u8>, index: u64, partial_json: &str) {
    delta(
        out,
        index,
        b"{\"type\":\"input_json_delta\",\"partial_json\":\"",
        partial_json,
    );
}

pub(crate) fn stop(out: &mut Vec<u8>, index: u64) {
    out.extend_from_slice(b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
    push_number(out, index);
    out.extend_from_slice(b"}\n\n");
}

pub(crate) fn message_delta(out: &mut Vec<u8>, end: &End, usage: &Usage) {
    out.extend_from_slice(b"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{");
    write_end(out, end);
    out.extend_from_slice(b"},\"usage\":{");
    write_counts(out, usage);
    out.extend_from_slice(b"}}\n\n");
}

pub(crate) fn message_stop(out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
}

fn start(out: &mut Vec<u8>, index: u64) {
    out.extend_from_slice(b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
    push_number(out, index);
    out.extend_from_slice(b",\"content_block\":");
}

fn delta(out: &mut Vec<u8>, index: u64, head: &[u8], text: &str) {
    out.extend_from_slice(b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
    push_number(out, index);
    out.extend_from_slice(b",\"delta\":");
    out.extend_from_slice(head);
    push_escaped(out, text);
    out.extend_from_slice(b"\"}}\n\n");
}
