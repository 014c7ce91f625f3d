//! Data planes and join tokens in the audit log.

use super::{Document, document, seconds};
use crate::domain::{
    join_token::{self, JoinToken},
    node::{Certificate, FleetNode, fingerprint_hex},
};

pub(crate) fn fleet_node(node: &FleetNode) -> Document {
    let FleetNode {
        id: _,
        certificate,
        revoked_at,
    } = node;
    let certificate = certificate.as_ref().map(|certificate| {
        let Certificate {
            enrolment: _,
            fingerprint,
            issued_at: _,
            expires_at,
        } = certificate;
        (fingerprint_hex(fingerprint), seconds(*expires_at))
    });
    let (fingerprint, expires_at) = certificate.unzip();
    document([
        ("certificate_fingerprint", fingerprint.into()),
        ("certificate_expires_at", expires_at.into()),
        ("revoked_at", revoked_at.map(seconds).into()),
    ])
}

pub(crate) fn join_token(token: &JoinToken) -> Document {
    let JoinToken {
        id: _,
        hash: _,
        spec: join_token::Spec { node, expires_at },
        created_at: _,
    } = token;
    document([
        ("node_id", node.as_ref().map(ToString::to_string).into()),
        ("expires_at", seconds(*expires_at)),
    ])
}
