//! What the command line and the environment say, read once and checked as a whole:
//! every mistake is reported in one go, before anything listens.
//!
//! Secrets have no flag, because command lines are there for everybody on the
//! machine to read.

mod args;
mod check;
mod collector;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::domain::{Email, settings};

pub use args::{Cli, Command};
pub(crate) use collector::Collector;

/// Everything that `run` needs to know.
#[derive(Debug)]
pub struct Config {
    pub(crate) admin: AdminListener,
    pub(crate) fleet: Listener,
    /// How long certificates of data planes live.
    pub(crate) node_certificate_lifetime: Duration,
    pub(crate) ops: Listener,
    pub(crate) store: StoreConfig,
    pub(crate) first_start: FirstStart,
    /// Where clients reach the data planes; `None`: as these say themselves.
    pub(crate) bridge_url: Option<Url>,
    pub(crate) log_level: LogLevel,
    pub(crate) log_format: LogFormat,
    /// `None`: nobody wants traces.
    pub(crate) collector: Option<Collector>,
}

/// Where to listen, and the names to tell an operator who has to change it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) variable: &'static str,
    pub(crate) flag: &'static str,
    pub(crate) tls: Option<TlsSource>,
}

/// Where a listener's certificate comes from.
#[derive(Debug)]
pub(crate) enum TlsSource {
    Files {
        cert: PathBuf,
        key: PathBuf,
    },
    /// The fleet's own authority, at each start.
    Authority,
}

#[derive(Debug)]
pub(crate) struct AdminListener {
    pub(crate) listener: Listener,
    /// Lower case.
    pub(crate) hosts: Vec<String>,
    pub(crate) serves_reflection: bool,
}

/// Where everything is kept.
#[derive(Debug)]
pub(crate) enum Database {
    Folder(PathBuf),
    /// With a password in it.
    Postgres(SecretString),
}

/// The database and the keys to it.
#[derive(Debug)]
pub(crate) struct StoreConfig {
    pub(crate) database: Database,
    pub(crate) master_key: Option<SecretString>,
    pub(crate) master_key_file: Option<PathBuf>,
    pub(crate) node_token: NodeToken,
    pub(crate) jwt_secret: Option<SecretString>,
}

/// What all data planes prove themselves with that have no certificate.
#[derive(Debug)]
pub(crate) enum NodeToken {
    /// There is none: only certificates count.
    Refused,
    Given(SecretString),
    /// In this file, which is made at first start.
    File(PathBuf),
    /// In a file that nobody named.
    Made,
}

/// What counts only while the database is new.
#[derive(Debug)]
pub(crate) struct FirstStart {
    pub(crate) admin_email: Email,
    pub(crate) admin_password: SecretString,
    pub(crate) provider_config_path: PathBuf,
    pub(crate) settings: settings::Settings,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Critical,
    Error,
    Warning,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Everything that is wrong with the configuration.
#[derive(Debug)]
pub struct Mistakes(Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.0.iter().try_for_each(|mistake| write!(f, "\n  - {mistake}"))
    }
}

impl std::error::Error for Mistakes {}

impl StoreConfig {
    /// Where a file is made that nobody named: beside the folder of the database,
    /// never in it. Beside PostgreSQL there is nothing, and everything is named.
    pub(crate) fn beside_database(&self, name: &str) -> PathBuf {
        let beside = match &self.database {
            Database::Folder(path) => path.parent(),
            Database::Postgres(_) => None,
        };
        beside.unwrap_or(Path::new("")).join(name)
    }
}

impl Listener {
    pub(crate) fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn check(args: &[&str], environment: &[(&str, &str)]) -> Result<Config, Mistakes> {
        let args = std::iter::once("bridge-control-plane").chain(args.iter().copied());
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Cli::try_parse_from(args).unwrap().check(move |name| {
            environment
                .iter()
                .find(|(it, _)| it == name)
                .map(|(_, value)| value.clone())
        })
    }

    fn mistakes(args: &[&str], environment: &[(&str, &str)]) -> Vec<String> {
        check(args, environment).unwrap_err().0
    }

    #[test]
    fn nothing_said_is_a_configuration() {
        let config = check(&[], &[]).unwrap();
        assert_eq!(config.admin.listener.address.to_string(), "127.0.0.1:8001");
        assert_eq!(config.first_start.admin_email.as_str(), "admin@example.com");
    }

    #[test]
    fn an_empty_variable_is_like_an_absent_one() {
        let flags = ["--master-key-file=", "--admin-tls-cert=", "--admin-hosts="];
        let config = check(&flags, &[("NODE_TOKEN", "")]).unwrap();
        assert!(config.store.master_key_file.is_none() && matches!(config.store.node_token, NodeToken::Made));
        assert!(config.admin.listener.tls.is_none() && config.admin.hosts.is_empty());
    }

    #[test]
    fn flags_stand_before_and_after_the_subcommand() {
        let flag = ["--ops-listen", "127.0.0.1:1"];
        for args in [
            vec![flag[0], flag[1]],
            vec!["serve", flag[0], flag[1]],
            vec![flag[0], flag[1], "serve"],
        ] {
            assert_eq!(check(&args, &[]).unwrap().ops.address.port(), 1, "{args:?}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let mistakes = mistakes(
            &[
                "--admin-listen=nowhere",
                "--fleet-listen=0.0.0.0:8002",
                "--fleet-tls-cert=chain.pem",
                "--admin-email=nobody",
                "--min-tokens-limit=many",
                "--otel-exporter-otlp-endpoint=http://192.0.2.7:4317",
                "--log-level=loud",
                "--log-format=xml",
            ],
            &[("JWT_SECRET_KEY", "short")],
        );
        let subjects: Vec<_> = mistakes
            .iter()
            .map(|it| it.split([':', ' ']).next().unwrap())
            .collect();
        assert_eq!(
            subjects,
            [
                "ADMIN_LISTEN",
                "FLEET_TLS_CERT",
                "FLEET_LISTEN",
                "ADMIN_EMAIL",
                "MIN_TOKENS_LIMIT",
                "JWT_SECRET_KEY",
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "LOG_LEVEL",
                "LOG_FORMAT"
            ]
        );
    }

    #[test]
    fn plaintext_off_loopback_has_to_be_asked_for() {
        let strong = [("ADMIN_PASSWORD", "correct horse battery")];
        let open = "--admin-listen=0.0.0.0:8001";
        assert!(mistakes(&[open], &strong)[0].contains("--insecure-admin-plaintext"));
        assert!(check(&[open, "--insecure-admin-plaintext"], &strong).is_ok());
        assert!(
            check(
                &[open, "--admin-tls-cert=c.pem", "--admin-tls-key=k.pem"],
                &strong
            )
            .is_ok()
        );
    }

    #[test]
    fn the_default_password_stays_on_loopback() {
        let args = ["--admin-listen=0.0.0.0:8001", "--insecure-admin-plaintext"];
        assert!(mistakes(&args, &[])[0].starts_with("ADMIN_PASSWORD"));
        assert!(mistakes(&args, &[("ADMIN_PASSWORD", "Password123")])[0].starts_with("ADMIN_PASSWORD"));
    }

    #[test]
    fn a_known_signing_key_is_refused() {
        for known in check::JWT_SECRETS_KNOWN {
            assert!(
                mistakes(&[], &[("JWT_SECRET_KEY", known)])[0].contains("everybody knows"),
                "{known}"
            );
        }
        assert!(check(&[], &[("JWT_SECRET_KEY", &"0123456789abcdef".repeat(4))]).is_ok());
    }

    #[test]
    fn there_is_one_database_and_control_planes_that_share_it_share_their_keys() {
        const URL: (&str, &str) = ("DATABASE_URL", "postgres://a:canary@db.example/b");
        let keys = [("MASTER_KEY", "k"), ("NODE_TOKEN", "t")];
        let config = check(&[], &[URL, keys[0], keys[1]]).unwrap();
        assert!(matches!(config.store.database, Database::Postgres(_)));
        assert!(!format!("{config:?}").contains("canary"));
        let mistakes = mistakes(&["--database-path=here"], &[URL]);
        let subjects: Vec<_> = mistakes
            .iter()
            .map(|it| it.split([':', ' ']).next().unwrap())
            .collect();
        assert_eq!(subjects, ["DATABASE_URL", "MASTER_KEY", "NODE_TOKEN"]);
        let config = check(&["--database-path=", "--master-key-file=m"], &[]).unwrap();
        assert!(
            matches!(config.store.database, Database::Folder(path) if path.ends_with("data/control-plane"))
        );
    }

    #[test]
    fn only_certificates_count_where_they_can_be_shown() {
        let only = "--node-certificates-only";
        let mistakes = mistakes(&[only], &[]);
        assert!(mistakes[0].contains("FLEET_TLS_ISSUED"), "{mistakes:?}");
        let given = [("NODE_TOKEN", "t")];
        let config = check(&[only, "--fleet-tls-issued"], &given).unwrap();
        assert!(matches!(config.store.node_token, NodeToken::Refused));
        let shared = [
            ("MASTER_KEY", "k"),
            ("DATABASE_URL", "postgres://a:b@db.example/c"),
        ];
        assert!(check(&[only, "--fleet-tls-issued"], &shared).is_ok());
        let config = check(&[], &given).unwrap();
        assert!(matches!(config.store.node_token, NodeToken::Given(_)));
    }

    #[test]
    fn two_listeners_cannot_share_a_port() {
        let mistakes = mistakes(&["--ops-listen=127.0.0.1:8001"], &[]);
        assert!(
            mistakes[0].contains("ADMIN_LISTEN and OPS_LISTEN are both 127.0.0.1:8001"),
            "{mistakes:?}"
        );
    }
}
