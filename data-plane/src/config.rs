//! What an operator says at start: flags and environment, read once.
//!
//! Everything arrives as text and is checked here, so that all mistakes are reported
//! together and before anything listens. What changes at run time comes from the
//! control plane and never from here.
//!
//! A secret has no flag, because command lines are there for everybody on the machine
//! to read.

mod args;
mod check;
mod collector;
mod fleet;
mod upstream;

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use secrecy::SecretString;
use url::Url;

pub use args::{Cli, Task};
pub use collector::Collector;
#[cfg(test)]
pub(crate) use upstream::proxy;
pub use upstream::{Proxy, Upstream};

/// The checked configuration.
#[derive(Debug)]
pub struct Config {
    pub public: SocketAddr,
    pub ops: SocketAddr,
    pub fleet: Fleet,
    pub upstream: Upstream,
    pub cache: SnapshotCache,
    pub drain: Drain,
    pub limits: Limits,
    pub log: Log,
    /// `None`: nobody wants traces.
    pub collector: Option<Collector>,
}

/// How to reach the control plane and as whom.
#[derive(Debug)]
pub struct Fleet {
    pub urls: Vec<Url>,
    pub trust: Trust,
    /// Opens the snapshot cache too.
    pub token: TokenSource,
    /// `None`: this node shows the token.
    pub enrolment: Option<Enrolment>,
    pub node_id: String,
    /// Where clients reach this node, as far as it knows.
    pub public: SocketAddr,
    pub accept_new_cluster: bool,
}

#[derive(Debug, Clone)]
pub enum TokenSource {
    Given(SecretString),
    File(PathBuf),
    /// A secret beside the certificate, for what is kept on disk.
    Identity(PathBuf),
}

/// By what an https control plane is known.
#[derive(Debug, Clone)]
pub enum Trust {
    /// There is none.
    Nobody,
    /// A certificate of this authority, PEM.
    Authority(PathBuf),
    /// SHA-256 of the certificate of the fleet's authority.
    Fingerprint([u8; 32]),
}

/// How this node gets its certificate, and where it is.
#[derive(Debug)]
pub struct Enrolment {
    pub identity: PathBuf,
    /// `None`: it needs none any more.
    pub join_token: Option<TokenSource>,
}

/// Where the last snapshot is kept.
#[derive(Debug)]
pub struct SnapshotCache {
    /// `None`: nowhere.
    pub folder: Option<PathBuf>,
    /// A file of another node's cache, for a start without one.
    pub bootstrap: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy)]
pub struct Drain {
    pub delay: Duration,
    pub max: Duration,
}

/// What an operator allows; what is not said follows from what the system allows.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    pub connections: Option<usize>,
    pub requests: Option<u64>,
    pub body_memory_bytes: Option<u64>,
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use secrecy::ExposeSecret;

    use super::*;

    fn check(arguments: &[&str], token: Option<&str>) -> Result<Config, Mistakes> {
        let cli = Cli::parse_from([&["bridge-data-plane"], arguments].concat());
        let Task::Serve(serve) = cli.into_task() else {
            panic!("{arguments:?} do not serve")
        };
        serve.check(|variable| {
            (variable == "NODE_TOKEN")
                .then(|| token.map(str::to_owned))
                .flatten()
        })
    }

    fn parse(arguments: &[&str]) -> Result<Config, Mistakes> {
        check(arguments, None)
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
            "--max-connections=0",
            "--max-requests=many",
            "--body-memory-mib=95",
            "--node-id=a b",
            "--otel-exporter-otlp-endpoint=http://192.0.2.7:4317",
        ])
        .unwrap_err()
        .to_string();
        for variable in [
            "PORT",
            "OPS_LISTEN",
            "CONTROL_PLANE_URL",
            "LOG_LEVEL",
            "DRAIN_MAX_S",
            "MAX_CONNECTIONS",
            "MAX_REQUESTS",
            "BODY_MEMORY_MIB",
            "NODE_ID",
            "OTEL_EXPORTER_OTLP_ENDPOINT",
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
    fn the_token_comes_from_the_environment_or_a_file_and_has_no_flag() {
        let token = |token| check(&["--node-token-file=file"], token).map(|config| config.fleet.token);
        assert!(matches!(token(None), Ok(TokenSource::File(path)) if *path == *"file"));
        assert!(
            matches!(token(Some(" secret\n")), Ok(TokenSource::Given(it)) if it.expose_secret() == "secret")
        );
        assert!(matches!(token(Some(" ")), Ok(TokenSource::File(_))));
        assert!(Cli::try_parse_from(["bridge-data-plane", "--node-token=secret"]).is_err());
    }

    #[test]
    fn a_node_enrols_over_https_with_somebody_that_it_knows() {
        let pin = format!("--authority-fingerprint={}", "aB".repeat(32));
        let pin = pin.as_str();
        let https = "--control-plane-url=https://192.0.2.7:8002";
        let (join, identity) = ("--join-token-file=token", "--identity-file=identity");
        let config = parse(&[https, pin, join, identity]).unwrap().fleet;
        assert!(matches!(config.trust, Trust::Fingerprint(pinned) if pinned == [0xab; 32]));
        assert!(matches!(config.token, TokenSource::Identity(path) if *path == *"identity"));
        let enrolment = config.enrolment.unwrap();
        assert!(matches!(enrolment.join_token, Some(TokenSource::File(path)) if *path == *"token"));
        assert!(parse(&[https, "--control-plane-ca-file=ca", join]).is_ok());
        for (arguments, mistake) in [
            (vec![https, join], "AUTHORITY_FINGERPRINT"),
            (vec![pin, join], "JOIN_TOKEN"),
            (
                vec![https, pin, "--control-plane-ca-file=ca"],
                "CONTROL_PLANE_CA_FILE",
            ),
            (vec![https, "--authority-fingerprint=ab"], "AUTHORITY_FINGERPRINT"),
            (vec![https, pin, identity], "IDENTITY_FILE"),
        ] {
            let mistakes = parse(&arguments).unwrap_err().to_string();
            assert!(mistakes.contains(mistake), "{mistakes}");
        }
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
