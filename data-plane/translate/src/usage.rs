//! Token usage: the upstream's many spellings in, one meaning out.
//!
//! `input_tokens` is the uncached part only: clients add the three input figures up
//! for the size of the context.

use serde::{Deserialize, Deserializer};

use crate::json::lenient;

/// What one answer cost, in Anthropic's terms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Uncached prompt tokens.
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cache_read_input_tokens: u64,
    pub cache_creation_input_tokens: u64,
    /// Reasoning tokens, which `output_tokens` contains.
    pub thinking_tokens: u64,
    /// Searches that the upstream was asked to make.
    pub web_searches: u64,
    /// The upstream gave no figures; these are our own.
    pub is_estimated: bool,
}

impl Usage {
    /// All tokens of the prompt, cached or not.
    pub fn prompt_tokens(&self) -> u64 {
        self.input_tokens
            .saturating_add(self.cache_read_input_tokens)
            .saturating_add(self.cache_creation_input_tokens)
    }
}

/// A count that may come as float, string, null or nonsense.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Count(u64);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        lenient::count(deserializer).map(Count)
    }
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct PromptDetails {
    cached_tokens: Count,
    cache_write_tokens: Count,
    cache_creation_input_tokens: Count,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct CompletionDetails {
    reasoning_tokens: Count,
}

/// `usage` as upstreams write it.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct UpstreamUsage {
    prompt_tokens: Count,
    completion_tokens: Count,
    total_tokens: Count,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    prompt_cache_hit_tokens: Count,
    cached_tokens: Count,
}

/// llama.cpp's `timings`, second choice where `usage` is missing.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Timings {
    prompt_n: Count,
    cache_n: Count,
    predicted_n: Count,
}

impl UpstreamUsage {
    /// The figures in Anthropic's terms; none if the object holds no figure at all.
    pub(crate) fn read(&self, prompt_includes_cache: bool) -> Option<Usage> {
        let prompt = self.prompt_tokens.0;
        let completion = self.completion_tokens.0;
        if prompt == 0 && completion == 0 {
            return None;
        }
        let details = self.prompt_tokens_details.unwrap_or_default();
        let read = first(&[
            details.cached_tokens,
            self.prompt_cache_hit_tokens,
            self.cached_tokens,
        ]);
        let written = first(&[details.cache_write_tokens, details.cache_creation_input_tokens]);
        let reasoning = self
            .completion_tokens_details
            .unwrap_or_default()
            .reasoning_tokens
            .0;
        let apart = reasoning > 0
            && self.total_tokens.0 == prompt.saturating_add(completion).saturating_add(reasoning);
        Some(Usage {
            input_tokens: if prompt_includes_cache {
                prompt.saturating_sub(read).saturating_sub(written)
            } else {
                prompt
            },
            output_tokens: if apart {
                completion.saturating_add(reasoning)
            } else {
                completion
            },
            cache_read_input_tokens: read,
            cache_creation_input_tokens: written,
            thinking_tokens: reasoning,
            web_searches: 0,
            is_estimated: false,
        })
    }
}

/// The first count that says something.
fn first(counts: &[Count]) -> u64 {
    counts.iter().map(|count| count.0).find(|n| *n > 0).unwrap_or(0)
}

impl Timings {
    /// The figures in Anthropic's terms; none if nothing was predicted.
    pub(crate) fn read(&self) -> Option<Usage> {
        (self.predicted_n.0 > 0).then_some(Usage {
            input_tokens: self.prompt_n.0,
            output_tokens: self.predicted_n.0,
            cache_read_input_tokens: self.cache_n.0,
            ..Usage::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, input: u64, read: u64, written: u64, output: u64) {
        let usage = serde_json::from_str::<UpstreamUsage>(json)
            .unwrap()
            .read(true)
            .unwrap();
        let got = (
            usage.input_tokens,
            usage.cache_read_input_tokens,
            usage.cache_creation_input_tokens,
            usage.output_tokens,
        );
        assert_eq!(got, (input, read, written, output), "{json}");
    }

    #[test]
    fn u01_to_u04_cached_written_and_reasoning_tokens() {
        check(r#"{"prompt_tokens":100,"completion_tokens":20}"#, 100, 0, 0, 20);
        check(
            r#"{"prompt_tokens":100,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":64}}"#,
            36,
            64,
            0,
            20,
        );
        check(
            r#"{"prompt_tokens":100,"completion_tokens":20,"prompt_cache_hit_tokens":70}"#,
            30,
            70,
            0,
            20,
        );
        check(
            r#"{"prompt_tokens":100,"completion_tokens":20,"cached_tokens":50}"#,
            50,
            50,
            0,
            20,
        );
        check(
            r#"{"prompt_tokens":100,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":25}}"#,
            35,
            40,
            25,
            20,
        );
        check(
            r#"{"prompt_tokens":100,"completion_tokens":20,"prompt_tokens_details":{"cache_creation_input_tokens":90}}"#,
            10,
            0,
            90,
            20,
        );
        check(
            r#"{"prompt_tokens":100,"completion_tokens":20,"total_tokens":120,"completion_tokens_details":{"reasoning_tokens":12}}"#,
            100,
            0,
            0,
            20,
        );
        check(
            r#"{"prompt_tokens":100,"completion_tokens":20,"total_tokens":150,"completion_tokens_details":{"reasoning_tokens":30}}"#,
            100,
            0,
            0,
            50,
        );
    }

    #[test]
    fn odd_numbers_count_as_none() {
        check(
            r#"{"prompt_tokens":9.6,"completion_tokens":-3,"total_tokens":"x","prompt_tokens_details":null}"#,
            10,
            0,
            0,
            0,
        );
        check(
            r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":50}}"#,
            0,
            50,
            0,
            1,
        );
        assert!(
            serde_json::from_str::<UpstreamUsage>("{}")
                .unwrap()
                .read(true)
                .is_none()
        );
    }
}
