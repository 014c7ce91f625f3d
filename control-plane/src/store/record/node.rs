//! Data planes that have a certificate or were revoked.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Persist, from_ms, hash_from_base64, reason, to_base64, to_ms};
use crate::{
    domain::node::{Certificate, FleetNode, NodeId},
    store::family::Family,
};

#[derive(Serialize, Deserialize)]
pub(in crate::store) struct NodeRecord {
    id: String,
    certificate: Option<CertificateRecord>,
    revoked_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct CertificateRecord {
    enrolment: Uuid,
    fingerprint: String,
    issued_ms: u64,
    expires_ms: u64,
}

impl Persist for FleetNode {
    type Record = NodeRecord;
    const FAMILY: Family = Family::Nodes;

    fn key(&self) -> Vec<u8> {
        self.id.as_str().as_bytes().to_vec()
    }

    fn to_record(&self) -> NodeRecord {
        let Self {
            id,
            certificate,
            revoked_at,
        } = self;
        NodeRecord {
            id: id.to_string(),
            certificate: certificate.as_ref().map(to_certificate),
            revoked_ms: revoked_at.map(to_ms),
        }
    }

    fn from_record(record: NodeRecord) -> Result<Self, String> {
        let NodeRecord {
            id,
            certificate,
            revoked_ms,
        } = record;
        Ok(Self {
            id: NodeId::parse(&id).ok_or_else(|| reason(NodeId::rule()))?,
            certificate: certificate.map(from_certificate).transpose()?,
            revoked_at: revoked_ms.map(from_ms).transpose()?,
        })
    }
}

fn to_certificate(certificate: &Certificate) -> CertificateRecord {
    let Certificate {
        enrolment,
        fingerprint,
        issued_at,
        expires_at,
    } = certificate;
    CertificateRecord {
        enrolment: Uuid::from_bytes(*enrolment),
        fingerprint: to_base64(fingerprint),
        issued_ms: to_ms(*issued_at),
        expires_ms: to_ms(*expires_at),
    }
}

fn from_certificate(record: CertificateRecord) -> Result<Certificate, String> {
    let CertificateRecord {
        enrolment,
        fingerprint,
        issued_ms,
        expires_ms,
    } = record;
    Ok(Certificate {
        enrolment: enrolment.into_bytes(),
        fingerprint: hash_from_base64(&fingerprint)?,
        issued_at: from_ms(issued_ms)?,
        expires_at: from_ms(expires_ms)?,
    })
}
