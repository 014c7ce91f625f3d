//! `HealthService`: whether providers answer.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::health_service_server::HealthService;
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status};

pub(crate) struct Health;

#[tonic::async_trait]
impl HealthService for Health {
    async fn list_health(
        &self,
        _request: Request<admin::ListHealthRequest>,
    ) -> Result<Response<admin::ListHealthResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn get_health(
        &self,
        _request: Request<admin::GetHealthRequest>,
    ) -> Result<Response<admin::GetHealthResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    type CheckHealthStream = BoxStream<'static, Result<admin::CheckHealthResponse, Status>>;

    async fn check_health(
        &self,
        _request: Request<admin::CheckHealthRequest>,
    ) -> Result<Response<Self::CheckHealthStream>, Status> {
        Err(Status::unimplemented("not offered"))
    }
}
