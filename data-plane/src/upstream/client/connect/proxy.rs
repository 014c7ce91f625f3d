//! The way to an upstream: straight, or through the proxy that the operator named.

use std::error::Error as StdError;

use http::{Uri, uri::Scheme};
use hyper_util::client::legacy::connect::{
    HttpConnector,
    proxy::{SocksV5, Tunnel},
};
use secrecy::ExposeSecret;
use tokio::net::TcpStream;
use tower::ServiceExt;

use super::super::resolver::Resolver;
use crate::config::{Proxy, ProxyKind};

type Tcp = HttpConnector<Resolver>;
type Failure = Box<dyn StdError + Send + Sync>;

#[derive(Clone)]
pub(super) enum Way {
    Direct(Tcp),
    /// By `CONNECT`, also for plain upstreams: a proxy then sees no credential of theirs.
    Tunnel(Tunnel<Tcp>),
    Socks(SocksV5<Tcp>),
}

impl Way {
    pub(super) fn through(proxy: Proxy, tcp: Tcp) -> Self {
        let Proxy {
            kind,
            address,
            credentials,
        } = proxy;
        match kind {
            ProxyKind::Http => {
                let tunnel = Tunnel::new(address, tcp);
                let basic = credentials.and_then(|credentials| credentials.basic());
                Self::Tunnel(match basic {
                    Some(basic) => tunnel.with_auth(basic),
                    None => tunnel,
                })
            }
            ProxyKind::Socks5 => {
                let socks = SocksV5::new(address, tcp);
                Self::Socks(match credentials {
                    Some(credentials) => {
                        socks.with_auth(credentials.name, credentials.password.expose_secret().to_owned())
                    }
                    None => socks,
                })
            }
        }
    }

    pub(super) async fn reach(self, to: Uri) -> Result<TcpStream, Failure> {
        let reached = match self {
            Self::Direct(tcp) => tcp.oneshot(to).await?,
            Self::Tunnel(tunnel) => tunnel.oneshot(with_port(to)?).await?,
            Self::Socks(socks) => socks.oneshot(with_port(to)?).await?,
        };
        Ok(reached.into_inner())
    }
}

/// A proxy has to be told what a scheme implies.
fn with_port(to: Uri) -> Result<Uri, Failure> {
    if to.port().is_some() {
        return Ok(to);
    }
    let port = if to.scheme() == Some(&Scheme::HTTPS) {
        443
    } else {
        80
    };
    let host = to.host().unwrap_or_default();
    let authority = format!("{host}:{port}");
    let mut parts = to.into_parts();
    parts.authority = Some(authority.parse()?);
    Ok(Uri::from_parts(parts)?)
}
