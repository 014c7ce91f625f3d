//! What an operator says at start: flags and environment, read once.
//!
//! Everything arrives as text and is checked here, so that all mistakes are reported
//! together and before anything listens. What changes at run time comes from the
//! control plane and never from here.

use std::{
    fmt,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::{Parser, Subcommand};
use secrecy::SecretString;
use url::Url;

/// Longest node id: it becomes a label and a line on a page.
const NODE_ID_MAX_CHARS: usize = 128;
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";
const MACHINE_ID_FILE: &str = "/etc/machine-id";

#[derive(Debug, Parser)]
#[command(
    name = "bridge-data-plane",
    version,
    about = "Serves Anthropic's Messages API from OpenAI-compatible providers",
    after_help = "A flag beats its environment variable. Providers, keys and models come from the control plane."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    /// Address of the public listener
    #[arg(long, env = "HOST", default_value = "0.0.0.0", global = true)]
    host: String,
    /// Port of the public listener
    #[arg(long, env = "PORT", default_value = "8000", global = true)]
    port: String,
    /// Listener of probes and metrics
    #[arg(long, env = "OPS_LISTEN", default_value = "127.0.0.1:9000", global = true)]
    ops_listen: String,
    /// Fleet endpoints of the control plane, comma separated
    #[arg(
        long,
        env = "CONTROL_PLANE_URL",
        default_value = "http://127.0.0.1:8002",
        global = true
    )]
    control_plane_url: String,
    /// What proves this node to the control plane
    #[arg(long, env = "NODE_TOKEN", hide_env_values = true, global = true)]
    node_token: Option<String>,
    /// File that holds the node token; read again at every connection
    #[arg(
        long,
        env = "NODE_TOKEN_FILE",
        default_value = "./data/node-token",
        global = true
    )]
    node_token_file: String,
    /// Certificate (PEM) of the authority that signed the control plane's; makes https work
    #[arg(long, env = "CONTROL_PLANE_CA_FILE", global = true)]
    control_plane_ca_file: Option<PathBuf>,
    /// Name of this node on the Fleet page [default: host name and a stable suffix]
    #[arg(long, env = "NODE_ID", global = true)]
    node_id: Option<String>,
    /// Take the configuration of another installation than the one held so far
    #[arg(long, env = "ACCEPT_NEW_CLUSTER", global = true)]
    accept_new_cluster: bool,
    /// Send the node token without TLS to an address that is not loopback:
    /// whoever can read the network can read provider keys
    #[arg(long, env = "INSECURE_FLEET_PLAINTEXT", global = true)]
    insecure_fleet_plaintext: bool,
    /// Seconds between "not ready" and closing the listener
    #[arg(long, env = "DRAIN_DELAY_S", default_value = "5", global = true)]
    drain_delay_s: String,
    /// Seconds that open streams get to finish
    #[arg(long, env = "DRAIN_MAX_S", default_value = "120", global = true)]
    drain_max_s: String,
    /// critical, error, warning, info, debug or trace
    #[arg(long, env = "LOG_LEVEL", default_value = "info", global = true)]
    log_level: String,
    /// text or json
    #[arg(long, env = "LOG_FORMAT", default_value = "text", global = true)]
    log_format: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve requests (the default)
    Serve,
}

/// The checked configuration.
#[derive(Debug)]
pub struct Config {
    pub public: SocketAddr,
    pub ops: SocketAddr,
    pub fleet: Fleet,
    pub drain: Drain,
    pub log: Log,
}

/// How to reach the control plane and as whom.
#[derive(Debug)]
pub struct Fleet {
    pub urls: Vec<Url>,
    pub authority: Option<PathBuf>,
    pub token: TokenSource,
    pub node_id: String,
    pub accept_new_cluster: bool,
}

#[derive(Debug)]
pub enum TokenSource {
    Given(SecretString),
    File(PathBuf),
}

#[derive(Debug, Clone, Copy)]
pub struct Drain {
    pub delay: Duration,
    pub max: Duration,
}

#[derive(Debug, Clone, Copy)]
pub struct Log {
    pub level: Level,
    pub format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// Everything that is wrong, one line each.
#[derive(Debug, thiserror::Error)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has mistakes:")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

impl TryFrom<Cli> for Config {
    type Error = Mistakes;

    fn try_from(cli: Cli) -> Result<Self, Mistakes> {
        let Cli {
            command: Some(Command::Serve) | None,
            host,
            port,
            ops_listen,
            control_plane_url,
            node_token,
            node_token_file,
            control_plane_ca_file,
            node_id,
            accept_new_cluster,
            insecure_fleet_plaintext,
            drain_delay_s,
            drain_max_s,
            log_level,
            log_format,
        } = cli;
        let mut mistakes = Vec::new();
        let public = keep(&mut mistakes, public_address(&host, &port));
        let ops = keep(&mut mistakes, listen_address("OPS_LISTEN", &ops_listen));
        let urls = keep(
            &mut mistakes,
            fleet_urls(&control_plane_url, insecure_fleet_plaintext),
        );
        let node_id = keep(&mut mistakes, node_name(node_id, public));
        let delay = keep(&mut mistakes, seconds("DRAIN_DELAY_S", &drain_delay_s));
        let max = keep(&mut mistakes, seconds("DRAIN_MAX_S", &drain_max_s));
        let level = keep(&mut mistakes, log_level.parse());
        let format = keep(&mut mistakes, log_format.parse());
        let token = keep(&mut mistakes, token_source(node_token, node_token_file));
        let authority = control_plane_ca_file;
        if authority.is_none() && urls.iter().flatten().any(|url: &Url| url.scheme() == "https") {
            mistakes.push(
                "CONTROL_PLANE_CA_FILE: an https control plane needs its authority's certificate".into(),
            );
        }
        match (public, ops, urls, node_id, delay, max, level, format, token) {
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
                Some(token),
            ) => Ok(Self {
                public,
                ops,
                fleet: Fleet {
                    urls,
                    authority,
                    token,
                    node_id,
                    accept_new_cluster,
                },
                drain: Drain { delay, max },
                log: Log { level, format },
            }),
            _ => Err(Mistakes(mistakes)),
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            // The old program's most severe level; ours says nothing above error.
            "critical" | "error" => Ok(Self::Error),
            "warning" => Ok(Self::Warning),
            "info" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err(format!(
                "LOG_LEVEL: {text:?} is none of critical, error, warning, info, debug, trace"
            )),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("LOG_FORMAT: {text:?} is neither text nor json")),
        }
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

fn token_source(token: Option<String>, file: String) -> Result<TokenSource, String> {
    match token {
        Some(token) if token.trim().is_empty() => Err("NODE_TOKEN: is set but empty".into()),
        Some(token) => Ok(TokenSource::Given(token.trim().to_owned().into())),
        None => Ok(TokenSource::File(file.into())),
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

fn seconds(variable: &str, text: &str) -> Result<Duration, String> {
    text.parse()
        .map(Duration::from_secs)
        .map_err(|_| format!("{variable}: {text:?} is not a number of seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, Mistakes> {
        Config::try_from(Cli::parse_from([&["bridge-data-plane"], arguments].concat()))
    }

    #[test]
    fn flags_work_before_and_after_the_subcommand() {
        for arguments in [
            &["--port", "8123", "serve"][..],
            &["serve", "--port", "8123"],
            &["--port", "8123"],
        ] {
            assert_eq!(parse(arguments).unwrap().public.port(), 8123);
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let mistakes = parse(&[
            "--port=70000",
            "--ops-listen=nowhere",
            "--control-plane-url=http://192.0.2.7:8002",
            "--log-level=loud",
            "--drain-max-s=soon",
            "--node-id=a b",
        ])
        .unwrap_err()
        .to_string();
        for variable in [
            "PORT",
            "OPS_LISTEN",
            "CONTROL_PLANE_URL",
            "LOG_LEVEL",
            "DRAIN_MAX_S",
            "NODE_ID",
        ] {
            assert!(
                mistakes.contains(&format!("- {variable}:")),
                "{variable} is missing in {mistakes}"
            );
        }
    }

    #[test]
    fn a_plain_connection_beyond_loopback_must_be_asked_for() {
        let remote = "--control-plane-url=http://192.0.2.7:8002";
        assert!(parse(&[remote]).is_err());
        assert!(parse(&[remote, "--insecure-fleet-plaintext"]).is_ok());
        let mixed = "--control-plane-url=https://192.0.2.7:8002,http://[::1]:8002";
        assert!(parse(&[mixed]).is_err());
        assert!(parse(&[mixed, "--control-plane-ca-file=ca.pem"]).is_ok());
    }

    #[test]
    fn the_old_names_of_log_levels_are_known() {
        assert_eq!("critical".parse(), Ok(Level::Error));
        assert_eq!("WARNING".parse(), Ok(Level::Warning));
        assert!("".parse::<Level>().is_err());
    }

    #[test]
    fn a_node_without_a_name_keeps_the_one_it_made() {
        let first = parse(&["--port=8001"]).unwrap().fleet.node_id;
        assert_eq!(first, parse(&["--port=8001"]).unwrap().fleet.node_id);
        assert_ne!(first, parse(&["--port=8002"]).unwrap().fleet.node_id);
    }
}
