//! What the command line and the environment say, read once and checked as a whole:
//! every mistake is reported in one go, before anything listens.
//!
//! Secrets have no flag, because command lines are there for everybody on the
//! machine to read.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::user::is_well_known_password;
use crate::domain::{Email, settings};

/// Least length of a key that signs tokens.
const JWT_SECRET_BYTES_MIN: usize = 32;
/// Values that documentation and examples spread.
const JWT_SECRETS_KNOWN: [&str; 3] = [
    "your-secret-key-change-this-in-production",
    "change-this-secret-key-in-production-please",
    "your-secret-key-at-least-32-characters-long",
];
/// The first admin's password if nothing else is said.
const ADMIN_PASSWORD_DEFAULT: &str = "admin123";

const SECRETS_HELP: &str = "Secrets are read from the environment only:
  ADMIN_PASSWORD   password of the first admin [default: admin123, which opens nothing but ChangePassword]
  JWT_SECRET_KEY   key that signs access tokens, at least 32 bytes [default: made at first start, kept sealed]
  MASTER_KEY       key that seals provider secrets [default: a file, see --master-key-file]
  NODE_TOKEN       what a data plane proves itself with [default: a file, see --node-token-file]";

/// Control plane of the Anthropic OpenAI Bridge.
#[derive(Debug, Parser)]
#[command(name = "bridge-control-plane", version, after_help = SECRETS_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    args: ServeArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the admin and the data planes (the default).
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Address of the admin listener: gRPC, grpc-web, reflection, health.
    #[arg(long, env = "ADMIN_LISTEN", default_value = "127.0.0.1:8001")]
    admin_listen: String,
    /// Address of the listener for data planes.
    #[arg(long, env = "FLEET_LISTEN", default_value = "127.0.0.1:8002")]
    fleet_listen: String,
    /// Address of probes and metrics.
    #[arg(long, env = "OPS_LISTEN", default_value = "127.0.0.1:9001")]
    ops_listen: String,
    /// Certificate chain of the admin listener, PEM.
    #[arg(long, env = "ADMIN_TLS_CERT")]
    admin_tls_cert: Option<PathBuf>,
    /// Private key of the admin listener, PEM.
    #[arg(long, env = "ADMIN_TLS_KEY")]
    admin_tls_key: Option<PathBuf>,
    /// Certificate chain of the fleet listener, PEM.
    #[arg(long, env = "FLEET_TLS_CERT")]
    fleet_tls_cert: Option<PathBuf>,
    /// Private key of the fleet listener, PEM.
    #[arg(long, env = "FLEET_TLS_KEY")]
    fleet_tls_key: Option<PathBuf>,
    /// Let the admin listener speak plaintext off loopback: whoever is on the network
    /// reads passwords and tokens, and can act with them.
    #[arg(long, env = "INSECURE_ADMIN_PLAINTEXT")]
    insecure_admin_plaintext: bool,
    /// Let the fleet listener speak plaintext off loopback: whoever is on the network
    /// reads the node token and every provider's key.
    #[arg(long, env = "INSECURE_FLEET_PLAINTEXT")]
    insecure_fleet_plaintext: bool,
    /// Names under which the admin listener may be called, comma separated, besides
    /// IP addresses and localhost.
    #[arg(long, env = "ADMIN_HOSTS", value_delimiter = ',')]
    admin_hosts: Vec<String>,
    /// Serve reflection to callers with a token.
    #[arg(long, env = "REFLECTION", default_value = "true", action = clap::ArgAction::Set)]
    reflection: bool,
    /// Folder of the database.
    #[arg(long, env = "DATABASE_PATH", default_value = "./data/control-plane")]
    database_path: PathBuf,
    /// File with the key that seals secrets; made at first start, beside the folder
    /// of the database.
    #[arg(long, env = "MASTER_KEY_FILE")]
    master_key_file: Option<PathBuf>,
    /// File with what a data plane proves itself with; made at first start, beside
    /// the folder of the database.
    #[arg(long, env = "NODE_TOKEN_FILE")]
    node_token_file: Option<PathBuf>,
    /// E-mail of the first admin.
    #[arg(long, env = "ADMIN_EMAIL", default_value = "admin@example.com")]
    admin_email: String,
    /// Providers to import at first start.
    #[arg(long, env = "PROVIDER_CONFIG_PATH", default_value = "./provider.json")]
    provider_config_path: PathBuf,
    /// First value of the setting `max_tokens_limit`.
    #[arg(long, env = "MAX_TOKENS_LIMIT", default_value = "1000000")]
    max_tokens_limit: String,
    /// First value of the setting `min_tokens_limit`.
    #[arg(long, env = "MIN_TOKENS_LIMIT", default_value = "100")]
    min_tokens_limit: String,
    /// critical, error, warning, info, debug or trace.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,
    /// text or json.
    #[arg(long, env = "LOG_FORMAT", default_value = "text")]
    log_format: String,
}

/// Everything that `run` needs to know.
#[derive(Debug)]
pub struct Config {
    pub(crate) admin: AdminListener,
    pub(crate) fleet: Listener,
    pub(crate) ops: Listener,
    pub(crate) store: StoreConfig,
    pub(crate) first_start: FirstStart,
    pub(crate) log_level: LogLevel,
    pub(crate) log_format: LogFormat,
}

/// Where to listen, and the names to tell an operator who has to change it.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) variable: &'static str,
    pub(crate) flag: &'static str,
    pub(crate) tls: Option<TlsFiles>,
}

#[derive(Debug)]
pub(crate) struct TlsFiles {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

#[derive(Debug)]
pub(crate) struct AdminListener {
    pub(crate) listener: Listener,
    /// Lower case.
    pub(crate) hosts: Vec<String>,
    pub(crate) serves_reflection: bool,
}

/// The folder and the keys to it.
#[derive(Debug)]
pub(crate) struct StoreConfig {
    pub(crate) database_path: PathBuf,
    pub(crate) master_key: Option<SecretString>,
    pub(crate) master_key_file: Option<PathBuf>,
    pub(crate) node_token: Option<SecretString>,
    pub(crate) node_token_file: Option<PathBuf>,
    pub(crate) jwt_secret: Option<SecretString>,
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

impl Cli {
    /// Checks everything. Secrets come from `environment`.
    pub fn check(self, environment: impl Fn(&str) -> Option<String>) -> Result<Config, Mistakes> {
        let args = match self.command {
            Some(Command::Serve(args)) => args,
            None => self.args,
        };
        let mut check = Check {
            mistakes: Vec::new(),
            environment,
        };
        let config = check.config(args);
        match config {
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
    fn config(&mut self, args: ServeArgs) -> Option<Config> {
        let ServeArgs {
            admin_listen,
            fleet_listen,
            ops_listen,
            admin_tls_cert,
            admin_tls_key,
            fleet_tls_cert,
            fleet_tls_key,
            insecure_admin_plaintext,
            insecure_fleet_plaintext,
            admin_hosts,
            reflection,
            database_path,
            master_key_file,
            node_token_file,
            admin_email,
            provider_config_path,
            max_tokens_limit,
            min_tokens_limit,
            log_level,
            log_format,
        } = args;
        let admin_tls = self.tls("ADMIN_TLS_CERT", admin_tls_cert, "ADMIN_TLS_KEY", admin_tls_key);
        let admin = self.listener(&admin_listen, ("ADMIN_LISTEN", "--admin-listen"), admin_tls);
        let fleet_tls = self.tls("FLEET_TLS_CERT", fleet_tls_cert, "FLEET_TLS_KEY", fleet_tls_key);
        let fleet = self.listener(&fleet_listen, ("FLEET_LISTEN", "--fleet-listen"), fleet_tls);
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
        self.are_distinct([admin.as_ref(), fleet.as_ref(), ops.as_ref()]);

        let admin_email = self.value("ADMIN_EMAIL", Email::parse(&admin_email));
        let admin_password = self.admin_password(admin.as_ref());
        let settings = self.settings(&min_tokens_limit, &max_tokens_limit);
        let jwt_secret = self.jwt_secret();
        let log_level = self.log_level(&log_level);
        let log_format = self.log_format(&log_format);
        let store = StoreConfig {
            database_path,
            master_key: self.secret("MASTER_KEY"),
            master_key_file,
            node_token: self.secret("NODE_TOKEN"),
            node_token_file,
            jwt_secret,
        };
        let hosts = admin_hosts
            .iter()
            .map(|host| host.trim().to_ascii_lowercase())
            .collect();
        Some(Config {
            admin: AdminListener {
                listener: admin?,
                hosts,
                serves_reflection: reflection,
            },
            fleet: fleet?,
            ops: ops?,
            store,
            first_start: FirstStart {
                admin_email: admin_email?,
                admin_password,
                provider_config_path,
                settings: settings?,
            },
            log_level: log_level?,
            log_format: log_format?,
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
            .filter(|value| !value.is_empty())
            .map(SecretString::from)
    }

    fn listener(
        &mut self,
        address: &str,
        (variable, flag): (&'static str, &'static str),
        tls: Option<TlsFiles>,
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
        cert: Option<PathBuf>,
        key_variable: &str,
        key: Option<PathBuf>,
    ) -> Option<TlsFiles> {
        match (cert, key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                self.mistake(format!(
                    "{cert_variable} and {key_variable} must be given together"
                ));
                None
            }
        }
    }

    fn needs_encryption(&mut self, listener: Option<&Listener>, may_be_plaintext: bool, insecure_flag: &str) {
        let Some(listener) = listener else { return };
        if !listener.is_loopback() && listener.tls.is_none() && !may_be_plaintext {
            let Listener {
                address, variable, ..
            } = listener;
            self.mistake(format!(
                "{variable}: {address} is not loopback and would carry secrets in plaintext; give it a certificate \
                 ({cert} and {key}), or accept that everybody on the network can read them with {insecure_flag}",
                cert = variable.replace("LISTEN", "TLS_CERT"),
                key = variable.replace("LISTEN", "TLS_KEY"),
            ));
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
            .unwrap_or_else(|| ADMIN_PASSWORD_DEFAULT.into());
        if is_well_known_password(&password) && admin.is_some_and(|admin| !admin.is_loopback()) {
            self.mistake(
                "ADMIN_PASSWORD: everybody tries this password first, and ADMIN_LISTEN is not loopback; choose another",
            );
        }
        password
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

fn number(text: &str) -> Result<u32, String> {
    text.trim()
        .parse()
        .map_err(|_| format!("`{text}` is not a whole number"))
}

impl StoreConfig {
    /// Where a file is made that nobody named: beside the folder of the database,
    /// never in it.
    pub(crate) fn beside_database(&self, name: &str) -> PathBuf {
        self.database_path.parent().unwrap_or(Path::new("")).join(name)
    }
}

impl Listener {
    pub(crate) fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(
            check(&["serve", "--ops-listen", "127.0.0.1:1"], &[])
                .unwrap()
                .ops
                .address
                .port(),
            1
        );
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
        for known in JWT_SECRETS_KNOWN {
            assert!(
                mistakes(&[], &[("JWT_SECRET_KEY", known)])[0].contains("everybody knows"),
                "{known}"
            );
        }
        assert!(check(&[], &[("JWT_SECRET_KEY", &"0123456789abcdef".repeat(4))]).is_ok());
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
