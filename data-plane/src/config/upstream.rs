//! How upstreams are reached from this machine.

use std::{fmt, net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

const PROXY: &str = "UPSTREAM_PROXY";
const SOCKS_PORT_DEFAULT: u16 = 1080;
/// Unlike `socks5`, it leaves names to the proxy.
const SOCKS_BY_NAME: &str = "socks5h";

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
    url: SecretString,
    /// The same without its credentials.
    place: Url,
}

impl Proxy {
    /// With its credentials.
    pub(crate) fn url(&self) -> &SecretString {
        &self.url
    }

    pub(crate) fn place(&self) -> &Url {
        &self.place
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

/// Never shows the text: it may hold a password.
pub(crate) fn proxy(text: &str) -> Result<Proxy, String> {
    let fault =
        || format!("{PROXY}: is no URL such as http://proxy:3128 or socks5://name:password@proxy:1080");
    let mut url = Url::parse(text.trim()).map_err(|_| fault())?;
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !is_bare || url.host_str().is_none_or(str::is_empty) {
        return Err(fault());
    }
    if matches!(url.scheme(), "socks5" | SOCKS_BY_NAME) {
        let port = url.port().unwrap_or(SOCKS_PORT_DEFAULT);
        url.set_scheme(SOCKS_BY_NAME).map_err(|()| fault())?;
        url.set_port(Some(port)).map_err(|()| fault())?;
    } else if url.scheme() != "http" {
        return Err(fault());
    }
    let mut place = url.clone();
    place.set_username("").map_err(|()| fault())?;
    place.set_password(None).map_err(|()| fault())?;
    Ok(Proxy {
        url: String::from(url).into(),
        place,
    })
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
            ("http://proxy.example:3128", "http://proxy.example:3128/"),
            ("http://me:s%40cret@proxy.example", "http://proxy.example/"),
            ("socks5://me:s%40cret@10.0.0.1", "socks5h://10.0.0.1:1080"),
            ("socks5h://[fd12::1]:9", "socks5h://[fd12::1]:9"),
        ] {
            let proxy = proxy(text).unwrap();
            assert_eq!(proxy.to_string(), shown);
            assert!(!format!("{proxy:?}").contains("40cret"));
        }
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
