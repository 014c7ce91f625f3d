//! Anthropic's Messages API on the wire: what clients send and what they must get back.

mod block;
mod body;
pub(crate) mod claude_code;
mod error;
pub(crate) mod event;
mod parse;
mod request;
pub(crate) mod response;
mod tool;
mod tool_change;
mod wire;

pub use block::{Block, Content, Document, Image, Media, Source};
pub use error::{ErrorBody, ErrorType};
pub use request::{Message, Options, Request, Role, Sampling, Thinking};
pub use tool::{InputSchema, Tool, ToolChoice, ToolKind, Tools};
pub use tool_change::ToolChange;

pub use crate::json::escaped::{Escaped, Raw};
