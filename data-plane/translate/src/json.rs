//! JSON at the level of bytes: what serde's types cannot do without building a tree.

pub(crate) mod cursor;
pub(crate) mod escaped;
pub(crate) mod fault;
pub(crate) mod fields;
pub(crate) mod halves;
pub(crate) mod lenient;
mod place;
pub(crate) mod scan;
pub(crate) mod surrogate;
mod token;
mod word;
pub(crate) mod write;

pub(crate) use write::{push_escaped, push_number, push_str};

use std::fmt::{self, Display};

/// A JSON value without the white space between its tokens; key order and spelling are kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compact<'a>(pub(crate) &'a str);

impl Display for Compact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0.as_bytes();
        let (mut from, mut at, mut in_string) = (0, 0, false);
        while let Some(&byte) = bytes.get(at) {
            if in_string {
                match byte {
                    b'\\' => at += 1,
                    b'"' => in_string = false,
                    _ => {}
                }
            } else if byte == b'"' {
                in_string = true;
            } else if byte.is_ascii_whitespace() {
                f.write_str(self.0.get(from..at).unwrap_or_default())?;
                from = at + 1;
            }
            at += 1;
        }
        f.write_str(self.0.get(from..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compaction_keeps_order_and_strings() {
        let text = " { \"z\" : [ 1 , \"a b\\\" c\" ] ,\n\"a\":2 } ";
        assert_eq!(Compact(text).to_string(), "{\"z\":[1,\"a b\\\" c\"],\"a\":2}");
    }
}
