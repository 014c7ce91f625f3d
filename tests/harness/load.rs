//! Load: an upstream that costs next to nothing, a client that judges every answer whole, and
//! generators that send at a fixed rate or as fast as answers come.
//!
//! Upstream and client run in the measuring process and must cost less than what they measure:
//! the scripted upstream, which keeps every request, is for faults and not for rates.

pub mod client;
pub mod generator;
pub mod stage;
pub mod tally;
pub mod upstream;

pub use client::{Ask, Client, Protocol, Sample};
pub use generator::{closed_loop, open_loop};
pub use stage::LoadStage;
pub use tally::Tally;
pub use upstream::{Exchange, Upstream};

/// What the `number`th piece of every streamed answer says.
pub(crate) fn piece(number: u32) -> String {
    format!("{number} ")
}

/// The text of an answer of so many pieces.
pub(crate) fn text_of_pieces(pieces: u32) -> String {
    (0..pieces).map(piece).collect()
}
