//! `StatsService`: what traffic was and what it cost.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::stats_service_server::StatsService;
use tonic::{Request, Response, Status};

pub(crate) struct Stats;

#[tonic::async_trait]
impl StatsService for Stats {
    async fn get_summary(
        &self,
        _request: Request<admin::GetSummaryRequest>,
    ) -> Result<Response<admin::GetSummaryResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn get_token_usage(
        &self,
        _request: Request<admin::GetTokenUsageRequest>,
    ) -> Result<Response<admin::GetTokenUsageResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn list_requests(
        &self,
        _request: Request<admin::ListRequestsRequest>,
    ) -> Result<Response<admin::ListRequestsResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn get_request(
        &self,
        _request: Request<admin::GetRequestRequest>,
    ) -> Result<Response<admin::GetRequestResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }
}
