//! The whole plane in this process, on real sockets: what crosses several modules.

mod access;
mod api_keys;
mod audit;
mod config;
mod dialects;
mod enrolment;
mod fleet;
mod foreign;
mod health;
mod models;
mod own_keys;
mod playground;
mod requests;
mod rotation;
mod service_tokens;
mod services;
mod sessions;
mod usage;
mod violations;
mod watch;

use std::net::SocketAddr;
use std::time::Duration;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::auth_service_client::AuthServiceClient;
use bridge_proto::admin::v1::fleet_service_client::FleetServiceClient;
use bridge_proto::admin::v1::user_service_client::UserServiceClient;
use clap::Parser;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};

use crate::config::Cli;
use crate::{Plane, Sockets, open_store};

const EMAIL: &str = "admin@example.com";
const PASSWORD: &str = "correct horse battery";
const NODE_TOKEN: &str = "node-token-of-the-test";
/// Every wait in these tests ends by then.
const DEADLINE: Duration = Duration::from_secs(20);

struct Bridge {
    admin: SocketAddr,
    fleet: SocketAddr,
    stopping: CancellationToken,
    /// By whom the listeners' certificates are signed, if they have any.
    authority: Option<String>,
    _folder: TempDir,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.stopping.cancel();
    }
}

impl Bridge {
    async fn start() -> Self {
        Self::start_with(&[], None).await
    }

    async fn start_with(more: &[&str], authority: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let any_port = "127.0.0.1:0";
        let arguments = [
            "bridge-control-plane",
            "--admin-listen",
            any_port,
            "--fleet-listen",
            any_port,
            "--ops-listen",
            any_port,
            "--database-path",
            &path("store"),
            "--master-key-file",
            &path("master-key"),
            "--provider-config-path",
            &path("provider.json"),
        ];
        let environment = |name: &str| match name {
            "ADMIN_PASSWORD" => Some(PASSWORD.to_owned()),
            "NODE_TOKEN" => Some(NODE_TOKEN.to_owned()),
            _ => None,
        };
        let config = Cli::try_parse_from(arguments.iter().chain(more))
            .unwrap()
            .check(environment)
            .unwrap();
        let sockets = Sockets::bind(&config).await.unwrap();
        let (admin, fleet) = (
            sockets.admin.local_addr().unwrap(),
            sockets.fleet.local_addr().unwrap(),
        );
        let store = open_store(&config.store.database).await.unwrap();
        let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
        let plane = Plane::wire(config, &store, &stopping, &tasks).await.unwrap();
        plane.start(sockets, &stopping, &tasks);
        Self {
            admin,
            fleet,
            stopping,
            authority: authority.map(str::to_owned),
            _folder: folder,
        }
    }

    async fn channel(&self, address: SocketAddr) -> Channel {
        let scheme = if self.authority.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}")).unwrap();
        if let Some(authority) = &self.authority {
            let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
            endpoint = endpoint.tls_config(tls).unwrap();
        }
        endpoint.connect_timeout(DEADLINE).connect().await.unwrap()
    }

    async fn login(&self, email: &str, password: &str) -> Result<admin::LoginResponse, Status> {
        let mut client = AuthServiceClient::new(self.channel(self.admin).await);
        let login = admin::LoginRequest {
            email: email.to_owned(),
            password: password.to_owned(),
        };
        client.login(login).await.map(tonic::Response::into_inner)
    }

    /// A channel that speaks for the user.
    async fn signed_in(&self, email: &str) -> SignedIn {
        let token = self.login(email, PASSWORD).await.unwrap().access_token;
        InterceptedService::new(self.channel(self.admin).await, Bearer::new(&token))
    }

    async fn admin(&self) -> SignedIn {
        self.signed_in(EMAIL).await
    }

    /// Waits until these nodes have acknowledged a revision.
    async fn wait_for_acks(&self, names: &[&str], revision: u64) {
        let mut fleet = FleetServiceClient::new(self.admin().await);
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let nodes = fleet.list_nodes(admin::ListNodesRequest {}).await;
            let nodes = nodes.unwrap().into_inner().nodes;
            let has_acked = |name: &&str| {
                let mut nodes = nodes.iter();
                nodes.any(|node| node.id == **name && node.acknowledged_revision >= revision)
            };
            if names.iter().all(has_acked) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{nodes:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn add_user(&self, email: &str, role: admin::Role, must_change_password: bool) -> admin::User {
        let request = admin::CreateUserRequest {
            email: email.to_owned(),
            name: email.to_owned(),
            role: role.into(),
            password: PASSWORD.to_owned(),
            must_change_password,
            ..Default::default()
        };
        let mut users = UserServiceClient::new(self.admin().await);
        users
            .create_user(request)
            .await
            .unwrap()
            .into_inner()
            .user
            .unwrap()
    }
}

type SignedIn = InterceptedService<Channel, Bearer>;

/// Speaks for somebody, or for nobody.
#[derive(Clone)]
struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    fn new(token: &str) -> Self {
        Self(Some(format!("Bearer {token}").parse().unwrap()))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}
