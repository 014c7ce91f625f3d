//! Changes of the tools on offer in the middle of a conversation: `tool_addition` and
//! `tool_removal`.

use std::borrow::Cow;

use super::tool::{Tool, WireTool};
use crate::error::{BadRequest, Path};
use crate::json::cursor::{Cursor, Kind, Result as Read};
use crate::json::escaped::Escaped;

/// What happens to the tools on offer, from there on.
#[derive(Debug, Clone)]
pub enum ToolChange<'a> {
    /// A tool of the request's list, or one defined before, is offered.
    Offer { name: Cow<'a, str> },
    /// A new tool is offered.
    Define(Box<Tool<'a>>),
    /// A tool is offered no longer.
    Withdraw { name: Cow<'a, str> },
    /// Tools of an MCP server that Anthropic calls, or what we do not know.
    Elsewhere { is_addition: bool },
}

#[derive(Debug, Default)]
pub(super) struct WireToolChange<'a> {
    kind: Option<Escaped<'a>>,
    name: Option<Escaped<'a>>,
    definition: Option<WireTool<'a>>,
}

impl<'a> WireToolChange<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Read<Self> {
        let mut wire = WireToolChange::default();
        if cursor.peek()? != Kind::Object {
            cursor.skip()?;
            return Ok(wire);
        }
        cursor.object(|cursor, name| {
            match &*name.decoded() {
                "type" => cursor.text_into(&mut wire.kind)?,
                "name" => cursor.text_into(&mut wire.name)?,
                "definition" if wire.definition.is_some() => return cursor.duplicate(),
                "definition" if cursor.peek()? == Kind::Object => {
                    wire.definition = Some(WireTool::read(cursor)?);
                }
                _ => cursor.skip()?,
            }
            Ok(())
        })?;
        Ok(wire)
    }
}

impl<'a> ToolChange<'a> {
    pub(super) fn read(
        wire: Option<WireToolChange<'a>>,
        is_addition: bool,
        path: &Path<'_>,
    ) -> Result<Self, BadRequest> {
        let path = Path::Field(path, "tool");
        let required = |name| BadRequest::at(Path::Field(&path, name), "Field required");
        let WireToolChange {
            kind,
            name,
            definition,
        } = wire.unwrap_or_default();
        let kind = kind.map(Escaped::decoded);
        match (kind.as_deref().unwrap_or_default(), definition) {
            ("tool_reference", _) => {
                let name = name.map(Escaped::decoded).ok_or_else(|| required("name"))?;
                Ok(if is_addition {
                    ToolChange::Offer { name }
                } else {
                    ToolChange::Withdraw { name }
                })
            }
            ("tool_definition", Some(definition)) if is_addition => {
                let tool = Tool::read(definition, &Path::Field(&path, "definition"))?;
                Ok(ToolChange::Define(Box::new(tool)))
            }
            ("tool_definition", None) => Err(required("definition")),
            _ => Ok(ToolChange::Elsewhere { is_addition }),
        }
    }

    /// The block's `type`, for loss paths.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            ToolChange::Offer { .. }
            | ToolChange::Define(_)
            | ToolChange::Elsewhere { is_addition: true } => "tool_addition",
            ToolChange::Withdraw { .. } | ToolChange::Elsewhere { is_addition: false } => "tool_removal",
        }
    }
}
