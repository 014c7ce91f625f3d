//! The command line, as it is written: nothing is checked here, so that all mistakes
//! can be reported together.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::translation;

const AFTER_HELP: &str = "\
A flag beats its environment variable. Providers, keys and models come from the control plane.

Secrets are read from the environment only:
  JOIN_TOKEN  what gets this node a certificate of its own [default: a file, see --join-token-file]
  NODE_TOKEN  what proves this node to the control plane [default: a file, see --node-token-file]
  OTEL_EXPORTER_OTLP_HEADERS  name=value,name=value for the collector of traces [default: none]
  UPSTREAM_PROXY  http://[name:password@]host:port or socks5://… for all calls of providers [default: none]";

#[derive(Debug, Parser)]
#[command(
    name = "bridge-data-plane",
    version,
    about = "Serves Anthropic's Messages API from OpenAI-compatible providers",
    after_help = AFTER_HELP
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: Serve,
}

/// The flags of a data plane that serves.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of serve")]
pub struct Serve {
    /// Address of the public listener
    #[arg(long, env = "HOST", default_value = "0.0.0.0", global = true)]
    pub(super) host: String,
    /// Port of the public listener
    #[arg(long, env = "PORT", default_value = "8000", global = true)]
    pub(super) port: String,
    /// Listener of probes and metrics
    #[arg(long, env = "OPS_LISTEN", default_value = "127.0.0.1:9000", global = true)]
    pub(super) ops_listen: String,
    /// Fleet endpoints of the control plane, comma separated
    #[arg(
        long,
        env = "CONTROL_PLANE_URL",
        default_value = "http://127.0.0.1:8002",
        global = true
    )]
    pub(super) control_plane_url: String,
    /// File that holds the node token; read again at every connection
    #[arg(
        long,
        env = "NODE_TOKEN_FILE",
        default_value = "./data/node-token",
        global = true
    )]
    pub(super) node_token_file: String,
    /// Folder for the last configuration, with which this node starts while the control plane is away; empty: none
    #[arg(
        long,
        env = "SNAPSHOT_CACHE",
        default_value = "./data/snapshot-cache",
        global = true
    )]
    pub(super) snapshot_cache: String,
    /// File from the snapshot cache of a node with the same token, for a first start without the control plane
    #[arg(long, env = "BOOTSTRAP_SNAPSHOT", global = true)]
    pub(super) bootstrap_snapshot: Option<String>,
    /// Certificate (PEM) of the authority that signed the control plane's; makes https work
    #[arg(long, env = "CONTROL_PLANE_CA_FILE", global = true)]
    pub(super) control_plane_ca_file: Option<PathBuf>,
    /// Fingerprint of the fleet's certificate authority (SHA-256, in hex), by which an https control plane is
    /// known; it comes with a join token
    #[arg(long, env = "AUTHORITY_FINGERPRINT", global = true)]
    pub(super) authority_fingerprint: Option<String>,
    /// File that holds the join token, with which this node gets a certificate of its own; read until it has one
    #[arg(long, env = "JOIN_TOKEN_FILE", global = true)]
    pub(super) join_token_file: Option<String>,
    /// File for this node's key and certificate [default: ./data/node-identity]
    #[arg(long, env = "IDENTITY_FILE", global = true)]
    pub(super) identity_file: Option<String>,
    /// Name of this node on the Fleet page [default: host name and a stable suffix]
    #[arg(long, env = "NODE_ID", global = true)]
    pub(super) node_id: Option<String>,
    /// Take the configuration of another installation than the one held so far
    #[arg(long, env = "ACCEPT_NEW_CLUSTER", global = true)]
    pub(super) accept_new_cluster: bool,
    /// Send the node token without TLS to an address that is not loopback:
    /// whoever can read the network can read provider keys
    #[arg(long, env = "INSECURE_FLEET_PLAINTEXT", global = true)]
    pub(super) insecure_fleet_plaintext: bool,
    /// Networks where providers may live, comma separated [default: everywhere that is not denied]
    #[arg(
        long,
        env = "UPSTREAM_ALLOW",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub(super) upstream_allow: String,
    /// Networks where they may not; metadata services and the like are always denied
    #[arg(
        long,
        env = "UPSTREAM_DENY",
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    pub(super) upstream_deny: String,
    /// Certificates (PEM) of authorities to trust for https providers beside the system's
    #[arg(long, env = "UPSTREAM_CA_FILE", global = true)]
    pub(super) upstream_ca_file: Option<PathBuf>,
    /// Seconds between "not ready" and closing the listener
    #[arg(long, env = "DRAIN_DELAY_S", default_value = "5", global = true)]
    pub(super) drain_delay_s: String,
    /// Seconds that open streams get to finish
    #[arg(long, env = "DRAIN_MAX_S", default_value = "120", global = true)]
    pub(super) drain_max_s: String,
    /// Client connections at once [default: half of the file descriptors]
    #[arg(long, env = "MAX_CONNECTIONS", global = true)]
    pub(super) max_connections: Option<String>,
    /// Requests in flight at once [default: by file descriptors and memory]
    #[arg(long, env = "MAX_REQUESTS", global = true)]
    pub(super) max_requests: Option<String>,
    /// MiB for request bodies in flight [default: half of the memory this process may use]
    #[arg(long, env = "BODY_MEMORY_MIB", global = true)]
    pub(super) body_memory_mib: Option<String>,
    /// Collector that gets a trace of each request, by OTLP over gRPC [default: none]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", global = true)]
    pub(super) otel_exporter_otlp_endpoint: Option<String>,
    /// critical, error, warning, info, debug or trace
    #[arg(long, env = "LOG_LEVEL", default_value = "info", global = true)]
    pub(super) log_level: String,
    /// text or json
    #[arg(long, env = "LOG_FORMAT", default_value = "text", global = true)]
    pub(super) log_format: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve requests (the default)
    Serve,
    Translate(translation::Args),
    /// Check the configuration and what is kept on disk, without touching the network
    Check,
}

/// What the program is asked to do.
#[derive(Debug)]
pub enum Task {
    Serve(Serve),
    Translate(translation::Args),
    Check(Serve),
}

impl Cli {
    pub fn into_task(self) -> Task {
        match self.command {
            Some(Command::Serve) | None => Task::Serve(self.serve),
            Some(Command::Translate(args)) => Task::Translate(args),
            Some(Command::Check) => Task::Check(self.serve),
        }
    }
}
