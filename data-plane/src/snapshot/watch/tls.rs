//! TLS to the control plane: by what it is known, and what this node shows.
//!
//! A fleet has an authority of its own; the system's are not asked. The control plane is
//! known either by a certificate of an authority that the operator names, for the host
//! of its URL, or by the fingerprint of the fleet's authority: then it has one name,
//! wherever it is, and its authority comes with its certificate.

use std::{io, path::Path, sync::Arc};

use hyper_util::rt::TokioIo;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use url::Url;

use crate::{config::Trust, snapshot::identity::Identity};

/// The name of every control plane whose certificate is of the fleet's authority.
const CONTROL_PLANE_NAME: &str = "control-plane.bridge.internal";
const PROTOCOL: &[u8] = b"h2";

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("CONTROL_PLANE_CA_FILE: {0}")]
    Authority(rustls::pki_types::pem::Error),
    #[error("CONTROL_PLANE_CA_FILE holds no certificate of an authority")]
    NoAuthority,
    #[error("an https control plane needs CONTROL_PLANE_CA_FILE or AUTHORITY_FINGERPRINT")]
    NoTrust,
    #[error("CONTROL_PLANE_URL has no host that a certificate could name")]
    NoHost,
    #[error("TLS cannot start: {0}")]
    Tls(#[from] rustls::Error),
}

/// How connections to one control plane are opened.
pub(super) struct Dialler {
    connector: TlsConnector,
    name: ServerName<'static>,
    host: String,
    port: u16,
}

impl Dialler {
    /// Reads what the operator names.
    pub(super) fn new(url: &Url, trust: &Trust, identity: Option<&Identity>) -> Result<Self, Error> {
        let host = url.host_str().ok_or(Error::NoHost)?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let (builder, name) = match trust {
            Trust::Nobody => return Err(Error::NoTrust),
            Trust::Authority(path) => (builder.with_root_certificates(roots(path)?), host.clone()),
            Trust::Fingerprint(fingerprint) => {
                let pinned = Arc::new(Pinned {
                    fingerprint: *fingerprint,
                    provider,
                });
                let builder = builder.dangerous().with_custom_certificate_verifier(pinned);
                (builder, CONTROL_PLANE_NAME.to_owned())
            }
        };
        let mut config = match identity {
            Some(identity) => {
                let chain = identity
                    .chain
                    .iter()
                    .map(|certificate| certificate.clone().into());
                let key = PrivatePkcs8KeyDer::from(identity.key.to_vec());
                builder.with_client_auth_cert(chain.collect(), key.into())?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(name).map_err(|_| Error::NoHost)?,
            port: url.port_or_known_default().unwrap_or_default(),
            host,
        })
    }

    /// The endpoint speaks plaintext, over what this opens.
    pub(super) async fn connect(self, endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
        let dialler = Arc::new(self);
        let connector = tower::service_fn(move |_uri: http::Uri| {
            let dialler = Arc::clone(&dialler);
            async move { dialler.open().await.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(connector).await
    }

    async fn open(&self) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
        stream.set_nodelay(true)?;
        self.connector.connect(self.name.clone(), stream).await
    }
}

fn roots(path: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(Error::Authority)? {
        roots.add(certificate.map_err(Error::Authority)?)?;
    }
    if roots.is_empty() {
        return Err(Error::NoAuthority);
    }
    Ok(roots)
}

/// Trusts the authority that has this fingerprint, and only that, whoever presents it.
#[derive(Debug)]
struct Pinned {
    fingerprint: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let is_pinned =
            |certificate: &&CertificateDer<'_>| Sha256::digest(certificate)[..] == self.fingerprint;
        let authority = intermediates.iter().find(is_pinned);
        let authority = authority.ok_or(CertificateError::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone().into_owned())?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
                .build()
                .map_err(|error| rustls::Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
