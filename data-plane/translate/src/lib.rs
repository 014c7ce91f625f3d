//! Translation between Anthropic's Messages API and OpenAI's Chat Completions.
//!
//! Pure: bytes in, bytes out. No clock, no randomness, no I/O, no logging; the caller
//! brings the seed of ids, counts the time and masks secrets. Four verbs:
//!
//! 1. parse a request once, borrowed ([`anthropic::Request::parse`]);
//! 2. translate it for one candidate ([`request::to_openai`]);
//! 3. translate a whole answer back ([`response::to_anthropic`]);
//! 4. translate a stream back ([`stream::Translator`]).
//!
//! An upstream that speaks the client's API gets and gives the same verbs without
//! translation ([`native`]).
//!
//! What cannot be carried over is named in a [`loss::LossList`]. What an upstream can
//! take is data: [`dialect::Dialect`].

pub mod anthropic;
pub mod dialect;
pub mod error;
mod estimate;
mod ids;
mod json;
pub mod loss;
pub mod native;
mod openai;
mod reply;
pub mod request;
pub mod response;
mod signature;
pub mod sse;
pub mod stop_reason;
pub mod stream;
pub mod tokens;
pub mod usage;

pub use dialect::{Dialect, Dialects};
pub use error::{BadRequest, FaultKind, UpstreamFault};
pub use ids::Ids;
pub use loss::LossList;
pub use reply::Reply;
pub use request::{Outbound, Target, TokenLimits};
pub use response::Answer;
pub use stop_reason::StopReason;
pub use stream::{KeepAlive, Status, Translator};
pub use usage::Usage;
