//! Which piece belongs to which call.
//!
//! Servers send wrong indices, no indices, no ids, or repeat everything in each chunk.

use crate::error::{self, UpstreamFault};
use crate::openai::chunk::ToolDelta;

use super::slot::{Slot, Stage};

/// More calls in one answer are a server gone wild.
const CALLS_MAX: usize = 1024;

/// The calls of one answer, in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Slots(Vec<Slot>);

impl Slots {
    pub(super) fn get(&self, n: usize) -> Option<&Slot> {
        self.0.get(n)
    }

    pub(super) fn get_mut(&mut self, n: usize) -> Option<&mut Slot> {
        self.0.get_mut(n)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.0.iter()
    }

    /// The place of the call that a piece goes on with, or begins. `allows_one`: calls behind
    /// the first are refused.
    pub(super) fn of_piece(
        &mut self,
        delta: &ToolDelta<'_>,
        name: &str,
        arguments: &str,
        allows_one: bool,
    ) -> Result<usize, UpstreamFault> {
        let id = delta.id.as_deref().filter(|id| !id.is_empty());
        let known = self.named_by(delta.index, id).filter(|n| {
            self.get(*n)
                .is_some_and(|slot| goes_on(slot, id, name, arguments))
        });
        if let Some(n) = known {
            return Ok(n);
        }
        let n = self.0.len();
        if n == CALLS_MAX {
            return Err(error::nonsense("too many tool calls in one answer"));
        }
        let stage = if allows_one && n > 0 {
            Stage::Refused
        } else {
            Stage::Nameless
        };
        self.0.push(Slot {
            index: delta.index,
            stage,
            ..Slot::default()
        });
        Ok(n)
    }

    fn named_by(&self, index: Option<u64>, id: Option<&str>) -> Option<usize> {
        match (index, id) {
            (Some(_), _) => self.0.iter().rposition(|slot| slot.index == index),
            (None, Some(_)) => self.0.iter().rposition(|slot| slot.id.as_deref() == id),
            (None, None) => self.0.len().checked_sub(1),
        }
    }
}

/// Whether a piece for this call is not the beginning of another one.
fn goes_on(slot: &Slot, id: Option<&str>, name: &str, arguments: &str) -> bool {
    match (slot.id.as_deref(), id) {
        (Some(have), Some(new)) => have == new,
        // A name after complete arguments begins a new call, unless it is an empty repetition.
        (Some(_), None) | (None, _) => {
            name.is_empty() || !slot.scan.is_complete() || (slot.name == name && arguments.trim().is_empty())
        }
    }
}
