//! Reads a JSON text once, from front to back, and hands out pieces of it as they are written.
//!
//! The caller says what it wants next; whatever it does not want is checked and skipped. All
//! that is handed out has been checked, so that it may be copied into another JSON text:
//! escapes exist, surrogates come in pairs, numbers have a value, nothing is nested too deep.

use super::escaped::{Escaped, Raw};
use super::fault::{Fault, What};
use super::token;

/// Deepest nesting of a text that is read.
pub(crate) const DEPTH_MAX: u32 = 128;

pub(crate) type Result<T> = std::result::Result<T, Fault>;

/// What kind of value comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    List,
    Text,
    /// A number, `true`, `false` or `null`.
    Scalar,
}

/// A place in a text.
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
    /// Where the last name began.
    name_at: usize,
    /// Compact texts hold no control characters at all; then no string needs a second look.
    has_controls: bool,
}

impl<'a> Cursor<'a> {
    /// At the start of bytes that should be UTF-8.
    pub(crate) fn of_bytes(bytes: &'a [u8]) -> Result<Self> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Cursor::new(text)),
            Err(error) => Err(Fault {
                at: error.valid_up_to(),
                what: What::NotUtf8,
            }),
        }
    }

    pub(crate) fn new(text: &'a str) -> Self {
        Cursor {
            text,
            at: 0,
            depth: 0,
            name_at: 0,
            has_controls: token::has_control(text),
        }
    }

    /// Something is wrong with the value that comes next.
    pub(crate) fn fault<T>(&self, what: What) -> Result<T> {
        Err(Fault { at: self.at, what })
    }

    /// The name that was just read was there before.
    pub(crate) fn duplicate<T>(&self) -> Result<T> {
        Err(Fault {
            at: self.name_at,
            what: What::Duplicate,
        })
    }

    /// What comes next.
    pub(crate) fn peek(&mut self) -> Result<Kind> {
        match self.next_byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::List),
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => Ok(Kind::Scalar),
            Some(_) => self.fault(What::NoValue),
            None => self.fault(What::Ended),
        }
    }

    /// Goes through an object: `member` reads or skips the value of each name.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Escaped<'a>) -> Result<()>,
    ) -> Result<()> {
        if self.peek()? != Kind::Object {
            return self.fault(What::NotObject);
        }
        self.open()?;
        if self.next_byte() != Some(b'}') {
            loop {
                let name = self.name()?;
                member(self, name)?;
                if !self.has_more(b'}')? {
                    break;
                }
            }
        }
        self.close();
        Ok(())
    }

    /// Goes through a list: `element` reads or skips each value.
    pub(crate) fn list(&mut self, mut element: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        if self.peek()? != Kind::List {
            return self.fault(What::NotList);
        }
        self.open()?;
        if self.next_byte() != Some(b']') {
            loop {
                element(self)?;
                if !self.has_more(b']')? {
                    break;
                }
            }
        }
        self.close();
        Ok(())
    }

    /// The next value, whatever it is.
    pub(crate) fn raw(&mut self) -> Result<Raw<'a>> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        Ok(self.since(start))
    }

    /// Where the cursor stands.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// The value that was read since then.
    pub(super) fn since(&self, start: usize) -> Raw<'a> {
        Raw::new(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Nothing but white space is left.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => self.fault(What::Trailing),
        }
    }

    /// Passes over a `null`, if one comes next.
    pub(crate) fn is_null(&mut self) -> Result<bool> {
        let is_null = self.peek()? == Kind::Scalar
            && self
                .text
                .as_bytes()
                .get(self.at..)
                .unwrap_or_default()
                .starts_with(b"null");
        if is_null {
            self.skip()?;
        }
        Ok(is_null)
    }

    /// Passes over the next value. Without recursion: depth costs a bit and no stack.
    pub(crate) fn skip(&mut self) -> Result<()> {
        let outside = self.depth;
        // The kinds of the brackets that are open, the innermost last; 1 is an object.
        let mut kinds: u128 = 0;
        loop {
            match self.peek()? {
                Kind::Text => {
                    self.string()?;
                }
                Kind::Scalar => self.at = token::scalar_end(self.text, self.at)?,
                kind @ (Kind::Object | Kind::List) => {
                    self.open()?;
                    let is_object = kind == Kind::Object;
                    kinds = kinds << 1 | u128::from(is_object);
                    let end = if is_object { b'}' } else { b']' };
                    if self.next_byte() != Some(end) {
                        if is_object {
                            self.name()?;
                        }
                        continue;
                    }
                    self.close();
                    kinds >>= 1;
                }
            }
            // A value has ended, and with it maybe those around it.
            loop {
                if self.depth == outside {
                    return Ok(());
                }
                let is_object = kinds & 1 == 1;
                if self.has_more(if is_object { b'}' } else { b']' })? {
                    if is_object {
                        self.name()?;
                    }
                    break;
                }
                self.close();
                kinds >>= 1;
            }
        }
    }

    fn open(&mut self) -> Result<()> {
        if self.depth == DEPTH_MAX {
            return self.fault(What::Depth(DEPTH_MAX));
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    /// Behind a value: whether another one follows, or this bracket.
    fn has_more(&mut self, end: u8) -> Result<bool> {
        match self.next_byte() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == end => Ok(false),
            Some(_) => self.fault(What::NoComma),
            None => self.fault(What::Ended),
        }
    }

    /// The name of a member, and its colon.
    fn name(&mut self) -> Result<Escaped<'a>> {
        match self.next_byte() {
            Some(b'"') => {}
            Some(_) => return self.fault(What::NoName),
            None => return self.fault(What::Ended),
        }
        self.name_at = self.at;
        let name = self.string()?;
        match self.next_byte() {
            Some(b':') => self.at += 1,
            Some(_) => return self.fault(What::NoColon),
            None => return self.fault(What::Ended),
        }
        Ok(name)
    }

    /// The byte that comes next, white space aside.
    fn next_byte(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                found => return found.copied(),
            }
        }
    }

    /// A string; its first quote comes next.
    pub(super) fn string(&mut self) -> Result<Escaped<'a>> {
        let start = self.at + 1;
        let (end, has_escapes) = token::string_end(self.text.as_bytes(), start)?;
        let written = self.text.get(start..end).unwrap_or_default();
        if self.has_controls
            && let Some(at) = written.bytes().position(token::is_control)
        {
            return Err(Fault {
                at: start + at,
                what: What::Control,
            });
        }
        self.at = end + 1;
        Ok(Escaped::new(written, has_escapes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skip(text: &str) -> Result<()> {
        let mut cursor = Cursor::new(text);
        cursor.skip()?;
        cursor.end()
    }

    #[test]
    fn it_takes_what_serde_json_takes() {
        for text in [
            "{}",
            " [ ] ",
            r#"{"a":[1,-0,0.5,1e3,-2.5E-7,true,false,null,"x",{"b":{}}],"c":[[[]]]}"#,
            "\"a\\n\\u00e9\\ud83e\\udd80\\/ \u{e9}\"",
            "0",
            "{\n\t\"a\" : 1 ,\r\n \"b\" : [ ] }",
        ] {
            assert_eq!(skip(text), Ok(()), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn it_refuses_what_serde_json_refuses() {
        for (text, at, what) in [
            ("", 0, What::Ended),
            ("{", 1, What::Ended),
            ("[1", 2, What::Ended),
            ("\"ab", 3, What::Ended),
            ("{\"a\"", 4, What::Ended),
            ("{\"a\":", 5, What::Ended),
            ("\u{feff}{}", 0, What::NoValue),
            ("NaN", 0, What::NoValue),
            ("[,1]", 1, What::NoValue),
            ("[1,]", 3, What::NoValue),
            ("{1:2}", 1, What::NoName),
            ("{\"a\":1,}", 7, What::NoName),
            ("{\"a\" 1}", 5, What::NoColon),
            ("[1 2]", 3, What::NoComma),
            ("[1}", 2, What::NoComma),
            ("[nul]", 1, What::NoValue),
            ("[01]", 1, What::Number),
            ("[1.]", 1, What::Number),
            ("-", 0, What::Number),
            ("1e", 0, What::Number),
            ("[1e999]", 1, What::NumberRange),
            ("\"a\nb\"", 2, What::Control),
            ("\"a\\x\"", 2, What::Escape),
            ("\"\\u12g4\"", 1, What::Escape),
            ("\"\\u+123\"", 1, What::Escape),
            ("\"\\ud83e\"", 1, What::Surrogate),
            ("\"\\ud83e\\ud83e\"", 1, What::Surrogate),
            ("\"\\udd80\\ud83e\"", 1, What::Surrogate),
            ("{} {}", 3, What::Trailing),
        ] {
            assert_eq!(skip(text), Err(Fault { at, what }), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn r32_nesting_has_a_limit() {
        let nested = |depth: usize| {
            let (open, close) = ("[{\"a\":".repeat(depth / 2), "}]".repeat(depth / 2));
            format!("{open}1{close}")
        };
        assert_eq!(skip(&nested(128)), Ok(()));
        let fault = skip(&nested(130)).unwrap_err();
        assert_eq!(fault.what, What::Depth(DEPTH_MAX));
        let endless = "[".repeat(10_000_000);
        assert_eq!(skip(&endless).unwrap_err().at, 128);
    }

    #[test]
    fn values_are_handed_out_as_they_are_written() {
        let mut cursor = Cursor::new(r#" {"a" : [ 1 , 2 ] ,"\u0062":"x\n","c":7}"#);
        let mut seen = Vec::new();
        cursor
            .object(|cursor, name| {
                let value = match &*name.decoded() {
                    "a" => cursor.raw()?.get(),
                    _ => cursor.text()?.map_or("none", Escaped::as_written),
                };
                seen.push((name.as_written().to_owned(), value.to_owned()));
                Ok(())
            })
            .unwrap();
        let seen: Vec<(&str, &str)> = seen.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(seen, [("a", "[ 1 , 2 ]"), ("\\u0062", "x\\n"), ("c", "none")]);
    }
}
