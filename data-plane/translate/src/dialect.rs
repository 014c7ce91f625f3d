//! What an upstream can and cannot take, as data.
//!
//! One flat table with one field per knob, because that is how the knobs are written in
//! configuration: a preset sets every one, a family of models changes some, a provider
//! overrides single ones. Only knobs that translation honours stand here; transport knobs
//! live with the caller.

mod field;
mod knobs;
mod preset;

pub use field::Field;
pub use knobs::*;
pub use preset::Dialects;
