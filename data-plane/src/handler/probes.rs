//! Probes of clients, balancers and scrapers.

use std::{sync::Arc, time::Instant};

use axum::{extract::State, response::IntoResponse};
use http::{StatusCode, header};

use crate::node::Node;

const JSON: [(header::HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
const OPEN_METRICS: [(header::HeaderName, &str); 1] = [(
    header::CONTENT_TYPE,
    "application/openmetrics-text; version=1.0.0; charset=utf-8",
)];

/// The process answers; it says nothing about providers.
pub(super) async fn health() -> impl IntoResponse {
    (JSON, r#"{"status":"healthy"}"#)
}

/// The first thing that some clients ask for.
pub(super) async fn root() -> StatusCode {
    StatusCode::OK
}

/// Telemetry of clients: taken and forgotten.
pub(super) async fn drop_events() -> impl IntoResponse {
    (JSON, "{}")
}

pub(super) async fn live() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(node): State<Arc<Node>>) -> impl IntoResponse {
    match node.is_ready(Instant::now()) {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

pub(super) async fn metrics(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let now = Instant::now();
    node.metrics
        .config
        .age_seconds
        .set(node.live.age(now).as_secs_f64());
    let body_bytes = node.overload.bodies.used().try_into().unwrap_or(i64::MAX);
    node.metrics.process.body_bytes.set(body_bytes);
    node.upstreams.show(node.live.held().as_deref(), now);
    match node.metrics.render() {
        Ok(text) => (StatusCode::OK, OPEN_METRICS, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, OPEN_METRICS, String::new()),
    }
}
