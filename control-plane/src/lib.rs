//! The control plane: it owns the truth and publishes it to the data planes.
//!
//! [`run`] is the only place that wires the parts together and starts tasks. They
//! all stop on one token, in order: nothing new, streams end, the store closes.

pub mod auth;
mod authority;
pub mod bootstrap;
mod checks;
mod config;
mod configuration;
mod desk;
mod document;
pub mod domain;
mod explain;
mod grpc;
pub mod import;
mod listener_tls;
pub mod operations;
mod peers;
mod playground;
mod probe;
mod roster;
pub mod secrets;
mod server;
mod shares;
mod snapshot;
pub mod store;
mod sweeper;
mod telemetry;
#[cfg(test)]
mod tests;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use auth::password::Hasher;
use auth::session::Sessions;
use auth::{SigningKeyError, SigningKeys};
use authority::Authority;
use checks::Checks;
use config::{Database, FirstStart, StoreConfig};
use desk::Desk;
use explain::Explains;
use grpc::AdminParts;
use grpc::enrolment::Enrolment;
use grpc::fleet::others;
use grpc::interceptor::NodeCheck;
use grpc::usage::Usage;
use grpc::watch::{StreamParts, Turns, Watch};
use peers::Peers;
use playground::Playground;
use probe::Probes;
use roster::Roster;
use secrets::{Keyring, MasterKeySource, SecretFileError};
use server::{AdminRules, BindError, Listening, Protocols};
use shares::Shares;
use snapshot::elsewhere;
use snapshot::hub::Hub;
use snapshot::nodes::Nodes;
use store::{OpenError, Store};
use sweeper::Sweeper;
use telemetry::Metrics;

pub use config::{Cli, Command, Config, Mistakes};

/// How long calls that are under way may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

/// Why the control plane does not start, or has stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the store did not open: the task was interrupted")]
    OpenInterrupted,
    #[error(transparent)]
    Bootstrap(#[from] bootstrap::Error),
    #[error(transparent)]
    NodeToken(#[from] SecretFileError),
    #[error(transparent)]
    SigningKeys(#[from] SigningKeyError),
    #[error(transparent)]
    Authority(#[from] authority::Error),
    #[error(transparent)]
    Read(#[from] store::Error),
    #[error("{} cannot be read: {source}", .path.display())]
    TlsFile { path: PathBuf, source: io::Error },
    #[error("reflection cannot be served: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("what calls data planes cannot be made: {0}")]
    Playground(#[from] playground::NoClient),
    #[error("signals cannot be waited for: {0}")]
    Signals(io::Error),
    #[error("the {listener} listener failed: {reason}")]
    Listener { listener: &'static str, reason: String },
}

/// Serves until a signal to end or until a listener fails.
pub async fn run(config: Config) -> Result<(), Error> {
    telemetry::start_logs(config.log_level, config.log_format);
    let mut signals = Signals::listen().map_err(Error::Signals)?;
    let sockets = Sockets::bind(&config).await?;
    let store = open_store(&config.store.database).await?;
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    let plane = Plane::wire(config, &store, &stopping, &tasks).await?;
    let health = plane.health.clone();
    let mut failed = plane.start(sockets, &stopping, &tasks);
    tell_health(&health, ServingStatus::Serving).await;
    tracing::info!("ready");

    let ended = tokio::select! {
        () = signals.next() => Ok(()),
        Some(failure) = failed.recv() => Err(failure),
    };
    tracing::info!("shutting down");
    tell_health(&health, ServingStatus::NotServing).await;
    stopping.cancel();
    tasks.close();
    tokio::select! {
        waited = timeout(SHUTDOWN_MAX, tasks.wait()) => if waited.is_err() {
            tracing::warn!("calls that did not end in time are cut off");
        },
        () = signals.next() => tracing::warn!("a second signal: calls under way are cut off"),
    }
    store.close().await;
    ended
}

/// What is served, wired together but not started.
struct Plane {
    hub: Hub,
    shares: Shares,
    sweeper: Sweeper,
    health: HealthReporter,
    admin: Listening,
    fleet: Listening,
    ops: Listening,
}

impl Plane {
    async fn wire(
        config: Config,
        store: &Store,
        stopping: &CancellationToken,
        tasks: &TaskTracker,
    ) -> Result<Self, Error> {
        let Config {
            admin,
            fleet,
            node_certificate_lifetime,
            ops: _,
            store: places,
            first_start,
            bridge_url,
            log_level: _,
            log_format: _,
        } = config;
        let (metrics, hasher) = (Metrics::new(), Hasher::default());
        // Two that start side by side must not both find a new store.
        let alone = store.alone().await?;
        let keyring = prepare(store, &hasher, &places, first_start).await?;
        let (node_token, now) = (node_token(&places)?, SystemTime::now());
        let keys = SigningKeys::load_or_make(store, &keyring, places.jwt_secret.as_ref(), now).await?;
        let authority = Authority::load_or_make(store, &keyring, node_certificate_lifetime, now).await?;
        drop(alone);
        let admin_tls = listener_tls::admin(admin.listener.tls.as_ref(), &authority)?;
        let fleet_tls = listener_tls::fleet(fleet.tls.as_ref(), &authority)?;
        let roster = Roster::open(store.clone()).await?;
        let node_check = NodeCheck::new(&node_token, roster.clone());
        let (nodes, probes) = (Nodes::new(metrics.nodes_connected.clone()), Probes::default());
        let hub = Hub::open(store.clone(), keyring.clone(), nodes.clone(), metrics.clone()).await?;
        let peers = Peers::new(store, &keyring, nodes.clone());
        let parts = AdminParts {
            store: store.clone(),
            keyring,
            sessions: Sessions::new(store.clone(), hasher.clone(), keys),
            hasher,
            checks: Checks::new(
                (store.clone(), peers.clone(), probes.clone()),
                tasks.clone(),
                stopping.clone(),
            ),
            authority: authority.clone(),
            roster: roster.clone(),
            peers,
            playground: Playground::new(bridge_url, nodes.clone())?,
            feed: hub.feed(),
            stopping: stopping.clone(),
            probes,
            explains: Explains::default(),
            tasks: tasks.clone(),
            metrics: metrics.clone(),
        };
        tasks.spawn(elsewhere::run(store.clone(), nodes.clone(), stopping.clone()));
        tasks.spawn(others::run(
            store.clone(),
            nodes.clone(),
            hub.feed(),
            stopping.clone(),
        ));
        let desk = Desk {
            peers: parts.peers.clone(),
            probes: parts.probes.clone(),
            explains: parts.explains.clone(),
        };
        tasks.spawn(desk.run(tasks.clone(), stopping.clone()));
        tasks.spawn(roster.clone().run(nodes.clone(), stopping.clone()));
        let shares = Shares::new(nodes.clone());
        let streams = StreamParts {
            store: store.clone(),
            feed: hub.feed(),
            roster: roster.clone(),
            nodes,
            probes: parts.probes.clone(),
            explains: parts.explains.clone(),
            shares: shares.clone(),
            metrics: metrics.clone(),
            shutdown: stopping.clone(),
            turns: Turns::default(),
        };
        let enrolling = parts.peers.nodes.clone();
        let fleet_services = grpc::fleet_routes(
            Watch::new(streams, tasks.clone()),
            Usage::new(store.clone(), roster.clone(), metrics.clone()),
            Enrolment::new((store.clone(), enrolling), authority, roster, metrics.clone()),
        );
        let (health, health_server) = tonic_health::server::health_reporter();
        let (sessions, rules) = (
            parts.sessions.clone(),
            AdminRules::new(admin.hosts, admin_tls.is_some()),
        );
        let mut admin_services = grpc::admin_routes(parts, health_server);
        if admin.serves_reflection {
            admin_services = grpc::with_reflection(admin_services)?;
        }
        Ok(Self {
            hub,
            shares,
            sweeper: Sweeper {
                store: store.clone(),
                metrics: metrics.clone(),
            },
            health,
            admin: Listening {
                app: server::admin_app(admin_services, sessions, rules, metrics.clone()),
                protocols: Protocols::Http1AndHttp2,
                tls: admin_tls,
            },
            fleet: Listening {
                app: server::fleet_app(fleet_services, node_check, metrics.clone()),
                protocols: Protocols::Http2,
                tls: fleet_tls,
            },
            ops: Listening {
                app: server::ops_app(store.clone(), metrics, stopping.clone()),
                protocols: Protocols::Http1AndHttp2,
                tls: None,
            },
        })
    }

    /// Starts the hub and the listeners. The first listener that fails is told.
    fn start(
        self,
        sockets: Sockets,
        stopping: &CancellationToken,
        tasks: &TaskTracker,
    ) -> mpsc::Receiver<Error> {
        let Self {
            hub,
            shares,
            sweeper,
            health: _,
            admin,
            fleet,
            ops,
        } = self;
        let (failures, failed) = mpsc::channel(1);
        let listeners = Listeners {
            tasks,
            stopping,
            failures,
        };
        tasks.spawn(hub.run(stopping.clone()));
        tasks.spawn(shares.run(sweeper.store.clone(), stopping.clone()));
        tasks.spawn(sweeper.run(stopping.clone()));
        let connections_max = server::connections_max();
        let serve = |socket, listening| server::serve(socket, connections_max, listening, stopping.clone());
        listeners.start("admin", serve(sockets.admin, admin));
        listeners.start("fleet", serve(sockets.fleet, fleet));
        listeners.start("ops", serve(sockets.ops, ops));
        failed
    }
}

/// Starts listeners; the first that fails ends the control plane.
struct Listeners<'a> {
    tasks: &'a TaskTracker,
    stopping: &'a CancellationToken,
    failures: mpsc::Sender<Error>,
}

impl Listeners<'_> {
    fn start<E: std::error::Error>(
        &self,
        listener: &'static str,
        serving: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let (failures, stopping) = (self.failures.clone(), self.stopping.clone());
        self.tasks.spawn(async move {
            let reason = match serving.await {
                Ok(()) if stopping.is_cancelled() => return,
                Ok(()) => "it ended by itself".to_owned(),
                Err(error) => error.to_string(),
            };
            // Nobody listens only if the control plane is ending already.
            let _ = failures.try_send(Error::Listener { listener, reason });
        });
    }
}

struct Sockets {
    admin: TcpListener,
    fleet: TcpListener,
    ops: TcpListener,
}

impl Sockets {
    async fn bind(config: &Config) -> Result<Self, BindError> {
        let [admin, fleet, ops] = server::bind([&config.admin.listener, &config.fleet, &config.ops]).await?;
        Ok(Self { admin, fleet, ops })
    }
}

async fn open_store(database: &Database) -> Result<Store, Error> {
    let open: Box<dyn FnOnce() -> Result<Store, OpenError> + Send> = match database {
        Database::Folder(path) => {
            let path = path.clone();
            Box::new(move || Store::open(&path))
        }
        Database::Postgres(url) => {
            let url = url.clone();
            Box::new(move || Store::connect(&url))
        }
    };
    let opened = tokio::task::spawn_blocking(open).await;
    Ok(opened.map_err(|_| Error::OpenInterrupted)??)
}

/// Unlocks the store, and fills it if it is new.
async fn prepare(
    store: &Store,
    hasher: &Hasher,
    config: &StoreConfig,
    first: FirstStart,
) -> Result<Keyring, bootstrap::Error> {
    let now = SystemTime::now();
    let keyring = bootstrap::unlock(store, &master_key_source(config), now).await?;
    let FirstStart {
        admin_email,
        admin_password,
        provider_config_path,
        settings,
    } = first;
    let first = bootstrap::FirstStart {
        admin_email,
        admin_password,
        settings,
        provider_config_path: &provider_config_path,
        lookup: &|variable| std::env::var(variable).ok(),
    };
    if let Some(report) = bootstrap::first_start(store, &keyring, hasher, first, now).await? {
        tracing::info!(
            providers = report.providers,
            model_rules = report.model_rules,
            must_change_password = report.must_change_password,
            "a new installation was set up"
        );
        for warning in report.warnings {
            tracing::warn!(warning, path = %provider_config_path.display(), "the imported file is not taken over as it is");
        }
    }
    Ok(keyring)
}

/// A file that is named goes before a key that is given.
fn master_key_source(config: &StoreConfig) -> MasterKeySource {
    match (&config.master_key_file, &config.master_key) {
        (Some(path), _) => MasterKeySource::MadeFile(path.clone()),
        (None, Some(key)) => MasterKeySource::Given(key.clone()),
        (None, None) => MasterKeySource::MadeFile(config.beside_database("master-key")),
    }
}

fn node_token(config: &StoreConfig) -> Result<SecretString, SecretFileError> {
    match (&config.node_token, &config.node_token_file) {
        (Some(token), _) => Ok(token.clone()),
        (None, Some(path)) => secrets::node_token(path),
        (None, None) => secrets::node_token(&config.beside_database("node-token")),
    }
}

async fn tell_health(health: &HealthReporter, status: ServingStatus) {
    for service in grpc::ADMIN_SERVICES.into_iter().chain([""]) {
        health.set_service_status(service, status).await;
    }
}

/// The signals that end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
