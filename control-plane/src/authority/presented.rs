//! What a certificate says that a node has presented. TLS has checked by then that it is of
//! the authority, for clients, and that who presents it has the key.

use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};
use uuid::Uuid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::domain::node::{Certified, NodeId};

/// `None`: it is no certificate of a node.
pub(crate) fn presented(der: &[u8]) -> Option<Certified> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let names = certificate.subject_alternative_name().ok()??;
    let urn = names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Uuid::try_parse(uri).ok(),
        _ => None,
    })?;
    let name = certificate.subject().iter_common_name().next()?;
    let expires_s = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    Some(Certified {
        node: NodeId::parse(name.as_str().ok()?)?,
        enrolment: urn.into_bytes(),
        fingerprint: Sha256::digest(der).into(),
        expires_at: SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(expires_s))?,
    })
}
