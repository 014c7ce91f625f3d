//! JSON written straight into the caller's buffer.

use std::borrow::Cow;

use super::escaped::Escaped;
use super::word::next_unsafe;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends a JSON string, quotes included.
pub(crate) fn push_str(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    push_escaped(out, text);
    out.push(b'"');
}

/// Appends the inside of a JSON string.
pub(crate) fn push_escaped(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(at) = next_unsafe(bytes, from) {
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        push_escape(out, bytes.get(at).copied().unwrap_or_default());
        from = at + 1;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
}

fn push_escape(out: &mut Vec<u8>, byte: u8) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        control => {
            let digits = [HEX[usize::from(control >> 4)], HEX[usize::from(control & 15)]];
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&digits);
        }
    }
}

/// Appends a number.
pub(crate) fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A string of the upstream's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    /// As the client wrote it.
    Escaped(Escaped<'a>),
    /// Changed, or ours.
    Plain(Cow<'a, str>),
}

/// An object that is being written.
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

/// A list that is being written.
pub(crate) struct List<'o> {
    out: &'o mut Vec<u8>,
    is_empty: bool,
}

/// A JSON value as a string that holds its text, white space between its tokens aside.
pub(crate) fn push_as_text(out: &mut Vec<u8>, json: &str) {
    out.push(b'"');
    let bytes = json.as_bytes();
    let (mut at, mut in_string) = (0, false);
    while let Some(rest) = bytes.get(at..) {
        let found = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
        let (before, special) = rest.split_at(found);
        if in_string {
            out.extend_from_slice(before);
        } else {
            out.extend(before.iter().filter(|byte| !byte.is_ascii_whitespace()));
        }
        at += found;
        match special {
            [] => break,
            [b'"', ..] => {
                out.extend_from_slice(b"\\\"");
                in_string = !in_string;
                at += 1;
            }
            [_, b'"', ..] => {
                out.extend_from_slice(b"\\\\\\\"");
                at += 2;
            }
            [_, b'\\', ..] => {
                out.extend_from_slice(b"\\\\\\\\");
                at += 2;
            }
            [_, ..] => {
                out.extend_from_slice(b"\\\\");
                at += 1;
            }
        }
    }
    out.push(b'"');
}

impl<'a> Text<'a> {
    pub(crate) fn decoded(&self) -> Cow<'_, str> {
        match self {
            Text::Escaped(escaped) => escaped.decoded(),
            Text::Plain(plain) => Cow::Borrowed(plain),
        }
    }

    /// How long it is before or after escaping, whatever is at hand.
    pub(crate) fn written_bytes(&self) -> usize {
        match self {
            Text::Escaped(escaped) => escaped.as_written().len(),
            Text::Plain(plain) => plain.len(),
        }
    }

    /// See [`Escaped::starts_with`].
    pub(crate) fn starts_with(&self, start: &str) -> bool {
        match self {
            Text::Escaped(escaped) => escaped.starts_with(start),
            Text::Plain(plain) => plain.starts_with(start),
        }
    }

    /// Appends it as the inside of a string.
    pub(crate) fn push_inside(&self, out: &mut Vec<u8>) {
        match self {
            Text::Escaped(escaped) => out.extend_from_slice(escaped.as_written().as_bytes()),
            Text::Plain(plain) => push_escaped(out, plain),
        }
    }

    /// Appends it as a string.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        out.push(b'"');
        self.push_inside(out);
        out.push(b'"');
    }
}

impl<'a> From<Escaped<'a>> for Text<'a> {
    fn from(escaped: Escaped<'a>) -> Self {
        Text::Escaped(escaped)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(plain: &'a str) -> Self {
        Text::Plain(Cow::Borrowed(plain))
    }
}

impl From<String> for Text<'_> {
    fn from(plain: String) -> Self {
        Text::Plain(Cow::Owned(plain))
    }
}

impl<'o> Object<'o> {
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Object { out, is_empty: true }
    }

    /// Writes a name of ours, in which nothing needs an escape. The caller appends exactly one
    /// value.
    pub(crate) fn member(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.written_member(name)
    }

    /// The same for a name as the client wrote it.
    pub(crate) fn escaped_member(&mut self, name: Escaped<'_>) -> &mut Vec<u8> {
        self.written_member(name.as_written())
    }

    /// The same for any other name.
    pub(crate) fn named_member(&mut self, name: &str) -> &mut Vec<u8> {
        self.comma();
        push_str(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub(crate) fn text(&mut self, name: &'static str, text: &str) {
        push_str(self.member(name), text);
    }

    pub(crate) fn raw(&mut self, name: &'static str, json: &str) {
        self.member(name).extend_from_slice(json.as_bytes());
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }

    fn written_member(&mut self, name: &str) -> &mut Vec<u8> {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    fn comma(&mut self) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
    }
}

impl<'o> List<'o> {
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'[');
        List { out, is_empty: true }
    }

    /// The caller appends exactly one value.
    pub(crate) fn element(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.out
    }

    pub(crate) fn end(self) {
        self.out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_as_serde_json_does() {
        for text in [
            "",
            "plain",
            "q\"b\\n\n\r\t\u{0}\u{1f}\u{7f}\u{2028}\u{1f600}",
            "\u{8}\u{c}",
        ] {
            let mut out = Vec::new();
            push_str(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn numbers_are_written_in_full() {
        for number in [0, 7, 10, 1_234_567, u64::MAX] {
            let mut out = Vec::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }

    #[test]
    fn json_as_text_is_the_compact_json() {
        let json = " { \"z\" : [ 1 , \"a b\\\" \\n \\\\\" ] ,\n\"a\\\\\":\t{ } } ";
        let mut out = Vec::new();
        push_as_text(&mut out, json);
        let text: String = serde_json::from_slice(&out).unwrap();
        assert_eq!(text, r#"{"z":[1,"a b\" \n \\"],"a\\":{}}"#);
    }
}
