//! OpenAI's Chat Completions on the wire, with the extensions that servers have added.

pub(crate) mod chunk;
pub(crate) mod request;
pub(crate) mod schema;
pub(crate) mod write;
