//! Messages of one side, as they follow each other.

use crate::anthropic::Message;

/// One run, with its place in the conversation.
pub(super) struct Run<'r> {
    pub(super) messages: &'r [Message<'r>],
    pub(super) at: usize,
    pub(super) end: usize,
    /// Place of the last user message of the whole conversation.
    pub(super) last_user: Option<usize>,
}

impl<'r> Run<'r> {
    /// The messages with their places in the request.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &'r Message<'r>)> + use<'r> {
        let (messages, at, end) = (self.messages, self.at, self.end);
        messages.iter().enumerate().take(end).skip(at)
    }

    /// Whether nothing follows.
    pub(super) fn is_last(&self) -> bool {
        self.end == self.messages.len()
    }

    /// Whether a user message follows the message at this place.
    pub(super) fn has_user_after(&self, n: usize) -> bool {
        self.last_user.is_some_and(|last| last > n)
    }
}
