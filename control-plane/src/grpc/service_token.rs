//! `ServiceTokenService`: credentials of scripts.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::service_token_service_server::ServiceTokenService;
use tonic::{Request, Response, Status};

pub(crate) struct ServiceTokens;

#[tonic::async_trait]
impl ServiceTokenService for ServiceTokens {
    async fn list_service_tokens(
        &self,
        _request: Request<admin::ListServiceTokensRequest>,
    ) -> Result<Response<admin::ListServiceTokensResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn get_service_token(
        &self,
        _request: Request<admin::GetServiceTokenRequest>,
    ) -> Result<Response<admin::GetServiceTokenResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn create_service_token(
        &self,
        _request: Request<admin::CreateServiceTokenRequest>,
    ) -> Result<Response<admin::CreateServiceTokenResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn delete_service_token(
        &self,
        _request: Request<admin::DeleteServiceTokenRequest>,
    ) -> Result<Response<admin::DeleteServiceTokenResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }
}
