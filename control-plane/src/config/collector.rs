//! Where traces go, by the variables that OpenTelemetry has for it.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::{Host, Url};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// Headers of one collector.
const HEADERS_MAX: usize = 16;

/// A collector that takes OTLP over gRPC.
#[derive(Debug, Clone)]
pub(crate) struct Collector {
    pub(crate) url: Url,
    /// Their values may be secrets, and are marked as such.
    pub(crate) headers: HeaderMap,
}

/// `None`: there are no traces.
pub(super) fn collector(
    endpoint: Option<String>,
    headers: Option<String>,
) -> Result<Option<Collector>, Vec<String>> {
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let Some(endpoint) = given(endpoint) else {
        return Ok(None);
    };
    let headers = given(headers).map_or(Ok(HeaderMap::new()), |text| parse_headers(&text));
    let url = parse_endpoint(
        endpoint.trim(),
        headers.as_ref().is_ok_and(|headers| !headers.is_empty()),
    );
    match (url, headers) {
        (Ok(url), Ok(headers)) => Ok(Some(Collector { url, headers })),
        (url, headers) => Err([url.err(), headers.err()].into_iter().flatten().collect()),
    }
}

/// Traces hold no secrets, their headers may: in the clear they go to nobody far off.
fn parse_endpoint(text: &str, has_headers: bool) -> Result<Url, String> {
    let refused = |reason: &str| Err(format!("{ENDPOINT}: {reason}"));
    let Ok(url) = Url::parse(text) else {
        return refused("is no URL; write it as http://127.0.0.1:4317");
    };
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return refused("must begin with http:// or https://, as http://127.0.0.1:4317 does");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refused("must not hold a password; put it into OTEL_EXPORTER_OTLP_HEADERS");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return refused(
            "must end with the port: OTLP is spoken over gRPC, mostly at 4317, and has no path there",
        );
    }
    if url.scheme() == "https" {
        return Ok(url);
    }
    match url.host() {
        Some(Host::Ipv4(ip)) if !is_near(ip.into()) => {
            refused("needs https: the address is neither loopback nor private")
        }
        Some(Host::Ipv6(ip)) if !is_near(ip.into()) => {
            refused("needs https: the address is neither loopback nor private")
        }
        Some(Host::Domain(name)) if has_headers && name != "localhost" => refused(
            "needs https, or an address that is loopback or private: OTEL_EXPORTER_OTLP_HEADERS would cross the network in the clear",
        ),
        Some(Host::Ipv4(_) | Host::Ipv6(_) | Host::Domain(_)) | None => Ok(url),
    }
}

fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// `name=value,name=value`, values percent-encoded. What is wrong is told without the values.
fn parse_headers(text: &str) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    for (place, pair) in (1..).zip(pairs) {
        let refused = |reason: &str| format!("{HEADERS}: header {place} {reason}");
        let Some((name, value)) = pair.split_once('=') else {
            return Err(refused("has no '='; write name=value,name=value"));
        };
        let name = HeaderName::from_bytes(name.trim().as_bytes());
        let name = name.map_err(|_| refused("has a name that is none"))?;
        if name.as_str().starts_with("grpc-") || name.as_str().ends_with("-bin") {
            return Err(refused("has a name that belongs to gRPC"));
        }
        let decoded: Vec<u8> = percent_decode_str(value.trim()).collect();
        let mut value = HeaderValue::from_bytes(&decoded)
            .ok()
            .filter(|value| value.to_str().is_ok())
            .ok_or_else(|| refused("has a value that no header can have"))?;
        value.set_sensitive(true);
        headers.append(name, value);
        if headers.len() > HEADERS_MAX {
            return Err(format!("{HEADERS}: more than {HEADERS_MAX} headers"));
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(endpoint: &str, headers: &str) -> Result<Option<Collector>, Vec<String>> {
        collector(Some(endpoint.to_owned()), Some(headers.to_owned()))
    }

    #[test]
    fn without_an_endpoint_there_are_no_traces() {
        for endpoint in ["", " "] {
            assert!(check(endpoint, "a=b").unwrap().is_none());
        }
        assert!(collector(None, None).unwrap().is_none());
    }

    #[test]
    fn a_collector_is_near_or_spoken_to_over_tls() {
        for endpoint in [
            "http://127.0.0.1:4317",
            "http://10.0.0.7:4317/",
            "http://[fd00::1]:4317",
            "https://collector.example",
        ] {
            assert!(check(endpoint, "authorization=Bearer%20x").is_ok(), "{endpoint}");
        }
        assert!(check("http://collector:4317", "").is_ok());
        for (endpoint, headers, reason) in [
            ("http://192.0.2.7:4317", "", "needs https"),
            ("http://[2001:db8::1]:4317", "", "needs https"),
            ("http://collector:4317", "a=b", "in the clear"),
            ("http://127.0.0.1:4318/v1/traces", "", "no path"),
            ("localhost:4317", "", "must begin with"),
            ("grpc://127.0.0.1:4317", "", "must begin with"),
            ("http://a:canary@127.0.0.1:4317", "", "must not hold a password"),
            ("", "", ""),
        ] {
            let mistakes = check(endpoint, headers).err().unwrap_or_default().join(" ");
            assert!(
                mistakes.contains(reason) && !mistakes.contains("canary"),
                "{endpoint}: {mistakes}"
            );
        }
    }

    #[test]
    fn headers_are_read_as_opentelemetry_writes_them_and_their_values_told_nowhere() {
        let headers = check("http://127.0.0.1:4317", " a = 1 ,B=x%20y%3D=,,")
            .unwrap()
            .unwrap()
            .headers;
        assert_eq!(
            (headers.len(), &headers["a"], &headers["b"]),
            (2, &"1".parse().unwrap(), &"x y==".parse().unwrap())
        );
        assert!(!format!("{headers:?}").contains("x y"));
        for wrong in [
            "canary",
            "a=1,=canary",
            "a=%0acanary",
            "grpc-x=canary",
            "x-bin=canary",
        ] {
            let mistakes = check("ftp://127.0.0.1", wrong).unwrap_err();
            assert_eq!(mistakes.len(), 2, "both variables: {mistakes:?}");
            assert!(!mistakes.join(" ").contains("canary"), "{mistakes:?}");
        }
    }
}
