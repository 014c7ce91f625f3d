//! The control plane: it owns the truth and publishes it to the data planes.
//!
//! [`run`] starts and ends it; what runs between is wired together in one place, `plane`.
//! All tasks stop on one token, in order: nothing new, streams end, the store closes.

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
mod plane;
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
mod traces;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use auth::SigningKeyError;
use config::{Database, StoreConfig};
use plane::{Plane, Sockets};
use secrets::{MasterKeySource, SecretFileError};
use server::BindError;
use store::{OpenError, Store};

pub use config::{Cli, Command, Config, Mistakes};

/// How long calls that are under way may take to end.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);
/// For the last spans, once everything else has ended.
const TRACES_FLUSH_MAX: Duration = Duration::from_secs(3);

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
    #[error(transparent)]
    Traces(#[from] traces::StartError),
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
    let mut plane = Plane::wire(config, &store, &stopping, &tasks).await?;
    let (over, traced) = (CancellationToken::new(), TaskTracker::new());
    if let Some(exporter) = plane.exporter.take() {
        traced.spawn(exporter.run(over.clone()));
    }
    traced.close();
    let health = plane.health();
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
    over.cancel();
    // What cannot be delivered in this time is lost.
    let _ = timeout(TRACES_FLUSH_MAX, traced.wait()).await;
    ended
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

/// A file that is named goes before a key that is given.
fn master_key_source(config: &StoreConfig) -> MasterKeySource {
    match (&config.master_key_file, &config.master_key) {
        (Some(path), _) => MasterKeySource::MadeFile(path.clone()),
        (None, Some(key)) => MasterKeySource::Given(key.clone()),
        (None, None) => MasterKeySource::MadeFile(config.beside_database("master-key")),
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
