//! Whom we trust to be an upstream: the system's authorities, and what the operator adds.

mod sessions;

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs,
    pki_types::{self, CertificateDer, pem::PemObject},
};
use tracing::warn;

use self::sessions::Sessions;

/// Preferred first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("UPSTREAM_CA_FILE: {0}")]
    Unreadable(pki_types::pem::Error),
    #[error("UPSTREAM_CA_FILE holds no certificate")]
    Empty,
    #[error("UPSTREAM_CA_FILE holds what is no authority's certificate: {0}")]
    Unfit(rustls::Error),
    #[error("TLS cannot start: {0}")]
    Protocols(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3, checked certificates, and no way around either.
pub(super) fn config(authority: Option<&Path>) -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    let system = rustls_native_certs::load_native_certs();
    for error in system.errors {
        warn!("a certificate of the system is passed over: {error}");
    }
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = authority {
        add(&mut roots, path)?;
    }
    if roots.is_empty() {
        warn!("the system has no certificates of authorities: no https upstream can be reached");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = PROTOCOLS.map(Vec::from).to_vec();
    config.resumption = Resumption::store(Arc::new(Sessions::default()));
    Ok(config)
}

fn add(roots: &mut RootCertStore, path: &Path) -> Result<(), Error> {
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(Error::Unreadable)? {
        roots
            .add(certificate.map_err(Error::Unreadable)?)
            .map_err(Error::Unfit)?;
        count += 1;
    }
    if count == 0 { Err(Error::Empty) } else { Ok(()) }
}
