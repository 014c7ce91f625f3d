//! The only place that wires the parts of the control plane together and starts its tasks.

use std::time::SystemTime;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic_health::server::HealthReporter;
use uuid::Uuid;

use crate::auth::SigningKeys;
use crate::auth::password::Hasher;
use crate::auth::session::Sessions;
use crate::authority::Authority;
use crate::bootstrap;
use crate::checks::Checks;
use crate::config::{Config, FirstStart, NodeToken, StoreConfig};
use crate::desk::Desk;
use crate::explain::Explains;
use crate::grpc;
use crate::grpc::AdminParts;
use crate::grpc::enrolment::Enrolment;
use crate::grpc::fleet::others;
use crate::grpc::interceptor::NodeCheck;
use crate::grpc::usage::Usage;
use crate::grpc::watch::{StreamParts, Turns, Watch};
use crate::listener_tls;
use crate::peers::Peers;
use crate::playground::Playground;
use crate::probe::Probes;
use crate::roster::Roster;
use crate::secrets::{self, Keyring, SecretFileError};
use crate::server::{self, AdminRules, BindError, Listening, Protocols, Watching};
use crate::shares::Shares;
use crate::snapshot::elsewhere;
use crate::snapshot::hub::Hub;
use crate::snapshot::nodes::Nodes;
use crate::store::Store;
use crate::sweeper::Sweeper;
use crate::telemetry::Metrics;
use crate::traces::{self, Exporter};
use crate::{Error, master_key_source};

/// What is served, wired together but not started.
pub(crate) struct Plane {
    hub: Hub,
    shares: Shares,
    sweeper: Sweeper,
    health: HealthReporter,
    admin: Listening,
    fleet: Listening,
    ops: Listening,
    /// What brings spans to the collector, if there is one; it ends after everything else.
    pub(crate) exporter: Option<Exporter>,
}

impl Plane {
    pub(crate) async fn wire(
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
            collector,
        } = config;
        let (metrics, hasher) = (Metrics::new(), Hasher::default());
        let traces =
            collector.map(|collector| traces::start(collector, &Uuid::now_v7().to_string(), &metrics.spans));
        let (traces, exporter) = traces.transpose()?.unzip();
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
        let node_check = NodeCheck::new(node_token.as_ref(), roster.clone());
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
            fleet_listener: listener_tls::as_shown(&fleet),
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
        let watching = Watching {
            metrics: metrics.clone(),
            traces,
        };
        Ok(Self {
            exporter,
            hub,
            shares,
            sweeper: Sweeper {
                store: store.clone(),
                metrics: metrics.clone(),
            },
            health,
            admin: Listening {
                app: server::admin_app(admin_services, sessions, rules, watching.clone()),
                protocols: Protocols::Http1AndHttp2,
                tls: admin_tls,
            },
            fleet: Listening {
                app: server::fleet_app(fleet_services, node_check, watching),
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

    /// By what everybody is told whether the services answer.
    pub(crate) fn health(&self) -> HealthReporter {
        self.health.clone()
    }

    /// Starts the hub and the listeners. The first listener that fails is told.
    pub(crate) fn start(
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
            exporter: _,
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

/// Bound before anything else, so that a taken port changes nothing.
pub(crate) struct Sockets {
    pub(crate) admin: TcpListener,
    pub(crate) fleet: TcpListener,
    ops: TcpListener,
}

impl Sockets {
    pub(crate) async fn bind(config: &Config) -> Result<Self, BindError> {
        let [admin, fleet, ops] = server::bind([&config.admin.listener, &config.fleet, &config.ops]).await?;
        Ok(Self { admin, fleet, ops })
    }
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

/// `None`: only certificates count.
fn node_token(config: &StoreConfig) -> Result<Option<SecretString>, SecretFileError> {
    let token = match &config.node_token {
        NodeToken::Refused => return Ok(None),
        NodeToken::Given(token) => token.clone(),
        NodeToken::File(path) => secrets::node_token(path)?,
        NodeToken::Made => secrets::node_token(&config.beside_database("node-token"))?,
    };
    Ok(Some(token))
}
