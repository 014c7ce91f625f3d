//! Finds the bytes that matter in a string, eight at a time.
//!
//! Most strings of a request are names of a few letters, or break off at an escape every
//! line: too short for a search that must first be set up.

use memchr::memchr2;

/// Words to look at before a search for long strings pays.
const SHORT_WORDS: usize = 4;
const WORD_BYTES: usize = 8;

const LOW_BITS: u64 = u64::from_le_bytes([0x01; WORD_BYTES]);
const HIGH_BITS: u64 = u64::from_le_bytes([0x80; WORD_BYTES]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; WORD_BYTES]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; WORD_BYTES]);
const SPACES: u64 = u64::from_le_bytes([b' '; WORD_BYTES]);

/// The next quote or backslash.
pub(super) fn next_special(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    for _ in 0..SHORT_WORDS {
        let Some(word) = word(bytes, at) else { break };
        let found = specials(word);
        if found != 0 {
            return Some(at + first(found));
        }
        at += WORD_BYTES;
    }
    memchr2(b'"', b'\\', bytes.get(at..)?).map(|found| at + found)
}

/// The next byte that a JSON string cannot hold as it is: quote, backslash or control.
pub(super) fn next_unsafe(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(word) = word(bytes, at) {
        let found = specials(word) | controls(word);
        if found != 0 {
            return Some(at + first(found));
        }
        at += WORD_BYTES;
    }
    let rest = bytes.get(at..)?;
    let found = rest
        .iter()
        .position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
    found.map(|found| at + found)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}

// Each of these sets the high bit of a byte that it looks for. A borrow may set bits above
// the first such byte wrongly, never below it, and only the first one counts.

fn specials(word: u64) -> u64 {
    zeros(word ^ QUOTES) | zeros(word ^ BACKSLASHES)
}

fn controls(word: u64) -> u64 {
    word.wrapping_sub(SPACES) & !word & HIGH_BITS
}

fn zeros(word: u64) -> u64 {
    word.wrapping_sub(LOW_BITS) & !word & HIGH_BITS
}

/// The place of the first marked byte in its word.
fn first(marks: u64) -> usize {
    marks.trailing_zeros() as usize / WORD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_told_at_every_place() {
        let around = [b'a', b'!', b'#', b'[', b']', b' ', 0x7f, 0x80, 0xff];
        for byte in 0..=u8::MAX {
            for (place, other) in (0..80).zip(around.into_iter().cycle()) {
                let mut bytes = vec![other; 80];
                bytes[place] = byte;
                let is_special = matches!(byte, b'"' | b'\\');
                assert_eq!(
                    next_special(&bytes, 0),
                    is_special.then_some(place),
                    "{byte} {other}"
                );
                let is_unsafe = is_special || byte < 0x20;
                assert_eq!(
                    next_unsafe(&bytes, 0),
                    is_unsafe.then_some(place),
                    "{byte} {other}"
                );
            }
        }
        let both = b"aaaaaa\"\\\"\x01aaaaaaa";
        assert_eq!(next_special(both, 7), Some(7));
        assert_eq!(next_unsafe(both, 9), Some(9));
        assert_eq!((next_special(both, 17), next_special(both, 99)), (None, None));
    }
}
