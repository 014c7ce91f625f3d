//! Who gets past the listeners: on the admin listener by the table of methods, on
//! the fleet listener with the node token.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tonic::Status;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use crate::auth::caller::{Caller, Credential};
use crate::auth::policy::{self, Access, ByToken, Rule};
use crate::auth::session::Sessions;
use crate::domain::audit::Origin;
use crate::grpc::call::{self, Call};
use crate::grpc::status::Error;

/// What API keys begin with.
const API_KEY_PREFIX: &str = "sk-";

/// Middleware of the admin's services. Expects an [`Origin`] in the extensions and
/// adds the [`Call`].
pub(crate) async fn admit(State(sessions): State<Sessions>, mut request: Request, next: Next) -> Response {
    let attempt = Attempt::of(&request);
    match attempt.check(&sessions).await {
        Ok(Some(call)) => {
            request.extensions_mut().insert(call);
        }
        Ok(None) => {}
        Err(error) => return Status::from(error).into_http(),
    }
    next.run(request).await
}

/// What decides about a request; its body does not.
struct Attempt {
    path: String,
    token: Option<SecretString>,
    origin: Origin,
}

impl Attempt {
    fn of(request: &Request) -> Self {
        Self {
            path: request.uri().path().to_owned(),
            token: bearer(request.headers()),
            origin: request.extensions().get::<Origin>().cloned().unwrap_or_default(),
        }
    }

    /// `None`: an open method, called by whoever.
    async fn check(self, sessions: &Sessions) -> Result<Option<Call>, Error> {
        let rule = policy::rule(&self.path).ok_or(Error::UnknownMethod)?;
        if rule.access == Access::Open {
            return Ok(None);
        }
        let now = call::now();
        let token = self.token.ok_or(Error::TokenMissing)?;
        if token.expose_secret().starts_with(API_KEY_PREFIX) {
            return Err(Error::ApiKeyAsToken);
        }
        let caller = sessions.verify(&token, now).await?;
        permit(&caller, rule)?;
        Ok(Some(Call {
            caller,
            origin: self.origin,
            method: method_of(&self.path),
            now,
        }))
    }
}

fn permit(caller: &Caller, rule: Rule) -> Result<(), Error> {
    let Rule { access, by_token } = rule;
    let must_change_password = match &caller.credential {
        Credential::Session {
            id: _,
            must_change_password,
        } => *must_change_password,
        Credential::ServiceToken(_) if by_token == ByToken::Never => return Err(Error::ForPeopleOnly),
        Credential::ServiceToken(scopes) => match by_token.scope() {
            Some(scope) if !scopes.admit(scope) => return Err(Error::ScopeMissing { scope }),
            Some(_) | None => false,
        },
    };
    match access {
        Access::Open | Access::BeforePasswordChange => Ok(()),
        Access::Only(_) if must_change_password => Err(Error::PasswordChangeRequired),
        Access::Only(roles) if roles.contains(&caller.role) => Ok(()),
        Access::Only(_) => Err(Error::RoleRefused { role: caller.role }),
    }
}

fn bearer(headers: &http::HeaderMap) -> Option<SecretString> {
    let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| SecretString::from(token))
}

/// `/bridge.admin.v1.UserService/GetUser` → `UserService.GetUser`.
fn method_of(path: &str) -> String {
    let (service, method) = path
        .trim_start_matches('/')
        .rsplit_once('/')
        .unwrap_or((path, ""));
    let service = service.rsplit('.').next().unwrap_or(service);
    format!("{service}.{method}")
}

/// The address at the other end of a connection to a tonic listener.
pub(crate) fn peer_ip(extensions: &http::Extensions) -> Option<IpAddr> {
    let tcp = extensions.get::<TcpConnectInfo>();
    let tls = extensions
        .get::<TlsConnectInfo<TcpConnectInfo>>()
        .map(TlsConnectInfo::get_ref);
    tcp.or(tls)
        .and_then(TcpConnectInfo::remote_addr)
        .map(|address| address.ip().to_canonical())
}

/// Lets data planes in that know the node token.
#[derive(Clone)]
pub(crate) struct NodeCheck {
    /// Of equal length whatever is compared.
    token_hash: Arc<[u8; 32]>,
}

impl NodeCheck {
    pub(crate) fn new(token: &SecretString) -> Self {
        Self {
            token_hash: Arc::new(hash(token)),
        }
    }

    fn admits(&self, headers: &http::HeaderMap) -> bool {
        bearer(headers).is_some_and(|token| hash(&token).ct_eq(self.token_hash.as_slice()).into())
    }
}

fn hash(token: &SecretString) -> [u8; 32] {
    Sha256::digest(token.expose_secret()).into()
}

/// Middleware of the fleet's services.
pub(crate) async fn admit_node(State(check): State<NodeCheck>, request: Request, next: Next) -> Response {
    if check.admits(request.headers()) {
        return next.run(request).await;
    }
    tracing::warn!(peer.ip = ?peer_ip(request.extensions()), "a data plane without the right node token was refused");
    Status::unauthenticated(
        "send the node token in `authorization: Bearer`; see NODE_TOKEN and NODE_TOKEN_FILE",
    )
    .into_http()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> http::HeaderMap {
        [(http::header::AUTHORIZATION, authorization.parse().unwrap())]
            .into_iter()
            .collect()
    }

    #[test]
    fn only_the_node_token_opens_the_fleet_listener() {
        let check = NodeCheck::new(&"node-secret".into());
        assert!(check.admits(&headers("Bearer node-secret")));
        for refused in [
            "node-secret",
            "Bearer node-secre",
            "Bearer node-secret1",
            "Basic node-secret",
            "Bearer ",
        ] {
            assert!(!check.admits(&headers(refused)), "{refused}");
        }
        assert!(!check.admits(&http::HeaderMap::new()));
    }

    #[test]
    fn the_audit_names_methods_briefly() {
        assert_eq!(
            method_of("/bridge.admin.v1.UserService/GetUser"),
            "UserService.GetUser"
        );
    }
}
