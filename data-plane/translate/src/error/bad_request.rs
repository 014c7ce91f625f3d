//! What is wrong with the client's request, and where.

use std::fmt;

/// The client's request cannot be served as it is: Anthropic's `invalid_request_error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BadRequest {
    /// `path: text`, as the real API words it.
    pub message: String,
    /// `error.details.error_code`, where clients act on one.
    pub code: Option<&'static str>,
}

impl BadRequest {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        BadRequest {
            message: message.into(),
            code: None,
        }
    }

    /// Wrong at this place.
    pub fn at(path: impl fmt::Display, text: &str) -> Self {
        BadRequest::new(format!("{path}: {text}"))
    }

    pub(crate) fn with_code(self, code: Option<&'static str>) -> Self {
        BadRequest { code, ..self }
    }
}

/// A place in the client's request; written only when something is wrong there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'p> {
    Root(&'p str),
    Index(&'p Path<'p>, usize),
    Field(&'p Path<'p>, &'p str),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root(name) => f.write_str(name),
            Path::Index(parent, n) => write!(f, "{parent}.{n}"),
            Path::Field(parent, name) => write!(f, "{parent}.{name}"),
        }
    }
}
