//! The configuration as a whole: what lies between two states of it, how an earlier one
//! comes back, and how all of it is one file.
//!
//! Everything here is worked out from what was read and leads to one commit, which says
//! on which revision it is based.

pub(crate) mod compare;
mod edit;
pub(crate) mod file;
mod order;
pub(crate) mod plan;
pub(crate) mod rollback;
#[cfg(test)]
mod tests;
pub(crate) mod view;

pub(crate) use edit::{Action, Edit, Places, Shown, changes, places, touches_security};
