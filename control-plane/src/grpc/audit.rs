//! `AuditService`: who changed what.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::audit_service_server::AuditService;
use futures_util::stream::BoxStream;
use tonic::{Request, Response, Status};

pub(crate) struct Audit;

#[tonic::async_trait]
impl AuditService for Audit {
    async fn list_entries(
        &self,
        _request: Request<admin::ListEntriesRequest>,
    ) -> Result<Response<admin::ListEntriesResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    type ExportEntriesStream = BoxStream<'static, Result<admin::ExportEntriesResponse, Status>>;

    async fn export_entries(
        &self,
        _request: Request<admin::ExportEntriesRequest>,
    ) -> Result<Response<Self::ExportEntriesStream>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn verify_entries(
        &self,
        _request: Request<admin::VerifyEntriesRequest>,
    ) -> Result<Response<admin::VerifyEntriesResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }
}
