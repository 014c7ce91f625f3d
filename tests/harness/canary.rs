//! Secrets that are known, and whether one of them is somewhere it does not belong: as it is, as a
//! part, or in another writing (base64 at any place, hex, escaped for JSON or for a URL).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem::Finder;

/// Shorter ones are found by chance.
const SECRET_BYTES_MIN: usize = 16;
/// Of longer ones, so much of the beginning and of the end is a secret too.
const PART_BYTES: usize = 20;

/// With it every bridge says all that it can say, and is searched when it ends.
const VARIABLE: &str = "CANARY";
/// Of so many different secrets of one test, the first ones.
const KNOWN_MAX: usize = 32;

/// What was used in this process, by the secret.
static KNOWN: Mutex<BTreeMap<String, &'static str>> = Mutex::new(BTreeMap::new());

pub fn is_wanted() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// The part of a credential that nobody else may know: what follows its public id, or the signature.
pub fn secret_of(credential: &str) -> &str {
    let before = if credential.contains('.') { '.' } else { '-' };
    credential.rsplit(before).next().unwrap_or(credential)
}

/// A secret that is in use from here on. What is too short to be told from chance is left out.
pub fn remember(name: &'static str, secret: &str) {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if is_wanted() && secret.len() >= SECRET_BYTES_MIN && known.len() < KNOWN_MAX {
        known.entry(secret.to_owned()).or_insert(name);
    }
}

/// What must not be found.
#[derive(Default)]
pub struct Canaries {
    needles: Vec<Needle>,
}

struct Needle {
    name: String,
    writing: &'static str,
    finder: Finder<'static>,
}

impl Canaries {
    /// Everything that was remembered.
    pub fn known() -> Result<Self> {
        let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut canaries = Self::default();
        known
            .iter()
            .try_for_each(|(secret, name)| canaries.plant(name, secret))?;
        Ok(canaries)
    }

    /// A secret, and what to call it when it is found.
    pub fn plant(&mut self, name: &str, secret: &str) -> Result<()> {
        ensure!(
            secret.len() >= SECRET_BYTES_MIN,
            "{name} is too short to be looked for"
        );
        let mut parts = vec![secret.as_bytes()];
        if secret.len() >= 2 * PART_BYTES {
            parts.push(&secret.as_bytes()[..PART_BYTES]);
            parts.push(&secret.as_bytes()[secret.len() - PART_BYTES..]);
        }
        for part in parts {
            let mut known = BTreeSet::new();
            for (writing, bytes) in writings(part) {
                if !known.insert(bytes.clone()) {
                    continue;
                }
                let finder = Finder::new(&bytes).into_owned();
                let name = name.to_owned();
                self.needles.push(Needle {
                    name,
                    writing,
                    finder,
                });
            }
        }
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.needles.len()
    }

    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// What is in these bytes, in words.
    pub fn found_in(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let found = self.needles.iter().filter_map(|needle| {
            let at = needle.finder.find(bytes)?;
            Some(format!(
                "{}, {}, in {place} at byte {at}",
                needle.name, needle.writing
            ))
        });
        found.collect()
    }

    /// What is in any file below a folder, and how many bytes were looked at. Files of these names,
    /// which hold a secret because it is theirs, are left out.
    pub fn found_below(&self, folder: &Path, but_for: &[&str]) -> Result<(Vec<String>, usize)> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default();
            if path.is_dir() {
                let (below, more) = self.found_below(&path, but_for)?;
                found.extend(below);
                bytes += more;
            } else if path.is_file() && !but_for.iter().any(|left_out| name == *left_out) {
                let content = fs::read(&path)?;
                bytes += content.len();
                found.extend(self.found_in(&path.display().to_string(), &content));
            }
        }
        Ok((found, bytes))
    }
}

fn writings(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut writings = vec![
        ("as it is", secret.to_vec()),
        ("in hex", hex(secret, |byte| format!("{byte:02x}"))),
        ("in capital hex", hex(secret, |byte| format!("{byte:02X}"))),
        ("as a list of bytes", byte_list(secret)),
    ];
    for before in 0..3 {
        let bytes = [&vec![0; before], secret].concat();
        // What neighbours have no share in.
        let inner = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
        writings.push(("in base64", STANDARD_NO_PAD.encode(&bytes)[inner.clone()].into()));
        writings.push(("in base64 of URLs", URL_SAFE_NO_PAD.encode(&bytes)[inner].into()));
    }
    if let Ok(text) = std::str::from_utf8(secret) {
        let quoted = serde_json::Value::from(text).to_string();
        writings.push(("in JSON", quoted[1..quoted.len() - 1].into()));
        let debugged = format!("{text:?}");
        writings.push(("as Rust shows it", debugged[1..debugged.len() - 1].into()));
    }
    writings.push(("in a URL", percent(secret, |byte| format!("%{byte:02X}"))));
    writings.push((
        "in a URL in small letters",
        percent(secret, |byte| format!("%{byte:02x}")),
    ));
    writings
}

fn hex(bytes: &[u8], digit: impl Fn(&u8) -> String) -> Vec<u8> {
    bytes.iter().map(digit).collect::<String>().into_bytes()
}

fn byte_list(bytes: &[u8]) -> Vec<u8> {
    let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
    numbers.join(", ").into_bytes()
}

fn percent(bytes: &[u8], escape: impl Fn(u8) -> String) -> Vec<u8> {
    let mut written = Vec::new();
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => written.push(*byte),
            other => written.extend(escape(*other).into_bytes()),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const SECRET: &str = "s3cret \"of\" \\ ünique/+ words";

    fn found(text: &str) -> bool {
        let mut canaries = Canaries::default();
        canaries.plant("the secret", SECRET).ok();
        !canaries.found_in("a text", text.as_bytes()).is_empty()
    }

    #[test]
    fn a_secret_is_found_in_every_writing() {
        assert!(found(&format!("before {SECRET} after")));
        assert!(found(&serde_json::json!({"a": SECRET}).to_string()));
        assert!(found(&format!("{:?}", Some(SECRET))));
        assert!(found(&format!("{:?}", SECRET.as_bytes())));
        for before in ["", "a", "ab", "abc"] {
            let text = format!("{before}{SECRET}{before}");
            assert!(found(&STANDARD.encode(&text)), "{text}");
            assert!(found(&URL_SAFE_NO_PAD.encode(&text)), "{text}");
            let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            assert!(found(&hex) && found(&hex.to_uppercase()), "{text}");
        }
        let url = format!(
            "?q={}",
            String::from_utf8_lossy(&percent(SECRET.as_bytes(), |b| format!("%{b:02X}")))
        );
        assert!(found(&url) && found(&url.to_lowercase()));
        assert!(!found("s3cret of other words, and sixty more of them"));
    }

    #[test]
    fn parts_of_a_long_secret_are_found_and_short_ones_are_refused() {
        let mut canaries = Canaries::default();
        let secret = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGH";
        assert!(canaries.plant("long", secret).is_ok());
        assert!(
            !canaries
                .found_in("a cut text", &secret.as_bytes()[..24])
                .is_empty()
        );
        assert!(!canaries.found_in("a tail", &secret.as_bytes()[20..]).is_empty());
        assert!(
            canaries
                .found_in("the middle", &secret.as_bytes()[12..32])
                .is_empty()
        );
        assert!(canaries.plant("short", "0123").is_err());
    }
}
