//! Tool names that OpenAI's pattern does not allow, shortened and mapped back.
//!
//! Deterministic, so that the same tool has the same name in every turn and the
//! upstream's prefix cache holds.

use std::borrow::Cow;
use std::collections::HashMap;

use sha2::{Digest, Sha256};

const NAME_BYTES_MAX: usize = 64;
/// What stays of a name that is cut; `_` and eight hex digits follow.
const STEM_BYTES: usize = 55;

/// The names that were changed in this request.
#[derive(Debug, Default)]
pub(crate) struct Names<'r> {
    changed: HashMap<&'r str, String>,
}

impl<'r> Names<'r> {
    /// The upstream's name for a client's name.
    pub(crate) fn upstream(&mut self, name: &'r str) -> Cow<'r, str> {
        if is_allowed(name) {
            return Cow::Borrowed(name);
        }
        Cow::Owned(self.changed.entry(name).or_insert_with(|| shorten(name)).clone())
    }

    /// (upstream's, client's) for the way back.
    pub(crate) fn into_changed(self) -> Vec<(String, String)> {
        self.changed
            .into_iter()
            .map(|(name, sent)| (sent, name.to_owned()))
            .collect()
    }
}

fn is_allowed(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn shorten(name: &str) -> String {
    let mut sent: String = name
        .chars()
        .map(|c| {
            if c.is_ascii() && is_name_byte(c as u8) {
                c
            } else {
                '_'
            }
        })
        .take(STEM_BYTES)
        .collect();
    sent.push('_');
    for byte in Sha256::digest(name.as_bytes()).iter().take(4) {
        sent.push_str(&format!("{byte:02x}"));
    }
    sent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r12_long_and_odd_names_become_legal_and_come_back() {
        let long = format!("mcp__plugin.example/server__{}", "x".repeat(64));
        let mut names = Names::default();
        let sent = names.upstream(&long).into_owned();
        assert!(
            sent.len() <= NAME_BYTES_MAX && sent.bytes().all(is_name_byte),
            "{sent}"
        );
        assert_eq!(names.upstream(&long), sent);
        assert_eq!(names.upstream("Read"), "Read");
        assert_eq!(names.into_changed(), vec![(sent, long)]);
    }
}
