//! Why an answer ended: one table for plain answers and streams.

/// Anthropic's stop reasons, as far as this crate produces them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    EndTurn,
    MaxTokens,
    StopSequence,
    ToolUse,
    Refusal,
    ModelContextWindowExceeded,
}

/// What a finish reason of the upstream means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// The answer ended; the content decides between `end_turn` and `tool_use`.
    ByContent,
    Stop(StopReason),
    /// Not an end but a failure.
    Failed,
    /// A failure for want of capacity.
    Overloaded,
}

impl StopReason {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            StopReason::EndTurn => "end_turn",
            StopReason::MaxTokens => "max_tokens",
            StopReason::StopSequence => "stop_sequence",
            StopReason::ToolUse => "tool_use",
            StopReason::Refusal => "refusal",
            StopReason::ModelContextWindowExceeded => "model_context_window_exceeded",
        }
    }
}

impl Finish {
    /// Reads a finish reason, in any case.
    pub(crate) fn read(reason: &str) -> Finish {
        match reason.to_ascii_lowercase().as_str() {
            "length" | "max_tokens" | "max_output_tokens" => Finish::Stop(StopReason::MaxTokens),
            "model_length" | "context_length_exceeded" | "model_context_window_exceeded" => {
                Finish::Stop(StopReason::ModelContextWindowExceeded)
            }
            "stop_sequence" => Finish::Stop(StopReason::StopSequence),
            "content_filter" | "sensitive" | "safety" | "recitation" | "blocked" | "blocklist" | "spii"
            | "prohibited_content" | "refusal" => Finish::Stop(StopReason::Refusal),
            "error"
            | "abort"
            | "cancelled"
            | "network_error"
            | "malformed_function_call"
            | "unexpected_tool_call" => Finish::Failed,
            "insufficient_system_resource" | "engine_overloaded" => Finish::Overloaded,
            // `stop`, `tool_calls` and whatever a server makes up: what was sent tells more than the word.
            _ => Finish::ByContent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_have_their_row() {
        let rows = [
            ("stop", Finish::ByContent),
            ("tool_calls", Finish::ByContent),
            ("length", Finish::Stop(StopReason::MaxTokens)),
            (
                "model_length",
                Finish::Stop(StopReason::ModelContextWindowExceeded),
            ),
            ("SAFETY", Finish::Stop(StopReason::Refusal)),
            ("MAX_TOKENS", Finish::Stop(StopReason::MaxTokens)),
            ("stop_sequence", Finish::Stop(StopReason::StopSequence)),
            ("eos_token", Finish::ByContent),
            ("", Finish::ByContent),
            ("network_error", Finish::Failed),
            ("insufficient_system_resource", Finish::Overloaded),
            ("banana", Finish::ByContent),
        ];
        for (word, finish) in rows {
            assert_eq!(Finish::read(word), finish, "{word}");
        }
    }
}
