//! Half surrogate pairs in a JSON text that arrives in pieces: the arguments of a call, which
//! are JSON inside the JSON of an answer.
//!
//! Clients parse the pieces once they are joined, and some of them die of half a character.
//! Held back is only what may turn out to be one: at most two escapes.

use std::borrow::Cow;

use super::surrogate::{self, ESCAPE_BYTES, REPLACEMENT, hex};

/// What is held back between two pieces.
#[derive(Debug, Default)]
pub(crate) struct Halves {
    held: String,
}

/// What an escape turns out to be.
enum Found {
    /// Good, or not our business, for so many bytes.
    Whole(usize),
    Half,
    /// The next piece must tell.
    Open,
}

impl Halves {
    /// The piece with what was held back before it, without what must wait.
    pub(crate) fn push<'p>(&mut self, piece: &'p str) -> Cow<'p, str> {
        if self.held.is_empty() {
            return self.mend(Cow::Borrowed(piece));
        }
        let mut text = std::mem::take(&mut self.held);
        text.push_str(piece);
        self.mend(Cow::Owned(text))
    }

    /// No piece will follow.
    pub(crate) fn finish(&mut self) -> String {
        let held = std::mem::take(&mut self.held);
        match held.get(ESCAPE_BYTES..) {
            Some(behind) => format!("{REPLACEMENT}{behind}"),
            None => held,
        }
    }

    fn mend<'p>(&mut self, text: Cow<'p, str>) -> Cow<'p, str> {
        let bytes = text.as_bytes();
        let mut mended = String::new();
        let (mut from, mut at) = (0, 0);
        while let Some(offset) = memchr::memchr(b'\\', bytes.get(at..).unwrap_or_default()) {
            let here = at + offset;
            match read(bytes.get(here..).unwrap_or_default()) {
                Found::Whole(length) => at = here + length,
                Found::Half => {
                    mended.push_str(text.get(from..here).unwrap_or_default());
                    mended.push_str(REPLACEMENT);
                    at = here + ESCAPE_BYTES;
                    from = at;
                }
                Found::Open => {
                    mended.push_str(text.get(from..here).unwrap_or_default());
                    text.get(here..).unwrap_or_default().clone_into(&mut self.held);
                    return Cow::Owned(mended);
                }
            }
        }
        if from == 0 {
            return text;
        }
        mended.push_str(text.get(from..).unwrap_or_default());
        Cow::Owned(mended)
    }
}

fn read(escape: &[u8]) -> Found {
    match escape.get(1..) {
        None | Some([] | [b'u'] | [b'u', b'd' | b'D']) => Found::Open,
        Some([b'u', b'd' | b'D', digits @ ..]) => match hex(escape, 2) {
            Some(unit) => read_unit(unit, escape.get(ESCAPE_BYTES..).unwrap_or_default()),
            None if digits.len() < 3 && digits.iter().all(u8::is_ascii_hexdigit) => Found::Open,
            None => Found::Whole(2),
        },
        Some(_) => Found::Whole(2),
    }
}

fn read_unit(unit: u16, behind: &[u8]) -> Found {
    if !surrogate::is_half(unit) {
        return Found::Whole(ESCAPE_BYTES);
    }
    match surrogate::escape_at(behind, 0) {
        Some(low) if surrogate::join(unit, low).is_some() => Found::Whole(2 * ESCAPE_BYTES),
        None if surrogate::is_high(unit) && may_be_low(behind) => Found::Open,
        Some(_) | None => Found::Half,
    }
}

/// Whether these bytes, too few for an escape, may become the low half.
fn may_be_low(behind: &[u8]) -> bool {
    let takes = |place: usize, byte: u8| match place {
        0 => byte == b'\\',
        1 => byte == b'u',
        2 => matches!(byte, b'd' | b'D'),
        3 => matches!(byte, b'c'..=b'f' | b'C'..=b'F'),
        _ => byte.is_ascii_hexdigit(),
    };
    behind.len() < ESCAPE_BYTES && behind.iter().enumerate().all(|(place, byte)| takes(place, *byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        for cut in (0..=text.len()).filter(|cut| text.is_char_boundary(*cut)) {
            let mut halves = Halves::default();
            let mut mended = halves.push(&text[..cut]).into_owned();
            mended.push_str(&halves.push(&text[cut..]));
            assert!(halves.held.len() < 2 * ESCAPE_BYTES);
            mended.push_str(&halves.finish());
            assert_eq!(mended, expect, "{text} cut at {cut}");
        }
        let mut halves = Halves::default();
        let mut mended = String::new();
        for c in text.chars() {
            mended.push_str(&halves.push(c.encode_utf8(&mut [0; 4])));
        }
        mended.push_str(&halves.finish());
        assert_eq!(mended, expect, "{text} letter by letter");
    }

    #[test]
    fn s11_halves_are_replaced_over_any_cut() {
        check("plain \u{1f980}", "plain \u{1f980}");
        check(
            r#"{"a":"\n\\ud83e \"\u00e9\ud7ff"}"#,
            r#"{"a":"\n\\ud83e \"\u00e9\ud7ff"}"#,
        );
        check(r"\ud83e\udd80 \uD83E\uDD80", r"\ud83e\udd80 \uD83E\uDD80");
        check(r"\ud83e\ud83e\udd80\udd80", r"\ufffd\ud83e\udd80\ufffd");
        check(r"\ud83e\n \ud83e\u0041 \ud83ex", r"\ufffd\n \ufffd\u0041 \ufffdx");
        check(r"\ud83e", r"\ufffd");
        check(r"\ud83e\ud", r"\ufffd\ud");
        check(r"\ud8", r"\ud8");
        check(r"\ud8xy \udq", r"\ud8xy \udq");
    }

    #[test]
    fn what_needs_no_mending_is_not_copied() {
        let mut halves = Halves::default();
        for piece in ["abc", r#"{"a":"x\ny"}"#, r"\u00e9"] {
            assert!(matches!(halves.push(piece), Cow::Borrowed(_)), "{piece}");
        }
    }
}
