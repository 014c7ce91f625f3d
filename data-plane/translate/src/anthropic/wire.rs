//! The loose form in which content arrives, before it is validated.
//!
//! One flat struct for all block types, since the type may stand behind the fields that
//! it explains. Every field is lenient: one that we cannot read is one that is absent.
//! `block` turns this into what is meant.

use super::tool_change::WireToolChange;
use crate::json::cursor::{Cursor, Kind, Result};
use crate::json::escaped::{Escaped, Raw};

#[derive(Debug, Default)]
pub(super) struct WireBlock<'a> {
    pub(super) kind: Option<Escaped<'a>>,
    pub(super) text: Option<Escaped<'a>>,
    pub(super) id: Option<Escaped<'a>>,
    pub(super) name: Option<Escaped<'a>>,
    pub(super) input: Option<Raw<'a>>,
    pub(super) tool_use_id: Option<Escaped<'a>>,
    pub(super) tool_name: Option<Escaped<'a>>,
    pub(super) is_error: bool,
    pub(super) content: WireContent<'a>,
    pub(super) source: WireSource<'a>,
    pub(super) title: Option<Escaped<'a>>,
    pub(super) context: Option<Escaped<'a>>,
    pub(super) thinking: Option<Escaped<'a>>,
    pub(super) signature: Option<Escaped<'a>>,
    pub(super) data: Option<Escaped<'a>>,
    pub(super) url: Option<Escaped<'a>>,
    pub(super) stdout: Option<Escaped<'a>>,
    pub(super) stderr: Option<Escaped<'a>>,
    pub(super) tool_references: WireContent<'a>,
    pub(super) cache_control: Option<Raw<'a>>,
    pub(super) tool: Option<Box<WireToolChange<'a>>>,
    /// `transformations` of an image: `{"oversized_image": "error"}`.
    pub(super) refuses_downsizing: bool,
}

/// `content` of a message, a tool result, a document: text, blocks, or one object.
#[derive(Debug, Default)]
pub(super) enum WireContent<'a> {
    #[default]
    Absent,
    Text(Escaped<'a>),
    Blocks(Vec<WireBlock<'a>>),
    One(Box<WireBlock<'a>>),
    /// A number or a bool.
    Unusable,
}

/// `source` of an image or document; a search result has a string there.
#[derive(Debug, Default)]
pub(super) enum WireSource<'a> {
    #[default]
    Absent,
    Text(Escaped<'a>),
    Fields(Box<WireSourceFields<'a>>),
    Unusable,
}

#[derive(Debug, Default)]
pub(super) struct WireSourceFields<'a> {
    pub(super) kind: Option<Escaped<'a>>,
    pub(super) media_type: Option<Escaped<'a>>,
    pub(super) data: Option<Escaped<'a>>,
    pub(super) url: Option<Escaped<'a>>,
    pub(super) content: WireContent<'a>,
}

impl<'a> WireBlock<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let mut wire = WireBlock::default();
        cursor.object(|cursor, name| wire.member(cursor, name))?;
        Ok(wire)
    }

    fn member(&mut self, cursor: &mut Cursor<'a>, name: Escaped<'a>) -> Result<()> {
        let text = match &*name.decoded() {
            "type" => &mut self.kind,
            "text" => &mut self.text,
            "id" => &mut self.id,
            "name" => &mut self.name,
            "tool_use_id" => &mut self.tool_use_id,
            "tool_name" => &mut self.tool_name,
            "title" => &mut self.title,
            "context" => &mut self.context,
            "thinking" => &mut self.thinking,
            "signature" => &mut self.signature,
            "data" => &mut self.data,
            "url" => &mut self.url,
            "stdout" => &mut self.stdout,
            "stderr" => &mut self.stderr,
            "input" => return cursor.raw_into(&mut self.input),
            "cache_control" => return cursor.raw_into(&mut self.cache_control),
            "is_error" => {
                self.is_error = cursor.flag()?;
                return Ok(());
            }
            "content" => return self.content.fill(cursor),
            "tool_references" => return self.tool_references.fill(cursor),
            "source" => return self.source.fill(cursor),
            "tool" if self.tool.is_some() => return cursor.duplicate(),
            "tool" => {
                self.tool = Some(Box::new(WireToolChange::read(cursor)?));
                return Ok(());
            }
            "transformations" => return self.transformations(cursor),
            _ => return cursor.skip(),
        };
        cursor.text_into(text)
    }

    fn transformations(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        let wish = cursor.optional_object(|cursor, name| {
            if name.is("oversized_image") {
                self.refuses_downsizing = cursor.text()?.is_some_and(|wish| wish.is("error"));
                return Ok(());
            }
            cursor.skip()
        });
        wish.map(drop)
    }
}

impl<'a> WireContent<'a> {
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        match cursor.peek()? {
            Kind::Text => Ok(cursor.text()?.map_or(WireContent::Absent, WireContent::Text)),
            Kind::Object => Ok(WireContent::One(Box::new(WireBlock::read(cursor)?))),
            Kind::List => {
                let mut blocks = Vec::new();
                cursor.list(|cursor| {
                    blocks.push(WireBlock::read(cursor)?);
                    Ok(())
                })?;
                Ok(WireContent::Blocks(blocks))
            }
            Kind::Scalar if cursor.raw()?.not_null().is_none() => Ok(WireContent::Absent),
            Kind::Scalar => Ok(WireContent::Unusable),
        }
    }

    /// A field that comes twice is refused.
    pub(super) fn fill(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        if !matches!(self, WireContent::Absent) {
            return cursor.duplicate();
        }
        *self = WireContent::read(cursor)?;
        Ok(())
    }
}

impl<'a> WireSource<'a> {
    fn fill(&mut self, cursor: &mut Cursor<'a>) -> Result<()> {
        if !matches!(self, WireSource::Absent) {
            return cursor.duplicate();
        }
        *self = match cursor.peek()? {
            Kind::Text => cursor.text()?.map_or(WireSource::Absent, WireSource::Text),
            Kind::Object => WireSource::Fields(Box::new(WireSourceFields::read(cursor)?)),
            Kind::List => {
                cursor.skip()?;
                WireSource::Unusable
            }
            Kind::Scalar if cursor.raw()?.not_null().is_none() => WireSource::Absent,
            Kind::Scalar => WireSource::Unusable,
        };
        Ok(())
    }
}

impl<'a> WireSourceFields<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self> {
        let mut wire = WireSourceFields::default();
        cursor.object(|cursor, name| match &*name.decoded() {
            "type" => cursor.text_into(&mut wire.kind),
            "media_type" => cursor.text_into(&mut wire.media_type),
            "data" => cursor.text_into(&mut wire.data),
            "url" => cursor.text_into(&mut wire.url),
            "content" => wire.content.fill(cursor),
            _ => cursor.skip(),
        })?;
        Ok(wire)
    }
}
