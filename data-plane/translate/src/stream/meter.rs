//! What an answer costs: the upstream's last figures, or what was written, for an estimate.

use crate::dialect::Tokenizer;
use crate::estimate;
use crate::openai::chunk::Chunk;
use crate::reply::Reply;
use crate::usage::Usage;

/// The beginning of an answer that is kept for estimating its tokens: an open stream must
/// not cost more memory the longer it lasts, nor its end more time. The rest counts like it.
const SAMPLE_BYTES_MAX: usize = 32 * 1024;

/// The figures of one answer.
#[derive(Debug, Default)]
pub(super) struct Meter {
    told: Option<Usage>,
    /// How what the model wrote begins, as long as the upstream counts nothing.
    sample: String,
    /// All that it wrote until then.
    emitted_bytes: usize,
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
        if self.told.is_some() {
            return;
        }
        self.emitted_bytes += text.len();
        let room = SAMPLE_BYTES_MAX.saturating_sub(self.sample.len());
        self.sample.push_str(&text[..text.floor_char_boundary(room)]);
    }

    /// The upstream's figures, else our own.
    pub(super) fn usage(&self, reply: &Reply) -> Usage {
        self.told.unwrap_or_else(|| {
            let rules = reply.rules();
            Usage {
                input_tokens: reply.estimate(),
                output_tokens: self.estimate(rules.tokenizer, rules.token_factor),
                is_estimated: true,
                ..Usage::default()
            }
        })
    }

    fn estimate(&self, tokenizer: Tokenizer, factor: f64) -> u64 {
        let tokens = estimate::text(tokenizer, factor, &self.sample);
        if self.sample.is_empty() {
            return tokens;
        }
        let all = tokens as f64 * self.emitted_bytes as f64 / self.sample.len() as f64;
        all.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(text: &str, times: usize) -> (u64, usize) {
        let mut meter = Meter::default();
        (0..times).for_each(|_| meter.remember(text));
        (meter.estimate(Tokenizer::O200k, 1.0), meter.sample.len())
    }

    #[test]
    fn a_long_answer_is_estimated_by_its_beginning() {
        const TEXT: &str = "Ein kürzer Satz, 一句短话。 ";
        let (short, _) = estimate(TEXT, 100);
        let (long, kept_bytes) = estimate(TEXT, 100_000);
        assert!(kept_bytes <= SAMPLE_BYTES_MAX);
        let ratio = long as f64 / short as f64;
        assert!((990.0..1010.0).contains(&ratio), "{short} and {long}");
    }

    #[test]
    fn one_huge_piece_is_cut_between_characters() {
        let text = "语".repeat(SAMPLE_BYTES_MAX);
        let (tokens, kept_bytes) = estimate(&text, 1);
        assert!(kept_bytes > SAMPLE_BYTES_MAX - 4 && kept_bytes <= SAMPLE_BYTES_MAX);
        assert!(tokens > 1000, "{tokens}");
    }

    #[test]
    fn nothing_written_is_the_least_there_is() {
        assert_eq!(estimate("", 3).0, 1);
    }
}
