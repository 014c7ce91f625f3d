//! The services, one file each and thin: read the request, ask the domain, commit,
//! answer. `status` is the only way from an error to a status,
//! and `interceptor` decides who gets as far as a service.

mod accounts;
mod api_key;
mod audit;
mod auth;
mod call;
mod commits;
mod config;
mod convert;
mod duration;
pub(crate) mod enrolment;
pub(crate) mod fleet;
#[cfg(test)]
mod fuzz;
mod health;
pub(crate) mod interceptor;
mod mask;
mod model;
mod operations;
mod page;
mod playground;
mod provider;
mod routing;
mod service_token;
mod settings;
mod stats;
mod status;
mod summary;
pub(crate) mod usage;
mod user;
pub(crate) mod watch;

use std::sync::Arc;
use std::time::SystemTime;

use bridge_proto::admin::v1::FleetListener;
use bridge_proto::admin::v1::api_key_service_server::{self, ApiKeyServiceServer};
use bridge_proto::admin::v1::audit_service_server::{self, AuditServiceServer};
use bridge_proto::admin::v1::auth_service_server::{self, AuthServiceServer};
use bridge_proto::admin::v1::config_service_server::{self, ConfigServiceServer};
use bridge_proto::admin::v1::fleet_service_server::{self, FleetServiceServer};
use bridge_proto::admin::v1::health_service_server::{self, HealthServiceServer};
use bridge_proto::admin::v1::model_service_server::{self, ModelServiceServer};
use bridge_proto::admin::v1::operations_service_server::{self, OperationsServiceServer};
use bridge_proto::admin::v1::playground_service_server::{self, PlaygroundServiceServer};
use bridge_proto::admin::v1::provider_service_server::{self, ProviderServiceServer};
use bridge_proto::admin::v1::routing_service_server::{self, RoutingServiceServer};
use bridge_proto::admin::v1::service_token_service_server::{self, ServiceTokenServiceServer};
use bridge_proto::admin::v1::settings_service_server::{self, SettingsServiceServer};
use bridge_proto::admin::v1::stats_service_server::{self, StatsServiceServer};
use bridge_proto::admin::v1::user_service_server::{self, UserServiceServer};
use bridge_proto::fleet::v1::enrolment_service_server::EnrolmentServiceServer;
use bridge_proto::fleet::v1::usage_service_server::UsageServiceServer;
use bridge_proto::fleet::v1::watch_service_server::WatchServiceServer;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;
use tonic_health::pb::health_server::{self, Health, HealthServer};

use crate::auth::default_admin::DefaultAdmin;
use crate::auth::password::Hasher;
use crate::auth::session::Sessions;
use crate::authority::Authority;
use crate::checks::Checks;
use crate::explain::Explains;
use crate::peers::Peers;
use crate::playground::Playground;
use crate::probe::Probes;
use crate::roster::Roster;
use crate::secrets::Keyring;
use crate::snapshot::feed::Feed;
use crate::store::Store;
use crate::telemetry::Metrics;

/// Largest message of an admin, in bytes.
const ADMIN_MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// The services of the admin listener, as health and reflection know them.
pub(crate) const ADMIN_SERVICES: [&str; 15] = [
    operations_service_server::SERVICE_NAME,
    service_token_service_server::SERVICE_NAME,
    fleet_service_server::SERVICE_NAME,
    playground_service_server::SERVICE_NAME,
    health_service_server::SERVICE_NAME,
    stats_service_server::SERVICE_NAME,
    routing_service_server::SERVICE_NAME,
    config_service_server::SERVICE_NAME,
    audit_service_server::SERVICE_NAME,
    api_key_service_server::SERVICE_NAME,
    auth_service_server::SERVICE_NAME,
    model_service_server::SERVICE_NAME,
    provider_service_server::SERVICE_NAME,
    settings_service_server::SERVICE_NAME,
    user_service_server::SERVICE_NAME,
];

/// What the services of the admin stand on.
#[derive(Clone)]
pub(crate) struct AdminParts {
    pub(crate) store: Store,
    pub(crate) keyring: Keyring,
    pub(crate) hasher: Hasher,
    pub(crate) sessions: Sessions,
    pub(crate) authority: Authority,
    pub(crate) roster: Roster,
    pub(crate) peers: Peers,
    pub(crate) feed: Feed,
    pub(crate) fleet_listener: FleetListener,
    pub(crate) stopping: CancellationToken,
    pub(crate) probes: Probes,
    pub(crate) explains: Explains,
    pub(crate) checks: Checks,
    pub(crate) playground: Playground,
    /// For what goes on beside a call.
    pub(crate) tasks: TaskTracker,
    pub(crate) metrics: Metrics,
}

pub(crate) fn admin_routes<H: Health>(parts: AdminParts, serving: HealthServer<H>) -> Routes {
    let AdminParts {
        store,
        keyring,
        hasher,
        sessions,
        authority,
        roster,
        peers,
        feed,
        fleet_listener,
        stopping,
        probes,
        explains,
        checks,
        playground,
        tasks,
        metrics,
    } = parts;
    let commits = commits::Commits::new(store.clone(), metrics.clone());
    let auth = auth::Auth {
        store: store.clone(),
        sessions,
        default_admin: DefaultAdmin::new(store.clone(), hasher.clone()),
        metrics,
    };
    let users = user::Users {
        store: store.clone(),
        commits: commits.clone(),
        hasher,
    };
    let nodes = peers.nodes.clone();
    let api_keys = api_key::ApiKeys {
        store: store.clone(),
        commits: commits.clone(),
        peers: peers.clone(),
    };
    let playground = playground::Service {
        playground,
        stopping: stopping.clone(),
    };
    let fleet = fleet::Fleet {
        store: store.clone(),
        commits: commits.clone(),
        authority,
        listener: fleet_listener,
        roster: roster.clone(),
        peers: peers.clone(),
        feed: feed.clone(),
        overrides: fleet::Overrides {
            store: store.clone(),
            commits: commits.clone(),
        },
        stopping,
    };
    let health = health::Health {
        checks: checks.clone(),
        runs: Arc::new(Semaphore::new(health::RUNS_MAX)),
        store: store.clone(),
        nodes: nodes.clone(),
        roster,
        feed,
    };
    let routing = routing::Routing {
        store: store.clone(),
        peers: peers.clone(),
        explains,
    };
    let providers = provider::Providers {
        store: store.clone(),
        commits: commits.clone(),
        keyring: keyring.clone(),
        peers,
        probes,
        checks,
    };
    let config = config::Config {
        store: store.clone(),
        commits: commits.clone(),
        keyring,
        nodes,
    };
    let models = model::Models {
        store: store.clone(),
        commits: commits.clone(),
    };
    let operations = operations::Operations {
        store: store.clone(),
        commits: commits.clone(),
        turn: Arc::new(Semaphore::new(1)),
        tasks,
    };
    let stats = stats::Stats::new(store.clone());
    let audit = audit::Audit::new(store.clone());
    let service_tokens = service_token::ServiceTokens {
        store: store.clone(),
        commits: commits.clone(),
    };
    let settings = settings::Settings {
        store,
        commits,
        started_at: SystemTime::now(),
    };
    Routes::new(serving)
        .add_service(AuthServiceServer::new(auth).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX))
        .add_service(UserServiceServer::new(users).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX))
        .add_service(ApiKeyServiceServer::new(api_keys).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX))
        .add_service(ProviderServiceServer::new(providers).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX))
        .add_service(ModelServiceServer::new(models).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX))
        .add_service(SettingsServiceServer::new(settings).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX))
        .add_service(
            ServiceTokenServiceServer::new(service_tokens).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX),
        )
        .add_service(FleetServiceServer::new(fleet).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX))
        .add_service(HealthServiceServer::new(health).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX))
        .add_service(StatsServiceServer::new(stats).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX))
        .add_service(RoutingServiceServer::new(routing).max_decoding_message_size(routing::REQUEST_BYTES_MAX))
        .add_service(
            PlaygroundServiceServer::new(playground).max_decoding_message_size(playground::REQUEST_BYTES_MAX),
        )
        .add_service(ConfigServiceServer::new(config).max_decoding_message_size(config::REQUEST_BYTES_MAX))
        .add_service(
            OperationsServiceServer::new(operations).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX),
        )
        .add_service(AuditServiceServer::new(audit).max_decoding_message_size(ADMIN_MESSAGE_BYTES_MAX))
}

/// Adds reflection in both versions, for what is served here and nothing else.
pub(crate) fn with_reflection(routes: Routes) -> Result<Routes, tonic_reflection::server::Error> {
    let configure = || {
        let builder = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(bridge_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
        let served = ADMIN_SERVICES.into_iter().chain([health_server::SERVICE_NAME]);
        served.fold(builder, |builder, service| builder.with_service_name(service))
    };
    Ok(routes
        .add_service(configure().build_v1()?)
        .add_service(configure().build_v1alpha()?))
}

pub(crate) fn fleet_routes(
    watch: watch::Watch,
    usage: usage::Usage,
    enrolment: enrolment::Enrolment,
) -> Routes {
    let watch = WatchServiceServer::new(watch).max_decoding_message_size(watch::WATCH_REQUEST_BYTES_MAX);
    let usage = UsageServiceServer::new(usage).max_decoding_message_size(usage::REPORT_BYTES_MAX);
    let enrolment =
        EnrolmentServiceServer::new(enrolment).max_decoding_message_size(enrolment::REQUEST_BYTES_MAX);
    Routes::new(watch).add_service(usage).add_service(enrolment)
}
