//! Ids of tool calls as the upstream wants them, where its format differs.
//!
//! Only what goes up is changed: the client keeps its own ids, so nothing is mapped back.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::dialect::ToolIdFormat;
use crate::ids::short_hash;

/// Mistral takes ids of exactly nine letters and digits.
const MISTRAL_ID_CHARS: usize = 9;

/// The ids of one request.
#[derive(Debug)]
pub(crate) struct CallIds<'r> {
    format: ToolIdFormat,
    /// Kimi counts calls through the conversation, so a result needs its call's number.
    numbered: HashMap<&'r str, String>,
}

impl<'r> CallIds<'r> {
    pub(super) fn new(format: ToolIdFormat) -> Self {
        CallIds {
            format,
            numbered: HashMap::new(),
        }
    }

    /// The upstream's id of a call to this tool.
    pub(super) fn of_call(&mut self, id: &'r str, tool: &str) -> Cow<'r, str> {
        match self.format {
            ToolIdFormat::Keep => Cow::Borrowed(id),
            ToolIdFormat::Mistral9 => Cow::Owned(short_hash(id, MISTRAL_ID_CHARS)),
            ToolIdFormat::Kimi => {
                let number = self.numbered.len();
                let known = self
                    .numbered
                    .entry(id)
                    .or_insert_with(|| format!("functions.{tool}:{number}"));
                Cow::Owned(known.clone())
            }
        }
    }

    /// The upstream's id of the call that a result answers; the call may be unknown.
    pub(super) fn of_result(&self, id: &'r str) -> Cow<'r, str> {
        match self.format {
            ToolIdFormat::Keep => Cow::Borrowed(id),
            ToolIdFormat::Mistral9 => Cow::Owned(short_hash(id, MISTRAL_ID_CHARS)),
            ToolIdFormat::Kimi => {
                let known = self.numbered.get(id);
                known.map_or(Cow::Borrowed(id), |known| Cow::Owned(known.clone()))
            }
        }
    }
}
