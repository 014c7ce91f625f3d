//! What requests cost.

pub(crate) mod meter;
