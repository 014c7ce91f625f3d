//! Every method × every kind of caller equals the table.

use bridge_proto::admin::v1::service_token_service_client::ServiceTokenServiceClient;
use bridge_proto::admin::v1::{self as admin, Role};
use http::uri::PathAndQuery;
use prost_reflect::DescriptorPool;
use tonic::client::Grpc;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::{Bearer, Bridge, EMAIL, PASSWORD, SignedIn};

const CALLERS: [&str; 7] = [
    "nobody",
    "api key",
    "must change",
    "user",
    "auditor",
    "operator",
    "admin",
];

/// Who gets past the door, written down a second time, independent of the table.
pub(super) fn may_enter(method: &str, caller: &str) -> bool {
    let (service, name) = method.split_once('.').unwrap();
    let reads = reads(name);
    match (service, name, caller) {
        ("AuthService", "GetSignInInfo" | "Login" | "Refresh", _) => true,
        (_, _, "nobody" | "api key") => false,
        ("AuthService", "ChangePassword", _) => true,
        (_, _, "must change") => false,
        ("AuthService", _, _) | (_, _, "admin") => true,
        ("UserService" | "ServiceTokenService" | "AuditService", _, "auditor") => reads,
        ("UserService" | "ServiceTokenService" | "AuditService", _, _) => false,
        ("FleetService", "RevokeNode" | "ForgetNode" | "CreateJoinToken", _) => false,
        ("OperationsService", _, _) => false,
        ("StatsService", _, _) => true,
        ("ApiKeyService" | "PlaygroundService", _, "auditor") => reads,
        ("ApiKeyService" | "PlaygroundService", _, _) => true,
        (_, _, "operator") => true,
        (_, _, "auditor") => reads,
        _ => false,
    }
}

fn reads(name: &str) -> bool {
    let reading = [
        "List", "Get", "Watch", "Export", "Verify", "Diff", "Plan", "Explain",
    ];
    reading.iter().any(|verb| name.starts_with(verb))
}

/// What a service token needs besides its role: area and whether reading will do.
fn scope_of(method: &str) -> Option<(&'static str, bool)> {
    let (service, name) = method.split_once('.').unwrap();
    let area = match service {
        "ApiKeyService" => "api_keys",
        "AuditService" => "audit",
        "ConfigService" => "config",
        "FleetService" => "fleet",
        "HealthService" => "health",
        "ModelService" => "models",
        "OperationsService" => "operations",
        "ProviderService" => "providers",
        "RoutingService" => "routing",
        "SettingsService" => "settings",
        "StatsService" => "stats",
        "UserService" => "users",
        "AuthService" | "PlaygroundService" | "ServiceTokenService" => return None,
        other => panic!("{other} has no area"),
    };
    Some((area, reads(name)))
}

pub(super) fn methods() -> Vec<(String, String)> {
    let pool = DescriptorPool::decode(bridge_proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = pool
        .services()
        .filter(|service| service.package_name() == "bridge.admin.v1");
    let mut methods: Vec<_> = services
        .flat_map(|service| {
            let method = |method: prost_reflect::MethodDescriptor| {
                let service = method.parent_service().clone();
                let path = format!("/{}/{}", service.full_name(), method.name());
                (format!("{}.{}", service.name(), method.name()), path)
            };
            service.methods().map(method).collect::<Vec<_>>()
        })
        .collect();
    // Signing out ends the session that the other calls need.
    methods.sort_by_key(|(name, _)| name.ends_with("Logout"));
    methods
}

pub(super) async fn call(service: SignedIn, path: &str) -> Result<(), Status> {
    let mut grpc = Grpc::new(service);
    grpc.ready().await.unwrap();
    // The empty message is a message of every type.
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let path = PathAndQuery::try_from(path).unwrap();
    // The first message is enough: some streams have no end.
    let answer = grpc.server_streaming(Request::new(()), path, codec).await?;
    answer.into_inner().message().await.map(drop)
}

/// The door's own reason for a refusal; a service's refusals have others.
fn refused_at_the_door(answer: &Result<(), Status>) -> Option<(Code, String)> {
    let status = answer.as_ref().err()?;
    let reason = status.get_error_details().error_info()?.reason.clone();
    let door = [
        "TOKEN_MISSING",
        "TOKEN_REFUSED",
        "API_KEY_AS_TOKEN",
        "PASSWORD_CHANGE_REQUIRED",
        "ROLE_REFUSED",
        "SCOPE_MISSING",
        "FOR_PEOPLE_ONLY",
    ];
    door.contains(&reason.as_str()).then(|| (status.code(), reason))
}

#[tokio::test]
async fn every_method_admits_exactly_whom_the_table_names() {
    let bridge = Bridge::start().await;
    for (email, role, must_change) in [
        ("user@example.com", Role::User, false),
        ("auditor@example.com", Role::Auditor, false),
        ("operator@example.com", Role::Operator, false),
        ("new@example.com", Role::Admin, true),
    ] {
        bridge.add_user(email, role, must_change).await;
    }
    let channel = bridge.channel(bridge.admin).await;
    let methods = methods();
    assert!(methods.len() >= 32, "only {} methods", methods.len());
    for caller in CALLERS {
        let token = match caller {
            "nobody" => None,
            "api key" => Some("sk-bridge-aaaaaaaaaaaa-b".to_owned()),
            "must change" => Some(token(&bridge, "new@example.com").await),
            "admin" => Some(token(&bridge, EMAIL).await),
            role => Some(token(&bridge, &format!("{role}@example.com")).await),
        };
        for (method, path) in &methods {
            let bearer = token.as_deref().map_or(Bearer(None), Bearer::new);
            let answer = call(InterceptedService::new(channel.clone(), bearer), path).await;
            let refused = refused_at_the_door(&answer);
            let expected = may_enter(method, caller);
            assert_eq!(refused.is_none(), expected, "{method} by {caller}: {answer:?}");
            if let Some((code, reason)) = refused {
                let is_unknown = matches!(caller, "nobody" | "api key");
                let expected = if is_unknown {
                    Code::Unauthenticated
                } else {
                    Code::PermissionDenied
                };
                assert_eq!(code, expected, "{method} by {caller}: {reason}");
            }
        }
    }
}

const AREAS: [&str; 11] = [
    "api_keys",
    "audit",
    "config",
    "fleet",
    "health",
    "models",
    "providers",
    "routing",
    "settings",
    "stats",
    "users",
];

#[tokio::test]
async fn a_service_token_passes_where_both_its_role_and_its_scopes_do() {
    let bridge = Bridge::start().await;
    let all: Vec<String> = AREAS.iter().map(|area| format!("{area}:write")).collect();
    let mut cases: Vec<(Role, &str, Vec<String>)> = vec![
        (Role::User, "user", all.clone()),
        (Role::Auditor, "auditor", all.clone()),
        (Role::Operator, "operator", all),
    ];
    for area in AREAS {
        for action in ["read", "write"] {
            cases.push((Role::Admin, "admin", vec![format!("{area}:{action}")]));
        }
    }
    let channel = bridge.channel(bridge.admin).await;
    let mut tokens = ServiceTokenServiceClient::new(bridge.admin().await);
    for (role, role_name, scopes) in cases {
        let request = admin::CreateServiceTokenRequest {
            name: role_name.to_owned(),
            role: role.into(),
            scopes: scopes.clone(),
            ..Default::default()
        };
        let token = tokens
            .create_service_token(request)
            .await
            .unwrap()
            .into_inner()
            .token;
        for (method, path) in methods() {
            let (_, name) = method.split_once('.').unwrap();
            let is_open = matches!(name, "GetSignInInfo" | "Login" | "Refresh");
            let is_in_scope = scope_of(&method).is_some_and(|(area, reads)| {
                let has = |action: &str| scopes.contains(&format!("{area}:{action}"));
                has("write") || (reads && has("read"))
            });
            let expected = is_open || (is_in_scope && may_enter(&method, role_name));
            let by = InterceptedService::new(channel.clone(), Bearer::new(&token));
            let answer = call(by, &path).await;
            let refused = refused_at_the_door(&answer);
            assert_eq!(
                refused.is_none(),
                expected,
                "{method} by {role_name} {scopes:?}: {answer:?}"
            );
        }
    }
}

async fn token(bridge: &Bridge, email: &str) -> String {
    bridge.login(email, PASSWORD).await.unwrap().access_token
}

#[tokio::test]
async fn a_token_ends_with_the_role_it_was_given_for() {
    let bridge = Bridge::start().await;
    let user = bridge
        .add_user("operator@example.com", Role::Operator, false)
        .await;
    let operator = bridge.signed_in("operator@example.com").await;
    let list = "/bridge.admin.v1.ProviderService/ListProviders";
    call(operator.clone(), list).await.unwrap();
    let demoted = admin::UpdateUserRequest {
        user: Some(admin::User {
            id: user.id,
            role: Role::User.into(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["role".to_owned()],
        }),
        revision: user.revision,
    };
    let mut users = admin::user_service_client::UserServiceClient::new(bridge.admin().await);
    users.update_user(demoted).await.unwrap();
    let refused = refused_at_the_door(&call(operator, list).await).unwrap();
    assert_eq!(refused, (Code::Unauthenticated, "TOKEN_REFUSED".to_owned()));
}

#[tokio::test]
async fn what_is_not_a_service_is_told_apart() {
    let bridge = Bridge::start().await;
    let nobody = InterceptedService::new(bridge.channel(bridge.admin).await, Bearer(None));
    for path in [
        "/bridge.admin.v1.NoService/Get",
        "/bridge.admin.v1.AuthService/Nothing",
        "/bridge.fleet.v1.WatchService/Watch",
    ] {
        assert_eq!(
            call(nobody.clone(), path).await.unwrap_err().code(),
            Code::Unimplemented,
            "{path}"
        );
    }
}
