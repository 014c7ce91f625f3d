//! Which tool the model must call, in the words that the upstream knows.

use crate::anthropic::{Request, ToolChoice, ToolKind};
use crate::dialect::{Param, ServerTool, ToolChoiceAny, ToolChoiceNamed, ToolChoiceNone, ToolChoiceThinking};
use crate::error::BadRequest;
use crate::openai::request as wire;

use super::context::{Context, Wish};
use super::offered::Offer;

type Choice<'r> = Option<wire::ToolChoice<'r>>;

/// The choice among the tools that are sent; it may leave fewer of them.
pub(super) fn translate<'r>(
    request: &'r Request<'r>,
    offered: &[Offer<'r>],
    tools: &mut Vec<wire::Tool<'r>>,
    cx: &mut Context<'r>,
) -> Result<Choice<'r>, BadRequest> {
    let Some(choice) = request.tools.choice.as_ref() else {
        return Ok(None);
    };
    if tools.is_empty() {
        if matches!(choice, ToolChoice::Any | ToolChoice::Tool(_))
            && !request.tools.list.is_empty()
            && !cx.searches
        {
            cx.losses.add("tool_choice", "no tool of the request is left");
        }
        return Ok(None);
    }
    if cx.drops(Param::ToolChoice) {
        if !matches!(choice, ToolChoice::Auto) {
            cx.losses.add("tool_choice", "not supported by the provider");
        }
        return Ok(None);
    }
    let wanted = match choice {
        ToolChoice::Auto => Some(wire::ToolChoice::Word("auto")),
        ToolChoice::None => none(request, tools, cx),
        ToolChoice::Any => Some(any(cx)),
        ToolChoice::Tool(name) => named(name, request, offered, tools, cx)?,
    };
    Ok(wanted.map(|wanted| beside_thinking(wanted, cx)))
}

fn none<'r>(request: &Request<'_>, tools: &mut Vec<wire::Tool<'r>>, cx: &mut Context<'r>) -> Choice<'r> {
    match cx.dialect().tool_choice_none {
        ToolChoiceNone::None => Some(wire::ToolChoice::Word("none")),
        // Calls in the conversation need the tools that they call.
        ToolChoiceNone::Drop if request.has_tool_calls() => {
            cx.losses
                .add("tool_choice", "the provider cannot be kept from calling a tool");
            None
        }
        ToolChoiceNone::Drop => {
            tools.clear();
            None
        }
    }
}

fn any<'r>(cx: &mut Context<'r>) -> wire::ToolChoice<'r> {
    wire::ToolChoice::Word(match cx.dialect().tool_choice_any {
        ToolChoiceAny::Required => "required",
        ToolChoiceAny::Any => "any",
        ToolChoiceAny::Auto => {
            cx.losses
                .add("tool_choice", "the provider cannot be made to call a tool");
            "auto"
        }
    })
}

fn named<'r>(
    name: &'r str,
    request: &Request<'_>,
    offered: &[Offer<'r>],
    tools: &mut Vec<wire::Tool<'r>>,
    cx: &mut Context<'r>,
) -> Result<Choice<'r>, BadRequest> {
    let sent = cx.names.upstream(name);
    if !tools.iter().any(|tool| tool.name == sent) {
        let offered = offered.iter().map(|offer| offer.tool);
        let mut known = offered.chain(&request.tools.list);
        let Some(tool) = known.find(|tool| tool.name.as_deref() == Some(name)) else {
            return Err(BadRequest::at(
                "tool_choice.name",
                &format!("Tool '{name}' not found in provided tools"),
            ));
        };
        let is_search = matches!(tool.kind, ToolKind::Server { .. });
        if !(is_search && cx.dialect().web_search == ServerTool::Native) {
            cx.losses.add("tool_choice", "the tool that it names was dropped");
        }
        return Ok(None);
    }
    Ok(Some(match cx.dialect().tool_choice_named {
        ToolChoiceNamed::Object => wire::ToolChoice::Function(sent),
        ToolChoiceNamed::Required => {
            tools.retain(|tool| tool.name == sent);
            wire::ToolChoice::Word("required")
        }
        ToolChoiceNamed::Auto => {
            cx.losses
                .add("tool_choice", "the provider cannot be made to call one tool");
            wire::ToolChoice::Word("auto")
        }
    }))
}

/// Some models cannot think and be forced to call a tool at once.
fn beside_thinking<'r>(choice: wire::ToolChoice<'r>, cx: &mut Context<'r>) -> wire::ToolChoice<'r> {
    let is_free = matches!(choice, wire::ToolChoice::Word("auto" | "none"));
    if is_free || !cx.is_thinking() {
        return choice;
    }
    match cx.dialect().tool_choice_thinking {
        ToolChoiceThinking::Keep => choice,
        ToolChoiceThinking::ThinkingOff if !cx.dialect().always_thinks => {
            cx.losses
                .add("thinking", "the provider cannot think when it must call a tool");
            cx.thinking = Wish::Off;
            choice
        }
        ToolChoiceThinking::ThinkingOff | ToolChoiceThinking::Auto => {
            let reason = "the provider cannot be made to call a tool while it thinks";
            cx.losses.add("tool_choice", reason);
            wire::ToolChoice::Word("auto")
        }
    }
}
