//! Where somebody is signed in, and what ends it with the next call.

use bridge_proto::admin::v1::auth_service_client::AuthServiceClient;
use bridge_proto::admin::v1::user_service_client::UserServiceClient;
use bridge_proto::admin::v1::{self as admin, Role};
use tonic::Code;
use tonic::service::interceptor::InterceptedService;

use super::requests::{code, mask};
use super::{Bearer, Bridge, PASSWORD, SignedIn};

const EMAIL: &str = "ann@example.com";
const NEW_PASSWORD: &str = "another long password";

async fn list(by: &SignedIn, user_id: &str) -> Result<Vec<admin::Session>, tonic::Status> {
    let mut auth = AuthServiceClient::new(by.clone());
    let request = admin::ListSessionsRequest {
        user_id: user_id.to_owned(),
    };
    Ok(auth.list_sessions(request).await?.into_inner().sessions)
}

async fn end(by: &SignedIn, id: &str) -> Result<(), tonic::Status> {
    let mut auth = AuthServiceClient::new(by.clone());
    let request = admin::EndSessionRequest { id: id.to_owned() };
    auth.end_session(request).await.map(drop)
}

async fn is_in(by: &SignedIn) -> bool {
    let mut auth = AuthServiceClient::new(by.clone());
    match auth.get_me(admin::GetMeRequest {}).await {
        Ok(_) => true,
        Err(status) if status.code() == Code::Unauthenticated => false,
        Err(status) => panic!("{status:?}"),
    }
}

#[tokio::test]
async fn a_session_says_where_and_with_what_it_is_used() {
    let bridge = Bridge::start().await;
    bridge.add_user(EMAIL, Role::User, false).await;
    let (older, newer) = (bridge.signed_in(EMAIL).await, bridge.signed_in(EMAIL).await);
    let sessions = list(&newer, "").await.unwrap();
    let current: Vec<_> = sessions.iter().map(|session| session.is_current).collect();
    assert_eq!(sessions.len(), 2);
    assert_eq!(current.iter().filter(|is_current| **is_current).count(), 1);
    for session in &sessions {
        assert_eq!(session.remote_address, "127.0.0.1");
        assert!(session.user_agent.contains("tonic"), "{}", session.user_agent);
        assert!(session.created_at.is_some() && session.refreshed_at == session.created_at);
    }
    let other = sessions.iter().find(|session| !session.is_current).unwrap();
    end(&newer, &other.id).await.unwrap();
    assert!(!is_in(&older).await && is_in(&newer).await);
    assert_eq!(code(end(&newer, &other.id).await), Code::NotFound);
    assert_eq!(code(end(&newer, "x").await), Code::InvalidArgument);
    assert_eq!(list(&newer, "").await.unwrap().len(), 1);
}

#[tokio::test]
async fn only_admins_see_and_end_sessions_of_others() {
    let bridge = Bridge::start().await;
    let ann = bridge.add_user(EMAIL, Role::User, false).await;
    let by_ann = bridge.signed_in(EMAIL).await;
    let session = list(&by_ann, "").await.unwrap().remove(0);
    for (email, role) in [
        ("user@example.com", Role::User),
        ("auditor@example.com", Role::Auditor),
        ("operator@example.com", Role::Operator),
    ] {
        bridge.add_user(email, role, false).await;
        let other = bridge.signed_in(email).await;
        assert_eq!(code(list(&other, &ann.id).await), Code::NotFound, "{email}");
        assert_eq!(code(end(&other, &session.id).await), Code::NotFound, "{email}");
    }
    assert!(is_in(&by_ann).await);
    let admin = bridge.admin().await;
    let seen = list(&admin, &ann.id).await.unwrap();
    assert_eq!((seen.len(), seen[0].is_current), (1, false));
    end(&admin, &session.id).await.unwrap();
    assert!(!is_in(&by_ann).await);
    let nobody = "00000000-0000-4000-8000-000000000000";
    assert_eq!(code(list(&admin, nobody).await), Code::NotFound);
}

#[tokio::test]
async fn whatever_ends_a_session_ends_it_with_the_next_call() {
    let bridge = Bridge::start().await;
    let mut users = UserServiceClient::new(bridge.admin().await);
    for way in [
        "logout",
        "change of password",
        "reset of password",
        "disabled",
        "other role",
        "ended elsewhere",
        "deleted",
    ] {
        let email = format!("{}@example.com", way.replace(' ', "."));
        let user = bridge.add_user(&email, Role::Operator, false).await;
        let login = bridge.login(&email, PASSWORD).await.unwrap();
        let channel = bridge.channel(bridge.admin).await;
        let by = InterceptedService::new(channel, Bearer::new(&login.access_token));
        assert!(is_in(&by).await, "{way}");
        let mut auth = AuthServiceClient::new(by.clone());
        let mut update = async |path: &str| {
            let request = admin::UpdateUserRequest {
                user: Some(admin::User {
                    id: user.id.clone(),
                    role: Role::Auditor.into(),
                    ..Default::default()
                }),
                update_mask: mask(&[path]),
                revision: 0,
            };
            users.update_user(request).await.map(drop)
        };
        let done = match way {
            "logout" => auth.logout(admin::LogoutRequest {}).await.map(drop),
            "change of password" => {
                let request = admin::ChangePasswordRequest {
                    current_password: PASSWORD.to_owned(),
                    new_password: NEW_PASSWORD.to_owned(),
                };
                auth.change_password(request).await.map(drop)
            }
            "reset of password" => {
                let request = admin::ResetPasswordRequest {
                    id: user.id.clone(),
                    new_password: NEW_PASSWORD.to_owned(),
                    revision: 0,
                };
                users.reset_password(request).await.map(drop)
            }
            "disabled" => update("enabled").await,
            "other role" => update("role").await,
            "ended elsewhere" => {
                let id = list(&by, "").await.unwrap().remove(0).id;
                end(&bridge.admin().await, &id).await
            }
            "deleted" => {
                let request = admin::DeleteUserRequest {
                    id: user.id.clone(),
                    revision: 0,
                };
                users.delete_user(request).await.map(drop)
            }
            other => panic!("{other} is not tried"),
        };
        done.unwrap();
        assert!(!is_in(&by).await, "{way}");
        let refresh = admin::RefreshRequest {
            refresh_token: login.refresh_token,
        };
        assert_eq!(code(auth.refresh(refresh).await), Code::Unauthenticated, "{way}");
    }
}
