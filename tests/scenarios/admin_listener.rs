//! The admin listener: gRPC, grpc-web over HTTP/1.1, reflection and health on one port.

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{GetMeRequest, ListApiKeysRequest, LoginRequest, LoginResponse};
use bridge_tests::admin::{self, Admin, Bearer};
use bridge_tests::bridge::Bridge;
use prost::Message;
use prost_reflect::DescriptorPool;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[tokio::test]
async fn grpc_web_works_over_http_1_1() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    let request = LoginRequest {
        email: admin::EMAIL.to_owned(),
        password: admin::PASSWORD.to_owned(),
    };
    let message = request.encode_to_vec();
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len())?.to_be_bytes());
    frame.extend(message);

    let address = bridge.control().admin_address();
    let client = reqwest::Client::builder().http1_only().build()?;
    let response = client
        .post(format!("http://{address}/bridge.admin.v1.AuthService/Login"))
        .header("content-type", "application/grpc-web+proto")
        .header("x-grpc-web", "1")
        .body(frame)
        .send()
        .await?;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/grpc-web+proto");
    let body = response.bytes().await?;
    let length = u32::from_be_bytes(body[1..5].try_into()?) as usize;
    let answer = LoginResponse::decode(&body[5..5 + length])?;
    assert!(!answer.access_token.is_empty());
    assert!(String::from_utf8_lossy(&body[5 + length..]).contains("grpc-status:0"));
    Ok(())
}

#[tokio::test]
async fn only_signing_in_and_health_open_without_a_token() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    let channel = admin::connect(&bridge.control().admin_address()).await?;
    let health = HealthClient::new(channel.clone())
        .check(HealthCheckRequest::default())
        .await?;
    assert_eq!(health.into_inner().status, 1);

    let pool = DescriptorPool::decode(bridge_proto::FILE_DESCRIPTOR_SET)?;
    let services = pool
        .services()
        .filter(|service| service.package_name() == "bridge.admin.v1");
    let methods: Vec<String> = services
        .flat_map(|service| {
            let name = service.full_name().to_owned();
            service
                .methods()
                .map(move |method| format!("/{name}/{}", method.name()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(methods.len() >= 25, "{methods:?}");
    let mut open = Vec::new();
    for path in methods {
        let mut grpc = Grpc::new(channel.clone());
        grpc.ready().await?;
        // An empty message is a valid request of every method.
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        let answer = grpc
            .unary(Request::new(()), PathAndQuery::try_from(&path)?, codec)
            .await;
        // Login and Refresh refuse an empty message too, but not for want of a token.
        let is_closed = matches!(&answer, Err(status) if status.code() == Code::Unauthenticated && status.message() == unauthenticated_text(&channel).await?);
        if !is_closed {
            open.push(path);
        }
    }
    open.sort();
    assert_eq!(
        open,
        [
            "/bridge.admin.v1.AuthService/GetSignInInfo",
            "/bridge.admin.v1.AuthService/Login",
            "/bridge.admin.v1.AuthService/Refresh"
        ]
    );
    Ok(())
}

/// What a method says to a caller without a token.
async fn unauthenticated_text(channel: &tonic::transport::Channel) -> Result<String> {
    let mut client = bridge_proto::admin::v1::auth_service_client::AuthServiceClient::new(channel.clone());
    let refused = client
        .get_me(GetMeRequest::default())
        .await
        .err()
        .context("GetMe is open")?;
    Ok(refused.message().to_owned())
}

#[tokio::test]
async fn reflection_lists_the_services_to_those_who_logged_in() -> Result<()> {
    let mut bridge = Bridge::start(0).await?;
    let address = bridge.control().admin_address();
    let token = Admin::login(&address).await?.token()?;
    let channel = admin::connect(&address).await?;
    let list = || {
        tokio_stream::iter([ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        }])
    };

    let stranger = ServerReflectionClient::new(channel.clone())
        .server_reflection_info(list())
        .await;
    assert_eq!(
        stranger.err().map(|status| status.code()),
        Some(Code::Unauthenticated)
    );

    let mut client = ServerReflectionClient::with_interceptor(channel, Bearer::parse(&token)?);
    let mut answers = client.server_reflection_info(list()).await?.into_inner();
    let answer = answers.message().await?.context("no answer")?;
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<String> = services.service.into_iter().map(|service| service.name).collect();
    for name in [
        "AuthService",
        "UserService",
        "ApiKeyService",
        "ProviderService",
        "SettingsService",
    ] {
        assert!(names.contains(&format!("bridge.admin.v1.{name}")), "{names:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_default_password_opens_one_door_only() -> Result<()> {
    let environment = vec![("ADMIN_PASSWORD", "admin123".to_owned())];
    let mut bridge = Bridge::start_with(0, environment).await?;
    let address = bridge.control().admin_address();
    let admin = Admin::login_as(&address, admin::EMAIL, "admin123").await?;
    let refused = admin.keys().list_api_keys(ListApiKeysRequest::default()).await;
    assert_eq!(
        refused.err().map(|status| status.code()),
        Some(Code::PermissionDenied)
    );
    Ok(())
}

#[tokio::test]
async fn a_wrong_login_and_a_client_key_open_nothing() -> Result<()> {
    let bridge = Bridge::start(0).await?;
    let admin = bridge.admin().await?;
    let (key, _) = admin.create_key("a client").await?;
    let mut bridge = bridge;
    let address = bridge.control().admin_address();
    assert!(Admin::login_as(&address, admin::EMAIL, "wrong").await.is_err());
    let channel = admin::connect(&address).await?;
    let mut client = bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient::with_interceptor(
        channel,
        Bearer::parse(&key)?,
    );
    let refused = client.list_api_keys(ListApiKeysRequest::default()).await;
    assert_eq!(
        refused.err().map(|status| status.code()),
        Some(Code::Unauthenticated)
    );
    Ok(())
}
