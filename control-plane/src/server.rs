//! The three listeners: what is routed where, and under which limits.
//!
//! The admin listener speaks gRPC and grpc-web on one port and serves the admin's pages
//! (`web`). Whatever else arrives there gets a plain answer that a browser cannot be tricked with.

mod incoming;
mod panics;
mod traced;
mod web;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic_web::GrpcWebLayer;
use tracing::Instrument;
use uuid::Uuid;

pub(crate) use incoming::connections_max;
use incoming::{Opening, incoming};

use crate::auth::session::Sessions;
use crate::config::Listener;
use crate::domain::audit::Origin;
use crate::grpc::interceptor::{NodeCheck, admit, admit_node, peer_ip};
use crate::store::Store;
use crate::telemetry::{METRICS_CONTENT_TYPE, Metrics};
use crate::traces::Traces;

/// Largest header list of a request, in bytes.
const HEADER_LIST_BYTES_MAX: u32 = 32 * 1024;
/// Calls at once on one connection.
const STREAMS_MAX: u32 = 128;
/// A connection that answers no ping within the timeout is dead.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const GRPC: &str = "application/grpc";
const HOME_TEXT: &str = "This is the admin listener of the Anthropic OpenAI Bridge. It speaks gRPC and grpc-web:\n\
    package bridge.admin.v1, with reflection for callers who have signed in.\n";

/// For a page that must do nothing but be read.
const BROWSER_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    ),
];
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const HSTS: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// By what calls are seen from outside.
#[derive(Clone)]
pub(crate) struct Watching {
    pub(crate) metrics: Metrics,
    /// `None`: nobody collects them.
    pub(crate) traces: Option<Traces>,
}

/// How the admin listener treats whoever knocks.
#[derive(Clone)]
pub(crate) struct AdminRules {
    /// Names under which it may be called, in lower case, besides addresses and
    /// localhost. A web page whose name was rebound to us calls by another one.
    hosts: Arc<[String]>,
    has_tls: bool,
}

/// The admin listener: the services behind the table of methods, and nothing else.
pub(crate) fn admin_app(
    services: Routes,
    sessions: Sessions,
    rules: AdminRules,
    watching: Watching,
) -> Router {
    let Watching { metrics, traces } = watching;
    let services = services
        .prepare()
        .into_axum_router()
        .reset_fallback()
        .layer(from_fn_with_state(metrics, panics::answer))
        .layer(from_fn_with_state(sessions, admit));
    let services = followed(services, traces).layer(GrpcWebLayer::new());
    Router::new()
        .merge(services)
        .fallback(no_such_path)
        .layer(from_fn_with_state(rules.clone(), check_host))
        .layer(from_fn_with_state(rules, identify))
}

/// The fleet listener: data planes that have a certificate or know the node token.
pub(crate) fn fleet_app(services: Routes, check: NodeCheck, watching: Watching) -> Router {
    let Watching { metrics, traces } = watching;
    let services = services
        .prepare()
        .into_axum_router()
        .layer(from_fn_with_state(metrics, panics::answer))
        .layer(from_fn_with_state(check, admit_node));
    followed(services, traces)
}

/// Without a collector there is nothing in the way of a call.
fn followed(services: Router, traces: Option<Traces>) -> Router {
    match traces {
        Some(traces) => services.layer(from_fn_with_state(traces, traced::follow)),
        None => services,
    }
}

/// The ops listener.
pub(crate) fn ops_app(store: Store, metrics: Metrics, stopping: CancellationToken) -> Router {
    let ready = move || {
        let is_ready = store.is_writable() && !stopping.is_cancelled();
        std::future::ready(match is_ready {
            true => (StatusCode::OK, "ready\n"),
            false => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        })
    };
    let encode = move || {
        std::future::ready(match metrics.encode() {
            Ok(text) => ([(header::CONTENT_TYPE, METRICS_CONTENT_TYPE)], text).into_response(),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        })
    };
    Router::new()
        .route("/livez", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(ready))
        .route("/metrics", get(encode))
        .layer(from_fn(no_store))
}

/// What a listener speaks: browsers and scrapers need HTTP/1.1, data planes must not use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocols {
    Http1AndHttp2,
    Http2,
}

/// What a listener serves, and how.
pub(crate) struct Listening {
    pub(crate) app: Router,
    pub(crate) protocols: Protocols,
    pub(crate) tls: Option<Tls>,
}

/// How a listener proves who it is, and whom it asks for the same.
pub(crate) struct Tls {
    pub(crate) identity: Identity,
    /// Clients may show a certificate of this authority; what they may do then is decided later.
    pub(crate) clients: Option<Certificate>,
}

/// Serves until the shutdown, and what is under way to its end.
pub(crate) async fn serve(
    listener: TcpListener,
    connections_max: usize,
    Listening { app, protocols, tls }: Listening,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let opening = match &tls {
        Some(Tls { clients: Some(_), .. }) => Opening::MutualTls,
        Some(Tls { clients: None, .. }) => Opening::Tls,
        None => Opening::Plain,
    };
    let mut server = Server::builder()
        .accept_http1(protocols == Protocols::Http1AndHttp2)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX);
    if let Some(Tls { identity, clients }) = tls {
        let mut config = ServerTlsConfig::new().identity(identity);
        if let Some(authority) = clients {
            config = config.client_ca_root(authority).client_auth_optional(true);
        }
        server = server.tls_config(config)?;
    }
    let connections = incoming(listener, connections_max, opening);
    server
        .add_routes(Routes::from(app))
        .serve_with_incoming_shutdown(connections, shutdown.cancelled_owned())
        .await
}

/// Why a listener cannot be had, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct BindError(Vec<String>);

/// Takes all ports, or says of every one that cannot be had why.
pub(crate) async fn bind<const N: usize>(listeners: [&Listener; N]) -> Result<[TcpListener; N], BindError> {
    let (mut bound, mut refused) = (Vec::with_capacity(N), Vec::new());
    for listener in listeners {
        match TcpListener::bind(listener.address).await {
            Ok(socket) => bound.push(socket),
            Err(error) => refused.push(bind_message(listener, &error)),
        }
    }
    bound.try_into().map_err(|_| BindError(refused))
}

fn bind_message(
    Listener {
        address,
        variable,
        flag,
        tls: _,
    }: &Listener,
    error: &std::io::Error,
) -> String {
    let port = address.port();
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "port {port} ({address}) is in use: end what listens there, or choose another with {variable} or {flag}"
        ),
        _ => format!("cannot listen on {address}: {error}; choose another address with {variable} or {flag}"),
    }
}

/// Gives the call its id, and the answer what protects a browser.
async fn identify(State(rules): State<AdminRules>, mut request: Request, next: Next) -> Response {
    let id = Uuid::now_v7().to_string();
    let peer_ip = peer_ip(request.extensions());
    let user_agent = request.headers().get(header::USER_AGENT);
    let user_agent = user_agent.and_then(|it| it.to_str().ok()).map(str::to_owned);
    let span = tracing::info_span!("call", request.id = id, path = request.uri().path());
    let header = HeaderValue::from_str(&id).ok();
    request.extensions_mut().insert(Origin {
        peer_ip,
        request_id: Some(id),
        user_agent,
    });
    let mut response = next.run(request).instrument(span).await;
    response
        .headers_mut()
        .entry(header::CACHE_CONTROL)
        .or_insert(NO_STORE);
    if !is_grpc(response.headers()) {
        response.headers_mut().extend(BROWSER_HEADERS);
    }
    if rules.has_tls {
        response
            .headers_mut()
            .insert(header::STRICT_TRANSPORT_SECURITY, HSTS);
    }
    if let Some(id) = header {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn check_host(State(rules): State<AdminRules>, request: Request, next: Next) -> Response {
    if rules.admits(&request) {
        return next.run(request).await;
    }
    let text = "this host name is not one of ADMIN_HOSTS";
    if is_grpc(request.headers()) {
        return grpc_answer(&request, Status::permission_denied(text));
    }
    (StatusCode::MISDIRECTED_REQUEST, format!("{text}\n")).into_response()
}

impl AdminRules {
    pub(crate) fn new(hosts: Vec<String>, has_tls: bool) -> Self {
        Self {
            hosts: hosts.into(),
            has_tls,
        }
    }

    fn admits(&self, request: &Request) -> bool {
        let from_header = || {
            request
                .headers()
                .get(header::HOST)
                .and_then(|host| host.to_str().ok()?.parse().ok())
        };
        let authority: Option<http::uri::Authority> = request.uri().authority().cloned().or_else(from_header);
        let Some(authority) = authority else { return false };
        let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || host.ends_with(".localhost")
            || address.parse::<std::net::IpAddr>().is_ok()
            || self.hosts.contains(&host)
    }
}

async fn no_such_path(request: Request) -> Response {
    if is_grpc(request.headers()) {
        return grpc_answer(&request, Status::unimplemented("there is no such service"));
    }
    match *request.method() {
        Method::GET | Method::HEAD => web::answer(web::embedded, request.uri().path(), request.headers())
            .unwrap_or_else(|| (StatusCode::NOT_FOUND, HOME_TEXT).into_response()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response(),
    }
}

async fn no_store(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|it| it.as_bytes().starts_with(GRPC.as_bytes()))
}

/// A status in the caller's own content type: a grpc-web client refuses another one.
fn grpc_answer(request: &Request, status: Status) -> Response {
    let mut response = status.into_http();
    if let Some(content_type) = request.headers().get(header::CONTENT_TYPE) {
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, expected: bool) {
        let rules = AdminRules::new(vec!["bridge.example".to_owned()], false);
        let request = Request::builder()
            .header(header::HOST, host)
            .body(axum::body::Body::empty())
            .unwrap();
        assert_eq!(rules.admits(&request), expected, "{host}");
    }

    #[test]
    fn a_rebound_name_is_not_admitted() {
        for host in [
            "localhost:8001",
            "LOCALHOST",
            "127.0.0.1:8001",
            "[::1]:8001",
            "10.0.0.7",
            "Bridge.Example:443",
        ] {
            check(host, true);
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "bridge.example.evil",
            "",
            "a b",
        ] {
            check(host, false);
        }
    }

    #[tokio::test]
    async fn a_used_port_is_named_with_its_remedy() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let listener = Listener {
            address,
            variable: "OPS_LISTEN",
            flag: "--ops-listen",
            tls: None,
        };
        let text = bind([&listener, &listener]).await.unwrap_err().to_string();
        assert_eq!(text.lines().count(), 2, "every port is told of: {text}");
        for part in [
            &address.port().to_string(),
            "in use",
            "OPS_LISTEN",
            "--ops-listen",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
