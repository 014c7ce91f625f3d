//! `FleetService`: the data planes, what each holds, and what can be asked of it.

mod following;
mod overrides;
pub(crate) mod view;

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::fleet_service_server::FleetService;
use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use futures_util::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use self::following::Following;
pub(crate) use self::overrides::Overrides;
use self::view::View;
use crate::grpc::call::Call;
use crate::grpc::status::Error;
use crate::snapshot::feed::Feed;
use crate::snapshot::nodes::{CannotForget, NodeId, Nodes};

pub(crate) struct Fleet {
    pub(crate) nodes: Nodes,
    pub(crate) feed: Feed,
    pub(crate) overrides: Overrides,
    pub(crate) stopping: CancellationToken,
}

impl Fleet {
    /// The node that is named, which is known here.
    fn node(&self, id: &str) -> Result<NodeId, Error> {
        let known = || Error::NoSuchNode { id: id.to_owned() };
        let id = NodeId::parse(id).ok_or_else(known)?;
        if self.nodes.knows(&id) {
            Ok(id)
        } else {
            Err(known())
        }
    }
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
        } = view::of(&self.nodes, &self.feed);
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
        let following = Following::new(self.nodes.clone(), self.feed.clone(), self.stopping.clone());
        Ok(Response::new(following.into_stream()))
    }

    async fn drain_node(
        &self,
        request: Request<admin::DrainNodeRequest>,
    ) -> Result<Response<admin::DrainNodeResponse>, Status> {
        let call = Call::of(&request)?;
        let id = self.node(&request.into_inner().id)?;
        if !self.nodes.tell_one(&id, Down::Drain(fleet::Drain {})) {
            return Err(Error::Precondition(format!("data plane {id} is not connected")).into());
        }
        tracing::info!(node.id = %id, user.id = %call.caller.user_id, "an admin asks a data plane to drain");
        Ok(Response::new(admin::DrainNodeResponse {}))
    }

    async fn revoke_node(
        &self,
        _request: Request<admin::RevokeNodeRequest>,
    ) -> Result<Response<admin::RevokeNodeResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn forget_node(
        &self,
        request: Request<admin::ForgetNodeRequest>,
    ) -> Result<Response<admin::ForgetNodeResponse>, Status> {
        let id = self.node(&request.into_inner().id)?;
        match self.nodes.forget(&id) {
            Ok(()) => Ok(Response::new(admin::ForgetNodeResponse {})),
            Err(CannotForget::Unknown) => Err(Error::NoSuchNode { id: id.to_string() }.into()),
            Err(CannotForget::Connected) => {
                let reason = format!("data plane {id} is connected; drain it first");
                Err(Error::Precondition(reason).into())
            }
        }
    }

    async fn create_join_token(
        &self,
        _request: Request<admin::CreateJoinTokenRequest>,
    ) -> Result<Response<admin::CreateJoinTokenResponse>, Status> {
        Err(Status::unimplemented("not offered"))
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
