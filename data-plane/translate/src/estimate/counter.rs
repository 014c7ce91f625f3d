//! Counts the tokens of texts, exactly as far as that is cheap.

use tiktoken_rs::{cl100k_base_singleton, o200k_base_singleton};

use crate::dialect::Tokenizer;

/// For estimates by length alone.
pub(super) const BYTES_PER_TOKEN: usize = 4;
/// What is run through the tokenizer at most. Behind it, texts go on as they were so far:
/// no prompt that fits into a window is longer, and a client that sends more shall not buy
/// seconds of work with it.
const TOKENISED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Texts of one request, one after another.
#[derive(Debug)]
pub(super) struct Counter {
    tokenizer: Tokenizer,
    tokens: u64,
    tokenised_bytes: usize,
    other_bytes: usize,
}

impl Counter {
    pub(super) fn new(tokenizer: Tokenizer) -> Self {
        Counter {
            tokenizer,
            tokens: 0,
            tokenised_bytes: 0,
            other_bytes: 0,
        }
    }

    pub(super) fn add(&mut self, text: &str) {
        let room = TOKENISED_BYTES_MAX - self.tokenised_bytes;
        let (near, far) = text.split_at(text.floor_char_boundary(room));
        self.tokens += tokens(self.tokenizer, near);
        self.tokenised_bytes += near.len();
        self.other_bytes += far.len();
    }

    pub(super) fn tokens(&self) -> u64 {
        if self.other_bytes == 0 {
            return self.tokens;
        }
        let per_byte = self.tokens as f64 / self.tokenised_bytes.max(1) as f64;
        self.tokens + (self.other_bytes as f64 * per_byte).ceil() as u64
    }
}

/// Makes the tables of the usual tokenizer, which takes a while.
pub(super) fn load() {
    o200k_base_singleton();
}

fn tokens(tokenizer: Tokenizer, text: &str) -> u64 {
    let tokens = match tokenizer {
        Tokenizer::O200k | Tokenizer::Upstream => o200k_base_singleton().count_ordinary(text),
        Tokenizer::Cl100k => cl100k_base_singleton().count_ordinary(text),
        Tokenizer::Bytes => text.len().div_ceil(BYTES_PER_TOKEN),
    };
    tokens as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_very_long_goes_on_as_it_began() {
        let mut counter = Counter::new(Tokenizer::Bytes);
        let mut before = 0;
        for _ in 0..3 {
            counter.add(&"\u{4e2d}".repeat(TOKENISED_BYTES_MAX / 6 + 1));
            assert!(counter.tokens() > before, "more text is never fewer tokens");
            before = counter.tokens();
        }
        assert!(counter.tokenised_bytes <= TOKENISED_BYTES_MAX);
        let bytes = counter.tokenised_bytes + counter.other_bytes;
        assert!(counter.tokens().abs_diff((bytes / BYTES_PER_TOKEN) as u64) < 4);
    }
}
