//! The knobs, and the table of them all.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Declares an enum of snake_case words, so that a knob costs one line.
macro_rules! knob {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
    };
}

knob!(/// Role of the leading system prompt.
    SystemRole { System, Developer, User });
knob!(/// Where a `role:"system"` message inside `messages` goes.
MidSystem {
    /// Wrapped in a reminder tag, into the user turn before it.
    User,
    System,
    Developer,
    /// Behind the leading system prompt; spoils prefix caches.
    Top,
});
knob!(/// Name of the output limit on the wire.
    MaxTokensField { MaxTokens, MaxCompletionTokens });
knob!(/// A request parameter that an upstream refuses.
    Param { Temperature, TopP, Stop, ToolChoice, MaxTokens, ResponseFormat });
knob!(/// How an assistant message without text is written.
    NullContent { Null, Empty, Omit });
knob!(/// What to do when a user message follows a tool message.
    UserAfterTool { Ok, Merge, Assistant });
knob!(/// Where images inside tool results go.
    ToolResultImages { User, Inline, Drop });
knob!(/// What to do when the last message is the assistant's.
    Prefill { Reject, Pass, Continue });
knob!(/// How an upstream is told to continue a prefilled answer.
PrefillFlag {
    /// Nothing but the message itself.
    None,
    /// `prefix:true` on the message.
    Prefix,
    /// `partial:true` on the message.
    Partial,
    /// `continue_final_message` and `add_generation_prompt` in the body.
    Template,
});
knob!(/// Whether image URLs may be sent on.
    ImageUrls { Pass, Reject });
knob!(/// How a PDF is sent.
    Pdf { File, Note });
knob!(/// The field that carries the client's user.
    UserField { User, SafetyIdentifier });
knob!(/// What groups requests for the upstream's prompt cache.
PromptCacheKey {
    Off,
    /// The session id inside `metadata.user_id`.
    Session,
});
knob!(/// What becomes of `cache_control` marks.
    CacheControl { Strip, Passthrough, OpenaiBreakpoint });
knob!(/// How a schema for the answer is asked for.
    StructuredOutput { JsonSchema, JsonObject, Prompt, Off });
knob!(/// What becomes of `metadata.user_id`.
    ForwardUser { Off, Hash, Raw });
knob!(/// How much of a JSON schema an upstream takes.
SchemaLevel {
    /// Everything but annotations.
    Full,
    /// As `full`, with local references written out.
    Openai,
    /// The subset that small servers know.
    Basic,
});
knob!(/// The word for "some tool must be called".
    ToolChoiceAny { Required, Any, Auto });
knob!(/// How one named tool is demanded.
    ToolChoiceNamed { Object, Required, Auto });
knob!(/// How the wish that no tool is called is told.
ToolChoiceNone {
    None,
    /// By sending no tools, unless the conversation already holds calls.
    Drop,
});
knob!(/// What becomes of a forced tool choice while thinking.
ToolChoiceThinking {
    Keep,
    /// The choice wins: thinking is switched off.
    ThinkingOff,
    /// Thinking wins: the choice becomes `auto`.
    Auto,
});
knob!(/// Which deferred tools are sent.
    DeferredTools { Referenced, All });
knob!(/// What becomes of the web search that Anthropic's servers would run.
ServerTool {
    Reject,
    Drop,
    /// The upstream searches itself, told by the fields of `web_search_body`.
    Native,
});
knob!(/// Shape of tool call ids towards the upstream.
    ToolIdFormat { Keep, Mistral9, Kimi });
knob!(/// How reasoning is switched on and off.
    Reasoning { None, OpenaiEffort, Qwen, Deepseek, Glm, Openrouter, Template, Ollama, Gemini });
knob!(/// Reasoning efforts, in rising order.
    Effort { None, Minimal, Low, Medium, High, Xhigh, Max });
knob!(/// What an absent `thinking` field asks for.
    ThinkingAbsent { Off, Default });
knob!(/// On which assistant turns reasoning is sent back.
    ReasoningBack { Never, ToolTurns, Always });
knob!(/// The field that carries reasoning on assistant messages.
    ReasoningField { ReasoningContent, Reasoning });
knob!(/// Whether an upstream gets its `reasoning_details` back.
    ReasoningDetails { Off, Roundtrip });
knob!(/// Whether an upstream gets the `extra_content` of its tool calls back.
    ToolExtra { Off, Roundtrip });
knob!(/// Whether thinking is shown to the client.
    EmitThinking { Auto, Always, Never });
knob!(/// Whether `<think>` tags inside text are reasoning.
    ThinkTags { Off, Explicit, Implicit });
knob!(/// The tokenizer of estimates.
Tokenizer {
    O200k,
    Cl100k,
    Bytes,
    /// The upstream's own, asked by the caller; estimates made here use o200k.
    Upstream,
});
knob!(/// What becomes of adaptive thinking at a native provider.
ThinkingAdaptive {
    Keep,
    /// A budget that fits the effort.
    Enabled,
});
knob!(/// What happens with what cannot be carried over.
    Lossy { Report, Silent, Strict });

/// Every knob of one upstream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    // Transport, as far as it changes the body or its reading.
    pub force_stream: bool,
    pub stream_usage: bool,
    pub eof_is_end: bool,
    // Roles and messages.
    pub system_role: SystemRole,
    pub mid_system: MidSystem,
    pub strip_billing_header: bool,
    pub merge_same_role: bool,
    pub first_must_be_user: bool,
    pub assistant_null_content: NullContent,
    pub user_after_tool: UserAfterTool,
    pub empty_tool_result: String,
    pub tool_result_images: ToolResultImages,
    pub prefill: Prefill,
    /// Fields that `prefill = continue` adds: to the message, or to the body for names that the server reads there.
    pub prefill_flag: PrefillFlag,
    pub vision: bool,
    pub image_urls: ImageUrls,
    pub pdf: Pdf,
    pub cache_control: CacheControl,
    // Parameters.
    pub max_tokens_field: MaxTokensField,
    pub max_stop: Option<u32>,
    pub drop_params: Vec<Param>,
    /// Refused or ignored only while thinking.
    pub drop_params_thinking: Vec<Param>,
    pub temperature_max: Option<f64>,
    pub top_k: bool,
    pub structured_output: StructuredOutput,
    pub strict_schema: bool,
    pub forward_user: ForwardUser,
    pub user_field: UserField,
    pub prompt_cache_key: PromptCacheKey,
    pub service_tier: bool,
    pub extra_body_passthrough: Vec<String>,
    pub extra_body: BTreeMap<String, Value>,
    // Tools.
    pub max_tools: Option<u32>,
    pub max_tool_description: Option<u32>,
    pub schema_level: SchemaLevel,
    pub strict_tools: bool,
    /// Examples of a tool's input are appended to its description.
    pub input_examples: bool,
    pub tool_choice_any: ToolChoiceAny,
    pub tool_choice_named: ToolChoiceNamed,
    pub tool_choice_none: ToolChoiceNone,
    pub tool_choice_thinking: ToolChoiceThinking,
    pub parallel_tool_calls: bool,
    pub enforce_single_tool: bool,
    pub deferred_tools: DeferredTools,
    pub drop_unknown_tools: bool,
    pub web_search: ServerTool,
    /// Fields of the body that make the upstream search.
    pub web_search_body: BTreeMap<String, Value>,
    pub tool_id_format: ToolIdFormat,
    pub tool_extra: ToolExtra,
    pub buffer_tool_args: bool,
    // Reasoning.
    pub tools_force_effort: Option<Effort>,
    pub reasoning: Reasoning,
    /// The model has no switch to turn thinking off.
    pub always_thinks: bool,
    pub efforts: Vec<Effort>,
    pub effort_from_budget: bool,
    pub thinking_absent: ThinkingAbsent,
    pub template_thinking_key: String,
    pub reasoning_back: ReasoningBack,
    pub reasoning_field: ReasoningField,
    pub reasoning_details: ReasoningDetails,
    pub foreign_reasoning: bool,
    pub emit_thinking: EmitThinking,
    pub honor_display: bool,
    pub think_tags: ThinkTags,
    // Usage and counting.
    pub usage_prompt_includes_cache: bool,
    pub tokenizer: Tokenizer,
    pub token_factor: f64,
    pub lossy: Lossy,
    // Native Anthropic providers: what is taken out of requests that are not translated.
    /// Show the client the model that it asked for.
    pub restore_model: bool,
    /// Values of `anthropic-beta`; `*` at the end stands for anything.
    pub strip_betas: Vec<String>,
    /// Top-level fields; a dot leads into an object.
    pub strip_fields: Vec<String>,
    pub strip_cache_ttl: bool,
    pub thinking_adaptive: ThinkingAdaptive,
}

impl Dialect {
    /// This dialect with single knobs replaced. Unknown knobs and values are errors.
    pub fn with_overrides(&self, overrides: Map<String, Value>) -> Result<Dialect, serde_json::Error> {
        let mut knobs: Map<String, Value> = serde_json::from_str(&serde_json::to_string(self)?)?;
        knobs.extend(overrides);
        let dialect: Dialect = serde_json::from_value(Value::Object(knobs))?;
        if dialect.web_search == ServerTool::Native && dialect.web_search_body.is_empty() {
            let text = "web_search = native needs the fields of web_search_body";
            return Err(serde::de::Error::custom(text));
        }
        Ok(dialect)
    }
}

impl Effort {
    /// All of them, in rising order.
    pub(crate) const ALL: [Effort; 7] = [
        Effort::None,
        Effort::Minimal,
        Effort::Low,
        Effort::Medium,
        Effort::High,
        Effort::Xhigh,
        Effort::Max,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Effort::None => "none",
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::Xhigh => "xhigh",
            Effort::Max => "max",
        }
    }
}
