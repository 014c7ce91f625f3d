//! `RoutingService`: where a request would go, asked of a data plane.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::routing_service_server::RoutingService;
use tonic::{Request, Response, Status};

pub(crate) struct Routing;

#[tonic::async_trait]
impl RoutingService for Routing {
    async fn explain(
        &self,
        _request: Request<admin::ExplainRequest>,
    ) -> Result<Response<admin::ExplainResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }
}
