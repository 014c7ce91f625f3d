//! The command line, as it is written: nothing is checked here, so that all mistakes
//! can be reported together.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::domain::user::DEFAULT_ADMIN_EMAIL;

const SECRETS_HELP: &str = "Secrets are read from the environment only:
  ADMIN_TOKEN      who asks a running control plane for a backup
  ADMIN_PASSWORD   password of the first admin [default: admin123, which opens nothing but ChangePassword]
  DATABASE_URL     PostgreSQL database in place of a folder, for any number of control planes;
                   postgres://user:password@host:5432/database, encrypted off this machine unless ?sslmode= says otherwise
  JWT_SECRET_KEY   key that signs access tokens, at least 32 bytes [default: made at first start, kept sealed]
  MASTER_KEY       key that seals provider secrets [default: a file, see --master-key-file]
  NEW_MASTER_KEY   the key that rotate-master-key changes to [default: one is made where MASTER_KEY_FILE is]
  NODE_TOKEN       what a data plane proves itself with [default: a file, see --node-token-file]
  OTEL_EXPORTER_OTLP_HEADERS
                   name=value,name=value for the collector of traces [default: none]";

/// Control plane of the Anthropic OpenAI Bridge.
#[derive(Debug, Parser)]
#[command(name = "bridge-control-plane", version, after_help = SECRETS_HELP)]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) flags: Flags,
}

#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Serve the admin and the data planes (the default).
    Serve,
    /// Copy the whole installation into a file (`-`: standard output), also while the control
    /// plane runs; on a folder it is asked then, with an admin's token in ADMIN_TOKEN.
    Backup { file: PathBuf },
    /// Make a new epoch of an installation, of a backup, where none is. Sessions end.
    Restore { file: PathBuf },
    /// The same as `backup`, to take the installation to another database.
    Export { file: PathBuf },
    /// Take an exported installation over into an empty database, or the providers, rules and
    /// settings of a `provider.json` into an installation that is there.
    Import { file: PathBuf },
    /// Read all of the database, or of a backup, and tell whether it is whole.
    Verify { file: Option<PathBuf> },
    /// Make ADMIN_EMAIL an enabled admin with ADMIN_PASSWORD, or with a password that is told.
    ResetAdmin,
    /// Wrap all secrets by another master key: NEW_MASTER_KEY, or one that is made.
    RotateMasterKey,
}

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Address of the admin listener: gRPC, grpc-web, reflection, health.
    #[arg(global = true, long, env = "ADMIN_LISTEN", default_value = "127.0.0.1:8001")]
    pub(super) admin_listen: String,
    /// Address of the listener for data planes.
    #[arg(global = true, long, env = "FLEET_LISTEN", default_value = "127.0.0.1:8002")]
    pub(super) fleet_listen: String,
    /// Address of probes and metrics.
    #[arg(global = true, long, env = "OPS_LISTEN", default_value = "127.0.0.1:9001")]
    pub(super) ops_listen: String,
    /// Certificate chain of the admin listener, PEM.
    #[arg(global = true, long, env = "ADMIN_TLS_CERT")]
    pub(super) admin_tls_cert: Option<String>,
    /// Private key of the admin listener, PEM.
    #[arg(global = true, long, env = "ADMIN_TLS_KEY")]
    pub(super) admin_tls_key: Option<String>,
    /// Certificate chain of the fleet listener, PEM.
    #[arg(global = true, long, env = "FLEET_TLS_CERT")]
    pub(super) fleet_tls_cert: Option<String>,
    /// Private key of the fleet listener, PEM.
    #[arg(global = true, long, env = "FLEET_TLS_KEY")]
    pub(super) fleet_tls_key: Option<String>,
    /// Give the fleet listener a certificate of the fleet's own authority, by whose fingerprint
    /// data planes know it.
    #[arg(global = true, long, env = "FLEET_TLS_ISSUED")]
    pub(super) fleet_tls_issued: bool,
    /// Seconds for which the certificate of a data plane is good; it renews it when two thirds
    /// are over.
    #[arg(
        global = true,
        long,
        env = "NODE_CERTIFICATE_LIFETIME_S",
        default_value = "2592000"
    )]
    pub(super) node_certificate_lifetime_s: String,
    /// Let in data planes with a certificate only: the node token, whatever it is, opens nothing.
    #[arg(global = true, long, env = "NODE_CERTIFICATES_ONLY")]
    pub(super) node_certificates_only: bool,
    /// Let the admin listener speak plaintext off loopback: whoever is on the network
    /// reads passwords and tokens, and can act with them.
    #[arg(global = true, long, env = "INSECURE_ADMIN_PLAINTEXT")]
    pub(super) insecure_admin_plaintext: bool,
    /// Let the fleet listener speak plaintext off loopback: whoever is on the network
    /// reads the node token and every provider's key.
    #[arg(global = true, long, env = "INSECURE_FLEET_PLAINTEXT")]
    pub(super) insecure_fleet_plaintext: bool,
    /// Names under which the admin listener may be called, comma separated, besides
    /// IP addresses and localhost.
    #[arg(global = true, long, env = "ADMIN_HOSTS", value_delimiter = ',')]
    pub(super) admin_hosts: Vec<String>,
    /// Serve reflection to callers with a token.
    #[arg(global = true, long, env = "REFLECTION", default_value = "true", action = clap::ArgAction::Set)]
    pub(super) reflection: bool,
    /// Folder of the database [default: ./data/control-plane, unless DATABASE_URL is set].
    #[arg(global = true, long, env = "DATABASE_PATH")]
    pub(super) database_path: Option<String>,
    /// File with the key that seals secrets; made at first start, beside the folder
    /// of the database.
    #[arg(global = true, long, env = "MASTER_KEY_FILE")]
    pub(super) master_key_file: Option<String>,
    /// File with what a data plane proves itself with; made at first start, beside
    /// the folder of the database.
    #[arg(global = true, long, env = "NODE_TOKEN_FILE")]
    pub(super) node_token_file: Option<String>,
    /// E-mail of the first admin.
    #[arg(global = true, long, env = "ADMIN_EMAIL", default_value = DEFAULT_ADMIN_EMAIL)]
    pub(super) admin_email: String,
    /// Providers to import at first start.
    #[arg(
        global = true,
        long,
        env = "PROVIDER_CONFIG_PATH",
        default_value = "./provider.json"
    )]
    pub(super) provider_config_path: String,
    /// Where clients reach the data planes, such as the address of a load balancer: what people are
    /// shown, and where the playground sends [default: what the data planes say].
    #[arg(global = true, long, env = "BRIDGE_URL")]
    pub(super) bridge_url: Option<String>,
    /// First value of the setting `max_tokens_limit`.
    #[arg(global = true, long, env = "MAX_TOKENS_LIMIT", default_value = "1000000")]
    pub(super) max_tokens_limit: String,
    /// First value of the setting `min_tokens_limit`.
    #[arg(global = true, long, env = "MIN_TOKENS_LIMIT", default_value = "100")]
    pub(super) min_tokens_limit: String,
    /// Collector that gets a trace of each call, by OTLP over gRPC [default: none].
    #[arg(global = true, long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub(super) otel_exporter_otlp_endpoint: Option<String>,
    /// critical, error, warning, info, debug or trace.
    #[arg(global = true, long, env = "LOG_LEVEL", default_value = "info")]
    pub(super) log_level: String,
    /// text or json.
    #[arg(global = true, long, env = "LOG_FORMAT", default_value = "text")]
    pub(super) log_format: String,
}
