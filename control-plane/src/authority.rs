//! The fleet's certificate authority: it tells data planes from strangers, and the control
//! plane from whoever would like to be it.
//!
//! It is made with the installation and kept sealed in the store, so that all control
//! planes of one store are the same authority, and a backup has it too. Its key leaves
//! the store never, certificates of nodes are for one node and as clients only, and that
//! of a fleet listener is made anew at each start and kept in memory alone.

mod certificates;
mod presented;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use rcgen::{CertifiedIssuer, Issuer, KeyPair};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::domain::audit::{Actor, AuditEntry, Origin};
use crate::domain::node::{Certificate, EnrolmentId, NodeId, fingerprint_hex};
use crate::secrets::{Keyring, SealError};
use crate::store::{self, Change, Commit, CommitError, SealedName, Store};

use certificates::Pem;
pub(crate) use presented::presented;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("the fleet's certificate authority cannot be made or read: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("the fleet's certificate authority is damaged")]
    Damaged,
}

/// Why a request for a certificate is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("certificate_signing_request must be PKCS #10 in DER, signed with its own key")]
    Unreadable,
    #[error("certificate_signing_request must have an ECDSA key on P-256")]
    OtherKey,
    #[error("a certificate cannot be made: {0}")]
    Failed(rcgen::Error),
}

/// As it is sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    certificate: String,
    key: String,
}

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Authority {
    shared: Arc<Shared>,
}

struct Shared {
    /// DER.
    certificate: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
    lifetime: Duration,
}

/// A certificate for a node, and what is kept of it.
pub(crate) struct Issued {
    /// DER: the node's own, then the authority's.
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) kept: Certificate,
}

impl Authority {
    /// The one of this installation. It is made if there is none; whoever calls this makes
    /// sure that nobody else does at the same time.
    pub(crate) async fn load_or_make(
        store: &Store,
        keyring: &Keyring,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let name = SealedName::Authority;
        if let Some(sealed) = store.sealed(name).await? {
            let opened = keyring.open_own(name.as_str(), &sealed)?;
            return Self::read(&opened, lifetime);
        }
        let kept = make(now)?;
        let authority = Self::read(&kept, lifetime)?;
        let change = Change::PutSealed(name, keyring.seal_own(name.as_str(), &kept)?);
        let audit = AuditEntry::new(Actor::System, "Bootstrap", "authority", Origin::default(), now);
        let commit = Commit {
            changes: vec![change],
            audit,
            idempotency: None,
        };
        store.commit(commit).await?;
        tracing::info!(
            fingerprint = authority.fingerprint(),
            "made the fleet's certificate authority"
        );
        Ok(authority)
    }

    fn read(kept: &[u8], lifetime: Duration) -> Result<Self, Error> {
        let Kept { certificate, key } = serde_json::from_slice(kept).map_err(|_| Error::Damaged)?;
        let key = Zeroizing::new(key);
        let decode = |text: &str| STANDARD_NO_PAD.decode(text).map_err(|_| Error::Damaged);
        let (certificate, key) = (decode(&certificate)?, Zeroizing::new(decode(&key)?));
        let shared = Shared {
            issuer: certificates::issuer(&certificate, &key)?,
            certificate,
            lifetime,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// SHA-256 of its certificate, in hex: by this a node knows the control plane.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint_hex(&Sha256::digest(&self.shared.certificate).into())
    }

    /// Its certificate, for whoever checks what it has signed.
    pub(crate) fn certificate_pem(&self) -> String {
        certificates::to_pem(&self.shared.certificate)
    }

    /// A new certificate for a fleet listener.
    pub(crate) fn issue_listener(&self, now: SystemTime) -> Result<Pem, Error> {
        let Shared {
            certificate, issuer, ..
        } = &*self.shared;
        Ok(certificates::listener(issuer, certificate, now)?)
    }

    /// A certificate for who can sign with the key of this request.
    pub(crate) fn issue_node(
        &self,
        request: &[u8],
        node: &NodeId,
        enrolment: EnrolmentId,
        now: SystemTime,
    ) -> Result<Issued, BadRequest> {
        let Shared {
            certificate,
            issuer,
            lifetime,
        } = &*self.shared;
        let expires_at = now + *lifetime;
        let own = certificates::node(issuer, request, node, enrolment, (now, expires_at))?;
        Ok(Issued {
            kept: Certificate {
                enrolment,
                fingerprint: Sha256::digest(&own).into(),
                issued_at: now,
                expires_at,
            },
            chain: vec![own, certificate.clone()],
        })
    }

    /// How long certificates of nodes live.
    pub(crate) fn lifetime(&self) -> Duration {
        self.shared.lifetime
    }
}

/// A new authority, as it is sealed.
fn make(now: SystemTime) -> Result<Zeroizing<Vec<u8>>, Error> {
    let made: CertifiedIssuer<'_, KeyPair> = certificates::authority(now)?;
    let mut kept = Kept {
        certificate: STANDARD_NO_PAD.encode(made.der()),
        key: STANDARD_NO_PAD.encode(made.key().serialized_der()),
    };
    let bytes = serde_json::to_vec(&kept).map(Zeroizing::new);
    kept.key.zeroize();
    bytes.map_err(|_| Error::Damaged)
}

#[cfg(test)]
mod tests;
