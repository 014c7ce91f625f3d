//! The keys of rows, in the order in which they are read.

use crate::{
    domain::usage::{Boot, Step, Subject},
    store::rows::Span,
};

const BOOT: &[u8] = b"boot/";
/// The row that knows how long the request log is.
pub(super) const LOG: &[u8] = b"log";
const SEPARATOR: u8 = 0;
const TIME_BYTES: usize = 8;

/// By step, then by time, then by subject.
pub(super) fn sums(step: Step, start_s: u64, subject: &Subject) -> Vec<u8> {
    let Subject {
        key_id,
        provider,
        upstream_model,
    } = subject;
    let mut key = at(step, start_s);
    key.extend_from_slice(key_id.as_bytes());
    key.push(SEPARATOR);
    key.extend_from_slice(provider.as_bytes());
    key.push(SEPARATOR);
    key.extend_from_slice(upstream_model.as_bytes());
    key
}

/// All sums of a step between two points in time.
pub(super) fn between(step: Step, from_s: u64, below_s: u64) -> Span {
    Span {
        from: at(step, from_s),
        below: Some(at(step, below_s)),
    }
}

fn at(step: Step, start_s: u64) -> Vec<u8> {
    let mut key = vec![match step {
        Step::Minute => 1,
        Step::Hour => 2,
        Step::Day => 3,
    }];
    key.extend_from_slice(&start_s.to_be_bytes());
    key
}

/// What a key of sums says. `None`: it is none.
pub(super) fn read_sums(key: &[u8]) -> Option<(u64, Subject)> {
    let (start, subject) = key.get(1..)?.split_at_checked(TIME_BYTES)?;
    let mut parts = subject.splitn(3, |byte| *byte == SEPARATOR);
    let mut part = || String::from_utf8(parts.next()?.to_vec()).ok();
    let subject = Subject {
        key_id: part()?,
        provider: part()?,
        upstream_model: part()?,
    };
    Some((u64::from_be_bytes(start.try_into().ok()?), subject))
}

pub(super) fn boot(boot: &Boot) -> Vec<u8> {
    let Boot { node_id, boot_id } = boot;
    let mut key = BOOT.to_vec();
    key.extend_from_slice(node_id.as_bytes());
    key.push(SEPARATOR);
    key.extend_from_slice(boot_id.as_bytes());
    key
}

pub(super) fn boots() -> Span {
    Span::prefix(BOOT)
}

/// By time, then by name.
pub(super) fn entry(started_ms: u64, request_id: &str) -> Vec<u8> {
    let mut key = started_ms.to_be_bytes().to_vec();
    key.extend_from_slice(request_id.as_bytes());
    key
}

/// The name in a key of an entry.
pub(super) fn request_id(key: &[u8]) -> &[u8] {
    key.get(TIME_BYTES..).unwrap_or_default()
}

/// The time in it.
pub(super) fn started_ms(key: &[u8]) -> u64 {
    let time = key.get(..TIME_BYTES).and_then(|time| time.try_into().ok());
    time.map_or(0, u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_sums_says_what_it_was_made_of() {
        let subject = Subject {
            key_id: "abcdefghijkl".into(),
            provider: String::new(),
            upstream_model: "a\0b".into(),
        };
        let key = sums(Step::Hour, 7_200, &subject);
        assert_eq!(read_sums(&key), Some((7_200, subject)));
        assert_eq!(read_sums(b"\x01short"), None);
        let span = between(Step::Hour, 7_200, 10_800);
        assert!(span.from <= key && Some(&key) < span.below.as_ref());
    }

    #[test]
    fn a_key_of_an_entry_says_when_and_who() {
        let key = entry(42, "req_1");
        assert_eq!((started_ms(&key), request_id(&key)), (42, b"req_1".as_slice()));
    }
}
