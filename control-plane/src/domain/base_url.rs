//! The address of an upstream, and where an admin may not send our requests.
//!
//! Literal addresses are checked here, at write; names are checked by the data
//! plane at every connect, after they have been resolved.

use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
};

use url::{Host, Url};

use super::Invalid;

/// Longest URL, in bytes.
const URL_BYTES_MAX: usize = 512;
/// What a template of a URL has in place of the model, and a model to try it with.
const MODEL: &str = "{model}";
const ANY_MODEL: &str = "m";
/// Metadata services of clouds outside the link-local range.
const METADATA_V4: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
/// `fd00:ec2::/32`, a metadata service.
const METADATA_V6: [u16; 2] = [0xfd00, 0x0ec2];
/// From here on nothing is anybody's, up to the broadcast address.
const RESERVED_V4_FIRST: u8 = 240;

/// An absolute http or https URL without user info, query, fragment and trailing
/// slash. The API's path is appended to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: String,
    origin: String,
    host: String,
}

impl BaseUrl {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        // Readers of URLs leave line breaks out, and go on with another URL than was meant.
        if text
            .trim()
            .contains(|c: char| c.is_control() || c.is_whitespace())
        {
            return Err(Invalid::new(
                "must have neither white space nor control characters",
            ));
        }
        let url = Url::parse(text.trim())
            .map_err(|error| Invalid::new(format!("must be an absolute URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Invalid::new("must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Invalid::new("must not hold a user name or password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(Invalid::new("must have neither `?` nor `#`"));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(Invalid::new("must name a host"));
        };
        check_host(&host)?;
        let text = url.as_str().trim_end_matches('/').to_owned();
        if text.len() > URL_BYTES_MAX {
            return Err(Invalid::new(format!("must have at most {URL_BYTES_MAX} bytes")));
        }
        Ok(Self {
            text,
            origin: format!("{}://{host}:{port}", url.scheme()),
            host: host.to_string(),
        })
    }

    /// Whether a template leads to this origin, whatever the model: our secrets go
    /// with the request.
    pub(super) fn check_template(&self, template: &str) -> Result<(), Invalid> {
        if template.len() > URL_BYTES_MAX {
            return Err(Invalid::new(format!("must have at most {URL_BYTES_MAX} bytes")));
        }
        let filled = template.replace(MODEL, ANY_MODEL);
        let whole = if filled.starts_with('/') {
            format!("{}{filled}", self.text)
        } else {
            filled
        };
        let url = Url::parse(&whole)
            .map_err(|error| Invalid::new(format!("must be a path or an absolute URL: {error}")))?;
        let origin = match (url.host(), url.port_or_known_default()) {
            (Some(host), Some(port)) => format!("{}://{host}:{port}", url.scheme()),
            (None, _) | (_, None) => String::new(),
        };
        let is_plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        if origin != self.origin || !is_plain {
            return Err(Invalid::new(format!("must lead to {}", self.origin)));
        }
        let (_, place) = template.split_once("://").unwrap_or(("", template));
        let is_placed = place
            .find(MODEL)
            .is_some_and(|at| place[..at].contains(['/', '?']));
        if is_placed {
            Ok(())
        } else {
            Err(Invalid::new("must have {model} in its path or query"))
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port: what a secret is entered for.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The host in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `url` has normalised decimal, octal and hexadecimal forms to addresses by now.
fn check_host(host: &Host<&str>) -> Result<(), Invalid> {
    let is_denied = match host {
        Host::Domain(name) => name.trim_end_matches('.').is_empty(),
        Host::Ipv4(address) => is_denied_v4(*address),
        Host::Ipv6(address) => is_denied_v6(*address),
    };
    if is_denied {
        Err(Invalid::new(
            "must not point to a metadata, link-local, multicast or unspecified address",
        ))
    } else {
        Ok(())
    }
}

fn is_denied_v4(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    let (is_this_network, is_reserved) = (first == 0, first >= RESERVED_V4_FIRST);
    is_this_network
        || is_reserved
        || address.is_link_local()
        || address.is_multicast()
        || METADATA_V4.contains(&address)
}

fn is_denied_v6(address: Ipv6Addr) -> bool {
    address.is_unspecified()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || address.segments().starts_with(&METADATA_V6)
        || embedded(address).is_some_and(is_denied_v4)
}

/// The IPv4 address that an IPv6 address leads to: mapped, compatible, NAT64, 6to4 or Teredo.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        _ if address.is_loopback() => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] => Some(v4(high, low)),
        [0x64, 0xff9b, 0 | 1, .., high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0x2001, 0, .., high, low] => Some(v4(!high, !low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(
            BaseUrl::parse(text).map(|url| url.text),
            Ok(expected.to_owned()),
            "{text}"
        );
    }

    #[test]
    fn a_url_is_normalised() {
        check("https://Api.Example.com/v1/", "https://api.example.com/v1");
        check(" http://localhost:8080 ", "http://localhost:8080");
        check("http://192.168.1.4:11434/v1", "http://192.168.1.4:11434/v1");
        check("http://[::1]:8000/v1", "http://[::1]:8000/v1");
    }

    #[test]
    fn the_origin_names_the_port() {
        assert_eq!(
            BaseUrl::parse("https://a.example/v1").unwrap().origin(),
            "https://a.example:443"
        );
        assert_eq!(
            BaseUrl::parse("http://a.example:81").unwrap().origin(),
            "http://a.example:81"
        );
    }

    #[test]
    fn a_template_stays_on_the_origin_and_names_the_model() {
        let base = BaseUrl::parse("https://m.example/openai").unwrap();
        for good in [
            "/deployments/{model}/chat/completions?api-version=2024-10-21",
            "/chat?model={model}",
            "https://m.example/x/{model}",
            "https://M.example:443/x/{model}",
        ] {
            assert_eq!(base.check_template(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "/chat/completions",
            "{model}",
            "https://{model}.example/x",
            "https://evil.example/{model}",
            "http://m.example/{model}",
            "https://m.example@evil.example/{model}",
            "https://user@m.example/{model}",
            "https://m.example:444/{model}",
            "/x/{model}#there",
            "file:///{model}",
        ] {
            assert!(base.check_template(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_not_an_upstream_is_refused() {
        let denied = [
            "",
            "api.example.com/v1",
            "ftp://a.example",
            "file:///etc/passwd",
            "http://user@a.example",
            "http://:pw@a.example",
            "http://a.example/?x=1",
            "http://a.example/#x",
            "http://a.example/v1\r\nx-evil: 1",
            "http://a.exa\tmple/",
            "http://a.example/v 1",
            "http://",
            "http://./",
        ];
        for text in denied {
            assert!(BaseUrl::parse(text).is_err(), "{text}");
        }
        assert!(BaseUrl::parse(&format!("http://a.example/{}", "x".repeat(URL_BYTES_MAX))).is_err());
    }

    /// Whatever stands for this address in a URL.
    fn notations(address: Ipv4Addr) -> Vec<String> {
        let [a, b, c, d] = address.octets();
        let number = u32::from(address);
        let (high, low) = (number >> 16, number & 0xffff);
        let dotted = address.to_string();
        let wide = |digit: char| char::from_u32(u32::from(digit) + 0xfee0);
        vec![
            dotted.clone(),
            format!("{dotted}."),
            number.to_string(),
            format!("0x{number:x}"),
            format!("0X{number:X}"),
            format!("0{number:o}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
            format!("{a}.{b}.{low}"),
            format!("{a}.{}", number & 0x00ff_ffff),
            dotted.chars().filter_map(wide).collect(),
            dotted.bytes().map(|byte| format!("%{byte:02x}")).collect(),
            format!("[::{dotted}]"),
            format!("[::ffff:{dotted}]"),
            format!("[::FFFF:{high:x}:{low:x}]"),
            format!("[0:0:0:0:0:ffff:{high:x}:{low:x}]"),
            format!("[64:ff9b::{high:x}:{low:x}]"),
            format!("[64:ff9b:1::{high:x}:{low:x}]"),
            format!("[2002:{high:x}:{low:x}::1]"),
            format!("[2001:0:1:2:3:4:{:x}:{:x}]", !high & 0xffff, !low & 0xffff),
        ]
    }

    #[test]
    fn denied_addresses_are_refused_in_every_notation() {
        let denied = [
            [169, 254, 169, 254],
            [169, 254, 0, 1],
            [100, 100, 100, 200],
            [168, 63, 129, 16],
            [0, 0, 0, 0],
            [0, 1, 2, 3],
            [224, 0, 0, 1],
            [240, 0, 0, 1],
            [255, 255, 255, 255],
        ];
        let hosts = denied.into_iter().flat_map(|octets| notations(octets.into()));
        let of_ipv6 = [
            "[::]",
            "[fe80::1]",
            "[ff02::1]",
            "[fd00:ec2::254]",
            "[FE80:0::a%25eth0]",
        ];
        let hosts: Vec<_> = hosts.chain(of_ipv6.map(str::to_owned)).collect();
        assert!(hosts.len() >= 80);
        for host in hosts {
            for text in [format!("http://{host}/v1"), format!("https://{host}:8443")] {
                assert!(BaseUrl::parse(&text).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn homes_of_models_are_taken_in_every_notation() {
        for octets in [[127, 0, 0, 1], [10, 1, 2, 3], [192, 168, 1, 1]] {
            let parsed = notations(octets.into()).into_iter().filter(|host| {
                let text = format!("http://{host}:8000/v1");
                BaseUrl::parse(&text).is_ok()
            });
            assert!(parsed.count() >= 18, "{octets:?}");
        }
        assert!(BaseUrl::parse("http://[::1]:8000/v1").is_ok());
    }
}
