//! Which knobs of a dialect there are, and what each may be set to.
//!
//! The contract documents them; a test reads its source, so that this table cannot
//! drift from it. What a knob means is the translation's affair.

/// Longest free text, and longest list of free texts.
const TEXT_BYTES_MAX: usize = 256;
const TEXTS_MAX: usize = 32;
/// Longest JSON object, in bytes.
pub(super) const OBJECT_BYTES_MAX: usize = 2 * 1024;
/// Clients do not wait longer for a head.
const HOLD_MS_MAX: u32 = 240_000;
const GRACE_MS_MAX: u32 = 60_000;
const STOPS_MAX: u32 = 1_000;
const TOOLS_MAX: u32 = 100_000;
const DESCRIPTION_BYTES_MAX: u32 = 1_000_000;

/// Reasoning efforts, in rising order.
const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh", "max"];

/// Parameters that some upstreams refuse.
const PARAMS: &[&str] = &[
    "temperature",
    "top_p",
    "stop",
    "tool_choice",
    "max_tokens",
    "response_format",
];

/// What values a knob takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    Flag,
    Whole {
        min: u32,
        max: u32,
    },
    Decimal {
        min: f64,
        max: f64,
    },
    Word(&'static [&'static str]),
    Words(&'static [&'static str]),
    Text {
        bytes_max: usize,
    },
    Texts {
        bytes_max: usize,
        items_max: usize,
    },
    /// A JSON object, as text.
    Object,
    /// Where requests go, with `{model}` in it.
    UrlTemplate,
}

/// Whether single models may have a value of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Provider,
    Model,
}

pub(super) struct Knob {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) scope: Scope,
}

pub(super) fn find(name: &str) -> Option<&'static Knob> {
    KNOBS.iter().find(|knob| knob.name == name)
}

const TEXT: Form = Form::Text {
    bytes_max: TEXT_BYTES_MAX,
};
const TEXTS: Form = Form::Texts {
    bytes_max: TEXT_BYTES_MAX,
    items_max: TEXTS_MAX,
};

const fn whole(min: u32, max: u32) -> Form {
    Form::Whole { min, max }
}

const fn of_provider(name: &'static str, form: Form) -> Knob {
    Knob {
        name,
        form,
        scope: Scope::Provider,
    }
}

const fn of_model(name: &'static str, form: Form) -> Knob {
    Knob {
        name,
        form,
        scope: Scope::Model,
    }
}

/// In the order of the contract.
pub(super) const KNOBS: &[Knob] = &[
    // Authentication and transport.
    of_provider("auth", Form::Word(&["bearer", "x-api-key", "api-key", "client"])),
    of_provider("url_template", Form::UrlTemplate),
    of_model("force_stream", Form::Flag),
    of_model("stream_usage", Form::Flag),
    of_model("eof_is_end", Form::Flag),
    of_provider("hold_head_ms", whole(0, HOLD_MS_MAX)),
    of_provider("finish_grace_ms", whole(0, GRACE_MS_MAX)),
    of_provider("adaptive", Form::Flag),
    of_provider("retry_codes", TEXTS),
    of_provider("overloaded_as", Form::Word(&["503", "529"])),
    // Roles and messages.
    of_model("system_role", Form::Word(&["system", "developer", "user"])),
    of_model("mid_system", Form::Word(&["user", "system", "developer", "top"])),
    of_model("strip_billing_header", Form::Flag),
    of_model("merge_same_role", Form::Flag),
    of_model("first_must_be_user", Form::Flag),
    of_model("assistant_null_content", Form::Word(&["null", "empty", "omit"])),
    of_model("user_after_tool", Form::Word(&["ok", "merge", "assistant"])),
    of_model("empty_tool_result", TEXT),
    of_model("tool_result_images", Form::Word(&["user", "inline", "drop"])),
    of_model("prefill", Form::Word(&["reject", "pass", "continue"])),
    of_model(
        "prefill_flag",
        Form::Word(&["none", "prefix", "partial", "template"]),
    ),
    of_model("vision", Form::Flag),
    of_model("image_urls", Form::Word(&["pass", "reject"])),
    of_model("pdf", Form::Word(&["file", "note"])),
    of_model(
        "cache_control",
        Form::Word(&["strip", "passthrough", "openai_breakpoint"]),
    ),
    // Parameters.
    of_model(
        "max_tokens_field",
        Form::Word(&["max_tokens", "max_completion_tokens"]),
    ),
    of_model("max_stop", whole(0, STOPS_MAX)),
    of_model("drop_params", Form::Words(PARAMS)),
    of_model("drop_params_thinking", Form::Words(PARAMS)),
    of_model("temperature_max", Form::Decimal { min: 0.0, max: 10.0 }),
    of_model("top_k", Form::Flag),
    of_model(
        "structured_output",
        Form::Word(&["json_schema", "json_object", "prompt", "off"]),
    ),
    of_model("strict_schema", Form::Flag),
    of_model("forward_user", Form::Word(&["off", "hash", "raw"])),
    of_model("user_field", Form::Word(&["user", "safety_identifier"])),
    of_model("prompt_cache_key", Form::Word(&["off", "session"])),
    of_model("service_tier", Form::Flag),
    of_model("extra_body_passthrough", TEXTS),
    of_model("extra_body", Form::Object),
    of_model("auto_shrink", Form::Flag),
    // Tools.
    of_model("max_tools", whole(0, TOOLS_MAX)),
    of_model("max_tool_description", whole(1, DESCRIPTION_BYTES_MAX)),
    of_model("schema_level", Form::Word(&["full", "openai", "basic"])),
    of_model("strict_tools", Form::Flag),
    of_model("input_examples", Form::Flag),
    of_model("tool_choice_any", Form::Word(&["required", "any", "auto"])),
    of_model("tool_choice_named", Form::Word(&["object", "required", "auto"])),
    of_model("tool_choice_none", Form::Word(&["none", "drop"])),
    of_model(
        "tool_choice_thinking",
        Form::Word(&["keep", "thinking_off", "auto"]),
    ),
    of_model("parallel_tool_calls", Form::Flag),
    of_model("enforce_single_tool", Form::Flag),
    of_model("deferred_tools", Form::Word(&["referenced", "all"])),
    of_model("drop_unknown_tools", Form::Flag),
    of_model("web_search", Form::Word(&["reject", "drop", "native"])),
    of_model("web_search_body", Form::Object),
    of_model("tool_id_format", Form::Word(&["keep", "mistral9", "kimi"])),
    of_model("tool_extra", Form::Word(&["off", "roundtrip"])),
    of_model("buffer_tool_args", Form::Flag),
    of_model("tools_force_effort", Form::Word(EFFORTS)),
    // Reasoning.
    of_model(
        "reasoning",
        Form::Word(&[
            "none",
            "openai_effort",
            "qwen",
            "deepseek",
            "glm",
            "openrouter",
            "template",
            "ollama",
            "gemini",
        ]),
    ),
    of_model("efforts", Form::Words(EFFORTS)),
    of_model("effort_from_budget", Form::Flag),
    of_model("thinking_absent", Form::Word(&["off", "default"])),
    of_model("reasoning_back", Form::Word(&["never", "tool_turns", "always"])),
    of_model("reasoning_field", Form::Word(&["reasoning_content", "reasoning"])),
    of_model("reasoning_details", Form::Word(&["off", "roundtrip"])),
    of_model("foreign_reasoning", Form::Flag),
    of_model("emit_thinking", Form::Word(&["auto", "always", "never"])),
    of_model("honor_display", Form::Flag),
    of_model("think_tags", Form::Word(&["off", "explicit", "implicit"])),
    of_model("template_thinking_key", TEXT),
    of_model("always_thinks", Form::Flag),
    // Usage and counting.
    of_model("usage_prompt_includes_cache", Form::Flag),
    of_model("tokenizer", Form::Word(&["o200k", "cl100k", "bytes", "upstream"])),
    of_model("token_factor", Form::Decimal { min: 0.1, max: 10.0 }),
    // Native Anthropic providers.
    of_model("restore_model", Form::Flag),
    of_model("strip_betas", TEXTS),
    of_model("strip_fields", TEXTS),
    of_model("strip_cache_ttl", Form::Flag),
    of_model("thinking_adaptive", Form::Word(&["keep", "enabled"])),
];

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../proto/bridge/fleet/v1/dialect.proto"
    ));

    /// A field as the contract declares it, with the words of its comment and the last
    /// line of it.
    struct Declared<'a> {
        name: &'a str,
        kind: &'a str,
        words: Vec<&'a str>,
        comment: &'a str,
    }

    fn declared() -> Vec<Declared<'static>> {
        let (_, body) = CONTRACT.split_once("message Dialect {").unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        let mut words = Vec::new();
        let mut last = "";
        let mut fields = Vec::new();
        for line in body.lines().map(str::trim) {
            if let Some(comment) = line.strip_prefix("// ") {
                last = comment;
                let listed: Vec<_> = comment.split(" | ").collect();
                if listed.len() > 1 {
                    words = listed;
                }
            } else if let Some((declaration, _)) = line.split_once(" = ") {
                let (kind, name) = declaration.rsplit_once(' ').unwrap();
                let kind = kind.trim_start_matches("optional ");
                let words = std::mem::take(&mut words);
                fields.push(Declared {
                    name,
                    kind,
                    words,
                    comment: std::mem::take(&mut last),
                });
            }
        }
        fields
    }

    #[test]
    fn the_table_is_that_of_the_contract() {
        let declared = declared();
        let names: Vec<_> = declared.iter().map(|field| field.name).collect();
        let known: Vec<_> = KNOBS.iter().map(|knob| knob.name).collect();
        assert_eq!(known, names);
        for (knob, field) in KNOBS.iter().zip(&declared) {
            let (kind, words): (_, &[&str]) = match knob.form {
                Form::Flag => ("bool", &[]),
                Form::Whole { .. } => ("uint32", &[]),
                Form::Decimal { .. } => ("double", &[]),
                Form::Word(words) => ("string", words),
                Form::Words(words) => ("StringList", words),
                Form::Texts { .. } => ("StringList", &[]),
                Form::Text { .. } | Form::Object | Form::UrlTemplate => ("string", &[]),
            };
            assert_eq!((kind, words), (field.kind, &*field.words), "{}", knob.name);
            let bounds = match knob.form {
                Form::Whole { min, max } => format!(": {min}–{max}."),
                Form::Decimal { min, max } => format!(": {min}–{max}."),
                Form::Flag | Form::Word(_) | Form::Words(_) | Form::Texts { .. } => String::new(),
                Form::Text { .. } | Form::Object | Form::UrlTemplate => String::new(),
            };
            assert!(field.comment.ends_with(&bounds), "{}: {bounds}", knob.name);
        }
    }
}
