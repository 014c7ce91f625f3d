//! Mends JSON whose string escapes hold lone surrogates.
//!
//! Some servers cut an astral character over two deltas: `"\ud83e"` now, `"\udd80"` in
//! the next. Rust strings cannot hold either half, so the text is rewritten before it
//! is parsed: a high half at the end of a string is carried to the next chunk, a low
//! half at the start of a string takes it up, anything else becomes U+FFFD.

use std::borrow::Cow;

pub(super) const REPLACEMENT: &str = "\\ufffd";
/// Length of `\u1234`.
pub(super) const ESCAPE_BYTES: usize = 6;

/// Whether a text can hold a surrogate escape at all.
fn may_have_surrogates(json: &str) -> bool {
    let bytes = json.as_bytes();
    memchr::memchr(b'\\', bytes).is_some_and(|from| {
        let rest = bytes.get(from..).unwrap_or_default();
        let find = |escape| memchr::memmem::find(rest, escape).is_some();
        find(b"\\ud") || find(b"\\uD")
    })
}

/// The high half of a character, between two chunks.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Carry {
    /// From the chunk before; taken up by the first low half, or lost.
    pub(crate) waiting: Option<u16>,
    /// For the chunk after.
    next: Option<u16>,
    /// No chunk comes after.
    is_last: bool,
}

impl Carry {
    /// For a text that is a whole.
    pub(crate) fn of_whole() -> Self {
        Carry {
            is_last: true,
            ..Carry::default()
        }
    }

    /// Begins the next chunk.
    pub(crate) fn turn(&mut self) {
        self.waiting = self.next.take();
    }

    /// Whether a half was left at the very end.
    pub(crate) fn is_left(&self) -> bool {
        self.next.is_some()
    }
}

/// Rewrites lone surrogate escapes of one chunk.
pub(crate) fn mend<'j>(json: &'j str, carry: &mut Carry) -> Cow<'j, str> {
    if !may_have_surrogates(json) {
        return Cow::Borrowed(json);
    }
    let bytes = json.as_bytes();
    let mut out = String::with_capacity(json.len());
    let (mut from, mut at) = (0, 0);
    while let Some(found) = memchr::memchr(b'\\', bytes.get(at..).unwrap_or_default()) {
        let here = at + found;
        let Some(unit) = escape_at(bytes, here) else {
            at = here + 2;
            continue;
        };
        let pair = escape_at(bytes, here + 6).filter(|low| is_low(*low));
        at = here + 6;
        if is_high(unit) && pair.is_some() {
            at += 6;
            continue;
        }
        if !is_high(unit) && !is_low(unit) {
            continue;
        }
        out.push_str(json.get(from..here).unwrap_or_default());
        from = at;
        let opens_string = here > 0 && bytes.get(here - 1) == Some(&b'"');
        if is_high(unit) && bytes.get(at) == Some(&b'"') && !carry.is_last {
            carry.next = Some(unit);
        } else if let (true, Some(high)) = (is_low(unit) && opens_string, carry.waiting.take()) {
            out.extend(join(high, unit));
        } else {
            out.push_str(REPLACEMENT);
        }
    }
    out.push_str(json.get(from..).unwrap_or_default());
    Cow::Owned(out)
}

/// The character that two halves make.
pub(super) fn join(high: u16, low: u16) -> Option<char> {
    if !is_high(high) || !is_low(low) {
        return None;
    }
    char::decode_utf16([high, low]).next()?.ok()
}

pub(super) fn is_half(unit: u16) -> bool {
    is_high(unit) || is_low(unit)
}

pub(super) fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

/// The unit of the `\u` escape that begins here.
pub(super) fn escape_at(bytes: &[u8], at: usize) -> Option<u16> {
    let is_escape = bytes.get(at..)?.starts_with(b"\\u");
    if is_escape { hex(bytes, at + 2) } else { None }
}

/// Four hex digits.
pub(super) fn hex(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |unit, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(unit << 4 | digit as u16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_join_over_chunks_and_strays_are_replaced() {
        let mut carry = Carry::default();
        assert_eq!(mend(r#"{"c":"a\ud83e"}"#, &mut carry), r#"{"c":"a"}"#);
        carry.turn();
        assert_eq!(carry.waiting, Some(0xd83e));
        assert_eq!(mend(r#"{"c":"\udd80b"}"#, &mut carry), "{\"c\":\"\u{1f980}b\"}");
        assert_eq!(carry, Carry::default());
        assert_eq!(
            mend(r#"{"c":"x\udd80 \ud83ey \\ud83e \ud83e\udd80"}"#, &mut carry),
            r#"{"c":"x\ufffd \ufffdy \\ud83e \ud83e\udd80"}"#
        );
        assert_eq!(carry, Carry::default());
        assert_eq!(
            mend(r#"{"c":"a\ud83e"}"#, &mut Carry::of_whole()),
            r#"{"c":"a\ufffd"}"#
        );
    }
}
