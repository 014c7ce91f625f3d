//! Turns what an upstream says, in whatever order, into blocks one after another.
//!
//! Invariant: at most one block is open; what cannot be written yet waits in a queue and
//! keeps its order. A tool block stays open until its arguments are one complete JSON
//! value, since nobody can be sure that a call is over before that.

use std::collections::{HashSet, VecDeque};

use serde_json::value::RawValue;

use super::sealing::Sealing;
use super::sink::{Sink, Start};
use super::slot::{Closing, Stage, whole_arguments};
use super::slots::Slots;
use crate::error::{self, UpstreamFault};
use crate::ids::{self, Ids};
use crate::loss::LossList;
use crate::openai::chunk::ToolDelta;
use crate::reply::Reply;

/// What may wait behind an unfinished call, in bytes.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Thinking,
    Text,
    Tool(usize),
}

/// What waits behind an unfinished tool block.
#[derive(Debug)]
enum Queued {
    Thinking(String),
    Text(String),
    Tool(usize),
}

#[derive(Debug)]
pub(crate) struct Blocks<S> {
    pub(super) sink: S,
    reply: Reply,
    ids: Ids,
    open: Open,
    slots: Slots,
    queue: VecDeque<Queued>,
    sent_ids: HashSet<String>,
    /// Everything that ever had to wait, which bounds what waits now, and what calls are known by.
    waited_bytes: usize,
    /// The slot that was written to last.
    last_call: usize,
    sealing: Sealing,
}

impl<S: Sink> Blocks<S> {
    pub(super) fn new(reply: Reply, ids: Ids, sink: S) -> Self {
        Blocks {
            sink,
            sealing: Sealing::new(&reply),
            reply,
            ids,
            open: Open::Nothing,
            slots: Slots::default(),
            queue: VecDeque::new(),
            sent_ids: HashSet::new(),
            waited_bytes: 0,
            last_call: 0,
        }
    }

    pub(super) fn reply(&self) -> &Reply {
        &self.reply
    }

    pub(super) fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.must_wait() {
            self.waited_bytes += text.len();
            match self.queue.back_mut() {
                Some(Queued::Text(waiting)) => waiting.push_str(text),
                Some(Queued::Thinking(_) | Queued::Tool(_)) | None => {
                    self.queue.push_back(Queued::Text(text.to_owned()))
                }
            }
            return self.advance();
        }
        self.open_prose(Open::Text, Start::Text);
        self.sink.delta(text);
    }

    pub(super) fn thinking(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.must_wait() {
            self.waited_bytes += text.len();
            match self.queue.back_mut() {
                Some(Queued::Thinking(waiting)) => waiting.push_str(text),
                Some(Queued::Text(_) | Queued::Tool(_)) | None => {
                    self.queue.push_back(Queued::Thinking(text.to_owned()))
                }
            }
            return self.advance();
        }
        self.write_thinking(text);
    }

    /// An entry of `reasoning_details`, kept for the next turn.
    pub(super) fn detail(&mut self, raw: &RawValue) {
        self.sealing.detail(raw, self.reply.rules());
    }

    /// One piece of a tool call.
    pub(super) fn tool(&mut self, delta: &ToolDelta<'_>) -> Result<(), UpstreamFault> {
        let function = delta.function.as_ref();
        let name = function
            .and_then(|function| function.name.as_deref())
            .unwrap_or_default();
        let arguments = function.map(|function| function.arguments()).unwrap_or_default();
        let n = self
            .slots
            .of_piece(delta, name, &arguments, self.reply.rules().single_tool)?;
        self.last_call = n;
        let Some(slot) = self.slots.get_mut(n) else {
            return Ok(());
        };
        if slot.id.is_none()
            && let Some(id) = delta.id.as_deref().filter(|id| !id.is_empty())
        {
            self.waited_bytes += id.len();
            slot.id = Some(id.to_owned());
        }
        if slot.name.is_empty() {
            self.waited_bytes += name.len();
            name.clone_into(&mut slot.name);
        }
        if let Some(raw) = delta.extra_content {
            self.sealing.extra(raw, slot, self.reply.rules());
        }
        self.arguments(n, &arguments)
    }

    /// Half a character was lost in the arguments that came last.
    pub(super) fn broken_arguments(&mut self) -> Result<(), UpstreamFault> {
        let slot = self.slots.get(self.last_call);
        if slot.is_some_and(|slot| slot.scan.is_in_string()) {
            self.arguments(self.last_call, "\u{fffd}")?;
        }
        Ok(())
    }

    fn arguments(&mut self, n: usize, arguments: &str) -> Result<(), UpstreamFault> {
        let Some(slot) = self.slots.get_mut(n) else {
            return Ok(());
        };
        let arguments = slot.halves.push(arguments);
        slot.scan.push(&arguments);
        match slot.stage {
            Stage::Closed if arguments.trim().is_empty() => return Ok(()),
            Stage::Closed => return Err(error::nonsense("a tool call went on after it was complete")),
            Stage::Refused => return Ok(()),
            Stage::Live { .. } => self.write_arguments(n, &arguments),
            Stage::Queued => {
                self.waited_bytes += arguments.len();
                slot.pending.push_str(&arguments);
            }
            Stage::Nameless => {
                self.waited_bytes += arguments.len();
                slot.pending.push_str(&arguments);
                if !slot.name.is_empty() {
                    slot.stage = Stage::Queued;
                    self.queue.push_back(Queued::Tool(n));
                }
            }
        }
        self.advance();
        Ok(())
    }

    /// What the client does not get: calls that it did not allow, luggage that is too large.
    pub(super) fn losses(&self) -> LossList {
        let mut losses = LossList::default();
        for (n, slot) in self.slots.iter().enumerate() {
            match slot.stage {
                Stage::Refused => {
                    losses.add(format!("tool_calls.{n}"), "the client allowed one call at a time")
                }
                Stage::Nameless => losses.add(format!("tool_calls.{n}"), "a call without a name"),
                Stage::Queued | Stage::Live { .. } | Stage::Closed => {}
            }
        }
        if self.sealing.has_left_something() {
            losses.add("reasoning_details", "too large to travel with the client");
        }
        losses
    }

    /// No less than what waits.
    pub(super) fn waited_bytes(&self) -> usize {
        self.waited_bytes
    }

    /// Fails when a server makes us keep more than an answer can hold.
    pub(super) fn check_limits(&self) -> Result<(), UpstreamFault> {
        if self.waited_bytes > WAITING_BYTES_MAX {
            return Err(error::nonsense(
                "too much of the answer has to be kept for its tool calls",
            ));
        }
        Ok(())
    }

    /// An empty delta of the open block. If none is open, one is opened for it.
    pub(super) fn empty_delta(&mut self) {
        if self.open == Open::Nothing {
            if self.reply.rules().shows_thinking {
                self.open_prose(Open::Thinking, Start::Thinking);
            } else {
                self.open_prose(Open::Text, Start::Text);
            }
        }
        self.sink.delta("");
    }

    /// Writes what waits and closes what is open. Fails if calls came and none had a name.
    pub(super) fn finish(&mut self, closing: Closing) -> Result<(), UpstreamFault> {
        let is_empty = self.open == Open::Nothing && self.queue.is_empty() && self.sent_ids.is_empty();
        if is_empty && self.slots.iter().any(|slot| slot.stage == Stage::Nameless) {
            return Err(error::nonsense("a tool call without a name"));
        }
        while let Some(next) = self.queue.pop_front() {
            self.write_queued(next);
        }
        self.close(closing);
        self.write_luggage();
        Ok(())
    }

    /// Whether a tool block was, or will be, written.
    pub(super) fn has_tools(&self) -> bool {
        self.slots
            .iter()
            .any(|slot| !matches!(slot.stage, Stage::Nameless | Stage::Refused))
    }

    /// Nothing may overtake an unfinished call or what already waits.
    fn must_wait(&self) -> bool {
        !self.queue.is_empty() || self.is_tool_unfinished()
    }

    fn is_tool_unfinished(&self) -> bool {
        match self.open {
            Open::Tool(n) => self.slots.get(n).is_some_and(|slot| !slot.scan.is_complete()),
            Open::Nothing | Open::Thinking | Open::Text => false,
        }
    }

    fn advance(&mut self) {
        while !self.is_tool_unfinished() {
            let Some(next) = self.queue.pop_front() else {
                return;
            };
            self.write_queued(next);
        }
    }

    fn write_queued(&mut self, next: Queued) {
        match next {
            Queued::Thinking(text) => self.write_thinking(&text),
            Queued::Text(text) => {
                self.open_prose(Open::Text, Start::Text);
                self.sink.delta(&text);
            }
            Queued::Tool(n) => self.open_tool(n),
        }
    }

    fn open_prose(&mut self, kind: Open, start: Start<'_>) {
        if self.open == kind {
            return;
        }
        self.close(Closing::Whole);
        // A thinking block takes waiting luggage along.
        if kind != Open::Thinking {
            self.write_luggage();
        }
        self.sink.start(start);
        self.open = kind;
    }

    fn write_thinking(&mut self, text: &str) {
        self.open_prose(Open::Thinking, Start::Thinking);
        self.sealing.thinking(text);
        self.sink.delta(text);
    }

    /// Luggage without thinking travels in a block of its own.
    fn write_luggage(&mut self) {
        if !self.sealing.has_luggage() {
            return;
        }
        let data = self.sealing.sign(&self.reply);
        self.sink.start(Start::Redacted { data: &data });
        self.sink.stop(Closing::Whole);
    }

    fn open_tool(&mut self, n: usize) {
        let Some(slot) = self.slots.get_mut(n) else { return };
        let id = match slot.id.as_deref() {
            Some(id) if ids::is_well_formed(id) && !self.reply.is_used(id) && !self.sent_ids.contains(id) => {
                id.to_owned()
            }
            Some(_) | None => self.ids.tool_use(),
        };
        self.sealing.begin_call(&id, slot);
        self.close(Closing::Whole);
        self.write_luggage();
        let Some(slot) = self.slots.get_mut(n) else { return };
        slot.stage = Stage::Live { has_written: false };
        let pending = std::mem::take(&mut slot.pending);
        let name = self.reply.client_name(&slot.name);
        self.sink.start(Start::Tool { id: &id, name });
        self.sent_ids.insert(id);
        self.open = Open::Tool(n);
        self.write_arguments(n, &pending);
    }

    fn write_arguments(&mut self, n: usize, arguments: &str) {
        if arguments.is_empty() {
            return;
        }
        let is_buffered = self.reply.rules().buffers_tool_args;
        let Some(slot) = self.slots.get_mut(n) else { return };
        if is_buffered {
            self.waited_bytes += arguments.len();
            slot.pending.push_str(arguments);
            return;
        }
        slot.stage = Stage::Live { has_written: true };
        self.sink.delta(arguments);
    }

    fn close(&mut self, closing: Closing) {
        match std::mem::replace(&mut self.open, Open::Nothing) {
            Open::Nothing => return,
            Open::Text => {}
            Open::Thinking => {
                let signature = self.sealing.sign(&self.reply);
                self.sink.signature(&signature);
            }
            Open::Tool(n) => {
                let Some(slot) = self.slots.get_mut(n) else { return };
                let held = slot.halves.finish();
                self.write_arguments(n, &held);
                let Some(slot) = self.slots.get_mut(n) else { return };
                if slot.stage != (Stage::Live { has_written: true }) {
                    // A call without arguments still needs an object.
                    self.sink.delta(&whole_arguments(&slot.pending, closing));
                }
                slot.pending = String::new();
                slot.stage = Stage::Closed;
            }
        }
        self.sink.stop(closing);
    }
}
