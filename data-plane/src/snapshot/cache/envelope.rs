//! The form of a cache file: a line that says what it is, then what is sealed.
//!
//! The line can be read by anybody and is part of what is authenticated, so that a
//! file with another line does not open. The key is made of the node's own secret: a
//! stolen file opens nowhere else.

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::snapshot::Version;

/// Begins every file, and names its format.
const MAGIC: &[u8] = b"bridge-snapshot-cache ";
const FORMAT: u32 = 1;
/// What the key is for, so that the same secret makes no other key of ours.
const KEY_PURPOSE: &[u8] = b"bridge-snapshot-cache-v1";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
/// A line of ours has less than 300 bytes.
const LINE_BYTES_MAX: usize = 4 << 10;
/// What the line and the seal add to the content.
pub(super) const OVERHEAD_BYTES_MAX: usize = LINE_BYTES_MAX + NONCE_BYTES + TAG_BYTES;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    Snapshot,
    /// Nothing but the word that a snapshot was still the newest.
    Confirmation,
}

/// The line of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Header {
    pub(crate) content: Content,
    /// +1 with every snapshot that is written: which of two files is the newer one.
    pub(crate) generation: u64,
    pub(super) cluster: u128,
    pub(super) epoch: u64,
    pub(super) revision: u64,
    pub(crate) resources: u64,
    /// When the control plane last said that nothing newer exists.
    pub(crate) confirmed_unix_ms: i64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Damage {
    #[error("it is no snapshot cache")]
    Foreign,
    #[error("it has format {0}, this build knows format {FORMAT}")]
    Newer(u32),
    #[error("its first line is damaged")]
    Line,
    #[error("it holds something else")]
    Other,
    #[error("it does not open with this node's token: it is damaged, or of a node with another token")]
    Sealed,
}

#[derive(Debug, thiserror::Error)]
#[error("it cannot be sealed")]
pub(crate) struct CannotSeal;

/// Seals and opens; of one token.
pub(crate) struct Sealer(XChaCha20Poly1305);

impl Header {
    pub(crate) fn new(content: Content, version: Version, confirmed_unix_ms: i64) -> Self {
        Self {
            content,
            generation: 0,
            cluster: u128::from_be_bytes(version.cluster),
            epoch: version.epoch,
            revision: version.revision,
            resources: 0,
            confirmed_unix_ms,
        }
    }

    pub(crate) fn version(&self) -> Version {
        Version {
            cluster: self.cluster.to_be_bytes(),
            epoch: self.epoch,
            revision: self.revision,
        }
    }
}

impl Sealer {
    pub(crate) fn new(token: &SecretString) -> Self {
        let secret = Hkdf::<Sha256>::new(None, token.expose_secret().as_bytes());
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        // Only a key of more than 8,160 bytes is refused.
        let _ = secret.expand(KEY_PURPOSE, key.as_mut_slice());
        Self(XChaCha20Poly1305::new((&*key).into()))
    }

    pub(crate) fn seal(
        &self,
        header: &Header,
        mut content: Zeroizing<Vec<u8>>,
    ) -> Result<Vec<u8>, CannotSeal> {
        let mut file = [MAGIC, FORMAT.to_string().as_bytes(), b" "].concat();
        serde_json::to_writer(&mut file, header).map_err(|_| CannotSeal)?;
        file.push(b'\n');
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let sealed = self
            .0
            .encrypt_in_place(&XNonce::from(nonce), &file, &mut *content);
        sealed.map_err(|_| CannotSeal)?;
        file.extend_from_slice(&nonce);
        file.extend_from_slice(&content);
        Ok(file)
    }

    /// The header and the content of a whole file.
    pub(crate) fn open(&self, wanted: Content, file: &[u8]) -> Result<(Header, Zeroizing<Vec<u8>>), Damage> {
        let (header, line, sealed) = split(file)?;
        if header.content != wanted {
            return Err(Damage::Other);
        }
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Damage::Sealed)?;
        let mut content = Zeroizing::new(sealed.to_vec());
        self.0
            .decrypt_in_place(&XNonce::from(*nonce), line, &mut *content)
            .map_err(|_| Damage::Sealed)?;
        Ok((header, content))
    }
}

/// What the line says, without proof; the line; what is sealed.
fn split(file: &[u8]) -> Result<(Header, &[u8], &[u8]), Damage> {
    let rest = file.strip_prefix(MAGIC).ok_or(Damage::Foreign)?;
    let line_bytes = file
        .iter()
        .take(LINE_BYTES_MAX)
        .position(|byte| *byte == b'\n')
        .ok_or(Damage::Line)?
        + 1;
    let (line, sealed) = file.split_at(line_bytes);
    let text = std::str::from_utf8(&rest[..line_bytes - MAGIC.len()]).map_err(|_| Damage::Line)?;
    let (format, header) = text.split_once(' ').ok_or(Damage::Line)?;
    match format.parse() {
        Ok(FORMAT) => {}
        Ok(other) => return Err(Damage::Newer(other)),
        Err(_) => return Err(Damage::Line),
    }
    let header = serde_json::from_str(header).map_err(|_| Damage::Line)?;
    Ok((header, line, sealed))
}
