//! What stands before an upstream's socket: nothing, or TLS, well or badly certified.
//!
//! `Faultd::start_behind(&authority.front(kind)?)` listens behind one of them and answers like any
//! other upstream once the handshake is through; its `base_url` begins with `https`. A certificate is
//! for `localhost` and `127.0.0.1`. Who shall trust the good ones is given `Authority::pem`.

use std::io;
use std::sync::Arc;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The names that a good certificate is for.
const OWN_NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
const OTHER_NAME: &str = "elsewhere.example";

/// What a web server says to who speaks TLS to its plain port.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// A connection after its handshake, if there was one.
pub(super) trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

/// How a listener meets a handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With a certificate of this authority for the name that was asked for.
    Good,
    Expired,
    /// The certificate is for another host.
    WrongHost,
    /// Signed by somebody that nobody knows.
    UnknownAuthority,
    /// Takes the connection and says nothing.
    Stalls,
    /// Takes the connection and closes it.
    Closes,
    /// Answers in plain text.
    PlainText,
}

/// Signs certificates that a test's clients may trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// What a connection goes through before its first request.
#[derive(Clone)]
pub struct Front(Kind);

#[derive(Clone)]
enum Kind {
    Open,
    Tls(TlsAcceptor),
    Stalls,
    Closes,
    PlainText,
}

// === impl Authority ===

impl Authority {
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    /// Its own certificate, for a file of trusted ones.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    pub fn front(&self, handshake: Handshake) -> Result<Front> {
        let kind = match handshake {
            Handshake::Good => Kind::Tls(self.acceptor(&OWN_NAMES, false)?),
            Handshake::Expired => Kind::Tls(self.acceptor(&OWN_NAMES, true)?),
            Handshake::WrongHost => Kind::Tls(self.acceptor(&[OTHER_NAME], false)?),
            Handshake::UnknownAuthority => Kind::Tls(Self::new()?.acceptor(&OWN_NAMES, false)?),
            Handshake::Stalls => Kind::Stalls,
            Handshake::Closes => Kind::Closes,
            Handshake::PlainText => Kind::PlainText,
        };
        Ok(Front(kind))
    }

    /// For HTTP/2 and nothing else.
    pub(super) fn http2_acceptor(&self) -> Result<TlsAcceptor> {
        let mut config = self.config(&OWN_NAMES, false)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn acceptor(&self, names: &[&str], is_expired: bool) -> Result<TlsAcceptor> {
        Ok(TlsAcceptor::from(Arc::new(self.config(names, is_expired)?)))
    }

    fn config(&self, names: &[&str], is_expired: bool) -> Result<ServerConfig> {
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        if is_expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(config)
    }
}

// === impl Front ===

impl Front {
    /// Nothing at all: plain HTTP.
    pub fn open() -> Self {
        Self(Kind::Open)
    }

    pub(super) fn scheme(&self) -> &'static str {
        match self.0 {
            Kind::Open => "http",
            Kind::Tls(_) | Kind::Stalls | Kind::Closes | Kind::PlainText => "https",
        }
    }

    /// `None`: no request will come through.
    pub(super) async fn enter(&self, mut socket: TcpStream) -> io::Result<Option<Box<dyn Io>>> {
        match &self.0 {
            Kind::Open => Ok(Some(Box::new(socket))),
            Kind::Tls(acceptor) => Ok(Some(Box::new(acceptor.accept(socket).await?))),
            Kind::Stalls => {
                // Until the client has had enough of it.
                tokio::io::copy(&mut socket, &mut tokio::io::sink()).await?;
                Ok(None)
            }
            Kind::Closes => {
                socket.shutdown().await?;
                tokio::io::copy(&mut socket, &mut tokio::io::sink()).await?;
                Ok(None)
            }
            Kind::PlainText => {
                socket.read_u8().await?;
                socket.write_all(PLAIN_ANSWER).await?;
                socket.shutdown().await?;
                tokio::io::copy(&mut socket, &mut tokio::io::sink()).await?;
                Ok(None)
            }
        }
    }
}
