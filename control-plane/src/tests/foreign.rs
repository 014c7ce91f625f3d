//! Whose things a caller reaches: every method that a `user` may call × every kind of caller × their
//! own thing and somebody else's.

use std::collections::BTreeSet;

use bridge_proto::admin::v1::api_key_service_client::ApiKeyServiceClient;
use bridge_proto::admin::v1::auth_service_client::AuthServiceClient;
use bridge_proto::admin::v1::service_token_service_client::ServiceTokenServiceClient;
use bridge_proto::admin::v1::stats_service_client::StatsServiceClient;
use bridge_proto::admin::v1::{self as admin, Role};
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Status};

use super::access::{may_enter, methods};
use super::requests::{create_key, mask, new_key};
use super::usage::{batch, report};
use super::{Bearer, Bridge, EMAIL, SignedIn};

/// What a user may call that is about the caller alone, or about nothing that has an owner.
const ABOUT_ONESELF: [&str; 8] = [
    "AuthService.ChangePassword",
    "AuthService.GetMe",
    "AuthService.GetSignInInfo",
    "AuthService.Login",
    "AuthService.Logout",
    "AuthService.Refresh",
    "PlaygroundService.ListTargets",
    "PlaygroundService.SendMessage",
];
/// What names a thing that somebody owns.
const ABOUT_THINGS: [&str; 13] = [
    "ApiKeyService.CreateApiKey",
    "ApiKeyService.DeleteApiKey",
    "ApiKeyService.GetApiKey",
    "ApiKeyService.ListApiKeys",
    "ApiKeyService.RevokeApiKey",
    "ApiKeyService.RotateApiKey",
    "ApiKeyService.UpdateApiKey",
    "AuthService.ListSessions",
    // Last, since it ends the one session that there is to name.
    "AuthService.EndSession",
    "StatsService.GetRequest",
    "StatsService.GetSummary",
    "StatsService.GetTokenUsage",
    "StatsService.ListRequests",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Reached,
    /// As if it were not there.
    Hidden,
    Refused,
}

/// Who asks, and for whom: a service token acts for who made it.
struct Caller {
    name: &'static str,
    by: SignedIn,
    owner: Owner,
}

/// Who owns things.
#[derive(Clone)]
struct Owner {
    user_id: String,
    session_id: String,
    /// As whoever may make a key for them.
    by: SignedIn,
}

/// A key with its traffic, and a session.
struct Thing {
    owner_id: String,
    key_id: String,
    request_id: String,
    session_id: String,
}

/// Written down a second time, independent of the services.
fn expected(method: &str, caller: &str, is_own: bool) -> Reach {
    let reaches_all = matches!(caller, "admin" | "operator" | "auditor");
    let is_there = |is_reached: bool| if is_reached { Reach::Reached } else { Reach::Hidden };
    match method.split_once('.').unwrap() {
        ("AuthService", _) if caller == "token" => Reach::Refused,
        ("AuthService", _) => is_there(is_own || caller == "admin"),
        ("ApiKeyService", "GetApiKey" | "ListApiKeys") | ("StatsService", _) => {
            is_there(is_own || reaches_all)
        }
        ("ApiKeyService", _) if caller == "auditor" => Reach::Refused,
        // There is nothing yet that could be hidden.
        ("ApiKeyService", "CreateApiKey") if !is_own && !reaches_all => Reach::Refused,
        ("ApiKeyService", _) => is_there(is_own || reaches_all),
        other => panic!("{other:?} is not in the table"),
    }
}

async fn thing_of(bridge: &Bridge, owner: &Owner, sequence: u64) -> Thing {
    let request = admin::CreateApiKeyRequest {
        owner_user_id: owner.user_id.clone(),
        ..new_key("a thing")
    };
    let key_id = create_key(&owner.by, request).await.unwrap().id;
    report(bridge, batch(sequence, &key_id, "m")).await.unwrap();
    Thing {
        owner_id: owner.user_id.clone(),
        key_id,
        request_id: format!("req_good_{sequence}"),
        session_id: owner.session_id.clone(),
    }
}

/// Of one more sign-in of this user; there is one for each, since tries are few.
async fn session_of(bridge: &Bridge, email: &str) -> String {
    let mut auth = AuthServiceClient::new(bridge.signed_in(email).await);
    let asked = admin::ListSessionsRequest::default();
    let sessions = auth.list_sessions(asked).await.unwrap().into_inner().sessions;
    let mut current = sessions.into_iter().filter(|session| session.is_current);
    current.next().unwrap().id
}

/// Whether the thing is in the answer.
async fn ask(method: &str, by: &SignedIn, thing: &Thing) -> Result<bool, Status> {
    let mut keys = ApiKeyServiceClient::new(by.clone());
    let mut auth = AuthServiceClient::new(by.clone());
    let mut stats = StatsServiceClient::new(by.clone());
    let Thing {
        owner_id,
        key_id,
        request_id,
        session_id,
    } = thing;
    let id = key_id.clone();
    let filter = Some(admin::StatsFilter {
        key_id: key_id.clone(),
        ..Default::default()
    });
    match method.split_once('.').unwrap().1 {
        "CreateApiKey" => {
            let request = admin::CreateApiKeyRequest {
                owner_user_id: owner_id.clone(),
                ..new_key("one more")
            };
            let made = keys.create_api_key(request).await?.into_inner().api_key;
            Ok(made.unwrap().owner_user_id == *owner_id)
        }
        "DeleteApiKey" => {
            let request = admin::DeleteApiKeyRequest { id, revision: 0 };
            keys.delete_api_key(request).await.map(|_| true)
        }
        "GetApiKey" => keys
            .get_api_key(admin::GetApiKeyRequest { id })
            .await
            .map(|_| true),
        "ListApiKeys" => {
            let request = admin::ListApiKeysRequest {
                page_size: 1000,
                ..Default::default()
            };
            let listed = keys.list_api_keys(request).await?.into_inner().api_keys;
            Ok(listed.iter().any(|key| key.id == id))
        }
        "RevokeApiKey" => {
            let request = admin::RevokeApiKeyRequest {
                id,
                ..Default::default()
            };
            keys.revoke_api_key(request).await.map(|_| true)
        }
        "RotateApiKey" => {
            let request = admin::RotateApiKeyRequest {
                id,
                ..Default::default()
            };
            keys.rotate_api_key(request).await.map(|_| true)
        }
        "UpdateApiKey" => {
            let request = admin::UpdateApiKeyRequest {
                api_key: Some(admin::ApiKey {
                    id,
                    name: "renamed".to_owned(),
                    ..Default::default()
                }),
                update_mask: mask(&["name"]),
                revision: 0,
            };
            keys.update_api_key(request).await.map(|_| true)
        }
        "EndSession" => {
            let id = session_id.clone();
            auth.end_session(admin::EndSessionRequest { id })
                .await
                .map(|_| true)
        }
        "ListSessions" => {
            let user_id = owner_id.clone();
            let request = admin::ListSessionsRequest { user_id };
            let sessions = auth.list_sessions(request).await?.into_inner().sessions;
            Ok(sessions.iter().any(|session| session.id == *session_id))
        }
        "GetRequest" => {
            let request_id = request_id.clone();
            let request = admin::GetRequestRequest { request_id };
            stats.get_request(request).await.map(|_| true)
        }
        "GetSummary" => {
            let summary = stats.get_summary(admin::GetSummaryRequest { filter }).await?;
            Ok(summary.into_inner().sums.unwrap().requests > 0)
        }
        "GetTokenUsage" => {
            let request = admin::GetTokenUsageRequest {
                filter,
                group: admin::UsageGroup::Key.into(),
                ..Default::default()
            };
            let series = stats.get_token_usage(request).await?.into_inner().series;
            Ok(series.iter().any(|series| series.group == *key_id))
        }
        "ListRequests" => {
            let request = admin::ListRequestsRequest {
                filter,
                ..Default::default()
            };
            Ok(!stats
                .list_requests(request)
                .await?
                .into_inner()
                .requests
                .is_empty())
        }
        other => panic!("{other} is not asked"),
    }
}

fn reach(answer: &Result<bool, Status>) -> Reach {
    match answer {
        Ok(true) => Reach::Reached,
        Ok(false) => Reach::Hidden,
        Err(status) if status.code() == Code::NotFound => Reach::Hidden,
        Err(status) if status.code() == Code::PermissionDenied => Reach::Refused,
        Err(status) => panic!("{status:?}"),
    }
}

#[test]
fn what_a_user_may_call_is_in_the_table_or_about_themselves() {
    let open: BTreeSet<String> = methods()
        .into_iter()
        .map(|(method, _)| method)
        .filter(|method| may_enter(method, "user"))
        .collect();
    let known = ABOUT_ONESELF.into_iter().chain(ABOUT_THINGS);
    assert_eq!(open, known.map(str::to_owned).collect());
}

#[tokio::test]
async fn every_caller_reaches_exactly_whose_things_the_table_says() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let me = AuthServiceClient::new(admin.clone())
        .get_me(admin::GetMeRequest {})
        .await;
    let owner = async |user_id: String, email: &str| Owner {
        user_id,
        session_id: session_of(&bridge, email).await,
        by: admin.clone(),
    };
    let first = owner(me.unwrap().into_inner().user.unwrap().id, EMAIL).await;
    let other = bridge.add_user("other@example.com", Role::User, false).await;
    let other = owner(other.id, "other@example.com").await;
    let mut callers = Vec::new();
    for (name, email, role) in [
        ("user", "user@example.com", Role::User),
        ("auditor", "auditor@example.com", Role::Auditor),
        ("operator", "operator@example.com", Role::Operator),
    ] {
        let user = bridge.add_user(email, role, false).await;
        let owner = owner(user.id, email).await;
        let by = bridge.signed_in(email).await;
        callers.push(Caller { name, by, owner });
    }
    let request = admin::CreateServiceTokenRequest {
        name: "nightly".to_owned(),
        role: Role::User.into(),
        scopes: vec!["api_keys:write".to_owned(), "stats:read".to_owned()],
        ..Default::default()
    };
    let mut tokens = ServiceTokenServiceClient::new(admin.clone());
    let token = tokens
        .create_service_token(request)
        .await
        .unwrap()
        .into_inner()
        .token;
    callers.push(Caller {
        name: "token",
        by: InterceptedService::new(bridge.channel(bridge.admin).await, Bearer::new(&token)),
        owner: first.clone(),
    });
    // Last, since an admin ends the sessions of others.
    callers.push(Caller {
        name: "admin",
        by: admin.clone(),
        owner: first,
    });

    let mut sequence = 0;
    for caller in &callers {
        for method in ABOUT_THINGS {
            for (is_own, owner) in [(true, &caller.owner), (false, &other)] {
                sequence += 1;
                let thing = thing_of(&bridge, owner, sequence).await;
                let answer = ask(method, &caller.by, &thing).await;
                assert_eq!(
                    reach(&answer),
                    expected(method, caller.name, is_own),
                    "{method} by {}, own: {is_own}: {answer:?}",
                    caller.name
                );
            }
        }
    }
}
