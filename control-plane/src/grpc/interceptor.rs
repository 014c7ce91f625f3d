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
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::auth::caller::{Caller, Credential};
use crate::auth::policy::{self, Access, ByToken, Rule};
use crate::auth::session::Sessions;
use crate::authority;
use crate::domain::audit::Origin;
use crate::domain::node::{Certified, Refusal};
use crate::grpc::call::{self, Call};
use crate::grpc::status::Error;
use crate::roster::{Denied, Roster};
use crate::snapshot::nodes::Identity;
use crate::traces::FromNode;

/// What API keys begin with.
const API_KEY_PREFIX: &str = "sk-";
/// The one method of the fleet listener for who has no credential yet.
const ENROL: &str = "/bridge.fleet.v1.EnrolmentService/Enrol";
/// `ErrorInfo.domain` of refusals on the fleet listener.
const FLEET_DOMAIN: &str = "bridge.fleet.v1";
/// Of who has shown the node token where that does not do.
const NEEDS_CERTIFICATE: &str = "CERTIFICATE_NEEDED";

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

/// Lets data planes in that have a certificate of the fleet's authority or know the node token.
#[derive(Clone)]
pub(crate) struct NodeCheck {
    /// Of equal length whatever is compared. `None`: only certificates count.
    token_hash: Option<Arc<[u8; 32]>>,
    roster: Roster,
}

impl NodeCheck {
    pub(crate) fn new(token: Option<&SecretString>, roster: Roster) -> Self {
        Self {
            token_hash: token.map(|token| Arc::new(hash(token))),
            roster,
        }
    }

    /// Who has a certificate is known by it alone, whatever else they send.
    async fn admit(&self, request: NodeAttempt) -> Result<Identity, Status> {
        match request {
            NodeAttempt::Certificate(certified) => {
                let certified = certified.ok_or_else(|| {
                    Status::permission_denied("the certificate is not that of a data plane")
                })?;
                let (node, identity) = (certified.node.clone(), Identity::Certificate(certified));
                self.roster.admit(&node, &identity).await.map_err(denied)?;
                Ok(identity)
            }
            NodeAttempt::Token(token) => self.admit_by_token(token.as_ref()),
        }
    }

    fn admit_by_token(&self, token: Option<&SecretString>) -> Result<Identity, Status> {
        let Some(expected) = &self.token_hash else {
            return Err(denial(
                Code::PermissionDenied,
                NEEDS_CERTIFICATE,
                "this fleet lets nobody in without a certificate, and no node token; \
                 give the data plane a join token, see JOIN_TOKEN and AUTHORITY_FINGERPRINT",
            ));
        };
        match token {
            Some(token) if hash(token).ct_eq(expected.as_slice()).into() => Ok(Identity::Token),
            Some(_) | None => Err(Status::unauthenticated(
                "show a certificate of the fleet's authority, or send the node token in \
                 `authorization: Bearer`; see JOIN_TOKEN, NODE_TOKEN and NODE_TOKEN_FILE",
            )),
        }
    }
}

/// What a data plane shows.
enum NodeAttempt {
    /// TLS has checked who signed it. `None`: it names no data plane.
    Certificate(Option<Certified>),
    Token(Option<SecretString>),
}

impl NodeAttempt {
    fn of(request: &Request) -> Self {
        let tls = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificates = tls.and_then(TlsConnectInfo::peer_certs);
        match certificates.as_ref().and_then(|chain| chain.first()) {
            Some(own) => Self::Certificate(authority::presented(own)),
            None => Self::Token(bearer(request.headers())),
        }
    }
}

/// Who sent a message to the fleet listener.
pub(crate) fn identity<T>(request: &tonic::Request<T>) -> Result<Identity, Status> {
    let identity = request.extensions().get::<Identity>().cloned();
    identity.ok_or_else(|| Status::unauthenticated("nobody knows who sent this"))
}

/// The one way from a refusal of a node to a status. Who gets `PERMISSION_DENIED` needs
/// somebody to do something.
pub(crate) fn denied(denied: Denied) -> Status {
    let (code, reason) = match &denied {
        Denied::BadName => return Status::invalid_argument(format!("node_id {denied}")),
        Denied::Undecided(error) => {
            tracing::warn!(%error, "a data plane cannot be told from others");
            return Status::unavailable("the control plane cannot look up who this is; try again");
        }
        Denied::Refused(Refusal::Revoked) => (Code::PermissionDenied, "NODE_REVOKED"),
        Denied::Refused(Refusal::Unknown) => (Code::PermissionDenied, "CERTIFICATE_UNKNOWN"),
        Denied::Refused(Refusal::NeedsCertificate) => (Code::PermissionDenied, NEEDS_CERTIFICATE),
        Denied::Expired => (Code::PermissionDenied, "CERTIFICATE_EXPIRED"),
    };
    denial(code, reason, denied.to_string())
}

fn denial(code: Code, reason: &str, text: impl Into<String>) -> Status {
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, FLEET_DOMAIN, []);
    Status::with_error_details(code, text, details)
}

fn hash(token: &SecretString) -> [u8; 32] {
    Sha256::digest(token.expose_secret()).into()
}

/// Middleware of the fleet's services.
pub(crate) async fn admit_node(State(check): State<NodeCheck>, mut request: Request, next: Next) -> Response {
    if request.uri().path() == ENROL {
        // Its join token is in the message.
        return next.run(request).await;
    }
    match check.admit(NodeAttempt::of(&request)).await {
        Ok(identity) => {
            if let Identity::Certificate(certified) = &identity {
                FromNode::of(request.extensions()).tell(certified.node.as_str());
            }
            request.extensions_mut().insert(identity);
            next.run(request).await
        }
        Err(status) => {
            let peer_ip = peer_ip(request.extensions());
            tracing::warn!(peer.ip = ?peer_ip, reason = status.message(), "a data plane was refused");
            status.into_http()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> http::HeaderMap {
        [(http::header::AUTHORIZATION, authorization.parse().unwrap())]
            .into_iter()
            .collect()
    }

    async fn check() -> (tempfile::TempDir, NodeCheck) {
        let dir = tempfile::tempdir().unwrap();
        let store = crate::store::Store::open(&dir.path().join("store")).unwrap();
        let roster = Roster::open(store).await.unwrap();
        (dir, NodeCheck::new(Some(&"node-secret".into()), roster))
    }

    #[tokio::test]
    async fn without_a_certificate_only_the_node_token_opens_the_fleet_listener() {
        let (_dir, check) = check().await;
        let admit = async |headers| check.admit(NodeAttempt::Token(bearer(&headers))).await;
        let admitted = admit(headers("Bearer node-secret")).await;
        assert_eq!(admitted.unwrap(), Identity::Token);
        for refused in [
            "node-secret",
            "Bearer node-secre",
            "Bearer node-secret1",
            "Basic node-secret",
            "Bearer ",
        ] {
            assert!(admit(headers(refused)).await.is_err(), "{refused}");
        }
        assert!(admit(http::HeaderMap::new()).await.is_err());
    }

    #[tokio::test]
    async fn where_only_certificates_count_no_token_opens_anything() {
        let (_dir, check) = check().await;
        let check = NodeCheck::new(None, check.roster);
        for token in [Some("node-secret".into()), Some("".into()), None] {
            let refused = check.admit(NodeAttempt::Token(token)).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
            assert!(refused.message().contains("JOIN_TOKEN"), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_certificate_that_nobody_knows_opens_nothing() {
        let (_dir, check) = check().await;
        let certified = Certified {
            node: crate::domain::node::NodeId::parse("a").unwrap(),
            enrolment: [1; 16],
            fingerprint: [2; 32],
            expires_at: std::time::SystemTime::now() + std::time::Duration::from_secs(60),
        };
        let expired = Certified {
            expires_at: std::time::SystemTime::UNIX_EPOCH,
            ..certified.clone()
        };
        for shown in [Some(certified), Some(expired), None] {
            let refused = check.admit(NodeAttempt::Certificate(shown)).await.unwrap_err();
            assert_eq!(refused.code(), Code::PermissionDenied);
        }
    }

    #[test]
    fn the_audit_names_methods_briefly() {
        assert_eq!(
            method_of("/bridge.admin.v1.UserService/GetUser"),
            "UserService.GetUser"
        );
    }
}
