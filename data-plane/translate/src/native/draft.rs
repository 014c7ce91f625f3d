//! A body while it is fitted to a provider: what it says, what is changed of it, what is lost.

use crate::loss::LossList;
use crate::request::Target;

use super::edits::Edits;
use super::walk::Text;

/// What becomes of thinking in earlier turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// Only thinking that no provider of this API has signed is left out.
    Signed,
    /// All thinking is left out, because the provider refused it.
    WithoutThinking,
}

/// A body on its way.
pub(super) struct Draft<'d> {
    pub(super) text: Text<'d>,
    pub(super) target: &'d Target<'d>,
    pub(super) edits: Edits,
    pub(super) losses: LossList,
}
