//! Finds JSON values in any text, whole or broken: inside server-sent events, after a cut,
//! with keys twice. Reads structure only; what a value says is nobody's business here.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// With its quotes. Keys are not values.
    String,
    /// A number, or a word such as `null`.
    Scalar,
    Array,
    Object,
    /// A key with its value.
    Member,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) kind: Kind,
    pub(super) place: Range<usize>,
    /// Behind a key: without it, or once more, the object would be broken.
    pub(super) is_keyed: bool,
}

struct Open {
    kind: Kind,
    start: usize,
    /// Where the key of this value begins, if it has one.
    key: Option<usize>,
}

/// All values inside some `{` or `[` and these themselves, each before what surrounds it.
pub(super) fn find(text: &[u8]) -> Vec<Span> {
    let mut found = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut key = None;
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'{' | b'[' => {
                let kind = if byte == b'{' { Kind::Object } else { Kind::Array };
                open.push(Open {
                    kind,
                    start,
                    key: key.take(),
                });
            }
            b'}' | b']' => {
                if let Some(Open { kind, start, key }) = open.pop() {
                    add(&mut found, kind, start..at, key);
                }
                key = None;
            }
            b'"' => {
                at = string_end(text, at);
                if next_visible(text, at) == Some(b':') {
                    key = Some(start);
                } else if !open.is_empty() {
                    add(&mut found, Kind::String, start..at, key.take());
                }
            }
            b',' => key = None,
            b'-' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                at += text
                    .get(at..)
                    .unwrap_or_default()
                    .iter()
                    .take_while(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
                    .count();
                if !open.is_empty() {
                    add(&mut found, Kind::Scalar, start..at, key.take());
                }
            }
            _ => {}
        }
    }
    found
}

fn add(found: &mut Vec<Span>, kind: Kind, place: Range<usize>, key: Option<usize>) {
    let end = place.end;
    found.push(Span {
        kind,
        place,
        is_keyed: key.is_some(),
    });
    if let Some(start) = key {
        found.push(Span {
            kind: Kind::Member,
            place: start..end,
            is_keyed: false,
        });
    }
}

/// Behind the closing quote, or where the line ends without one.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\n' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn next_visible(text: &[u8], at: usize) -> Option<u8> {
    let rest = text.get(at..).unwrap_or_default();
    rest.iter().copied().find(|byte| *byte != b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[(Kind, &str)]) {
        let found = find(text.as_bytes());
        let found: Vec<_> = found
            .into_iter()
            .map(|span| (span.kind, &text[span.place]))
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn values_are_found_inside_events() {
        check(
            r#"data: {"a": [1, "x\""]}"#,
            &[
                (Kind::Scalar, "1"),
                (Kind::String, r#""x\"""#),
                (Kind::Array, r#"[1, "x\""]"#),
                (Kind::Member, r#""a": [1, "x\""]"#),
                (Kind::Object, r#"{"a": [1, "x\""]}"#),
            ],
        );
    }

    #[test]
    fn broken_text_is_no_trouble() {
        check("]}\"", &[]);
        check(
            "{\"a\":\"b\\",
            &[(Kind::String, "\"b\\"), (Kind::Member, "\"a\":\"b\\")],
        );
        check(
            "[\"open\n1]",
            &[
                (Kind::String, "\"open"),
                (Kind::Scalar, "1"),
                (Kind::Array, "[\"open\n1]"),
            ],
        );
    }
}
