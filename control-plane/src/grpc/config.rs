//! `ConfigService`: how the configuration became what it is, and all of it as one file.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::config_service_server::ConfigService;
use tonic::{Request, Response, Status};

pub(crate) struct Config;

#[tonic::async_trait]
impl ConfigService for Config {
    async fn list_revisions(
        &self,
        _request: Request<admin::ListRevisionsRequest>,
    ) -> Result<Response<admin::ListRevisionsResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn diff(
        &self,
        _request: Request<admin::DiffRequest>,
    ) -> Result<Response<admin::DiffResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn rollback(
        &self,
        _request: Request<admin::RollbackRequest>,
    ) -> Result<Response<admin::RollbackResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn export(
        &self,
        _request: Request<admin::ExportRequest>,
    ) -> Result<Response<admin::ExportResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn plan(
        &self,
        _request: Request<admin::PlanRequest>,
    ) -> Result<Response<admin::PlanResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn apply(
        &self,
        _request: Request<admin::ApplyRequest>,
    ) -> Result<Response<admin::ApplyResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }
}
