//! `AuthService`.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::auth_service_server::AuthService;
use secrecy::{ExposeSecret, SecretString};
use tonic::{Request, Response, Status};

use crate::auth::default_admin::DefaultAdmin;
use crate::auth::session::{self, Sessions, SignedIn, TokenPair};
use crate::domain::audit::Origin;
use crate::domain::user::{DEFAULT_ADMIN_EMAIL, DEFAULT_ADMIN_PASSWORD};
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
        _request: Request<admin::ListSessionsRequest>,
    ) -> Result<Response<admin::ListSessionsResponse>, Status> {
        Err(Status::unimplemented("not offered"))
    }

    async fn end_session(
        &self,
        _request: Request<admin::EndSessionRequest>,
    ) -> Result<Response<admin::EndSessionResponse>, Status> {
        Err(Status::unimplemented("not offered"))
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
