//! Servers that people run themselves.

use crate::dialect::knobs::{
    Dialect, Effort, Reasoning, ReasoningBack, ReasoningField, Tokenizer, ToolChoiceAny, ToolChoiceNamed,
    ToolResultImages,
};

use super::generic::generic;

pub(super) fn vllm() -> Dialect {
    Dialect {
        reasoning: Reasoning::Template,
        reasoning_back: ReasoningBack::ToolTurns,
        reasoning_field: ReasoningField::Reasoning,
        first_must_be_user: true,
        tool_result_images: ToolResultImages::Inline,
        top_k: true,
        tokenizer: Tokenizer::Upstream,
        ..generic()
    }
}

pub(super) fn sglang() -> Dialect {
    Dialect {
        reasoning_field: ReasoningField::ReasoningContent,
        tokenizer: Tokenizer::O200k,
        ..vllm()
    }
}

pub(super) fn llama_cpp() -> Dialect {
    Dialect {
        reasoning: Reasoning::Template,
        first_must_be_user: true,
        tool_choice_named: ToolChoiceNamed::Required,
        top_k: true,
        tokenizer: Tokenizer::Upstream,
        ..generic()
    }
}

pub(super) fn ollama() -> Dialect {
    Dialect {
        reasoning: Reasoning::Ollama,
        efforts: vec![Effort::None, Effort::Low, Effort::Medium, Effort::High],
        tool_choice_any: ToolChoiceAny::Auto,
        ..generic()
    }
}
