//! The name of one request, in headers, bodies and logs.

use std::fmt;

use rand::RngExt;

const PREFIX: &str = "req_";
const RANDOM_CHARS: usize = 24;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[derive(Debug, Clone)]
pub(crate) struct RequestId(String);

impl RequestId {
    pub(crate) fn new() -> Self {
        let mut random = rand::rng();
        let mut text = String::with_capacity(PREFIX.len() + RANDOM_CHARS);
        text.push_str(PREFIX);
        text.extend((0..RANDOM_CHARS).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])));
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
