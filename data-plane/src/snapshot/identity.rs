//! Who this node is: its own key, the certificate for it, and the secret that its snapshot
//! cache is sealed with.
//!
//! All of it is one file, so that key and certificate always belong together. The key is made
//! here and leaves this machine never; the secret stays when key and certificate are
//! renewed. No request is served with any of this: without it, a node serves on.

mod file;

use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use secrecy::SecretString;
use zeroize::Zeroizing;

pub(crate) use file::{Error, read, write};

use crate::clock::unix_ms;

const CACHE_SECRET_BYTES: usize = 32;
/// The part of its time after which a certificate is renewed, in thirds.
const RENEW_AFTER_THIRDS: u32 = 2;

#[derive(Clone)]
pub(crate) struct Identity {
    /// The name that the control plane knows this node by.
    pub(crate) node_id: String,
    /// PKCS #8.
    pub(crate) key: Zeroizing<Vec<u8>>,
    /// DER: this node's own first, then the authority's.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) issued_at: SystemTime,
    pub(crate) expires_at: SystemTime,
    /// Never sent anywhere.
    pub(crate) cache_secret: SecretString,
}

/// A key that is to be certified.
pub(crate) struct NewKey {
    key: Zeroizing<Vec<u8>>,
    /// PKCS #10.
    pub(crate) request: Vec<u8>,
}

/// What the control plane answers to a request.
pub(crate) struct Certified {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) issued_at: SystemTime,
    pub(crate) expires_at: SystemTime,
}

impl Certified {
    /// `None`: it makes no sense.
    pub(crate) fn of(
        chain: Vec<Vec<u8>>,
        issued_at: SystemTime,
        expires_at: Option<SystemTime>,
    ) -> Option<Self> {
        let expires_at = expires_at.filter(|at| file::is_plausible(unix_ms(*at)))?;
        (!chain.is_empty()).then_some(Self {
            chain,
            issued_at,
            expires_at,
        })
    }
}

impl NewKey {
    pub(crate) fn make(node_id: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, node_id);
        Ok(Self {
            request: params.serialize_request(&key)?.der().to_vec(),
            key: Zeroizing::new(key.serialize_der()),
        })
    }
}

impl Identity {
    /// The first one of a node.
    pub(crate) fn new(node_id: String, key: NewKey, certified: Certified) -> Self {
        let secret: [u8; CACHE_SECRET_BYTES] = rand::random();
        let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::of(node_id, key, certified, secret.into())
    }

    /// The same node with another key. What is kept on disk still opens.
    pub(crate) fn renewed(&self, key: NewKey, certified: Certified) -> Self {
        Self::of(self.node_id.clone(), key, certified, self.cache_secret.clone())
    }

    fn of(node_id: String, key: NewKey, certified: Certified, cache_secret: SecretString) -> Self {
        let Certified {
            chain,
            issued_at,
            expires_at,
        } = certified;
        Self {
            node_id,
            key: key.key,
            chain,
            issued_at,
            expires_at,
            cache_secret,
        }
    }

    pub(crate) fn has_expired(&self, now: SystemTime) -> bool {
        self.expires_at <= now
    }

    /// How long until it is renewed.
    pub(crate) fn renews_in(&self, now: SystemTime) -> Duration {
        let lifetime = self.expires_at.duration_since(self.issued_at).unwrap_or_default();
        let due = self.issued_at + lifetime / 3 * RENEW_AFTER_THIRDS;
        due.duration_since(now).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
