//! `FleetService`: the data planes, what each holds, and what can be asked of it.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::fleet_service_server::FleetService;
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status};

pub(crate) struct Fleet;

#[tonic::async_trait]
impl FleetService for Fleet {
    async fn list_nodes(
        &self,
        _request: Request<admin::ListNodesRequest>,
    ) -> Result<Response<admin::ListNodesResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    type WatchFleetStream = BoxStream<'static, Result<admin::WatchFleetResponse, Status>>;

    async fn watch_fleet(
        &self,
        _request: Request<admin::WatchFleetRequest>,
    ) -> Result<Response<Self::WatchFleetStream>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn drain_node(
        &self,
        _request: Request<admin::DrainNodeRequest>,
    ) -> Result<Response<admin::DrainNodeResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn revoke_node(
        &self,
        _request: Request<admin::RevokeNodeRequest>,
    ) -> Result<Response<admin::RevokeNodeResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn forget_node(
        &self,
        _request: Request<admin::ForgetNodeRequest>,
    ) -> Result<Response<admin::ForgetNodeResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn create_join_token(
        &self,
        _request: Request<admin::CreateJoinTokenRequest>,
    ) -> Result<Response<admin::CreateJoinTokenResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn list_breaker_overrides(
        &self,
        _request: Request<admin::ListBreakerOverridesRequest>,
    ) -> Result<Response<admin::ListBreakerOverridesResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn set_breaker_override(
        &self,
        _request: Request<admin::SetBreakerOverrideRequest>,
    ) -> Result<Response<admin::SetBreakerOverrideResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn delete_breaker_override(
        &self,
        _request: Request<admin::DeleteBreakerOverrideRequest>,
    ) -> Result<Response<admin::DeleteBreakerOverrideResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }
}
