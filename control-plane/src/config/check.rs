//! From flags and variables to a configuration, noting every mistake on the way.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::args::{Cli, Command, Flags};
use super::collector::collector;
use super::{
    AdminListener, Config, Database, FirstStart, Listener, LogFormat, LogLevel, Mistakes, NodeToken,
    StoreConfig, TlsSource,
};
use crate::domain::user::{DEFAULT_ADMIN_PASSWORD, is_well_known_password};
use crate::domain::{Email, settings};

/// Least length of a key that signs tokens.
const JWT_SECRET_BYTES_MIN: usize = 32;
/// Values that documentation and examples spread.
pub(super) const JWT_SECRETS_KNOWN: [&str; 3] = [
    "your-secret-key-change-this-in-production",
    "change-this-secret-key-in-production-please",
    "your-secret-key-at-least-32-characters-long",
];
const FLEET_LISTEN: &str = "FLEET_LISTEN";
/// A shorter one could not be renewed in time; a longer one is none for data planes that may
/// have to be revoked.
const NODE_CERTIFICATE_LIFETIMES: RangeInclusive<Duration> =
    Duration::from_secs(10)..=Duration::from_secs(366 * 24 * 3600);
const DATABASE_PATH_DEFAULT: &str = "./data/control-plane";

impl Cli {
    /// What is to be done.
    #[must_use]
    pub fn command(&self) -> Command {
        self.command.clone().unwrap_or(Command::Serve)
    }

    /// Checks everything. Secrets come from `environment`.
    pub fn check(self, environment: impl Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
        let Self { command: _, flags } = self;
        let mut check = Check {
            mistakes: Vec::new(),
            environment,
        };
        match check.config(flags) {
            Some(config) if check.mistakes.is_empty() => Ok(config),
            Some(_) | None => Err(Mistakes(check.mistakes)),
        }
    }
}

struct Check<E> {
    mistakes: Vec<String>,
    environment: E,
}

impl<E: Fn(&str) -> Option<String>> Check<E> {
    fn config(&mut self, args: Flags) -> Option<Config> {
        let Flags {
            admin_listen,
            fleet_listen,
            ops_listen,
            admin_tls_cert,
            admin_tls_key,
            fleet_tls_cert,
            fleet_tls_key,
            fleet_tls_issued,
            node_certificate_lifetime_s,
            node_certificates_only,
            insecure_admin_plaintext,
            insecure_fleet_plaintext,
            admin_hosts,
            reflection,
            database_path,
            master_key_file,
            node_token_file,
            admin_email,
            provider_config_path,
            bridge_url,
            max_tokens_limit,
            min_tokens_limit,
            otel_exporter_otlp_endpoint,
            log_level,
            log_format,
        } = args;
        let admin_tls = self.tls("ADMIN_TLS_CERT", admin_tls_cert, "ADMIN_TLS_KEY", admin_tls_key);
        let admin = self.listener(&admin_listen, ("ADMIN_LISTEN", "--admin-listen"), admin_tls);
        let fleet_tls = self.tls("FLEET_TLS_CERT", fleet_tls_cert, "FLEET_TLS_KEY", fleet_tls_key);
        let fleet_tls = self.issued(fleet_tls, fleet_tls_issued);
        let lifetime = self.node_certificate_lifetime(&node_certificate_lifetime_s);
        let fleet = self.listener(&fleet_listen, (FLEET_LISTEN, "--fleet-listen"), fleet_tls);
        let ops = self.listener(&ops_listen, ("OPS_LISTEN", "--ops-listen"), None);
        self.needs_encryption(
            admin.as_ref(),
            insecure_admin_plaintext,
            "--insecure-admin-plaintext",
        );
        self.needs_encryption(
            fleet.as_ref(),
            insecure_fleet_plaintext,
            "--insecure-fleet-plaintext",
        );
        if node_certificates_only {
            self.lets_certificates_in(fleet.as_ref());
        }
        self.are_distinct([admin.as_ref(), fleet.as_ref(), ops.as_ref()]);

        let admin_email = self.value("ADMIN_EMAIL", Email::parse(&admin_email));
        let admin_password = self.admin_password(admin.as_ref());
        let bridge_url = bridge_url.filter(|url| !url.trim().is_empty());
        let bridge_url = bridge_url.and_then(|url| self.value("BRIDGE_URL", http_url(&url)));
        let settings = self.settings(&min_tokens_limit, &max_tokens_limit);
        let jwt_secret = self.jwt_secret();
        let headers = (self.environment)("OTEL_EXPORTER_OTLP_HEADERS");
        let collector = collector(otel_exporter_otlp_endpoint, headers).unwrap_or_else(|mistakes| {
            self.mistakes.extend(mistakes);
            None
        });
        let log_level = self.log_level(&log_level);
        let log_format = self.log_format(&log_format);
        let store = self.store(
            StoreConfig {
                database: Database::Folder(DATABASE_PATH_DEFAULT.into()),
                master_key: self.secret("MASTER_KEY"),
                master_key_file: named(master_key_file),
                node_token: if node_certificates_only {
                    NodeToken::Refused
                } else {
                    self.node_token(named(node_token_file))
                },
                jwt_secret,
            },
            named(database_path),
        );
        let hosts = admin_hosts.iter().map(|host| host.trim().to_ascii_lowercase());
        let hosts = hosts.filter(|host| !host.is_empty()).collect();
        Some(Config {
            admin: AdminListener {
                listener: admin?,
                hosts,
                serves_reflection: reflection,
            },
            fleet: fleet?,
            node_certificate_lifetime: lifetime?,
            ops: ops?,
            store,
            first_start: FirstStart {
                admin_email: admin_email?,
                admin_password,
                provider_config_path: provider_config_path.into(),
                settings: settings?,
            },
            bridge_url,
            log_level: log_level?,
            log_format: log_format?,
            collector,
        })
    }

    fn mistake(&mut self, text: impl Into<String>) {
        self.mistakes.push(text.into());
    }

    fn value<T>(&mut self, variable: &str, parsed: Result<T, impl fmt::Display>) -> Option<T> {
        parsed
            .map_err(|reason| self.mistake(format!("{variable}: {reason}")))
            .ok()
    }

    /// An empty variable is like an absent one.
    fn secret(&self, variable: &str) -> Option<SecretString> {
        (self.environment)(variable)
            .filter(|value| !value.trim().is_empty())
            .map(SecretString::from)
    }

    fn listener(
        &mut self,
        address: &str,
        (variable, flag): (&'static str, &'static str),
        tls: Option<TlsSource>,
    ) -> Option<Listener> {
        let parsed = address
            .parse()
            .map_err(|_| format!("`{address}` is not an address like 127.0.0.1:8001"));
        let address = self.value(variable, parsed)?;
        Some(Listener {
            address,
            variable,
            flag,
            tls,
        })
    }

    fn tls(
        &mut self,
        cert_variable: &str,
        cert: Option<String>,
        key_variable: &str,
        key: Option<String>,
    ) -> Option<TlsSource> {
        match (named(cert), named(key)) {
            (Some(cert), Some(key)) => Some(TlsSource::Files { cert, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                self.mistake(format!(
                    "{cert_variable} and {key_variable} must be given together"
                ));
                None
            }
        }
    }

    fn issued(&mut self, given: Option<TlsSource>, is_issued: bool) -> Option<TlsSource> {
        match (given, is_issued) {
            (given, false) => given,
            (None, true) => Some(TlsSource::Authority),
            (Some(_), true) => {
                self.mistake("FLEET_TLS_CERT and FLEET_TLS_ISSUED are two certificates; give one of them");
                None
            }
        }
    }

    fn node_certificate_lifetime(&mut self, text: &str) -> Option<Duration> {
        let seconds = text.trim().parse().ok().map(Duration::from_secs);
        let seconds = seconds.filter(|lifetime| NODE_CERTIFICATE_LIFETIMES.contains(lifetime));
        let (least, most) = (
            NODE_CERTIFICATE_LIFETIMES.start().as_secs(),
            NODE_CERTIFICATE_LIFETIMES.end().as_secs(),
        );
        let lifetime = seconds.ok_or_else(|| format!("must be {least} to {most} s"));
        self.value("NODE_CERTIFICATE_LIFETIME_S", lifetime)
    }

    fn needs_encryption(&mut self, listener: Option<&Listener>, may_be_plaintext: bool, insecure_flag: &str) {
        let Some(listener) = listener else { return };
        if !listener.is_loopback() && listener.tls.is_none() && !may_be_plaintext {
            let Listener {
                address, variable, ..
            } = listener;
            self.mistake(format!(
                "{variable}: {address} is not loopback and would carry secrets in plaintext; give it a certificate \
                 ({cert} and {key}{issued}), or accept that everybody on the network can read them with {insecure_flag}",
                cert = variable.replace("LISTEN", "TLS_CERT"),
                key = variable.replace("LISTEN", "TLS_KEY"),
                issued = if *variable == FLEET_LISTEN { ", or FLEET_TLS_ISSUED" } else { "" },
            ));
        }
    }

    /// Certificates are shown in TLS: without it nobody could get in.
    fn lets_certificates_in(&mut self, fleet: Option<&Listener>) {
        if fleet.is_some_and(|fleet| fleet.tls.is_none()) {
            self.mistake(
                "NODE_CERTIFICATES_ONLY: no data plane could get in, since certificates need TLS; give the fleet listener \
                 a certificate (FLEET_TLS_CERT and FLEET_TLS_KEY, or FLEET_TLS_ISSUED)",
            );
        }
    }

    fn node_token(&self, file: Option<PathBuf>) -> NodeToken {
        match (self.secret("NODE_TOKEN"), file) {
            (Some(token), _) => NodeToken::Given(token),
            (None, Some(path)) => NodeToken::File(path),
            (None, None) => NodeToken::Made,
        }
    }

    fn are_distinct(&mut self, listeners: [Option<&Listener>; 3]) {
        let mut seen: Vec<&Listener> = Vec::new();
        for listener in listeners.into_iter().flatten() {
            let twin = seen
                .iter()
                .find(|it| it.address == listener.address && it.address.port() != 0);
            if let Some(twin) = twin {
                self.mistake(format!(
                    "{} and {} are both {}; each listener needs its own",
                    twin.variable, listener.variable, listener.address
                ));
            }
            seen.push(listener);
        }
    }

    fn admin_password(&mut self, admin: Option<&Listener>) -> SecretString {
        let password = self
            .secret("ADMIN_PASSWORD")
            .unwrap_or_else(|| DEFAULT_ADMIN_PASSWORD.into());
        if is_well_known_password(&password) && admin.is_some_and(|admin| !admin.is_loopback()) {
            self.mistake(
                "ADMIN_PASSWORD: everybody tries this password first, and ADMIN_LISTEN is not loopback; choose another",
            );
        }
        password
    }

    fn store(&mut self, mut store: StoreConfig, path: Option<PathBuf>) -> StoreConfig {
        match (self.secret("DATABASE_URL"), path) {
            (None, None) => {}
            (None, Some(path)) => store.database = Database::Folder(path),
            (Some(_), Some(_)) => {
                self.mistake("DATABASE_URL and DATABASE_PATH are two databases; give one of them");
                self.needs_named_keys(&store);
            }
            (Some(url), None) => {
                store.database = Database::Postgres(url);
                self.needs_named_keys(&store);
            }
        }
        store
    }

    /// Keys that each control plane would make for itself do not open what others sealed.
    fn needs_named_keys(&mut self, store: &StoreConfig) {
        if store.master_key.is_none() && store.master_key_file.is_none() {
            self.mistake(
                "MASTER_KEY or MASTER_KEY_FILE must be given with DATABASE_URL, the same for every control plane",
            );
        }
        match store.node_token {
            NodeToken::Refused | NodeToken::Given(_) | NodeToken::File(_) => {}
            NodeToken::Made => self.mistake(
                "NODE_TOKEN or NODE_TOKEN_FILE must be given with DATABASE_URL, the same for every control plane",
            ),
        }
    }

    fn jwt_secret(&mut self) -> Option<SecretString> {
        let secret = self.secret("JWT_SECRET_KEY")?;
        if JWT_SECRETS_KNOWN.contains(&secret.expose_secret()) {
            self.mistake("JWT_SECRET_KEY: is a value from documentation that everybody knows; leave it unset to have one made");
        } else if secret.expose_secret().len() < JWT_SECRET_BYTES_MIN {
            self.mistake(format!(
                "JWT_SECRET_KEY: must have at least {JWT_SECRET_BYTES_MIN} bytes; leave it unset to have one made"
            ));
        }
        Some(secret)
    }

    fn settings(&mut self, min: &str, max: &str) -> Option<settings::Settings> {
        let min = self.value("MIN_TOKENS_LIMIT", number(min));
        let max = self.value("MAX_TOKENS_LIMIT", number(max));
        let draft = settings::Draft {
            min_tokens_limit: min?,
            max_tokens_limit: max?,
            ..settings::Draft::default()
        };
        match draft.check() {
            Ok(settings) => Some(settings),
            Err(violations) => {
                for violation in violations {
                    self.mistake(format!(
                        "{}: {}",
                        violation.field.to_uppercase(),
                        violation.description
                    ));
                }
                None
            }
        }
    }

    fn log_level(&mut self, text: &str) -> Option<LogLevel> {
        let level = match text.to_ascii_lowercase().as_str() {
            "critical" => Ok(LogLevel::Critical),
            "error" => Ok(LogLevel::Error),
            "warning" | "warn" => Ok(LogLevel::Warning),
            "info" => Ok(LogLevel::Info),
            "debug" => Ok(LogLevel::Debug),
            "trace" => Ok(LogLevel::Trace),
            _ => Err(format!(
                "`{text}` is not one of critical, error, warning, info, debug, trace"
            )),
        };
        self.value("LOG_LEVEL", level)
    }

    fn log_format(&mut self, text: &str) -> Option<LogFormat> {
        let format = match text.to_ascii_lowercase().as_str() {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("`{text}` is not one of text, json")),
        };
        self.value("LOG_FORMAT", format)
    }
}

/// An empty variable is like an absent one.
fn named(path: Option<String>) -> Option<PathBuf> {
    path.filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// An address as clients are given it, to which paths are added.
fn http_url(text: &str) -> Result<Url, String> {
    Url::parse(text.trim())
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .filter(|url| url.username().is_empty() && url.password().is_none())
        .filter(|url| url.query().is_none() && url.fragment().is_none())
        .ok_or_else(|| "must be an http or https address such as https://bridge.example".to_owned())
}

fn number(text: &str) -> Result<u32, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is not a whole number"))
}
