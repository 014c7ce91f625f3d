//! The loose form in which the whole body arrives, before it is validated.

use std::borrow::Cow;

use super::tool::{WireTool, WireToolChoice};
use super::wire::WireContent;
use crate::json::cursor::{Cursor, Result};
use crate::json::escaped::{Escaped, Raw};
use crate::json::fault::What;

/// Clients send about twenty fields; a list of thousands is an attack on whoever compares them.
const FIELDS_MAX: usize = 128;

/// The top level as it arrives. Later duplicates of a field are refused.
#[derive(Default)]
pub(super) struct WireBody<'a> {
    pub(super) model: Option<Escaped<'a>>,
    pub(super) stream: Option<Raw<'a>>,
    pub(super) system: WireContent<'a>,
    pub(super) messages: Option<Vec<WireMessage<'a>>>,
    pub(super) tools: Vec<WireTool<'a>>,
    pub(super) tool_choice: Option<WireToolChoice<'a>>,
    pub(super) max_tokens: Option<Raw<'a>>,
    pub(super) stop_sequences: Vec<Escaped<'a>>,
    pub(super) temperature: Option<Raw<'a>>,
    pub(super) top_p: Option<Raw<'a>>,
    pub(super) top_k: Option<Raw<'a>>,
    pub(super) thinking: Option<WireThinking<'a>>,
    pub(super) output_config: WireOutputConfig<'a>,
    pub(super) output_format: WireFormat<'a>,
    pub(super) metadata: WireMetadata<'a>,
    pub(super) service_tier: Option<Escaped<'a>>,
    pub(super) other: Vec<(Cow<'a, str>, Raw<'a>)>,
}

#[derive(Default)]
pub(super) struct WireMessage<'a> {
    pub(super) role: Option<Escaped<'a>>,
    pub(super) content: WireContent<'a>,
    pub(super) clear_at: Option<Escaped<'a>>,
    pub(super) output_config: WireOutputConfig<'a>,
}

#[derive(Default)]
pub(super) struct WireThinking<'a> {
    pub(super) kind: Option<Escaped<'a>>,
    pub(super) budget_tokens: u64,
    pub(super) display: Option<Escaped<'a>>,
}

#[derive(Default)]
pub(super) struct WireOutputConfig<'a> {
    pub(super) effort: Option<Escaped<'a>>,
    pub(super) format: WireFormat<'a>,
}

#[derive(Default)]
pub(super) struct WireFormat<'a> {
    pub(super) schema: Option<Raw<'a>>,
}

#[derive(Default)]
pub(super) struct WireMetadata<'a> {
    pub(super) user_id: Option<Escaped<'a>>,
}

impl<'a> WireBody<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::of_bytes(body)?;
        let mut wire = WireBody::default();
        let mut seen: Vec<Cow<'a, str>> = Vec::with_capacity(16);
        cursor.object(|cursor, name| {
            let name = name.decoded();
            if seen.contains(&name) {
                return cursor.duplicate();
            }
            if seen.len() == FIELDS_MAX {
                return cursor.fault(What::Fields(FIELDS_MAX));
            }
            wire.member(cursor, name.clone())?;
            seen.push(name);
            Ok(())
        })?;
        cursor.end()?;
        Ok(wire)
    }

    fn member(&mut self, cursor: &mut Cursor<'a>, name: Cow<'a, str>) -> Result<()> {
        match &*name {
            "model" => cursor.text_into(&mut self.model),
            "stream" => cursor.raw_into(&mut self.stream),
            "system" => self.system.fill(cursor),
            "messages" => self.messages(cursor),
            "tools" => cursor
                .optional_list(|cursor| {
                    self.tools.push(WireTool::read(cursor)?);
                    Ok(())
                })
                .map(drop),
            "tool_choice" => {
                let mut choice = WireToolChoice::default();
                let is_there = choice.read(cursor)?;
                self.tool_choice = is_there.then_some(choice);
                Ok(())
            }
            "max_tokens" => cursor.raw_into(&mut self.max_tokens),
            "stop_sequences" => cursor
                .optional_list(|cursor| {
                    self.stop_sequences.extend(cursor.text()?);
                    Ok(())
                })
                .map(drop),
            "temperature" => cursor.raw_into(&mut self.temperature),
            "top_p" => cursor.raw_into(&mut self.top_p),
            "top_k" => cursor.raw_into(&mut self.top_k),
            "thinking" => {
                let mut thinking = WireThinking::default();
                let is_there = thinking.read(cursor)?;
                self.thinking = is_there.then_some(thinking);
                Ok(())
            }
            "output_config" => self.output_config.read(cursor),
            "output_format" => self.output_format.read(cursor),
            "metadata" => self.metadata.read(cursor),
            "service_tier" => cursor.text_into(&mut self.service_tier),
            _ => {
                self.other.push((name, cursor.raw()?));
                Ok(())
            }
        }
    }

    fn messages(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        let mut messages = Vec::new();
        let is_there = cursor.optional_list(|cursor| {
            messages.push(WireMessage::read(cursor)?);
            Ok(())
        })?;
        self.messages = is_there.then_some(messages);
        Ok(())
    }
}

impl<'a> WireMessage<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let mut wire = WireMessage::default();
        cursor.object(|cursor, name| match &*name.decoded() {
            "role" => cursor.text_into(&mut wire.role),
            "content" => wire.content.fill(cursor),
            "clear_at" => cursor.text_into(&mut wire.clear_at),
            "output_config" => wire.output_config.read(cursor),
            _ => cursor.skip(),
        })?;
        Ok(wire)
    }
}

impl<'a> WireThinking<'a> {
    /// Whether it is there.
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<bool> {
        cursor.optional_object(|cursor, name| match &*name.decoded() {
            "type" => cursor.text_into(&mut self.kind),
            "budget_tokens" => {
                self.budget_tokens = cursor.count()?;
                Ok(())
            }
            "display" => cursor.text_into(&mut self.display),
            _ => cursor.skip(),
        })
    }
}

impl<'a> WireOutputConfig<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        cursor
            .optional_object(|cursor, name| match &*name.decoded() {
                "effort" => cursor.text_into(&mut self.effort),
                "format" => self.format.read(cursor),
                _ => cursor.skip(),
            })
            .map(drop)
    }
}

impl<'a> WireFormat<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        cursor
            .optional_object(|cursor, name| match &*name.decoded() {
                "schema" => cursor.raw_into(&mut self.schema),
                _ => cursor.skip(),
            })
            .map(drop)
    }
}

impl<'a> WireMetadata<'a> {
    fn read(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        cursor
            .optional_object(|cursor, name| match &*name.decoded() {
                "user_id" => cursor.text_into(&mut self.user_id),
                _ => cursor.skip(),
            })
            .map(drop)
    }
}
