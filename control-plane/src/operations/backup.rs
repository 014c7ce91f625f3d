//! `backup` and `export`: the whole installation as one file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::operations_service_client::OperationsServiceClient;
use secrecy::ExposeSecret;
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use super::{Environment, Error, open, say, secret};
use crate::config::{Config, TlsSource};
use crate::store::{self, OpenError};

/// Stands for standard output.
const STANDARD_OUTPUT: &str = "-";
/// Who asks a running control plane.
const TOKEN: &str = "ADMIN_TOKEN";

pub(super) async fn backup(config: &Config, file: &Path, environment: Environment<'_>) -> Result<(), Error> {
    let out = Out::open(file)?;
    let told = match open(config).await {
        Ok(store) => {
            let (revision, rows) = store.backup(out.writer()?).await?;
            store.close().await;
            format!("revision {revision}, {rows} rows")
        }
        Err(Error::Open(OpenError::InUse { .. })) => {
            from_running(config, environment, &mut out.writer()?).await?;
            out.check()?
        }
        Err(error) => return Err(error),
    };
    match out.finish()? {
        Some(path) => say(&format!("{}: {told}", path.display())),
        // Standard output is the backup itself.
        None => {
            tracing::info!("{told}");
            Ok(())
        }
    }
}

/// Where the file goes: it has its name once it is whole.
enum Out {
    Standard,
    File { path: PathBuf, unfinished: PathBuf },
}

impl Out {
    fn open(file: &Path) -> Result<Self, Error> {
        if file == Path::new(STANDARD_OUTPUT) {
            return Ok(Self::Standard);
        }
        let unfinished = file.with_added_extension("unfinished");
        let mut options = OpenOptions::new();
        options.create(true).truncate(true).write(true).mode(0o600);
        options.open(&unfinished).map_err(|source| Error::File {
            path: unfinished.clone(),
            source,
        })?;
        Ok(Self::File {
            path: file.to_owned(),
            unfinished,
        })
    }

    fn writer(&self) -> Result<Box<dyn Write + Send>, Error> {
        match self {
            Self::Standard => Ok(Box::new(io::stdout())),
            Self::File { unfinished, .. } => {
                let file = OpenOptions::new().append(true).open(unfinished);
                Ok(Box::new(file.map_err(|source| self.error(source))?))
            }
        }
    }

    /// Reads again what somebody else has sent.
    fn check(&self) -> Result<String, Error> {
        let Self::File { unfinished, .. } = self else {
            return Ok("complete".to_owned());
        };
        let file = File::open(unfinished).map_err(|source| self.error(source))?;
        let inspected = store::inspect(io::BufReader::new(file))?;
        Ok(format!(
            "revision {}, {} rows",
            inspected.header.revision, inspected.rows
        ))
    }

    fn finish(&self) -> Result<Option<&Path>, Error> {
        let Self::File { path, unfinished } = self else {
            return Ok(None);
        };
        let finish = || -> io::Result<()> {
            File::open(unfinished)?.sync_all()?;
            fs::rename(unfinished, path)
        };
        finish().map_err(|source| self.error(source))?;
        Ok(Some(path))
    }

    fn error(&self, source: io::Error) -> Error {
        let path = match self {
            Self::Standard => PathBuf::from(STANDARD_OUTPUT),
            Self::File { unfinished, .. } => unfinished.clone(),
        };
        Error::File { path, source }
    }
}

/// The folder belongs to a control plane that runs: it is asked.
async fn from_running(
    config: &Config,
    environment: Environment<'_>,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let token = secret(environment, TOKEN)
        .ok_or_else(|| Error::Running(format!("set {TOKEN} to an admin's token, and it is asked")))?;
    let failed = |reason: String| Error::Running(reason);
    let channel = connect(config).await?;
    let mut request = Request::new(admin::BackupRequest {});
    let mut bearer: tonic::metadata::MetadataValue<_> = format!("Bearer {}", token.expose_secret().trim())
        .parse()
        .map_err(|_| failed(format!("{TOKEN} is no token")))?;
    bearer.set_sensitive(true);
    request.metadata_mut().insert("authorization", bearer);
    let told = |status: tonic::Status| failed(format!("it answers: {}", status.message()));
    let answer = OperationsServiceClient::new(channel).backup(request).await;
    let mut chunks = answer.map_err(told)?.into_inner();
    while let Some(admin::BackupResponse { chunk }) = chunks.message().await.map_err(told)? {
        out.write_all(&chunk).map_err(Error::Output)?;
    }
    out.flush().map_err(Error::Output)
}

async fn connect(config: &Config) -> Result<Channel, Error> {
    let listener = &config.admin.listener;
    let (scheme, address) = (
        if listener.tls.is_some() { "https" } else { "http" },
        reachable(listener.address),
    );
    let failed = |error: tonic::transport::Error| Error::Running(format!("{address}: {error}"));
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).map_err(failed)?;
    if let Some(TlsSource::Files { cert, key: _ }) = &listener.tls {
        let certificate = fs::read(cert).map_err(|source| Error::File {
            path: cert.clone(),
            source,
        })?;
        let name = config.admin.hosts.first().map_or("localhost", String::as_str);
        let trust = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(certificate))
            .domain_name(name);
        endpoint = endpoint.tls_config(trust).map_err(failed)?;
    }
    endpoint.connect().await.map_err(failed)
}

/// Who listens everywhere listens here.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        IpAddr::V4(_) | IpAddr::V6(_) => {}
    }
    address
}
