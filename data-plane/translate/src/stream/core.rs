//! The machine behind streams and whole answers: chunks in, blocks out.
//!
//! Knows what was said, and decides what an end means.

use crate::anthropic::response::{Answer, End};
use crate::error::{self, UpstreamFault};
use crate::ids::Ids;
use crate::loss::LossList;
use crate::openai::chunk::{Chunk, Delta, Parts, ReasoningDetail, ToolDelta};
use crate::reply::Reply;
use crate::usage::Usage;

use super::blocks::Blocks;
use super::citations::Citations;
use super::echo::Echo;
use super::ending::Ending;
use super::meter::Meter;
use super::sink::{MessageSink, Sink};
use super::snapshots::Snapshots;
use super::think::{Piece, Think};

/// Thinking between tags that may have to be given out as the answer, in bytes.
const UNCLOSED_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Debug)]
pub(crate) struct Core<S> {
    blocks: Blocks<S>,
    texts: Snapshots,
    thoughts: Snapshots,
    echo: Echo,
    think: Think,
    message_id: String,
    meter: Meter,
    citations: Citations,
    ending: Ending,
    outcome: Outcome,
}

/// What was seen on the way, as far as the end depends on it.
#[derive(Debug, Default)]
struct Outcome {
    has_text: bool,
    has_content: bool,
    last: Last,
}

/// What the last piece of the answer was.
#[derive(Debug, Clone, Copy, Default)]
enum Last {
    #[default]
    Text,
    Thinking,
    Arguments,
}

impl<S: Sink> Core<S> {
    pub(crate) fn new(reply: Reply, ids: Ids, sink: S) -> Self {
        Core {
            texts: Snapshots::default(),
            thoughts: Snapshots::default(),
            echo: Echo::new(reply.shared().prefill.as_deref()),
            think: Think::new(reply.rules().think_tags),
            message_id: ids.message(),
            blocks: Blocks::new(reply, ids, sink),
            meter: Meter::default(),
            citations: Citations::default(),
            ending: Ending::default(),
            outcome: Outcome::default(),
        }
    }

    pub(crate) fn sink(&self) -> &S {
        &self.blocks.sink
    }

    pub(crate) fn sink_mut(&mut self) -> &mut S {
        &mut self.blocks.sink
    }

    pub(crate) fn reply(&self) -> &Reply {
        self.blocks.reply()
    }

    pub(crate) fn has_finish(&self) -> bool {
        self.ending.is_named()
    }

    pub(crate) fn has_content(&self) -> bool {
        self.outcome.has_content
    }

    /// What the client does not get.
    pub(crate) fn losses(&self) -> LossList {
        self.blocks.losses()
    }

    pub(crate) fn empty_delta(&mut self) {
        self.blocks.empty_delta();
    }

    /// The other half of the last character never came.
    pub(crate) fn broken_character(&mut self) -> Result<(), UpstreamFault> {
        match self.outcome.last {
            Last::Text => {
                self.release_text();
                self.text("\u{fffd}");
            }
            Last::Thinking => {
                self.release_thinking();
                self.thinking("\u{fffd}");
            }
            Last::Arguments => return self.blocks.broken_arguments(),
        }
        Ok(())
    }

    /// One chunk: reasoning first, then text, then tools, as a server that puts several
    /// into one chunk means them.
    pub(crate) fn chunk(&mut self, chunk: Chunk<'_>) -> Result<(), UpstreamFault> {
        let includes_cache = self.reply().rules().prompt_includes_cache;
        self.meter.read(&chunk, includes_cache);
        let Some(mut choice) = chunk.into_choice() else {
            return Ok(());
        };
        let delta = choice.take_delta();
        self.reasoning(&delta);
        self.content(&delta);
        if self.reply().shared().searches {
            delta
                .annotations
                .0
                .iter()
                .for_each(|annotation| self.citations.take(annotation));
        }
        self.tools(&delta)?;
        self.blocks.check_limits()?;
        if self.think.held_bytes() > UNCLOSED_BYTES_MAX {
            return Err(error::nonsense("a think tag that never closes"));
        }
        self.ending.read(&choice, self.blocks.reply())
    }

    /// Memory for pieces of the answer that wait, and for what later pieces are compared with.
    pub(crate) fn held_bytes(&self) -> usize {
        let compared = self.texts.kept_bytes() + self.thoughts.kept_bytes();
        self.blocks.waited_bytes() + self.think.held_bytes() + compared
    }

    /// The upstream said that it is done.
    pub(crate) fn done(&self) -> Result<(), UpstreamFault> {
        if !self.ending.is_named() && !self.outcome.has_content {
            return Err(error::nonsense("empty response"));
        }
        Ok(())
    }

    /// Whether an end of the body without `[DONE]` is a good end.
    pub(crate) fn may_end_without_done(&self) -> bool {
        self.ending.is_named() || (self.outcome.has_content && self.reply().rules().eof_is_end)
    }

    /// Writes what is left and tells how it ended.
    pub(crate) fn end(&mut self) -> Result<(End, Usage), UpstreamFault> {
        if let Some(answer) = self
            .flush_text()
            .filter(|_| !self.outcome.has_text && !self.blocks.has_tools())
        {
            // Everything was "thinking": then it was the answer.
            self.blocks.text(&answer);
        }
        if let Some(sources) = self.citations.sources() {
            self.blocks.text(&sources);
        }
        self.blocks.finish(self.ending.closing())?;
        let mut usage = self.usage();
        usage.web_searches = self.reply().shared().searches.into();
        let end = self.ending.tell(self.blocks.has_tools(), self.blocks.reply());
        Ok((end, usage))
    }

    /// The upstream's figures, else our own.
    pub(crate) fn usage(&self) -> Usage {
        self.meter.usage(self.reply())
    }

    fn reasoning(&mut self, delta: &Delta<'_>) {
        let Delta {
            reasoning_content,
            reasoning,
            reasoning_details,
            content,
            ..
        } = delta;
        if let Some(text) = [reasoning_content.text(), reasoning.text()]
            .into_iter()
            .find(|text| !text.is_empty())
        {
            self.release_text();
            let new = if delta.is_whole {
                self.thoughts.whole(text)
            } else {
                self.thoughts.piece(text)
            };
            self.thinking(&new);
        } else {
            for text in reasoning_details
                .0
                .iter()
                .copied()
                .filter_map(ReasoningDetail::read)
            {
                self.thinking(&text);
            }
        }
        for detail in &reasoning_details.0 {
            self.blocks.detail(detail);
        }
        if let Parts::List(parts) = content {
            for part in parts {
                match &part.thinking {
                    Parts::Text(text) => self.thinking(text),
                    Parts::List(inner) => {
                        inner
                            .iter()
                            .for_each(|part| self.thinking(part.text.as_deref().unwrap_or_default()));
                    }
                    Parts::Absent => {}
                }
            }
        }
    }

    fn content(&mut self, delta: &Delta<'_>) {
        match &delta.content {
            Parts::Absent => {}
            Parts::Text(text) if text.is_empty() => {}
            Parts::Text(text) => {
                self.release_thinking();
                let new = if delta.is_whole {
                    self.texts.whole(text)
                } else {
                    self.texts.piece(text)
                };
                self.text(&new);
            }
            Parts::List(parts) => {
                let texts = parts
                    .iter()
                    .filter(|part| part.kind.as_deref().is_none_or(|kind| kind == "text"));
                texts.for_each(|part| self.text(part.text.as_deref().unwrap_or_default()));
            }
        }
        if let Some(refusal) = delta.refusal.as_deref().filter(|refusal| !refusal.is_empty()) {
            self.ending.refuse(refusal);
            self.text(refusal);
        }
    }

    fn tools(&mut self, delta: &Delta<'_>) -> Result<(), UpstreamFault> {
        // A whole message at the end repeats the calls that came in pieces.
        if delta.is_whole && self.blocks.has_tools() {
            return Ok(());
        }
        if !delta.tool_calls.0.is_empty() || delta.function_call.is_some() {
            self.flush_text();
        }
        for call in &delta.tool_calls.0 {
            self.tool(call)?;
        }
        // The legacy form: one call, never an id.
        if let (Some(function), true) = (&delta.function_call, delta.tool_calls.0.is_empty()) {
            let call = ToolDelta {
                index: Some(0),
                id: None,
                function: Some(function.clone()),
                extra_content: None,
            };
            self.tool(&call)?;
        }
        Ok(())
    }

    fn tool(&mut self, call: &ToolDelta<'_>) -> Result<(), UpstreamFault> {
        self.outcome.has_content = true;
        self.outcome.last = Last::Arguments;
        if let Some(function) = &call.function {
            self.meter.remember(function.name.as_deref().unwrap_or_default());
            self.meter.remember(&function.arguments());
        }
        self.blocks.tool(call)
    }

    /// Reasoning whose chunk was not sure to be new.
    fn release_thinking(&mut self) {
        if let Some(waiting) = self.thoughts.flush() {
            self.thinking(&waiting);
        }
    }

    /// The same for text.
    fn release_text(&mut self) {
        if let Some(waiting) = self.texts.flush() {
            self.text(&waiting);
        }
    }

    fn thinking(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.outcome.has_content = true;
        self.outcome.last = Last::Thinking;
        self.meter.remember(text);
        if self.reply().rules().shows_thinking {
            self.blocks.thinking(text);
        }
    }

    fn text(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        self.outcome.has_content = true;
        self.outcome.last = Last::Text;
        self.meter.remember(text);
        if self.echo.is_decided() {
            return self.tagged_text(text);
        }
        if let Some(text) = self.echo.push(text) {
            self.tagged_text(&text);
        }
    }

    fn tagged_text(&mut self, text: &str) {
        let Core {
            think,
            blocks,
            outcome,
            ..
        } = self;
        think.push(text, &mut |piece| write_piece(blocks, outcome, piece));
    }

    /// Text that was held back comes out, before a tool or the end. Gives back thinking
    /// whose closing tag never came.
    fn flush_text(&mut self) -> Option<String> {
        self.release_thinking();
        self.release_text();
        if let Some(held) = self.echo.finish() {
            self.tagged_text(&held);
        }
        let Core {
            think,
            blocks,
            outcome,
            ..
        } = self;
        think.finish(&mut |piece| write_piece(blocks, outcome, piece))
    }
}

impl Core<MessageSink> {
    pub(crate) fn into_answer(mut self) -> Result<Answer, UpstreamFault> {
        let (end, usage) = self.end()?;
        Ok(self.write_answer(&end, usage))
    }

    pub(crate) fn write_answer(&self, end: &End, usage: Usage) -> Answer {
        let content = self.sink().content();
        Answer {
            losses: self.losses(),
            ..Answer::new(&self.message_id, self.reply().model(), &content, end, usage)
        }
    }
}

fn write_piece<S: Sink>(blocks: &mut Blocks<S>, outcome: &mut Outcome, piece: Piece<'_>) {
    match piece {
        Piece::Thinking(text) if blocks.reply().rules().shows_thinking => blocks.thinking(text),
        Piece::Thinking(_) => {}
        Piece::Text(text) => {
            outcome.has_text = true;
            blocks.text(text);
        }
    }
}
