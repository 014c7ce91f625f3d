//! From the command line to a configuration, noting every mistake on the way.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

use url::Url;

use super::{
    Config, Drain, Fleet, Limits, Log, Mistakes, SnapshotCache, TokenSource, Trust, Upstream,
    args::Serve,
    collector::collector,
    fleet,
    upstream::{self, networks},
};
use crate::body;

/// Longest node id: it becomes a label and a line on a page.
const NODE_ID_MAX_CHARS: usize = 128;
const BODY_MEMORY_MIB_MIN: u64 = body::BUDGET_MIN.div_ceil(1 << 20);
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";
const MACHINE_ID_FILE: &str = "/etc/machine-id";

impl Serve {
    /// Checks everything. Secrets come from `environment`.
    pub fn check(self, environment: impl Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
        let Self {
            host,
            port,
            ops_listen,
            control_plane_url,
            node_token_file,
            snapshot_cache,
            bootstrap_snapshot,
            control_plane_ca_file,
            authority_fingerprint,
            join_token_file,
            identity_file,
            node_id,
            accept_new_cluster,
            insecure_fleet_plaintext,
            upstream_allow,
            upstream_deny,
            upstream_ca_file,
            drain_delay_s,
            drain_max_s,
            max_connections,
            max_requests,
            body_memory_mib,
            otel_exporter_otlp_endpoint,
            log_level,
            log_format,
        } = self;
        let mut mistakes = Vec::new();
        let public = keep(&mut mistakes, public_address(&host, &port));
        let ops = keep(&mut mistakes, listen_address("OPS_LISTEN", &ops_listen));
        let urls = keep(
            &mut mistakes,
            fleet_urls(&control_plane_url, insecure_fleet_plaintext),
        );
        let node_id = keep(&mut mistakes, node_name(node_id, public));
        let allow = keep(&mut mistakes, networks("UPSTREAM_ALLOW", &upstream_allow));
        let deny = keep(&mut mistakes, networks("UPSTREAM_DENY", &upstream_deny));
        let proxy = environment("UPSTREAM_PROXY").filter(|proxy| !proxy.trim().is_empty());
        let proxy = keep(
            &mut mistakes,
            proxy.map(|text| upstream::proxy(&text)).transpose(),
        );
        let upstream = Upstream {
            allow: allow.unwrap_or_default(),
            deny: deny.unwrap_or_default(),
            authority: upstream_ca_file,
            proxy: proxy.flatten(),
        };
        let delay = keep(&mut mistakes, seconds("DRAIN_DELAY_S", &drain_delay_s));
        let max = keep(&mut mistakes, seconds("DRAIN_MAX_S", &drain_max_s));
        let limits = limits(&mut mistakes, max_connections, max_requests, body_memory_mib);
        let level = keep(&mut mistakes, log_level.parse());
        let format = keep(&mut mistakes, log_format.parse());
        let collector = collector(
            otel_exporter_otlp_endpoint,
            environment("OTEL_EXPORTER_OTLP_HEADERS"),
        )
        .unwrap_or_else(|more| {
            mistakes.extend(more);
            None
        });
        let trust = keep(
            &mut mistakes,
            fleet::trust(control_plane_ca_file, authority_fingerprint, urls.as_deref()),
        );
        let join_token = fleet::join_token(environment("JOIN_TOKEN"), join_token_file);
        let enrolment = keep(
            &mut mistakes,
            fleet::enrolment(named(identity_file), join_token, urls.as_deref()),
        );
        let enrolment = enrolment.flatten();
        let token = match &enrolment {
            Some(enrolment) => TokenSource::Identity(enrolment.identity.clone()),
            None => token_source(environment("NODE_TOKEN"), node_token_file),
        };
        match (public, ops, urls, node_id, delay, max, level, format) {
            _ if !mistakes.is_empty() => Err(Mistakes(mistakes)),
            (
                Some(public),
                Some(ops),
                Some(urls),
                Some(node_id),
                Some(delay),
                Some(max),
                Some(level),
                Some(format),
            ) => Ok(Config {
                public,
                ops,
                fleet: Fleet {
                    urls,
                    trust: trust.unwrap_or(Trust::Nobody),
                    token,
                    enrolment,
                    node_id,
                    public,
                    accept_new_cluster,
                },
                upstream,
                cache: SnapshotCache {
                    folder: named(Some(snapshot_cache)),
                    bootstrap: named(bootstrap_snapshot),
                },
                drain: Drain { delay, max },
                limits,
                log: Log { level, format },
                collector,
            }),
            _ => Err(Mistakes(mistakes)),
        }
    }
}

fn limits(
    mistakes: &mut Vec<String>,
    connections: Option<String>,
    requests: Option<String>,
    body_memory_mib: Option<String>,
) -> Limits {
    let mut at_least = |variable: &str, least: u64, text: Option<String>| {
        let number = text.map(|text| {
            let number = text.parse().ok().filter(|number: &u64| *number >= least);
            number.ok_or_else(|| format!("{variable}: {text:?} is not a number from {least} on"))
        });
        number.and_then(|number| keep(mistakes, number))
    };
    let connections = at_least("MAX_CONNECTIONS", 1, connections);
    Limits {
        connections: connections.and_then(|number| number.try_into().ok()),
        requests: at_least("MAX_REQUESTS", 1, requests),
        body_memory_bytes: at_least("BODY_MEMORY_MIB", BODY_MEMORY_MIB_MIN, body_memory_mib)
            .map(|mib| mib.saturating_mul(1 << 20)),
    }
}

fn keep<T>(mistakes: &mut Vec<String>, value: Result<T, String>) -> Option<T> {
    value.map_err(|mistake| mistakes.push(mistake)).ok()
}

fn public_address(host: &str, port: &str) -> Result<SocketAddr, String> {
    let port: u16 = port
        .parse()
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| format!("PORT: {port:?} is not a port between 1 and 65535"))?;
    (host.trim_matches(['[', ']']), port)
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .ok_or_else(|| format!("HOST: {host:?} is not an address of this machine; try 0.0.0.0 or 127.0.0.1"))
}

fn listen_address(variable: &str, text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| format!("{variable}: {text:?} is not an address and a port such as 127.0.0.1:9000"))
}

fn fleet_urls(list: &str, insecure: bool) -> Result<Vec<Url>, String> {
    let urls = list
        .split(',')
        .map(str::trim)
        .filter(|url| !url.is_empty())
        .map(|url| fleet_url(url, insecure))
        .collect::<Result<Vec<_>, _>>()?;
    if urls.is_empty() {
        return Err("CONTROL_PLANE_URL: at least one URL is needed".into());
    }
    Ok(urls)
}

fn fleet_url(text: &str, insecure: bool) -> Result<Url, String> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.username().is_empty())
        .ok_or_else(|| {
            "CONTROL_PLANE_URL: an entry is not an http or https URL without user info".to_owned()
        })?;
    if url.scheme() == "http" && !is_loopback(&url) && !insecure {
        return Err(format!(
            "CONTROL_PLANE_URL: {} would send provider keys unprotected over the network; use https, \
             or --insecure-fleet-plaintext if you accept that",
            url.host_str().unwrap_or_default()
        ));
    }
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(url::Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// An empty variable is like an absent one.
fn token_source(token: Option<String>, file: String) -> TokenSource {
    match token.as_deref().map(str::trim) {
        None | Some("") => TokenSource::File(file.into()),
        Some(token) => TokenSource::Given(token.to_owned().into()),
    }
}

/// Without a name of its own a node is called by its host and a suffix that tells two
/// nodes on one host apart and survives a restart.
fn node_name(given: Option<String>, public: Option<SocketAddr>) -> Result<String, String> {
    let Some(name) = given else {
        let host = std::fs::read_to_string(HOST_NAME_FILE).unwrap_or_default();
        let host = match host.trim() {
            "" => "data-plane",
            host => host,
        };
        let mut suffix = crc32fast::Hasher::new();
        suffix.update(&std::fs::read(MACHINE_ID_FILE).unwrap_or_default());
        suffix.update(&public.map_or(0, |public| public.port()).to_be_bytes());
        return Ok(format!("{host}-{:08x}", suffix.finalize()));
    };
    let is_sound = !name.is_empty()
        && name.len() <= NODE_ID_MAX_CHARS
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
    if is_sound {
        Ok(name)
    } else {
        Err(format!(
            "NODE_ID: {name:?} must be 1 to {NODE_ID_MAX_CHARS} letters, digits, '-', '_', '.' or ':'"
        ))
    }
}

/// An empty path is none: that is how a default is turned off.
fn named(path: Option<String>) -> Option<PathBuf> {
    path.filter(|path| !path.is_empty()).map(PathBuf::from)
}

fn seconds(variable: &str, text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_secs)
        .map_err(|_| format!("{variable}: {text:?} is not a number of seconds"))
}
