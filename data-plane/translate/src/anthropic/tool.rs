//! Tools that a client offers, sorted by who runs them.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::BadRequest;
use crate::json::{lenient, not_null};

/// Everything a request says about tools.
#[derive(Debug, Clone, Default)]
pub struct Tools<'a> {
    pub list: Vec<Tool<'a>>,
    pub choice: Option<ToolChoice<'a>>,
    pub disable_parallel: bool,
}

/// One tool.
#[derive(Debug, Clone)]
pub struct Tool<'a> {
    /// Toolsets have none.
    pub name: Option<Cow<'a, str>>,
    pub kind: ToolKind<'a>,
}

/// Who runs a tool, and who knows its schema.
#[derive(Debug, Clone)]
pub enum ToolKind<'a> {
    Custom {
        description: Option<Cow<'a, str>>,
        input_schema: &'a RawValue,
        is_strict: bool,
        is_deferred: bool,
        cache_control: Option<&'a RawValue>,
    },
    /// The client runs these; their schema is known by their type.
    Bash,
    TextEditor,
    Memory,
    /// `computer_*`, `browser_*`: need a model that was trained for them.
    Screen {
        kind: Cow<'a, str>,
    },
    /// Finds deferred tools on Anthropic's servers.
    ToolSearch,
    /// Runs on Anthropic's servers.
    Server {
        kind: Cow<'a, str>,
    },
}

/// Which tool the model must call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    Auto,
    Any,
    Tool(Cow<'a, str>),
    None,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireTool<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::text")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    description: Option<Cow<'a, str>>,
    #[serde(borrow)]
    input_schema: Option<&'a RawValue>,
    #[serde(deserialize_with = "lenient::flag")]
    strict: bool,
    #[serde(deserialize_with = "lenient::flag")]
    defer_loading: bool,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireToolChoice<'a> {
    #[serde(borrow, rename = "type", deserialize_with = "lenient::text")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "lenient::text")]
    name: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "lenient::flag")]
    disable_parallel_tool_use: bool,
}

impl<'a> Tools<'a> {
    pub(super) fn read(
        list: Vec<WireTool<'a>>,
        choice: Option<WireToolChoice<'a>>,
    ) -> Result<Self, BadRequest> {
        let list: Vec<Tool<'a>> = list
            .into_iter()
            .enumerate()
            .map(|(n, tool)| Tool::read(tool, n))
            .collect::<Result<_, _>>()?;
        let mut names: Vec<&str> = list.iter().filter_map(|tool| tool.name.as_deref()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err(BadRequest::new("tools: Tool names must be unique."));
        }
        let disable_parallel = choice
            .as_ref()
            .is_some_and(|choice| choice.disable_parallel_tool_use);
        Ok(Tools {
            choice: choice.map(ToolChoice::read).transpose()?,
            disable_parallel,
            list,
        })
    }
}

impl<'a> Tool<'a> {
    fn read(wire: WireTool<'a>, n: usize) -> Result<Self, BadRequest> {
        let WireTool {
            kind,
            name,
            description,
            input_schema,
            strict,
            defer_loading,
            cache_control,
        } = wire;
        let kind = kind.unwrap_or(Cow::Borrowed("custom"));
        let kind = match &*kind {
            "custom" => {
                if name.is_none() {
                    return Err(BadRequest::at(format_args!("tools.{n}.name"), "Field required"));
                }
                let input_schema = not_null(input_schema).ok_or_else(|| {
                    BadRequest::at(format_args!("tools.{n}.input_schema"), "Field required")
                })?;
                ToolKind::Custom {
                    description,
                    input_schema,
                    is_strict: strict,
                    is_deferred: defer_loading,
                    cache_control: not_null(cache_control),
                }
            }
            known if known.starts_with("bash_") => ToolKind::Bash,
            known if known.starts_with("text_editor_") => ToolKind::TextEditor,
            known if known.starts_with("memory_") => ToolKind::Memory,
            known if known.starts_with("computer_") || known.starts_with("browser_") => {
                ToolKind::Screen { kind }
            }
            known if known.starts_with("tool_search_tool_") => ToolKind::ToolSearch,
            _ => ToolKind::Server { kind },
        };
        if name.is_none() && matches!(kind, ToolKind::Bash | ToolKind::TextEditor | ToolKind::Memory) {
            return Err(BadRequest::at(format_args!("tools.{n}.name"), "Field required"));
        }
        Ok(Tool { name, kind })
    }
}

impl<'a> ToolChoice<'a> {
    fn read(wire: WireToolChoice<'a>) -> Result<Self, BadRequest> {
        match (wire.kind.as_deref(), wire.name) {
            (Some("auto"), _) => Ok(ToolChoice::Auto),
            (Some("any"), _) => Ok(ToolChoice::Any),
            (Some("none"), _) => Ok(ToolChoice::None),
            (Some("tool"), Some(name)) => Ok(ToolChoice::Tool(name)),
            (Some("tool"), None) => Err(BadRequest::at("tool_choice.tool.name", "Field required")),
            (_, _) => Err(BadRequest::at(
                "tool_choice.type",
                "Input should be 'auto', 'any', 'tool' or 'none'",
            )),
        }
    }
}
