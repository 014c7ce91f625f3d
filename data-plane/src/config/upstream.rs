//! How upstreams are reached from this machine.

use std::{fmt, net::IpAddr, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri};
use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

const PROXY: &str = "UPSTREAM_PROXY";
const HTTP_PORT_DEFAULT: u16 = 80;
const SOCKS_PORT_DEFAULT: u16 = 1080;

#[derive(Debug, Default)]
pub struct Upstream {
    /// Where providers may live; empty: everywhere.
    pub allow: Vec<IpNet>,
    /// Where they may not, even if allowed.
    pub deny: Vec<IpNet>,
    /// Certificates of authorities that are trusted beside the system's.
    pub authority: Option<PathBuf>,
    pub proxy: Option<Proxy>,
}

#[derive(Debug)]
pub struct Proxy {
    pub(crate) kind: ProxyKind,
    /// As an http URL, whatever it speaks.
    pub(crate) address: Uri,
    pub(crate) credentials: Option<Credentials>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Http,
    Socks5,
}

#[derive(Debug)]
pub(crate) struct Credentials {
    pub(crate) name: String,
    pub(crate) password: SecretString,
}

impl Credentials {
    /// For `proxy-authorization`.
    pub(crate) fn basic(&self) -> Option<HeaderValue> {
        let pair = format!("{}:{}", self.name, self.password.expose_secret());
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Display for Proxy {
    /// Without its credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
        };
        let place = self
            .address
            .authority()
            .map_or("", |authority| authority.as_str());
        write!(f, "{scheme}://{place}")
    }
}

/// Never shows the text: it may hold a password.
pub(crate) fn proxy(text: &str) -> Result<Proxy, String> {
    let fault =
        || format!("{PROXY}: is no URL such as http://proxy:3128 or socks5://name:password@proxy:1080");
    let url = Url::parse(text.trim()).map_err(|_| fault())?;
    let (kind, port) = match url.scheme() {
        "http" => (ProxyKind::Http, HTTP_PORT_DEFAULT),
        // Names are resolved by the proxy in either case.
        "socks5" | "socks5h" => (ProxyKind::Socks5, SOCKS_PORT_DEFAULT),
        _ => return Err(fault()),
    };
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    let host = url
        .host_str()
        .filter(|host| !host.is_empty() && is_bare)
        .ok_or_else(fault)?;
    let address = format!("http://{host}:{}", url.port().unwrap_or(port));
    let credentials = (!url.username().is_empty()).then(|| Credentials {
        name: decoded(url.username()),
        password: decoded(url.password().unwrap_or_default()).into(),
    });
    Ok(Proxy {
        kind,
        address: address.parse().map_err(|_| fault())?,
        credentials,
    })
}

/// Of what a URL has percent-encoded.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text)
        .decode_utf8_lossy()
        .into_owned()
}

pub(super) fn networks(variable: &str, list: &str) -> Result<Vec<IpNet>, String> {
    list.split(',')
        .map(str::trim)
        .filter(|network| !network.is_empty())
        .map(|network| {
            let address = || network.parse::<IpAddr>().map(IpNet::from);
            network.parse::<IpNet>().or_else(|_| address()).map_err(|_| {
                format!("{variable}: {network:?} is not a network such as 10.0.0.0/8, fd00::/8 or 192.0.2.7")
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_place_and_shows_no_password() {
        for (text, shown) in [
            ("http://proxy.example:3128", "http://proxy.example:3128"),
            ("http://proxy.example/", "http://proxy.example:80"),
            ("socks5://me:s%40cret@10.0.0.1", "socks5://10.0.0.1:1080"),
            ("socks5h://[fd12::1]:9", "socks5://[fd12::1]:9"),
        ] {
            let proxy = proxy(text).unwrap();
            assert_eq!(proxy.to_string(), shown);
            assert!(!format!("{proxy:?}").contains("s@cret"));
        }
        let credentials = proxy("http://me:s%40cret@p").unwrap().credentials.unwrap();
        assert_eq!(credentials.basic().unwrap(), "Basic bWU6c0BjcmV0");
        for text in [
            "",
            "proxy:3128",
            "https://me:s%40cret@proxy",
            "ftp://me:s%40cret@proxy",
            "http://me:s%40cret@proxy/path",
        ] {
            let mistake = proxy(text).unwrap_err();
            assert!(
                mistake.contains("UPSTREAM_PROXY") && !mistake.contains("cret"),
                "{mistake}"
            );
        }
    }

    #[test]
    fn networks_are_listed_with_commas_and_single_addresses_are_networks() {
        let found = networks("UPSTREAM_DENY", "10.0.0.0/8, 192.0.2.7,fd00::/8,").unwrap();
        assert_eq!(found.len(), 3);
        assert!(networks("UPSTREAM_DENY", "").unwrap().is_empty());
        let mistake = networks("UPSTREAM_DENY", "10.0.0.0/8,ten").unwrap_err();
        assert!(mistake.contains("UPSTREAM_DENY") && mistake.contains("ten"));
    }
}
