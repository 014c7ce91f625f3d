//! Where blocks are written: as events of a stream, or as the content of one message.

use crate::anthropic::event;
use crate::anthropic::response::End;
use crate::ids::Ids;
use crate::json::{push_escaped, push_str};
use crate::reply::Reply;
use crate::usage::Usage;

use super::slot::{Closing, whole_arguments};

/// A block that begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Start<'a> {
    Thinking,
    /// Thinking that nobody can read: luggage without a text.
    Redacted {
        data: &'a str,
    },
    Text,
    Tool {
        id: &'a str,
        name: &'a str,
    },
}

/// Takes blocks one after another; the caller never opens two at once.
pub(crate) trait Sink {
    fn start(&mut self, block: Start<'_>);
    /// A piece of the open block: its text, its thinking, or its arguments.
    fn delta(&mut self, piece: &str);
    /// The signature of the open thinking block.
    fn signature(&mut self, signature: &str);
    fn stop(&mut self, closing: Closing);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Thinking,
    Redacted,
    Text,
    Tool,
}

impl From<Start<'_>> for Kind {
    fn from(start: Start<'_>) -> Self {
        match start {
            Start::Thinking => Kind::Thinking,
            Start::Redacted { .. } => Kind::Redacted,
            Start::Text => Kind::Text,
            Start::Tool { .. } => Kind::Tool,
        }
    }
}

/// Writes events.
#[derive(Debug)]
pub(crate) struct EventSink {
    /// The caller's buffer while a step runs.
    pub(crate) out: Vec<u8>,
    pub(crate) has_head: bool,
    message_id: String,
    model: String,
    estimate: u64,
    /// Blocks that were started; the open one is the last.
    blocks: u64,
    open: Option<Kind>,
}

impl EventSink {
    pub(crate) fn new(reply: &Reply, ids: &Ids) -> Self {
        EventSink {
            out: Vec::new(),
            has_head: false,
            message_id: ids.message(),
            model: reply.model().to_owned(),
            estimate: reply.estimate(),
            blocks: 0,
            open: None,
        }
    }

    pub(crate) fn head(&mut self) {
        if self.has_head {
            return;
        }
        self.has_head = true;
        let usage = Usage {
            input_tokens: self.estimate,
            ..Usage::default()
        };
        event::message_start(&mut self.out, &self.message_id, &self.model, &usage);
        event::ping(&mut self.out);
    }

    pub(crate) fn ping(&mut self) {
        event::ping(&mut self.out);
    }

    pub(crate) fn finish(&mut self, end: &End, usage: &Usage) {
        self.head();
        event::message_delta(&mut self.out, end, usage);
        event::message_stop(&mut self.out);
    }

    pub(crate) fn has_content(&self) -> bool {
        self.blocks > 0
    }

    fn index(&self) -> u64 {
        self.blocks.saturating_sub(1)
    }
}

impl Sink for EventSink {
    fn start(&mut self, block: Start<'_>) {
        self.head();
        self.blocks += 1;
        self.open = Some(block.into());
        let index = self.index();
        match block {
            Start::Thinking => event::start_thinking(&mut self.out, index),
            Start::Redacted { data } => event::start_redacted(&mut self.out, index, data),
            Start::Text => event::start_text(&mut self.out, index),
            Start::Tool { id, name } => event::start_tool(&mut self.out, index, id, name),
        }
    }

    fn delta(&mut self, piece: &str) {
        let index = self.index();
        match self.open {
            Some(Kind::Thinking) => event::thinking_delta(&mut self.out, index, piece),
            Some(Kind::Text) => event::text_delta(&mut self.out, index, piece),
            Some(Kind::Tool) => event::input_delta(&mut self.out, index, piece),
            Some(Kind::Redacted) | None => {}
        }
    }

    fn signature(&mut self, signature: &str) {
        let index = self.index();
        event::signature_delta(&mut self.out, index, signature);
    }

    fn stop(&mut self, _: Closing) {
        self.open = None;
        let index = self.index();
        event::stop(&mut self.out, index);
    }
}

/// Writes the `content` array of one message.
#[derive(Debug, Default)]
pub(crate) struct MessageSink {
    content: Vec<u8>,
    open: Option<Kind>,
    /// Arguments of the open tool block: an object must come of them, whole.
    arguments: String,
    signature: String,
}

impl MessageSink {
    /// How much was collected.
    pub(crate) fn bytes(&self) -> usize {
        self.content.len() + self.arguments.len()
    }

    /// The array, as JSON.
    pub(crate) fn content(&self) -> Vec<u8> {
        let mut array = Vec::with_capacity(self.content.len() + 2);
        array.push(b'[');
        array.extend_from_slice(&self.content);
        array.push(b']');
        array
    }
}

impl Sink for MessageSink {
    fn start(&mut self, block: Start<'_>) {
        if !self.content.is_empty() {
            self.content.push(b',');
        }
        self.open = Some(block.into());
        match block {
            Start::Thinking => self
                .content
                .extend_from_slice(b"{\"type\":\"thinking\",\"thinking\":\""),
            Start::Redacted { data } => {
                self.content
                    .extend_from_slice(b"{\"type\":\"redacted_thinking\",\"data\":");
                push_str(&mut self.content, data);
            }
            Start::Text => self.content.extend_from_slice(b"{\"type\":\"text\",\"text\":\""),
            Start::Tool { id, name } => {
                self.content.extend_from_slice(b"{\"type\":\"tool_use\",\"id\":");
                push_str(&mut self.content, id);
                self.content.extend_from_slice(b",\"name\":");
                push_str(&mut self.content, name);
                self.content.extend_from_slice(b",\"input\":");
            }
        }
    }

    fn delta(&mut self, piece: &str) {
        match self.open {
            Some(Kind::Tool) => self.arguments.push_str(piece),
            Some(Kind::Text | Kind::Thinking) => push_escaped(&mut self.content, piece),
            Some(Kind::Redacted) | None => {}
        }
    }

    fn signature(&mut self, signature: &str) {
        signature.clone_into(&mut self.signature);
    }

    fn stop(&mut self, closing: Closing) {
        match self.open.take() {
            Some(Kind::Text) => self.content.extend_from_slice(b"\",\"citations\":null}"),
            Some(Kind::Thinking) => {
                self.content.extend_from_slice(b"\",\"signature\":");
                push_str(&mut self.content, &self.signature);
                self.content.push(b'}');
            }
            Some(Kind::Redacted) => self.content.push(b'}'),
            Some(Kind::Tool) => {
                let arguments = std::mem::take(&mut self.arguments);
                self.content
                    .extend_from_slice(whole_arguments(&arguments, closing).as_bytes());
                self.content
                    .extend_from_slice(b",\"caller\":{\"type\":\"direct\"}}");
            }
            None => {}
        }
    }
}
