//! Providers that one buys from.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::dialect::knobs::{
    CacheControl, Dialect, Effort, MaxTokensField, MidSystem, NullContent, Param, Pdf, Prefill, PrefillFlag,
    Reasoning, ReasoningBack, ReasoningDetails, SchemaLevel, SystemRole, ThinkTags, ToolChoiceAny,
    ToolChoiceNamed, ToolChoiceThinking, ToolExtra, ToolIdFormat, UserAfterTool,
};

use super::generic::generic;

/// OpenAI takes at most four stop sequences and 128 tools.
const OPENAI_STOPS: u32 = 4;
const OPENAI_TOOLS: u32 = 128;
/// Tokens of a model for one of o200k, between prose and a coding agent's request (figures in the README).
const OPENAI_TOKENS: f64 = 1.0;
const QWEN_TOKENS: f64 = 1.1;
const MISTRAL_TOKENS: f64 = 1.15;
const GEMINI_TOKENS: f64 = 1.2;
/// Gemini takes at most five stop sequences.
const GEMINI_STOPS: u32 = 5;

pub(super) fn openai() -> Dialect {
    Dialect {
        mid_system: MidSystem::System,
        pdf: Pdf::File,
        max_stop: Some(OPENAI_STOPS),
        max_tools: Some(OPENAI_TOOLS),
        parallel_tool_calls: true,
        service_tier: true,
        token_factor: OPENAI_TOKENS,
        web_search_body: fields([("web_search_options", Value::Object(Map::new()))]),
        ..generic()
    }
}

pub(super) fn openai_reasoning() -> Dialect {
    Dialect {
        system_role: SystemRole::Developer,
        mid_system: MidSystem::Developer,
        max_tokens_field: MaxTokensField::MaxCompletionTokens,
        drop_params: vec![Param::Temperature, Param::TopP, Param::Stop],
        reasoning: Reasoning::OpenaiEffort,
        efforts: vec![
            Effort::None,
            Effort::Low,
            Effort::Medium,
            Effort::High,
            Effort::Xhigh,
        ],
        tools_force_effort: Some(Effort::None),
        parallel_tool_calls: false,
        prefill: Prefill::Reject,
        ..openai()
    }
}

pub(super) fn azure_openai() -> Dialect {
    Dialect {
        service_tier: false,
        ..openai()
    }
}

/// Anthropic's own API: what passes through it unchanged is no loss.
pub(super) fn anthropic() -> Dialect {
    Dialect {
        mid_system: MidSystem::System,
        strip_billing_header: false,
        cache_control: CacheControl::Passthrough,
        pdf: Pdf::File,
        top_k: true,
        ..generic()
    }
}

pub(super) fn qwen() -> Dialect {
    Dialect {
        reasoning: Reasoning::Qwen,
        force_stream: true,
        cache_control: CacheControl::Passthrough,
        tool_choice_any: ToolChoiceAny::Auto,
        tool_choice_thinking: ToolChoiceThinking::ThinkingOff,
        top_k: true,
        prefill: Prefill::Continue,
        prefill_flag: PrefillFlag::Partial,
        token_factor: QWEN_TOKENS,
        web_search_body: fields([("enable_search", Value::Bool(true))]),
        ..generic()
    }
}

pub(super) fn modelscope() -> Dialect {
    Dialect {
        reasoning: Reasoning::Qwen,
        force_stream: true,
        token_factor: QWEN_TOKENS,
        ..generic()
    }
}

pub(super) fn deepseek() -> Dialect {
    Dialect {
        reasoning: Reasoning::Deepseek,
        reasoning_back: ReasoningBack::Always,
        drop_params_thinking: vec![Param::Temperature, Param::TopP],
        mid_system: MidSystem::System,
        vision: false,
        tool_choice_named: ToolChoiceNamed::Auto,
        tool_choice_thinking: ToolChoiceThinking::ThinkingOff,
        ..generic()
    }
}

pub(super) fn deepseek_r1() -> Dialect {
    Dialect {
        reasoning: Reasoning::None,
        always_thinks: true,
        reasoning_back: ReasoningBack::Never,
        drop_params: vec![Param::Temperature, Param::TopP],
        tool_choice_any: ToolChoiceAny::Auto,
        ..deepseek()
    }
}

pub(super) fn kimi() -> Dialect {
    Dialect {
        reasoning_back: ReasoningBack::Always,
        tool_id_format: ToolIdFormat::Kimi,
        drop_params: vec![Param::Temperature, Param::TopP],
        prefill: Prefill::Continue,
        prefill_flag: PrefillFlag::Partial,
        ..generic()
    }
}

pub(super) fn glm() -> Dialect {
    Dialect {
        reasoning: Reasoning::Glm,
        reasoning_back: ReasoningBack::ToolTurns,
        tool_choice_any: ToolChoiceAny::Auto,
        tool_choice_named: ToolChoiceNamed::Auto,
        extra_body: fields([("tool_stream", Value::Bool(true))]),
        ..generic()
    }
}

pub(super) fn minimax() -> Dialect {
    Dialect {
        reasoning_back: ReasoningBack::Always,
        think_tags: ThinkTags::Explicit,
        reasoning_details: ReasoningDetails::Roundtrip,
        extra_body: fields([("reasoning_split", Value::Bool(true))]),
        ..generic()
    }
}

pub(super) fn mistral() -> Dialect {
    Dialect {
        tool_choice_any: ToolChoiceAny::Any,
        token_factor: MISTRAL_TOKENS,
        tool_id_format: ToolIdFormat::Mistral9,
        user_after_tool: UserAfterTool::Merge,
        stream_usage: false,
        prefill: Prefill::Continue,
        prefill_flag: PrefillFlag::Prefix,
        ..generic()
    }
}

pub(super) fn gemini() -> Dialect {
    Dialect {
        schema_level: SchemaLevel::Basic,
        tool_extra: ToolExtra::Roundtrip,
        reasoning: Reasoning::Gemini,
        efforts: vec![Effort::None, Effort::Low, Effort::Medium, Effort::High],
        assistant_null_content: NullContent::Empty,
        pdf: Pdf::File,
        max_stop: Some(GEMINI_STOPS),
        token_factor: GEMINI_TOKENS,
        ..generic()
    }
}

pub(super) fn groq() -> Dialect {
    Dialect {
        max_tokens_field: MaxTokensField::MaxCompletionTokens,
        extra_body: fields([("reasoning_format", Value::from("parsed"))]),
        ..generic()
    }
}

pub(super) fn openrouter() -> Dialect {
    Dialect {
        reasoning: Reasoning::Openrouter,
        reasoning_details: ReasoningDetails::Roundtrip,
        cache_control: CacheControl::Passthrough,
        pdf: Pdf::File,
        top_k: true,
        web_search_body: fields([("plugins", Value::Array(vec![web_plugin()]))]),
        ..generic()
    }
}

fn web_plugin() -> Value {
    Value::Object(Map::from_iter([("id".to_owned(), Value::from("web"))]))
}

pub(super) fn xai() -> Dialect {
    Dialect {
        drop_params: vec![Param::Stop],
        ..generic()
    }
}

fn fields<const N: usize>(entries: [(&str, Value); N]) -> BTreeMap<String, Value> {
    entries
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
