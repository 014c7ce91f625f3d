//! One model in the shape of Anthropic's API, every key always present.

use serde::Serialize;

use crate::routing::{self, Abilities, Efforts, Reach};

/// Clients show a date, and no provider tells one.
const CREATED_AT: &str = "1970-01-01T00:00:00Z";
/// The only stage of a model that a route leads to.
pub(super) const LIFECYCLE: &str = "active";

#[derive(Debug, Serialize)]
pub(super) struct Model {
    pub(super) id: String,
    r#type: &'static str,
    display_name: String,
    created_at: &'static str,
    lifecycle: &'static str,
    line: Option<&'static str>,
    max_input_tokens: Option<u32>,
    max_tokens: Option<u32>,
    capabilities: Capabilities,
    deprecated_at: Option<()>,
    retires_at: Option<()>,
}

#[derive(Debug, Serialize)]
struct Capabilities {
    batch: Support,
    citations: Support,
    code_execution: Support,
    context_management: ContextManagement,
    effort: Effort,
    image_input: Support,
    pdf_input: Support,
    server_tools: ServerTools,
    structured_outputs: Support,
    thinking: Thinking,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Support {
    supported: bool,
}

#[derive(Debug, Serialize)]
struct ContextManagement {
    supported: bool,
    clear_thinking_20251015: Support,
    clear_tool_uses_20250919: Support,
    compact_20260112: Support,
}

#[derive(Debug, Serialize)]
struct Effort {
    supported: bool,
    low: Support,
    medium: Support,
    high: Support,
    xhigh: Support,
    max: Support,
}

#[derive(Debug, Serialize)]
struct ServerTools {
    supported: bool,
    code_execution: Support,
    web_search: Support,
}

#[derive(Debug, Serialize)]
struct Thinking {
    supported: bool,
    types: ThinkingTypes,
}

#[derive(Debug, Serialize)]
struct ThinkingTypes {
    adaptive: Support,
    between_tools: Support,
    disabled: Support,
    enabled: Support,
}

impl Model {
    pub(super) fn new(reach: Reach) -> Self {
        let Reach {
            name,
            limits,
            abilities,
        } = reach;
        Self {
            display_name: routing::display_name(&name),
            line: routing::line(&name),
            id: name,
            r#type: "model",
            created_at: CREATED_AT,
            lifecycle: LIFECYCLE,
            max_input_tokens: limits.context_window,
            max_tokens: limits.max_output_tokens,
            capabilities: abilities.into(),
            deprecated_at: None,
            retires_at: None,
        }
    }
}

impl From<Abilities> for Capabilities {
    fn from(abilities: Abilities) -> Self {
        let Abilities {
            images,
            pdfs,
            answer_schemas,
            thinking,
            efforts,
            native,
        } = abilities;
        let native = can(native);
        Self {
            // There is no endpoint for batches here, whoever answers.
            batch: can(false),
            citations: native,
            code_execution: native,
            context_management: ContextManagement {
                supported: native.supported,
                clear_thinking_20251015: native,
                clear_tool_uses_20250919: native,
                compact_20260112: native,
            },
            effort: efforts.into(),
            image_input: can(images),
            pdf_input: can(pdfs),
            server_tools: ServerTools {
                supported: native.supported,
                code_execution: native,
                web_search: native,
            },
            structured_outputs: can(answer_schemas),
            thinking: Thinking {
                supported: thinking,
                types: ThinkingTypes {
                    adaptive: can(thinking),
                    between_tools: native,
                    // Also where there is nothing to switch off.
                    disabled: can(true),
                    enabled: can(thinking),
                },
            },
        }
    }
}

impl From<Efforts> for Effort {
    fn from(efforts: Efforts) -> Self {
        let Efforts {
            low,
            medium,
            high,
            xhigh,
            max,
        } = efforts;
        Self {
            supported: efforts.any(),
            low: can(low),
            medium: can(medium),
            high: can(high),
            xhigh: can(xhigh),
            max: can(max),
        }
    }
}

fn can(supported: bool) -> Support {
    Support { supported }
}
