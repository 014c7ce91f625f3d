//! Makes connections to upstreams: name, address, socket, TLS, each with its own way to fail.

mod proxy;
mod socket;

use std::{
    error::Error as StdError,
    io,
    net::IpAddr,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::BoxFuture;
use http::{Uri, uri::Scheme};
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower::Service;

use self::proxy::Way;
use super::{
    StartError,
    resolver::{Refusal, Resolver},
    tls,
};
use crate::{config, metrics::Process, upstream::address::Rules};

pub(super) use socket::{Past, Socket};

/// For all of it: name, connection and TLS.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("the name has no address")]
    NotFound,
    #[error("an address that is not allowed")]
    Denied,
    #[error("not connected in time")]
    Timeout,
    #[error("not connected: {0}")]
    Unreachable(Box<dyn StdError + Send + Sync>),
    #[error("no TLS: {0}")]
    Tls(io::Error),
    #[error("no TLS in time")]
    TlsTimeout,
    #[error("no name that a certificate could be for")]
    ServerName,
}

#[derive(Clone)]
pub(super) struct Connector {
    way: Way,
    tls: TlsConnector,
    rules: Rules,
}

impl Connector {
    pub(super) fn new(config: config::Upstream, counts: &Process) -> Result<Self, StartError> {
        let config::Upstream {
            allow,
            deny,
            authority,
            proxy,
        } = config;
        let rules = Rules::new(allow, deny);
        let tcp = |rules| {
            let resolver = Resolver::system(rules, counts.stale_addresses.clone());
            let mut tcp = HttpConnector::new_with_resolver(resolver);
            tcp.enforce_http(false);
            tcp.set_nodelay(true);
            tcp.set_keepalive(Some(KEEP_ALIVE));
            // Shared by the addresses of a name, so that one that is silent leaves time for the next.
            tcp.set_connect_timeout(Some(CONNECT_MAX));
            tcp
        };
        let way = match proxy {
            // What an operator may call through a proxy is not where the proxy may be.
            Some(proxy) => Way::through(proxy, tcp(Rules::default())),
            None => Way::Direct(tcp(rules.clone())),
        };
        let tls = TlsConnector::from(tls::config(authority.as_deref())?);
        Ok(Self { way, tls, rules })
    }

    async fn connect(self, to: Uri) -> Result<TokioIo<Socket>, Failure> {
        let end = Instant::now() + CONNECT_MAX;
        let host = to.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        // A literal address is never resolved, so it is checked here.
        if let Ok(address) = host.parse::<IpAddr>()
            && !self.rules.allow(address)
        {
            return Err(Failure::Denied);
        }
        let is_tls = to.scheme() == Some(&Scheme::HTTPS);
        let tcp = timeout_at(end, self.way.reach(to))
            .await
            .map_err(|_| Failure::Timeout)?
            .map_err(not_reached)?;
        if !is_tls {
            return Ok(TokioIo::new(Socket::plain(tcp)));
        }
        let name = ServerName::try_from(host).map_err(|_| Failure::ServerName)?;
        let tls = timeout_at(end, self.tls.connect(name, tcp))
            .await
            .map_err(|_| Failure::TlsTimeout)?
            .map_err(Failure::Tls)?;
        Ok(TokioIo::new(Socket::tls(tls)))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Socket>;
    type Error = Failure;
    type Future = BoxFuture<'static, Result<TokioIo<Socket>, Failure>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        Box::pin(self.clone().connect(to))
    }
}

/// By type: what the libraries say in words may change.
fn not_reached(error: Box<dyn StdError + Send + Sync>) -> Failure {
    let refusal = causes(&*error).find_map(|cause| cause.downcast_ref::<Refusal>());
    let is_timeout = causes(&*error)
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::TimedOut);
    match refusal {
        Some(Refusal::Denied) => Failure::Denied,
        Some(Refusal::NotFound) => Failure::NotFound,
        None if is_timeout => Failure::Timeout,
        None => Failure::Unreachable(error),
    }
}

pub(super) fn causes<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |cause| StdError::source(*cause))
}
