//! `FleetService`: the data planes, what each holds, and what can be asked of it.

mod following;
mod membership;
mod merge;
pub(crate) mod others;
mod overrides;
pub(crate) mod view;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::fleet_service_server::FleetService;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use self::following::Following;
pub(crate) use self::overrides::Overrides;
use self::view::View;
use crate::authority::Authority;
use crate::grpc::call::Call;
use crate::grpc::commits::Commits;
use crate::grpc::status::Error;
use crate::peers::{CannotTell, Peers, Unanswered};
use crate::roster::Roster;
use crate::snapshot::feed::Feed;
use crate::snapshot::nodes::NodeId;
use crate::store::Store;

pub(crate) struct Fleet {
    pub(crate) store: Store,
    pub(crate) commits: Commits,
    pub(crate) authority: Authority,
    /// What a new data plane is told of the way here.
    pub(crate) listener: admin::FleetListener,
    pub(crate) roster: Roster,
    pub(crate) peers: Peers,
    pub(crate) feed: Feed,
    pub(crate) overrides: Overrides,
    pub(crate) stopping: CancellationToken,
}

#[tonic::async_trait]
impl FleetService for Fleet {
    async fn list_nodes(
        &self,
        request: Request<admin::ListNodesRequest>,
    ) -> Result<Response<admin::ListNodesResponse>, Status> {
        let admin::ListNodesRequest {} = request.into_inner();
        let View {
            nodes,
            published_revision,
            connected,
            current,
            canary: _,
        } = view::of(&self.peers.nodes, &self.roster, &self.feed);
        Ok(Response::new(admin::ListNodesResponse {
            nodes,
            published_revision,
            connected,
            current,
        }))
    }

    type WatchFleetStream = BoxStream<'static, Result<admin::WatchFleetResponse, Status>>;

    async fn watch_fleet(
        &self,
        request: Request<admin::WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        let admin::WatchFleetRequest {} = request.into_inner();
        let following = Following::new(
            self.peers.nodes.clone(),
            self.roster.clone(),
            self.feed.clone(),
            self.stopping.clone(),
        );
        Ok(Response::new(following.into_stream()))
    }

    async fn drain_node(
        &self,
        request: Request<admin::DrainNodeRequest>,
    ) -> Result<Response<admin::DrainNodeResponse>, Status> {
        let call = Call::of(&request)?;
        let id = request.into_inner().id;
        let drained = self.peers.drain(&named(&id)?).await;
        drained.map_err(|error| refused(error, &id))?;
        tracing::info!(node.id = %id, user.id = %call.caller.user_id, "an admin asks a data plane to drain");
        Ok(Response::new(admin::DrainNodeResponse {}))
    }

    async fn revoke_node(
        &self,
        request: Request<admin::RevokeNodeRequest>,
    ) -> Result<Response<admin::RevokeNodeResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(self.revoke(&call, &request.into_inner().id).await?))
    }

    async fn forget_node(
        &self,
        request: Request<admin::ForgetNodeRequest>,
    ) -> Result<Response<admin::ForgetNodeResponse>, Status> {
        let call = Call::of(&request)?;
        self.forget(&call, &request.into_inner().id).await?;
        Ok(Response::new(admin::ForgetNodeResponse {}))
    }

    async fn create_join_token(
        &self,
        request: Request<admin::CreateJoinTokenRequest>,
    ) -> Result<Response<admin::CreateJoinTokenResponse>, Status> {
        let call = Call::of(&request)?;
        Ok(Response::new(
            self.make_join_token(&call, request.into_inner()).await?,
        ))
    }

    async fn list_breaker_overrides(
        &self,
        request: Request<admin::ListBreakerOverridesRequest>,
    ) -> Result<Response<admin::ListBreakerOverridesResponse>, Status> {
        let call = Call::of(&request)?;
        let overrides = self.overrides.list(call.now).await?;
        Ok(Response::new(admin::ListBreakerOverridesResponse { overrides }))
    }

    async fn set_breaker_override(
        &self,
        request: Request<admin::SetBreakerOverrideRequest>,
    ) -> Result<Response<admin::SetBreakerOverrideResponse>, Status> {
        let call = Call::of(&request)?;
        let held = self.overrides.set(&call, request.into_inner()).await?;
        Ok(Response::new(admin::SetBreakerOverrideResponse {
            r#override: Some(held),
        }))
    }

    async fn delete_breaker_override(
        &self,
        request: Request<admin::DeleteBreakerOverrideRequest>,
    ) -> Result<Response<admin::DeleteBreakerOverrideResponse>, Status> {
        let call = Call::of(&request)?;
        self.overrides.delete(&call, &request.into_inner().id).await?;
        Ok(Response::new(admin::DeleteBreakerOverrideResponse {}))
    }
}

fn named(id: &str) -> Result<NodeId, Error> {
    NodeId::parse(id).ok_or_else(|| Error::NoSuchNode { id: id.to_owned() })
}

fn refused(error: CannotTell, id: &str) -> Error {
    match error {
        CannotTell::Unknown => Error::NoSuchNode { id: id.to_owned() },
        CannotTell::Refused(_) => Error::Precondition(error.to_string()),
        CannotTell::Unanswered(Unanswered::Store(error)) => error.into(),
        CannotTell::Unanswered(Unanswered::Silent | Unanswered::Unsealed) => {
            Error::NoPeer { node: id.to_owned() }
        }
    }
}
