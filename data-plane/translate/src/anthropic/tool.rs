//! Tools that a client offers, sorted by who runs them.

use std::borrow::Cow;

use crate::error::{BadRequest, Path};
use crate::json::cursor::{Cursor, Result as Read};
use crate::json::escaped::{Escaped, Raw};

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
        description: Option<Escaped<'a>>,
        input_schema: InputSchema<'a>,
        is_strict: bool,
        is_deferred: bool,
        /// Ends a prefix that is worth caching.
        is_marked: bool,
        /// Examples of its input.
        examples: Option<Raw<'a>>,
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
        /// Fields that narrow where it may look.
        limits: Vec<&'static str>,
    },
}

/// The schema of a tool's input. It is by far the most of a request, so it is read only once:
/// its top level is taken apart on the way.
#[derive(Debug, Clone)]
pub struct InputSchema<'a> {
    pub raw: Raw<'a>,
    /// Names and values of the top level; none if the schema is no object.
    pub words: Option<Vec<(Escaped<'a>, Raw<'a>)>>,
}

/// Which tool the model must call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice<'a> {
    Auto,
    Any,
    Tool(Cow<'a, str>),
    None,
}

#[derive(Debug, Default)]
pub(super) struct WireTool<'a> {
    kind: Option<Escaped<'a>>,
    name: Option<Escaped<'a>>,
    description: Option<Escaped<'a>>,
    input_schema: Option<InputSchema<'a>>,
    strict: bool,
    defer_loading: bool,
    cache_control: Option<Raw<'a>>,
    input_examples: Option<Raw<'a>>,
    limits: Vec<&'static str>,
}

#[derive(Debug, Default)]
pub(super) struct WireToolChoice<'a> {
    kind: Option<Escaped<'a>>,
    name: Option<Escaped<'a>>,
    disable_parallel_tool_use: bool,
}

impl<'a> WireTool<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Read<Self> {
        let mut wire = WireTool::default();
        cursor.object(|cursor, name| {
            match &*name.decoded() {
                "type" => cursor.text_into(&mut wire.kind)?,
                "name" => cursor.text_into(&mut wire.name)?,
                "description" => cursor.text_into(&mut wire.description)?,
                "input_schema" if wire.input_schema.is_some() => return cursor.duplicate(),
                "input_schema" => wire.input_schema = InputSchema::read(cursor)?,
                "strict" => wire.strict = cursor.flag()?,
                "defer_loading" => wire.defer_loading = cursor.flag()?,
                "cache_control" => cursor.raw_into(&mut wire.cache_control)?,
                "input_examples" => cursor.raw_into(&mut wire.input_examples)?,
                "allowed_domains" => wire.limit("allowed_domains", cursor)?,
                "blocked_domains" => wire.limit("blocked_domains", cursor)?,
                "user_location" => wire.limit("user_location", cursor)?,
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(wire)
    }

    fn limit(&mut self, name: &'static str, cursor: &mut Cursor<'a>) -> Read<()> {
        let is_set = cursor.raw()?.not_null().is_some();
        self.limits.extend(is_set.then_some(name));
        Ok(())
    }
}

impl<'a> WireToolChoice<'a> {
    /// Whether it is there.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'a>) -> Read<bool> {
        cursor.optional_object(|cursor, name| {
            match &*name.decoded() {
                "type" => cursor.text_into(&mut self.kind)?,
                "name" => cursor.text_into(&mut self.name)?,
                "disable_parallel_tool_use" => self.disable_parallel_tool_use = cursor.flag()?,
                _ => cursor.skip()?,
            }
            Ok(())
        })
    }
}

impl<'a> InputSchema<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Read<Option<Self>> {
        if cursor.is_null()? {
            return Ok(None);
        }
        let (raw, words) = cursor.members()?;
        Ok(Some(InputSchema { raw, words }))
    }
}

impl<'a> Tools<'a> {
    pub(super) fn read(
        list: Vec<WireTool<'a>>,
        choice: Option<WireToolChoice<'a>>,
    ) -> Result<Self, BadRequest> {
        let list: Vec<Tool<'a>> = list
            .into_iter()
            .enumerate()
            .map(|(n, tool)| Tool::read(tool, &Path::Index(&Path::Root("tools"), n)))
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
    pub(super) fn read(wire: WireTool<'a>, path: &Path<'_>) -> Result<Self, BadRequest> {
        let WireTool {
            kind,
            name,
            description,
            input_schema,
            strict,
            defer_loading,
            cache_control,
            input_examples,
            limits,
        } = wire;
        let required = |name| BadRequest::at(Path::Field(path, name), "Field required");
        let kind = kind.map_or(Cow::Borrowed("custom"), Escaped::decoded);
        let name = name.map(Escaped::decoded);
        let kind = match &*kind {
            "custom" => {
                if name.is_none() {
                    return Err(required("name"));
                }
                let input_schema = input_schema.ok_or_else(|| required("input_schema"))?;
                ToolKind::Custom {
                    description,
                    input_schema,
                    is_strict: strict,
                    is_deferred: defer_loading,
                    is_marked: cache_control.is_some(),
                    examples: input_examples,
                }
            }
            known if known.starts_with("bash_") => ToolKind::Bash,
            known if known.starts_with("text_editor_") => ToolKind::TextEditor,
            known if known.starts_with("memory_") => ToolKind::Memory,
            known if known.starts_with("computer_") || known.starts_with("browser_") => {
                ToolKind::Screen { kind }
            }
            known if known.starts_with("tool_search_tool_") => ToolKind::ToolSearch,
            _ => ToolKind::Server { kind, limits },
        };
        if name.is_none() && matches!(kind, ToolKind::Bash | ToolKind::TextEditor | ToolKind::Memory) {
            return Err(required("name"));
        }
        Ok(Tool { name, kind })
    }
}

impl<'a> ToolChoice<'a> {
    fn read(wire: WireToolChoice<'a>) -> Result<Self, BadRequest> {
        let kind = wire.kind.map(Escaped::decoded);
        match (kind.as_deref(), wire.name.map(Escaped::decoded)) {
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
