//! Where strings, numbers and words of a JSON text end, and whether they are any.

use super::fault::{Fault, What};
use super::surrogate::{self, hex};
use super::word::next_special;

/// Longer numbers without an exponent may be out of range as well.
const SMALL_NUMBER_BYTES: usize = 300;

/// The closing quote of the string that begins here, behind its first quote, and whether the
/// string holds escapes. Control characters are not looked for.
pub(super) fn string_end(bytes: &[u8], start: usize) -> Result<(usize, bool), Fault> {
    let (mut at, mut has_escapes) = (start, false);
    loop {
        let Some(found) = next_special(bytes, at) else {
            return Err(Fault {
                at: bytes.len(),
                what: What::Ended,
            });
        };
        if bytes.get(found) == Some(&b'"') {
            return Ok((found, has_escapes));
        }
        has_escapes = true;
        match escape_bytes(bytes, found) {
            Ok(length) => at = found + length,
            Err(what) => return Err(Fault { at: found, what }),
        }
    }
}

/// The end of the number or word that begins here.
pub(super) fn scalar_end(text: &str, start: usize) -> Result<usize, Fault> {
    let rest = text.as_bytes().get(start..).unwrap_or_default();
    for word in ["null", "true", "false"] {
        if rest.starts_with(word.as_bytes()) {
            return Ok(start + word.len());
        }
    }
    number_end(text, start).map_err(|what| Fault { at: start, what })
}

/// Whether a text holds a control character anywhere, white space included.
pub(super) fn has_control(text: &str) -> bool {
    // Without an early way out the compiler compares many bytes at once.
    text.bytes().fold(false, |found, byte| found | is_control(byte))
}

pub(super) fn is_control(byte: u8) -> bool {
    byte < 0x20
}

fn number_end(text: &str, start: usize) -> Result<usize, What> {
    let bytes = text.as_bytes();
    let digits_from = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        rest.iter().take_while(|byte| byte.is_ascii_digit()).count()
    };
    let mut end = start + usize::from(bytes.get(start) == Some(&b'-'));
    let whole = digits_from(end);
    if whole == 0 {
        return Err(if end == start { What::NoValue } else { What::Number });
    }
    if whole > 1 && bytes.get(end) == Some(&b'0') {
        return Err(What::Number);
    }
    end += whole;
    if bytes.get(end) == Some(&b'.') {
        let digits = digits_from(end + 1);
        if digits == 0 {
            return Err(What::Number);
        }
        end += 1 + digits;
    }
    let has_exponent = matches!(bytes.get(end), Some(b'e' | b'E'));
    if has_exponent {
        end += 1 + usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        let digits = digits_from(end);
        if digits == 0 {
            return Err(What::Number);
        }
        end += digits;
    }
    if has_exponent || end - start > SMALL_NUMBER_BYTES {
        let number = text.get(start..end).unwrap_or_default();
        if !number.parse().is_ok_and(f64::is_finite) {
            return Err(What::NumberRange);
        }
    }
    Ok(end)
}

/// How long the escape is that begins here.
fn escape_bytes(bytes: &[u8], at: usize) -> Result<usize, What> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => {
            let Some(unit) = hex(bytes, at + 2) else {
                return Err(What::Escape);
            };
            if !surrogate::is_half(unit) {
                return Ok(surrogate::ESCAPE_BYTES);
            }
            let low = surrogate::escape_at(bytes, at + surrogate::ESCAPE_BYTES);
            match low.and_then(|low| surrogate::join(unit, low)) {
                Some(_) => Ok(2 * surrogate::ESCAPE_BYTES),
                None => Err(What::Surrogate),
            }
        }
        Some(_) => Err(What::Escape),
        None => Err(What::Ended),
    }
}
