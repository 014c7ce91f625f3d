//! What is wrong with a JSON text, and where, in words for whoever wrote it.

use super::place;

/// A place in a text, and what is wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Bytes from the start.
    pub(crate) at: usize,
    pub(crate) what: What,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum What {
    #[error("it ends too early")]
    Ended,
    #[error("expected a value")]
    NoValue,
    #[error("expected a name in quotes")]
    NoName,
    #[error("expected a colon")]
    NoColon,
    #[error("expected a comma or the end of the list or object")]
    NoComma,
    #[error("a control character that is not escaped")]
    Control,
    #[error("an escape that does not exist")]
    Escape,
    #[error("a number that is none")]
    Number,
    #[error("a number out of range")]
    NumberRange,
    #[error("bytes that are not UTF-8")]
    NotUtf8,
    #[error("more behind its end")]
    Trailing,
    #[error("duplicate field")]
    Duplicate,
    #[error("more than {0} fields")]
    Fields(usize),
    #[error("half of a surrogate pair is no character")]
    Surrogate,
    #[error("nested deeper than {0} levels")]
    Depth(u32),
    #[error("Input should be a valid list")]
    NotList,
    #[error("Input should be an object")]
    NotObject,
}

impl Fault {
    /// By its place in the text, or, where the text is good JSON that cannot be used, by the
    /// path of the value.
    pub(crate) fn describe(self, text: &[u8]) -> String {
        let what = self.what;
        match what {
            What::Surrogate | What::Depth(_) | What::NotList | What::NotObject => {
                match place::path(text, self.at) {
                    path if path.is_empty() => what.to_string(),
                    path => format!("{path}: {what}"),
                }
            }
            What::Duplicate => {
                let name = place::name(text, self.at);
                self.not_json(text, &format!(" `{name}`"))
            }
            What::Ended
            | What::NoValue
            | What::NoName
            | What::NoColon
            | What::NoComma
            | What::Control
            | What::Escape
            | What::Number
            | What::NumberRange
            | What::NotUtf8
            | What::Trailing
            | What::Fields(_) => self.not_json(text, ""),
        }
    }

    fn not_json(self, text: &[u8], which: &str) -> String {
        let before = text.get(..self.at).unwrap_or(text);
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at + 1);
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        let column = before.len() - line_start + 1;
        let what = self.what;
        format!("The request body is not valid JSON: {what}{which} at line {line} column {column}")
    }
}
