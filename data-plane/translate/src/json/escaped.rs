//! Strings and values as they stand in a JSON text.
//!
//! Most of a request is texts that go up as they came. They are never unescaped: what is
//! between the quotes is copied from body to body, and read only where somebody must look
//! inside. Both types come from a [`Cursor`](super::cursor::Cursor), which has checked them.

use std::borrow::Cow;

use super::surrogate::{self, hex};

/// What is between the quotes of a JSON string, escapes and all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Escaped<'a> {
    written: &'a str,
    has_escapes: bool,
}

/// A JSON value, white space around it aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Raw<'a>(&'a str);

impl<'a> Escaped<'a> {
    /// The caller has checked the escapes.
    pub(super) fn new(written: &'a str, has_escapes: bool) -> Self {
        Escaped { written, has_escapes }
    }

    /// As it is written, quotes aside.
    pub fn as_written(self) -> &'a str {
        self.written
    }

    /// Whether there is nothing between the quotes.
    pub fn is_empty(self) -> bool {
        self.written.is_empty()
    }

    /// What it means: borrowed if nothing is escaped.
    pub fn decoded(self) -> Cow<'a, str> {
        let mut rest = self.written;
        if !self.has_escapes {
            return Cow::Borrowed(rest);
        }
        let mut plain = String::with_capacity(rest.len());
        while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
            let (before, escape) = rest.split_at(at);
            let (character, bytes) = unescape(escape.as_bytes());
            plain.push_str(before);
            plain.push(character);
            rest = escape.get(bytes..).unwrap_or_default();
        }
        plain.push_str(rest);
        Cow::Owned(plain)
    }

    /// Whether it means this word; `word` holds nothing that JSON escapes.
    pub(crate) fn is(self, word: &str) -> bool {
        if self.has_escapes {
            return self.decoded() == word;
        }
        self.written == word
    }

    /// Whether what it means starts so; `start` holds nothing that JSON escapes.
    pub fn starts_with(self, start: &str) -> bool {
        let head = self.written.get(..start.len()).unwrap_or(self.written);
        if head.contains('\\') {
            return self.decoded().starts_with(start);
        }
        head == start
    }
}

impl<'a> Raw<'a> {
    /// The caller has checked the value.
    pub(super) fn new(value: &'a str) -> Self {
        Raw(value)
    }

    /// The value's text.
    pub fn get(self) -> &'a str {
        self.0
    }

    /// The value, unless it is `null`.
    pub(crate) fn not_null(self) -> Option<Self> {
        (self.0 != "null").then_some(self)
    }
}

/// The character that an escape stands for, and how long the escape is.
fn unescape(escape: &[u8]) -> (char, usize) {
    let character = match escape.get(1) {
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return unescape_unit(escape),
        Some(other) => char::from(*other),
        None => char::REPLACEMENT_CHARACTER,
    };
    (character, 2)
}

fn unescape_unit(escape: &[u8]) -> (char, usize) {
    let unit = hex(escape, 2).unwrap_or_default();
    if let Some(character) = char::from_u32(unit.into()) {
        return (character, surrogate::ESCAPE_BYTES);
    }
    let low = hex(escape, surrogate::ESCAPE_BYTES + 2).unwrap_or_default();
    let character = surrogate::join(unit, low).unwrap_or(char::REPLACEMENT_CHARACTER);
    (character, 2 * surrogate::ESCAPE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(written: &str) -> Escaped<'_> {
        Escaped::new(written, written.contains('\\'))
    }

    #[test]
    fn what_it_means_is_what_serde_json_reads() {
        for written in [
            "",
            "plain \u{e9}",
            r#"a\n\r\t\b\f\"\\\/b"#,
            r"\u0041\u00e9\u2028\ud83e\udd80 end",
            r"\u0000",
        ] {
            let quoted = format!("\"{written}\"");
            let plain: String = serde_json::from_str(&quoted).unwrap();
            assert_eq!(escaped(written).decoded(), plain, "{written}");
        }
        assert!(matches!(escaped("abc").decoded(), Cow::Borrowed("abc")));
    }

    #[test]
    fn starts_are_seen_through_escapes() {
        assert!(escaped("x-head: 1").starts_with("x-head:"));
        assert!(escaped(r"x\u002dhead: 1").starts_with("x-head:"));
        assert!(!escaped("x-hea").starts_with("x-head:"));
        assert!(!escaped(r"\nx-head:").starts_with("x-head:"));
    }
}
