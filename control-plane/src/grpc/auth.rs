//! `AuthService`.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::auth_service_server::AuthService;
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

use crate::auth::default_admin::DefaultAdmin;
use crate::auth::session::{self, Sessions, SignedIn, TokenPair};
use crate::domain::audit::Origin;
use crate::domain::session::SessionId;
use crate::domain::user::{DEFAULT_ADMIN_EMAIL, DEFAULT_ADMIN_PASSWORD, Role, User, UserId};
use crate::grpc::call::{self, Call};
use crate::grpc::convert;
use crate::grpc::status::Error;
use crate::store::{Kind, Store};
use crate::telemetry::Metrics;

pub(crate) struct Auth {
    pub(crate) store: Store,
    pub(crate) sessions: Sessions,
    pub(crate) default_admin: DefaultAdmin,
    pub(crate) metrics: Metrics,
}

#[tonic::async_trait]
impl AuthService for Auth {
    async fn get_sign_in_info(
        &self,
        _request: Request<admin::GetSignInInfoRequest>,
    ) -> Result<Response<admin::GetSignInInfoResponse>, Status> {
        let is_active = self.default_admin.is_active().await.map_err(Error::from)?;
        let default_admin = is_active.then(|| admin::DefaultAdmin {
            email: DEFAULT_ADMIN_EMAIL.to_owned(),
            password: DEFAULT_ADMIN_PASSWORD.to_owned(),
        });
        Ok(Response::new(admin::GetSignInInfoResponse { default_admin }))
    }

    async fn login(
        &self,
        request: Request<admin::LoginRequest>,
    ) -> Result<Response<admin::LoginResponse>, Status> {
        let (origin, now) = (origin_of(&request), call::now());
        let admin::LoginRequest { email, password } = request.into_inner();
        let password = SecretString::from(password);
        let signed_in = self.sessions.login(&email, &password, origin, now).await;
        let SignedIn { user, tokens } = signed_in.map_err(|error| {
            if let session::Error::WrongCredentials | session::Error::Throttled(_) = error {
                self.metrics.logins_failed.inc();
            }
            Error::from(error)
        })?;
        let TokenPair {
            access_token,
            expires_at,
            refresh_token,
        } = tokens;
        Ok(Response::new(admin::LoginResponse {
            access_token: access_token.expose_secret().to_owned(),
            expires_at: Some(expires_at.into()),
            refresh_token: refresh_token.expose_secret().to_owned(),
            user: Some(convert::user(user, Some(now))),
        }))
    }

    async fn refresh(
        &self,
        request: Request<admin::RefreshRequest>,
    ) -> Result<Response<admin::RefreshResponse>, Status> {
        let origin = origin_of(&request);
        let token = SecretString::from(request.into_inner().refresh_token);
        let tokens = self
            .sessions
            .refresh(&token, origin, call::now())
            .await
            .map_err(refresh_error)?;
        let TokenPair {
            access_token,
            expires_at,
            refresh_token,
        } = tokens;
        Ok(Response::new(admin::RefreshResponse {
            access_token: access_token.expose_secret().to_owned(),
            expires_at: Some(expires_at.into()),
            refresh_token: refresh_token.expose_secret().to_owned(),
        }))
    }

    async fn logout(
        &self,
        request: Request<admin::LogoutRequest>,
    ) -> Result<Response<admin::LogoutResponse>, Status> {
        let call = Call::of(&request)?;
        let session_id = call.caller.session_id().ok_or(Error::ForPeopleOnly)?;
        let audit = call.audit(&format!("session/{session_id}"));
        self.sessions
            .logout(&call.caller, audit)
            .await
            .map_err(Error::from)?;
        Ok(Response::new(admin::LogoutResponse {}))
    }

    async fn get_me(
        &self,
        request: Request<admin::GetMeRequest>,
    ) -> Result<Response<admin::GetMeResponse>, Status> {
        let id = Call::of(&request)?.caller.user_id;
        let user = self
            .store
            .user(&id)
            .await
            .map_err(Error::from)?
            .ok_or(Error::TokenRefused)?;
        let logins = self.store.last_logins().await.map_err(Error::from)?;
        let user = convert::user(user, logins.get(&id).copied());
        Ok(Response::new(admin::GetMeResponse { user: Some(user) }))
    }

    async fn change_password(
        &self,
        request: Request<admin::ChangePasswordRequest>,
    ) -> Result<Response<admin::ChangePasswordResponse>, Status> {
        let call = Call::of(&request)?;
        let admin::ChangePasswordRequest {
            current_password,
            new_password,
        } = request.into_inner();
        let (current, new) = (
            SecretString::from(current_password),
            SecretString::from(new_password),
        );
        let audit = call.audit(&format!("{}/{}", Kind::User, call.caller.user_id));
        let changed = self
            .sessions
            .change_password(&call.caller, &current, new, audit)
            .await;
        let TokenPair {
            access_token,
            expires_at,
            refresh_token,
        } = changed.map_err(change_error)?;
        Ok(Response::new(admin::ChangePasswordResponse {
            access_token: access_token.expose_secret().to_owned(),
            expires_at: Some(expires_at.into()),
            refresh_token: refresh_token.expose_secret().to_owned(),
        }))
    }

    async fn list_sessions(
        &self,
        request: Request<admin::ListSessionsRequest>,
    ) -> Result<Response<admin::ListSessionsResponse>, Status> {
        let call = Call::of(&request)?;
        let user = self.named(&call, &request.into_inner().user_id).await?;
        let sessions = self.sessions.list(&user, call.now).await.map_err(Error::from)?;
        let current = call.caller.session_id();
        let sessions = sessions.into_iter().map(|session| {
            let is_current = current == Some(session.id);
            convert::session(session, is_current)
        });
        Ok(Response::new(admin::ListSessionsResponse {
            sessions: sessions.collect(),
        }))
    }

    async fn end_session(
        &self,
        request: Request<admin::EndSessionRequest>,
    ) -> Result<Response<admin::EndSessionResponse>, Status> {
        let call = Call::of(&request)?;
        let id = request.into_inner().id;
        let parsed = SessionId::parse(&id).map_err(|reason| Error::invalid("id", reason.to_string()))?;
        let audit = call.audit(&format!("session/{parsed}"));
        let ended = self.sessions.end(&call.caller, &parsed, audit).await;
        if !ended.map_err(Error::from)? {
            return Err(Error::NoSuchSession { id }.into());
        }
        Ok(Response::new(admin::EndSessionResponse {}))
    }
}

impl Auth {
    /// The user that a caller names; nobody: themselves. Only admins see others.
    async fn named(&self, call: &Call, user_id: &str) -> Result<User, Error> {
        let missing = || Error::NotFound {
            kind: Kind::User,
            id: user_id.to_owned(),
        };
        let id = if user_id.is_empty() {
            call.caller.user_id
        } else {
            UserId::parse(user_id).map_err(|reason| Error::invalid("user_id", reason.to_string()))?
        };
        if id != call.caller.user_id && call.caller.role != Role::Admin {
            return Err(missing());
        }
        let user = self.store.user(&id).await?;
        user.map(|user| user.value).ok_or_else(missing)
    }
}

fn origin_of<T>(request: &Request<T>) -> Origin {
    request.extensions().get::<Origin>().cloned().unwrap_or_default()
}

fn refresh_error(error: session::Error) -> Error {
    match error {
        session::Error::InvalidToken => Error::RefreshRefused,
        other => Error::from(other),
    }
}

/// The caller is signed in, so a wrong password is a wrong field.
fn change_error(error: session::Error) -> Error {
    match error {
        session::Error::WrongCredentials => Error::invalid("current_password", "is wrong"),
        other => Error::from(other),
    }
}
