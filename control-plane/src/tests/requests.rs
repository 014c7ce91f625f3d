//! What tests of several subjects ask for.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use prost_types::FieldMask;
use tonic::{Code, Status};

use super::SignedIn;

pub(super) fn mask(paths: &[&str]) -> Option<FieldMask> {
    Some(FieldMask {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    })
}

pub(super) fn new_key(name: &str) -> admin::CreateApiKeyRequest {
    admin::CreateApiKeyRequest {
        name: name.to_owned(),
        ..Default::default()
    }
}

pub(super) async fn create_key(
    service: &SignedIn,
    request: admin::CreateApiKeyRequest,
) -> Result<admin::ApiKey, Status> {
    let mut keys = ApiKeyServiceClient::new(service.clone());
    keys.create_api_key(request)
        .await
        .map(|answer| answer.into_inner().api_key.unwrap())
}

pub(super) fn provider(name: &str) -> admin::Provider {
    admin::Provider {
        name: name.to_owned(),
        enabled: true,
        base_url: "https://upstream.example/v1".to_owned(),
        models: Some(admin::TierModels {
            big: vec!["m".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    }
}

pub(super) fn secrets(api_key: &str) -> Option<admin::ProviderSecrets> {
    Some(admin::ProviderSecrets {
        api_key: api_key.to_owned(),
        ..Default::default()
    })
}

pub(super) fn code<T: std::fmt::Debug>(answer: Result<T, Status>) -> Code {
    answer.unwrap_err().code()
}
