//! The key that all other keys hang from, and where it comes from.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::file::{self, SecretFileError};

/// A key with fewer different bytes was not made at random.
const DIFFERENT_BYTES_MIN: usize = 12;
/// Keeps the name of a key from being a hash of the key that is used elsewhere.
const ID_DOMAIN: &[u8] = b"bridge-master-key-id-v1";

/// 32 random bytes.
#[derive(Clone)]
pub struct MasterKey(Zeroizing<[u8; 32]>);

/// Where to look for the key.
#[derive(Debug, Clone)]
pub enum MasterKeySource {
    Given(SecretString),
    /// A file that must exist.
    File(PathBuf),
    /// A file that is made at first start.
    MadeFile(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    #[error("{origin} must be 32 random bytes in hex or base64; make one with: openssl rand -hex 32")]
    Malformed { origin: String },
    #[error(
        "the master key file {} is missing, but the store holds secrets sealed with it; \
         put it back, or set MASTER_KEY or MASTER_KEY_FILE", .path.display()
    )]
    Missing { path: PathBuf },
    #[error(transparent)]
    File(#[from] SecretFileError),
}

impl MasterKey {
    /// Looks for the key. One is made only where `MadeFile` says and nothing has been
    /// sealed yet.
    pub fn load(source: &MasterKeySource, has_sealed: bool) -> Result<Self, MasterKeyError> {
        match source {
            MasterKeySource::Given(text) => Self::parse(text, "MASTER_KEY"),
            MasterKeySource::File(path) | MasterKeySource::MadeFile(path) => {
                if let Some(text) = file::read(path)? {
                    return Self::parse(&text, &path.display().to_string());
                }
                match source {
                    MasterKeySource::MadeFile(path) if !has_sealed => Self::make(path),
                    MasterKeySource::Given(_) | MasterKeySource::File(_) | MasterKeySource::MadeFile(_) => {
                        Err(MasterKeyError::Missing { path: path.clone() })
                    }
                }
            }
        }
    }

    /// The key that is to take the place of the one in this file, written beside it. One that
    /// is there already was left by somebody who did not come to an end.
    pub fn put_next(path: &Path, given: Option<Self>) -> Result<Self, MasterKeyError> {
        let next = next_to(path);
        if let Some(text) = file::read(&next)? {
            return Self::parse(&text, &next.display().to_string());
        }
        let key = given.unwrap_or_else(|| Self(Zeroizing::new(rand::random())));
        key.write(&next)?;
        Ok(key)
    }

    /// The key beside this file, if a change to it was begun.
    pub fn next(path: &Path) -> Result<Option<Self>, MasterKeyError> {
        let next = next_to(path);
        let text = file::read(&next)?;
        text.map(|text| Self::parse(&text, &next.display().to_string()))
            .transpose()
    }

    /// Puts the key beside this file in its place; answers where the old one is kept.
    pub fn take_next(path: &Path) -> Result<PathBuf, MasterKeyError> {
        let kept = path.with_added_extension("old");
        file::replace(path, &next_to(path), &kept)?;
        Ok(kept)
    }

    fn write(&self, path: &Path) -> Result<(), MasterKeyError> {
        let text: Zeroizing<String> =
            Zeroizing::new(self.0.iter().map(|byte| format!("{byte:02x}")).collect());
        Ok(file::create(path, &SecretString::from(text.as_str()))?)
    }

    fn make(path: &Path) -> Result<Self, MasterKeyError> {
        let key = Self(Zeroizing::new(rand::random()));
        key.write(path)?;
        tracing::warn!(
            path = %path.display(),
            "made a master key; without it the provider secrets cannot be read: back it up, apart from the store"
        );
        Ok(key)
    }

    pub(crate) fn parse(text: &SecretString, origin: &str) -> Result<Self, MasterKeyError> {
        let malformed = || MasterKeyError::Malformed {
            origin: origin.to_owned(),
        };
        let text = text.expose_secret().trim();
        let bytes = Zeroizing::new(
            decode_hex(text)
                .or_else(|| decode_base64(text))
                .ok_or_else(malformed)?,
        );
        let key: [u8; 32] = bytes.as_slice().try_into().map_err(|_| malformed())?;
        let different: BTreeSet<u8> = key.iter().copied().collect();
        if different.len() < DIFFERENT_BYTES_MIN {
            return Err(malformed());
        }
        Ok(Self(Zeroizing::new(key)))
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A public name of the key, so that one can tell which of several sealed a record.
    #[must_use]
    pub fn id(&self) -> String {
        let hash = Sha256::new()
            .chain_update(ID_DOMAIN)
            .chain_update(self.0.as_slice())
            .finalize();
        hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn next_to(path: &Path) -> PathBuf {
    path.with_added_extension("next")
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|place| u8::from_str_radix(&text[place..place + 2], 16).ok())
        .collect()
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [&STANDARD, &URL_SAFE]
        .into_iter()
        .find_map(|alphabet| GeneralPurpose::new(alphabet, config).decode(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff";

    fn parse(text: &str) -> Result<MasterKey, MasterKeyError> {
        MasterKey::parse(&text.into(), "MASTER_KEY")
    }

    #[test]
    fn a_key_is_read_from_hex_and_base64() {
        let id = parse(HEX).unwrap().id();
        for text in [
            HEX.to_uppercase().as_str(),
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8",
            "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=\n",
        ] {
            assert_eq!(parse(text).unwrap().id(), id, "{text}");
        }
    }

    #[test]
    fn a_weak_key_is_refused() {
        for text in [
            "",
            "secret",
            "00",
            &"0".repeat(64),
            &"ab".repeat(32),
            &HEX[2..],
            "a passphrase of exactly 32 bytes",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_missed_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("master-key");
        let source = MasterKeySource::MadeFile(path.clone());
        assert!(matches!(
            MasterKey::load(&source, true),
            Err(MasterKeyError::Missing { .. })
        ));
        assert!(matches!(
            MasterKey::load(&MasterKeySource::File(path), false),
            Err(MasterKeyError::Missing { .. })
        ));
        let made = MasterKey::load(&source, false).unwrap();
        assert_eq!(MasterKey::load(&source, true).unwrap().id(), made.id());
    }
}
