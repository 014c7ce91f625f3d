//! What an answer costs: the upstream's last figures, or what was written, for an estimate.

use crate::estimate;
use crate::openai::chunk::Chunk;
use crate::reply::Reply;
use crate::usage::Usage;

/// Output beyond this is not kept for estimating tokens, in bytes.
const EMITTED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The figures of one answer.
#[derive(Debug, Default)]
pub(super) struct Meter {
    told: Option<Usage>,
    /// Everything the model wrote, as long as the upstream counts nothing.
    emitted: String,
}

impl Meter {
    /// What a chunk says of the cost. Later figures replace earlier ones.
    pub(super) fn read(&mut self, chunk: &Chunk<'_>, prompt_includes_cache: bool) {
        let in_choice = chunk
            .choices
            .first
            .as_ref()
            .and_then(|choice| choice.usage.as_deref());
        let in_groq = chunk.x_groq.as_ref().and_then(|groq| groq.usage.as_ref());
        let found = [chunk.usage.as_deref(), in_choice, in_groq]
            .into_iter()
            .flatten()
            .find_map(|usage| usage.read(prompt_includes_cache));
        let found = found.or_else(|| chunk.timings.as_ref().filter(|_| self.told.is_none())?.read());
        self.told = found.or(self.told);
    }

    /// More of what the model wrote.
    pub(super) fn remember(&mut self, text: &str) {
        if self.told.is_none() && self.emitted.len() + text.len() <= EMITTED_BYTES_MAX {
            self.emitted.push_str(text);
        }
    }

    /// The upstream's figures, else our own.
    pub(super) fn usage(&self, reply: &Reply) -> Usage {
        self.told.unwrap_or_else(|| {
            let rules = reply.rules();
            Usage {
                input_tokens: reply.estimate(),
                output_tokens: estimate::text(rules.tokenizer, rules.token_factor, &self.emitted),
                is_estimated: true,
                ..Usage::default()
            }
        })
    }
}
