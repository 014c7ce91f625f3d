//! What the next thinking block is signed for, and the luggage that it takes along.

use serde_json::value::RawValue;

use super::slot::Slot;
use crate::reply::{Reply, Rules};
use crate::signature::{LUGGAGE_BYTES_MAX, Luggage, Seal};

#[derive(Debug)]
pub(super) struct Sealing {
    /// Of the thinking block that is open, or comes next.
    seal: Seal,
    luggage: Luggage,
    /// What all calls of the answer brought, in bytes.
    extra_bytes: usize,
    /// Details were too large to be taken along.
    has_left_details: bool,
}

impl Sealing {
    pub(super) fn new(reply: &Reply) -> Self {
        Sealing {
            seal: reply.shared().signer.seal(),
            luggage: Luggage::default(),
            extra_bytes: 0,
            has_left_details: false,
        }
    }

    pub(super) fn has_luggage(&self) -> bool {
        !self.luggage.is_empty()
    }

    /// Whether some of the luggage was too large.
    pub(super) fn has_left_something(&self) -> bool {
        self.has_left_details || self.extra_bytes > LUGGAGE_BYTES_MAX
    }

    /// More of the open block's thinking.
    pub(super) fn thinking(&mut self, text: &str) {
        self.seal.update(text);
    }

    /// An entry of `reasoning_details`.
    pub(super) fn detail(&mut self, raw: &RawValue, rules: &Rules) {
        if rules.keeps_details {
            self.luggage.details.push(raw);
            self.has_left_details |= self.luggage.details.is_too_large();
        }
    }

    /// What must come back with a call. It waits in the slot until the client has an id for it.
    pub(super) fn extra(&mut self, raw: &RawValue, slot: &mut Slot, rules: &Rules) {
        if !rules.keeps_tool_extra {
            return;
        }
        self.extra_bytes = self.extra_bytes.saturating_add(raw.get().len());
        if self.extra_bytes > LUGGAGE_BYTES_MAX {
            return;
        }
        match &slot.client_id {
            Some(id) => self.luggage.calls.push((id.clone(), raw.to_owned())),
            None => slot.extra = Some(raw.to_owned()),
        }
    }

    /// A call has got its id.
    pub(super) fn begin_call(&mut self, id: &str, slot: &mut Slot) {
        slot.client_id = Some(id.to_owned());
        if let Some(extra) = slot.extra.take() {
            self.luggage.calls.push((id.to_owned(), extra));
        }
    }

    /// The signature of the block that ends, with all luggage so far.
    pub(super) fn sign(&mut self, reply: &Reply) -> String {
        let signer = &reply.shared().signer;
        let seal = std::mem::replace(&mut self.seal, signer.seal());
        signer.sign(seal, std::mem::take(&mut self.luggage))
    }
}
