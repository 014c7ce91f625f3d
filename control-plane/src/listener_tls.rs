//! By what certificates listeners prove who they are, and for which they ask.

use std::path::Path;
use std::time::SystemTime;

use bridge_proto::admin::v1::{FleetListener, FleetListenerTls};
use tonic::transport::{Certificate, Identity};

use crate::Error;
use crate::authority::Authority;
use crate::config::{Listener, TlsSource};
use crate::server::Tls;

/// Admins are known by their tokens: a certificate would open nothing.
pub(crate) fn admin(source: Option<&TlsSource>, authority: &Authority) -> Result<Option<Tls>, Error> {
    let identity = source.map(|source| identity(source, authority)).transpose()?;
    Ok(identity.map(|identity| Tls {
        identity,
        clients: None,
    }))
}

/// Data planes may show a certificate of the fleet's authority, whoever signed that of the
/// listener.
pub(crate) fn fleet(source: Option<&TlsSource>, authority: &Authority) -> Result<Option<Tls>, Error> {
    let identity = source.map(|source| identity(source, authority)).transpose()?;
    Ok(identity.map(|identity| Tls {
        identity,
        clients: Some(Certificate::from_pem(authority.certificate_pem())),
    }))
}

/// The fleet listener as an admin is told of it who adds a data plane.
pub(crate) fn as_shown(listener: &Listener) -> FleetListener {
    let tls = match &listener.tls {
        None => FleetListenerTls::None,
        Some(TlsSource::Authority) => FleetListenerTls::Issued,
        Some(TlsSource::Files { .. }) => FleetListenerTls::Configured,
    };
    FleetListener {
        address: listener.address.to_string(),
        tls: tls.into(),
    }
}

fn identity(source: &TlsSource, authority: &Authority) -> Result<Identity, Error> {
    let read = |path: &Path| {
        std::fs::read(path).map_err(|source| Error::TlsFile {
            path: path.to_owned(),
            source,
        })
    };
    match source {
        TlsSource::Files { cert, key } => Ok(Identity::from_pem(read(cert)?, read(key)?)),
        TlsSource::Authority => {
            let pem = authority.issue_listener(SystemTime::now())?;
            Ok(Identity::from_pem(pem.chain, pem.key.as_str()))
        }
    }
}
