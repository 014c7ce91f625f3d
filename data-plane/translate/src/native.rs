//! Pass-through: providers that speak the client's own API.
//!
//! Nothing is translated, so nothing is lost: bytes pass as they are, both ways. What is
//! changed all the same is the model's name, thinking that only we could have written, and
//! what a provider's knobs take out because its version of the API is older or stricter.
//! The verbs are those of the translated way.

mod answer;
mod betas;
mod draft;
mod edits;
mod event;
mod fault;
mod history;
mod reply;
mod request;
mod stream;
mod walk;

pub use answer::{Answer, answer};
pub use betas::strip_betas;
pub use draft::History;
pub use fault::{Refusal, Verbatim, refusal, refuses_thinking};
pub use reply::Reply;
pub use request::{Outbound, edit};
pub use stream::{Status, Stream};

#[cfg(test)]
mod tests;
