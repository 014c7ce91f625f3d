//! The presets: each states how it differs from `generic`, which assumes little.

use std::collections::BTreeMap;

use serde_json::Value;

use super::knobs::{
    CacheControl, DeferredTools, Dialect, Effort, EmitThinking, ForwardUser, ImageUrls, Lossy,
    MaxTokensField, MidSystem, NullContent, Param, Pdf, Prefill, PrefillFlag, Reasoning, ReasoningBack,
    ReasoningField, SchemaLevel, ServerTool, StructuredOutput, SystemRole, ThinkTags, ThinkingAbsent,
    Tokenizer, ToolChoiceAny, ToolChoiceNamed, ToolIdFormat, ToolResultImages, UserAfterTool,
};

/// OpenAI takes at most four stop sequences and 128 tools.
const OPENAI_STOPS: u32 = 4;
const OPENAI_TOOLS: u32 = 128;

type Preset = (&'static str, fn() -> Dialect);

const PRESETS: &[Preset] = &[
    ("generic", generic),
    ("openai", openai),
    ("openai-reasoning", openai_reasoning),
    ("qwen", qwen),
    ("modelscope", modelscope),
    ("aiping", generic),
    ("deepseek", deepseek),
    ("kimi", kimi),
    ("glm", glm),
    ("minimax", minimax),
    ("mistral", mistral),
    ("groq", groq),
    ("openrouter", openrouter),
    ("vllm", vllm),
    ("sglang", sglang),
    ("llama-cpp", llama_cpp),
    ("ollama", ollama),
    ("lm-studio", generic),
    ("xai", xai),
];

/// Part of a host (or a port) and the preset it speaks for. First match wins.
const HOSTS: &[(&str, &str)] = &[
    ("api.openai.com", "openai"),
    ("dashscope", "qwen"),
    ("modelscope", "modelscope"),
    ("aiping", "aiping"),
    ("deepseek.com", "deepseek"),
    ("moonshot", "kimi"),
    ("bigmodel.cn", "glm"),
    ("api.z.ai", "glm"),
    ("minimax", "minimax"),
    ("mistral.ai", "mistral"),
    ("groq.com", "groq"),
    ("openrouter.ai", "openrouter"),
    ("api.x.ai", "xai"),
    (":11434", "ollama"),
    (":1234", "lm-studio"),
];

impl Dialect {
    /// The preset of that name.
    pub fn preset(name: &str) -> Option<Dialect> {
        PRESETS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, make)| make())
    }

    /// Names of all presets.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// The preset that fits a base URL best; `generic` when nothing is known.
    pub fn guess(base_url: &str) -> &'static str {
        let after_scheme = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
        let host = after_scheme
            .split('/')
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let speaks = |part: &str| {
            if part.starts_with(':') {
                host.ends_with(part)
            } else {
                host.contains(part)
            }
        };
        HOSTS
            .iter()
            .find(|(part, _)| speaks(part))
            .map_or("generic", |(_, preset)| preset)
    }
}

impl Default for Dialect {
    fn default() -> Self {
        generic()
    }
}

fn generic() -> Dialect {
    Dialect {
        force_stream: false,
        stream_usage: true,
        eof_is_end: false,
        system_role: SystemRole::System,
        mid_system: MidSystem::User,
        strip_billing_header: true,
        merge_same_role: true,
        first_must_be_user: false,
        assistant_null_content: NullContent::Null,
        user_after_tool: UserAfterTool::Ok,
        empty_tool_result: "(no output)".to_owned(),
        tool_result_images: ToolResultImages::User,
        prefill: Prefill::Pass,
        prefill_flag: PrefillFlag::None,
        vision: true,
        image_urls: ImageUrls::Pass,
        pdf: Pdf::Note,
        cache_control: CacheControl::Strip,
        max_tokens_field: MaxTokensField::MaxTokens,
        max_stop: None,
        drop_params: Vec::new(),
        temperature_max: None,
        top_k: false,
        structured_output: StructuredOutput::JsonSchema,
        strict_schema: true,
        forward_user: ForwardUser::Off,
        service_tier: false,
        extra_body_passthrough: Vec::new(),
        extra_body: BTreeMap::new(),
        max_tools: None,
        max_tool_description: None,
        schema_level: SchemaLevel::Full,
        strict_tools: false,
        tool_choice_any: ToolChoiceAny::Required,
        tool_choice_named: ToolChoiceNamed::Object,
        parallel_tool_calls: false,
        enforce_single_tool: false,
        deferred_tools: DeferredTools::Referenced,
        drop_unknown_tools: false,
        web_search: ServerTool::Reject,
        tool_id_format: ToolIdFormat::Keep,
        buffer_tool_args: false,
        tools_force_effort: None,
        reasoning: Reasoning::None,
        efforts: Vec::new(),
        effort_from_budget: true,
        thinking_absent: ThinkingAbsent::Off,
        template_thinking_key: "enable_thinking".to_owned(),
        reasoning_back: ReasoningBack::Never,
        reasoning_field: ReasoningField::ReasoningContent,
        foreign_reasoning: false,
        emit_thinking: EmitThinking::Auto,
        honor_display: false,
        think_tags: ThinkTags::Off,
        usage_prompt_includes_cache: true,
        tokenizer: Tokenizer::O200k,
        token_factor: 1.05,
        lossy: Lossy::Report,
    }
}

fn openai() -> Dialect {
    Dialect {
        mid_system: MidSystem::System,
        pdf: Pdf::File,
        max_stop: Some(OPENAI_STOPS),
        max_tools: Some(OPENAI_TOOLS),
        parallel_tool_calls: true,
        service_tier: true,
        ..generic()
    }
}

fn openai_reasoning() -> Dialect {
    Dialect {
        system_role: SystemRole::Developer,
        mid_system: MidSystem::Developer,
        max_tokens_field: MaxTokensField::MaxCompletionTokens,
        drop_params: vec![Param::Temperature, Param::TopP, Param::Stop],
        parallel_tool_calls: false,
        reasoning: Reasoning::OpenaiEffort,
        efforts: vec![
            Effort::None,
            Effort::Minimal,
            Effort::Low,
            Effort::Medium,
            Effort::High,
            Effort::Xhigh,
        ],
        tools_force_effort: Some(Effort::None),
        prefill: Prefill::Reject,
        ..openai()
    }
}

fn qwen() -> Dialect {
    Dialect {
        reasoning: Reasoning::Qwen,
        force_stream: true,
        cache_control: CacheControl::Passthrough,
        tool_choice_any: ToolChoiceAny::Auto,
        top_k: true,
        prefill: Prefill::Continue,
        prefill_flag: PrefillFlag::Partial,
        ..generic()
    }
}

fn modelscope() -> Dialect {
    Dialect {
        reasoning: Reasoning::Qwen,
        force_stream: true,
        ..generic()
    }
}

fn deepseek() -> Dialect {
    Dialect {
        reasoning: Reasoning::Deepseek,
        reasoning_back: ReasoningBack::Always,
        mid_system: MidSystem::System,
        tool_choice_named: ToolChoiceNamed::Auto,
        ..generic()
    }
}

fn kimi() -> Dialect {
    Dialect {
        reasoning_back: ReasoningBack::Always,
        tool_id_format: ToolIdFormat::Kimi,
        drop_params: vec![Param::Temperature, Param::TopP],
        prefill: Prefill::Continue,
        prefill_flag: PrefillFlag::Partial,
        ..generic()
    }
}

fn glm() -> Dialect {
    Dialect {
        reasoning: Reasoning::Glm,
        reasoning_back: ReasoningBack::ToolTurns,
        tool_choice_any: ToolChoiceAny::Auto,
        tool_choice_named: ToolChoiceNamed::Auto,
        extra_body: extra("tool_stream", Value::Bool(true)),
        ..generic()
    }
}

fn minimax() -> Dialect {
    Dialect {
        reasoning_back: ReasoningBack::Always,
        think_tags: ThinkTags::Explicit,
        extra_body: extra("reasoning_split", Value::Bool(true)),
        ..generic()
    }
}

fn mistral() -> Dialect {
    Dialect {
        tool_choice_any: ToolChoiceAny::Any,
        tool_id_format: ToolIdFormat::Mistral9,
        user_after_tool: UserAfterTool::Merge,
        stream_usage: false,
        prefill: Prefill::Continue,
        prefill_flag: PrefillFlag::Prefix,
        ..generic()
    }
}

fn groq() -> Dialect {
    Dialect {
        max_tokens_field: MaxTokensField::MaxCompletionTokens,
        extra_body: extra("reasoning_format", Value::from("parsed")),
        ..generic()
    }
}

fn openrouter() -> Dialect {
    Dialect {
        reasoning: Reasoning::Openrouter,
        cache_control: CacheControl::Passthrough,
        pdf: Pdf::File,
        top_k: true,
        ..generic()
    }
}

fn vllm() -> Dialect {
    Dialect {
        reasoning: Reasoning::Template,
        reasoning_back: ReasoningBack::ToolTurns,
        reasoning_field: ReasoningField::Reasoning,
        first_must_be_user: true,
        tool_result_images: ToolResultImages::Inline,
        top_k: true,
        ..generic()
    }
}

fn sglang() -> Dialect {
    Dialect {
        reasoning_field: ReasoningField::ReasoningContent,
        ..vllm()
    }
}

fn llama_cpp() -> Dialect {
    Dialect {
        reasoning: Reasoning::Template,
        first_must_be_user: true,
        tool_choice_named: ToolChoiceNamed::Required,
        top_k: true,
        ..generic()
    }
}

fn ollama() -> Dialect {
    Dialect {
        reasoning: Reasoning::Ollama,
        tool_choice_any: ToolChoiceAny::Auto,
        ..generic()
    }
}

fn xai() -> Dialect {
    Dialect {
        drop_params: vec![Param::Stop],
        ..generic()
    }
}

fn extra(name: &str, value: Value) -> BTreeMap<String, Value> {
    BTreeMap::from([(name.to_owned(), value)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guess_names_a_preset() {
        for (part, preset) in HOSTS {
            assert!(Dialect::preset(preset).is_some(), "{preset}");
            assert_eq!(Dialect::guess(&format!("https://{part}/v1")), *preset);
        }
        assert_eq!(Dialect::guess("http://10.0.0.7:8000/dashscope/v1"), "generic");
        assert_eq!(Dialect::guess("http://localhost:11434/v1"), "ollama");
        assert_eq!(Dialect::guess("http://localhost:12345/v1"), "generic");
    }

    #[test]
    fn presets_survive_serde_and_overrides() {
        for name in Dialect::presets() {
            let preset = Dialect::preset(name).unwrap();
            let text = serde_json::to_string(&preset).unwrap();
            assert_eq!(serde_json::from_str::<Dialect>(&text).unwrap(), preset);
        }
        let overrides = serde_json::from_str(r#"{"top_k": true, "mid_system": "top"}"#).unwrap();
        let changed = generic().with_overrides(overrides).unwrap();
        assert_eq!(
            changed,
            Dialect {
                top_k: true,
                mid_system: MidSystem::Top,
                ..generic()
            }
        );
        let typo = serde_json::from_str(r#"{"topk": true}"#).unwrap();
        assert!(generic().with_overrides(typo).is_err());
    }
}
