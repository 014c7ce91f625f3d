//! Finds the places of values in a JSON text without reading them.
//!
//! For bodies that have been parsed before: here nothing is validated, and a text that
//! is broken all the same ends a walk early instead of failing.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

/// Where a value, or a key, stands in the text.
pub(super) type Span = Range<usize>;

/// One entry of an object.
pub(super) struct Member {
    /// With its quotes.
    pub(super) key: Span,
    pub(super) value: Span,
}

/// A JSON text to walk over.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'t>(pub(super) &'t [u8]);

impl<'t> Text<'t> {
    /// The outermost value.
    pub(super) fn root(self) -> Span {
        let start = self.skip_blank(0);
        start..self.value_end(start).unwrap_or(start)
    }

    pub(super) fn bytes(self, span: &Span) -> &'t [u8] {
        self.0.get(span.clone()).unwrap_or_default()
    }

    /// What a string says; `None` for every other value.
    pub(super) fn string(self, span: &Span) -> Option<Cow<'t, str>> {
        let quoted = self.bytes(span);
        let inside = quoted.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        if memchr::memchr(b'\\', inside).is_some() {
            return serde_json::from_slice(quoted).ok().map(Cow::Owned);
        }
        std::str::from_utf8(inside).ok().map(Cow::Borrowed)
    }

    /// The entries of an object; none for every other value.
    pub(super) fn members(self, object: &Span) -> Vec<Member> {
        let mut members = Vec::new();
        let Some(mut at) = self.inside(object, b'{') else {
            return members;
        };
        while let Some(key_end) = self.string_end(at) {
            let colon = self.skip_blank(key_end);
            let start = self.skip_blank(colon + 1);
            let Some(end) = self.value_end(start) else { break };
            members.push(Member {
                key: at..key_end,
                value: start..end,
            });
            at = self.after_comma(end);
        }
        members
    }

    /// The value of one entry.
    pub(super) fn member(self, object: &Span, name: &str) -> Option<Span> {
        let members = self.members(object);
        let found = members.into_iter().find(|member| self.is(&member.key, name));
        found.map(|member| member.value)
    }

    /// The values of an array; none for every other value.
    pub(super) fn elements(self, array: &Span) -> Vec<Span> {
        let mut elements = Vec::new();
        let Some(mut at) = self.inside(array, b'[') else {
            return elements;
        };
        while let Some(end) = self.value_end(at) {
            elements.push(at..end);
            at = self.after_comma(end);
        }
        elements
    }

    /// Whether a string says exactly this.
    pub(super) fn is(self, span: &Span, text: &str) -> bool {
        self.string(span).is_some_and(|said| said == text)
    }

    fn inside(self, span: &Span, open: u8) -> Option<usize> {
        (self.0.get(span.start) == Some(&open)).then(|| self.skip_blank(span.start + 1))
    }

    /// The start of the next item; at the end of the list it is no start of a value.
    fn after_comma(self, at: usize) -> usize {
        let at = self.skip_blank(at);
        match self.0.get(at) {
            Some(b',') => self.skip_blank(at + 1),
            Some(_) | None => at,
        }
    }

    fn skip_blank(self, at: usize) -> usize {
        let rest = self.0.get(at..).unwrap_or_default();
        let blank = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        at + blank
    }

    fn value_end(self, at: usize) -> Option<usize> {
        match self.0.get(at)? {
            b'"' => self.string_end(at),
            b'{' | b'[' => self.list_end(at),
            b'}' | b']' | b',' | b':' => None,
            _ => {
                let ends = |byte: &u8| byte.is_ascii_whitespace() || b",]}".contains(byte);
                let rest = self.0.get(at..)?;
                Some(at + rest.iter().position(ends).unwrap_or(rest.len()))
            }
        }
    }

    fn list_end(self, start: usize) -> Option<usize> {
        let (mut at, mut depth) = (start, 0_usize);
        loop {
            match self.0.get(at)? {
                b'"' => {
                    at = self.string_end(at)?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
            at += 1;
        }
    }

    /// The place behind a string that begins here.
    fn string_end(self, start: usize) -> Option<usize> {
        if self.0.get(start) != Some(&b'"') {
            return None;
        }
        let mut at = start + 1;
        loop {
            at += memchr2(b'"', b'\\', self.0.get(at..)?)?;
            match self.0.get(at)? {
                b'"' => return Some(at + 1),
                _ => at += 2,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        " { \"a\" : [ 1 ,{\"]\":\"}\\\"\"}, null,\"x\\u0041\" ] , \"b\\u0062\":true,\"c\":{} } ";

    #[test]
    fn values_are_found_where_they_stand() {
        let text = Text(TEXT.as_bytes());
        let root = text.root();
        let members = text.members(&root);
        let said: Vec<_> = members
            .iter()
            .map(|member| {
                let value = std::str::from_utf8(text.bytes(&member.value)).unwrap();
                (text.string(&member.key).unwrap().into_owned(), value)
            })
            .collect();
        assert_eq!(said[0].0, "a");
        assert_eq!(said[1], ("bb".to_owned(), "true"));
        assert_eq!(said[2], ("c".to_owned(), "{}"));
        let elements = text.elements(&members[0].value);
        let raw: Vec<_> = elements
            .iter()
            .map(|span| std::str::from_utf8(text.bytes(span)).unwrap())
            .collect();
        assert_eq!(raw, ["1", r#"{"]":"}\""}"#, "null", r#""x\u0041""#]);
        assert_eq!(text.string(&elements[3]).unwrap(), "xA");
        assert_eq!(text.string(&elements[0]), None);
        assert!(text.members(&members[1].value).is_empty() && text.elements(&members[2].value).is_empty());
    }

    #[test]
    fn a_broken_text_ends_the_walk() {
        for end in 0..TEXT.len() {
            let text = Text(&TEXT.as_bytes()[..end]);
            let root = text.root();
            for member in text.members(&(root.start..end)) {
                text.elements(&member.value);
            }
        }
        for odd in [
            "", "{\"a\"", "{\"a\":", "{\"a\":}", "[,]", "{]", "[}", "]", "\"\\",
        ] {
            let text = Text(odd.as_bytes());
            let all = 0..odd.len();
            assert!(text.members(&all).is_empty(), "{odd}");
            assert!(text.elements(&all).is_empty(), "{odd}");
        }
    }
}
