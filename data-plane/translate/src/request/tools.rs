//! The tools that the upstream gets.

use crate::anthropic::{Escaped, Raw, Request, ToolChoice, ToolKind};
use crate::dialect::ServerTool;
use crate::error::BadRequest;
use crate::json::Compact;
use crate::json::write::Text;
use crate::openai::request as wire;
use crate::openai::schema::{Schema, takes_strict};

use super::context::Context;
use super::offered::{self, Offer, Place};
use super::{cache, tool_choice};

const BASH_SCHEMA: &str = r#"{"type":"object","properties":{"command":{"type":"string","description":"The command to run."},"restart":{"type":"boolean","description":"Start a fresh shell instead."}}}"#;
const EDITOR_SCHEMA: &str = r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","undo_edit"],"description":"What to do."},"path":{"type":"string","description":"Absolute path of the file or directory."},"file_text":{"type":"string","description":"For create: the content of the new file."},"old_str":{"type":"string","description":"For str_replace: the text to replace; it must occur once."},"new_str":{"type":"string","description":"For str_replace: the new text."},"insert_line":{"type":"integer","description":"For insert: the line after which to insert; 0 is the start."},"insert_text":{"type":"string","description":"For insert: the text."},"view_range":{"type":"array","items":{"type":"integer"},"description":"For view: first and last line; -1 is the end."}},"required":["command","path"]}"#;
const MEMORY_SCHEMA: &str = r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"],"description":"What to do."},"path":{"type":"string","description":"Path under /memories."},"view_range":{"type":"array","items":{"type":"integer"}},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"old_path":{"type":"string","description":"For rename."},"new_path":{"type":"string","description":"For rename."}},"required":["command"]}"#;

/// Start of the types of the one server tool that some upstreams have as well.
const WEB_SEARCH: &str = "web_search_";

type Translated<'r> = (Vec<wire::Tool<'r>>, Option<wire::ToolChoice<'r>>);

/// The tools that the upstream gets, and its tool choice.
pub(super) fn translate<'r>(
    request: &'r Request<'r>,
    cx: &mut Context<'r>,
) -> Result<Translated<'r>, BadRequest> {
    let offered = offered::translate(request, cx);
    let mut tools = Vec::with_capacity(offered.len());
    let has_others = offered.iter().any(|offer| is_carried(offer, cx));
    for offer in &offered {
        tools.extend(one(offer, has_others, request, cx)?);
    }
    if let Some(max) = cx.dialect().max_tools
        && tools.len() > max as usize
    {
        let text = format!(
            "{} tools were given, but this provider takes at most {max}",
            tools.len()
        );
        return Err(BadRequest::at("tools", &text));
    }
    let choice = tool_choice::translate(request, &offered, &mut tools, cx)?;
    Ok((tools, choice))
}

/// Whether anything of a tool is there for the upstream's model.
fn is_carried(offer: &Offer<'_>, cx: &Context<'_>) -> bool {
    match &offer.tool.kind {
        ToolKind::Custom { .. } | ToolKind::Bash | ToolKind::TextEditor | ToolKind::Memory => true,
        ToolKind::Screen { .. } | ToolKind::ToolSearch => false,
        ToolKind::Server { kind, limits: _ } => is_native_search(kind, cx),
    }
}

fn is_native_search(kind: &str, cx: &Context<'_>) -> bool {
    cx.dialect().web_search == ServerTool::Native && kind.starts_with(WEB_SEARCH)
}

fn one<'r>(
    offer: &Offer<'r>,
    has_others: bool,
    request: &'r Request<'r>,
    cx: &mut Context<'r>,
) -> Result<Option<wire::Tool<'r>>, BadRequest> {
    let Offer { tool, place } = offer;
    let name = tool.name.as_deref().unwrap_or_default();
    match &tool.kind {
        ToolKind::Custom {
            description,
            input_schema,
            is_strict,
            is_deferred: _,
            is_marked,
            examples,
        } => {
            // OpenAI's breakpoints stand in messages only.
            let mark = match cache::mark(*is_marked, cx) {
                mark @ (wire::Mark::None | wire::Mark::Apart | wire::Mark::CacheControl) => mark,
                wire::Mark::Breakpoint => wire::Mark::None,
            };
            Ok(Some(wire::Tool {
                name: cx.names.upstream(name),
                description: described(*description, *examples, place, cx),
                parameters: Schema::of_tool(
                    input_schema.raw,
                    input_schema.words.as_deref(),
                    cx.dialect().schema_level,
                    &mut cx.schema_budget,
                ),
                is_strict: *is_strict && cx.dialect().strict_tools && takes_strict(input_schema.raw),
                mark,
            }))
        }
        ToolKind::Bash => Ok(Some(known(
            name,
            "Run a command in a persistent shell.",
            BASH_SCHEMA,
            cx,
        ))),
        ToolKind::TextEditor => Ok(Some(known(name, "View and edit text files.", EDITOR_SCHEMA, cx))),
        ToolKind::Memory => Ok(Some(known(
            name,
            "Read and write files of the memory directory.",
            MEMORY_SCHEMA,
            cx,
        ))),
        ToolKind::Screen { kind } if cx.dialect().drop_unknown_tools => {
            cx.losses
                .add(format!("{place}.{kind}"), "needs a model that was trained for it");
            Ok(None)
        }
        ToolKind::Screen { kind } => Err(unavailable(kind)),
        ToolKind::ToolSearch => Ok(None),
        ToolKind::Server { kind, limits } => {
            if is_native_search(kind, cx) {
                cx.searches = true;
                for limit in limits {
                    let path = format!("{place}.{limit}");
                    cx.losses.add(path, "the provider searches everywhere");
                }
            } else {
                let choice = request.tools.choice.as_ref();
                let is_needed = !has_others || choice.is_some_and(|choice| demands(choice, name));
                leave_out(kind, offer, is_needed, cx)?;
            }
            Ok(None)
        }
    }
}

/// A tool that only Anthropic's servers run. A model that cannot search would make results up,
/// so the client must know.
fn leave_out(kind: &str, offer: &Offer<'_>, is_needed: bool, cx: &mut Context<'_>) -> Result<(), BadRequest> {
    if is_needed && cx.dialect().web_search != ServerTool::Drop {
        let name = offer.tool.name.as_deref().filter(|name| !name.is_empty());
        return Err(unavailable(name.unwrap_or(kind)));
    }
    cx.losses.add(
        format!("{}.{kind}", offer.place),
        "runs on Anthropic's servers only",
    );
    Ok(())
}

fn demands(choice: &ToolChoice<'_>, name: &str) -> bool {
    match choice {
        ToolChoice::Tool(wanted) => wanted == name,
        ToolChoice::Any | ToolChoice::Auto | ToolChoice::None => false,
    }
}

fn unavailable(name: &str) -> BadRequest {
    BadRequest::new(format!("{name} is not available through this provider"))
}

fn known<'r>(
    name: &'r str,
    description: &'static str,
    schema: &'static str,
    cx: &mut Context<'r>,
) -> wire::Tool<'r> {
    wire::Tool {
        name: cx.names.upstream(name),
        description: Some(description.into()),
        parameters: Schema::Fixed(schema),
        is_strict: false,
        mark: wire::Mark::None,
    }
}

/// The description, with examples where the dialect wants them there.
fn described<'r>(
    description: Option<Escaped<'r>>,
    examples: Option<Raw<'r>>,
    place: &Place,
    cx: &mut Context<'r>,
) -> Option<Text<'r>> {
    let examples = examples.filter(|_| cx.dialect().input_examples);
    let text = match (description, examples) {
        (description, None) => description?.into(),
        (None, Some(examples)) => format!("Examples: {}", Compact(examples.get())).into(),
        (Some(description), Some(examples)) => format!(
            "{}\n\nExamples: {}",
            description.decoded(),
            Compact(examples.get())
        )
        .into(),
    };
    Some(clipped(text, place, cx))
}

fn clipped<'r>(text: Text<'r>, place: &Place, cx: &mut Context<'r>) -> Text<'r> {
    let Some(max) = cx.dialect().max_tool_description.map(|max| max as usize) else {
        return text;
    };
    // What is written is never shorter than what it means.
    if text.written_bytes() <= max {
        return text;
    }
    let mut plain = text.decoded().into_owned();
    if plain.len() <= max {
        return text;
    }
    cx.losses
        .add(format!("{place}.description"), "longer than the provider allows");
    plain.truncate(plain.floor_char_boundary(max));
    plain.into()
}
