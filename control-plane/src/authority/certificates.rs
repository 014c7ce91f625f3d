//! Certificates as they are made: the authority's own, those of fleet listeners, and those
//! of nodes. Nothing of a request gets into a certificate but its public key.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DistinguishedName,
    DnType, Error, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    SanType,
};
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::BadRequest;
use crate::domain::node::{EnrolmentId, NodeId};

/// The name of every control plane, as the contract has it: nodes know it by its authority,
/// not by where it is.
const LISTENER_NAME: &str = "control-plane.bridge.internal";
/// Clocks of nodes may be behind by this much.
const SKEW: Duration = Duration::from_secs(3600);
/// The authority stays as long as the installation does.
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Longer than a process runs: it is made anew at each start.
const LISTENER_LIFETIME: Duration = Duration::from_secs(5 * 365 * 24 * 3600);

/// A certificate chain with its key.
pub(crate) struct Pem {
    pub(crate) chain: String,
    pub(crate) key: Zeroizing<String>,
}

pub(super) fn authority(now: SystemTime) -> Result<CertifiedIssuer<'static, KeyPair>, Error> {
    let mut params = params("Anthropic OpenAI Bridge: fleet", (now, now + AUTHORITY_LIFETIME));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// What signs, from what was kept.
pub(super) fn issuer(certificate: &[u8], key: &[u8]) -> Result<Issuer<'static, KeyPair>, Error> {
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key.into(), &PKCS_ECDSA_P256_SHA256)?;
    Issuer::from_ca_cert_der(&certificate.into(), key)
}

pub(super) fn listener(
    issuer: &Issuer<'_, KeyPair>,
    authority: &[u8],
    now: SystemTime,
) -> Result<Pem, Error> {
    let key = KeyPair::generate()?;
    let mut params = params(LISTENER_NAME, (now, now + LISTENER_LIFETIME));
    params.subject_alt_names = vec![SanType::DnsName(LISTENER_NAME.try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.signed_by(&key, issuer)?;
    Ok(Pem {
        chain: certificate.pem() + &to_pem(authority),
        key: Zeroizing::new(key.serialize_pem()),
    })
}

/// DER. The node's name is for people; what counts is the name of the enrolment.
pub(super) fn node(
    issuer: &Issuer<'_, KeyPair>,
    request: &[u8],
    node: &NodeId,
    enrolment: EnrolmentId,
    validity: (SystemTime, SystemTime),
) -> Result<Vec<u8>, BadRequest> {
    let read = CertificateSigningRequestParams::from_der(&request.into());
    let mut request = read.map_err(|_| BadRequest::Unreadable)?;
    if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(BadRequest::OtherKey);
    }
    let mut params = params(node.as_str(), validity);
    let urn = Uuid::from_bytes(enrolment).urn().to_string();
    let urn = urn.try_into().map_err(BadRequest::Failed)?;
    params.subject_alt_names = vec![SanType::URI(urn)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    request.params = params;
    let certificate = request.signed_by(issuer).map_err(BadRequest::Failed)?;
    Ok(certificate.der().to_vec())
}

pub(super) fn to_pem(certificate: &[u8]) -> String {
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, certificate);
    let lines = text.as_bytes().chunks(64);
    let lines: String = lines
        .map(|line| format!("{}\n", String::from_utf8_lossy(line)))
        .collect();
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}

fn params(name: &str, (from, until): (SystemTime, SystemTime)) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = OffsetDateTime::from(from - SKEW);
    params.not_after = OffsetDateTime::from(until);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}
