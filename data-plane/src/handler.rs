//! The endpoints. Each is a straight walk down; nothing calls back up.

mod count_tokens;
mod messages;
mod metered;
mod models;
mod probes;
mod shed;
mod stamp;

use std::{panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::{any, get, post},
};
use futures_util::FutureExt;
use http::Method;

use crate::{error::Error, node::Node, overload::Shortage, request_id::RequestId};

/// What the public listener serves.
pub(crate) fn public(node: Arc<Node>) -> Router {
    Router::new()
        .route("/v1/messages", post(messages::create).fallback(wrong_method))
        .route(
            "/v1/messages/count_tokens",
            post(count_tokens::count).fallback(wrong_method),
        )
        .route("/v1/models", get(models::list).fallback(wrong_method))
        .route("/v1/models/{*id}", get(models::find).fallback(wrong_method))
        .route("/health", get(probes::health).fallback(wrong_method))
        .route("/", get(probes::root).fallback(wrong_method))
        .route(
            "/api/event_logging/batch",
            post(probes::drop_events).fallback(wrong_method),
        )
        .fallback(any(not_found))
        .layer(middleware::from_fn_with_state(Arc::clone(&node), outermost))
        .with_state(node)
}

/// What the ops listener serves.
pub(crate) fn ops(node: Arc<Node>) -> Router {
    Router::new()
        .route("/livez", get(probes::live))
        .route("/readyz", get(probes::ready))
        .route("/metrics", get(probes::metrics))
        .with_state(node)
}

/// Names every request, and turns a panic into an answer.
async fn outermost(
    axum::extract::State(node): axum::extract::State<Arc<Node>>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = RequestId::new();
    request.extensions_mut().insert(id.clone());
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|_panic| {
        node.metrics.process.panics.inc();
        tracing::error!(request.id = %id, "a request ended in a panic");
        Error::Internal.into_response(&id)
    });
    stamp::request_id(response.headers_mut(), &id);
    response
}

/// Answers connections over the limit.
pub(crate) fn refusal(node: Arc<Node>) -> Router {
    Router::new()
        .fallback(any(too_many_connections))
        .layer(middleware::from_fn_with_state(node, outermost))
}

async fn too_many_connections(id: axum::Extension<RequestId>) -> Response {
    Error::Overloaded(Shortage::Connections).into_response(&id)
}

async fn not_found(id: axum::Extension<RequestId>, request: Request) -> Response {
    Error::NotFound(request.uri().path().to_owned()).into_response(&id)
}

async fn wrong_method(id: axum::Extension<RequestId>, method: Method) -> Response {
    tracing::debug!(request.id = %*id, %method, "method not allowed");
    Error::MethodNotAllowed.into_response(&id)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;
    use crate::{
        auth,
        node::tests::node,
        snapshot::{KeyId, decode::tests as fixture},
    };

    /// What no endpoint does, as far as anybody knows.
    async fn panicking(
        axum::extract::State(node): axum::extract::State<Arc<Node>>,
        id: axum::Extension<RequestId>,
    ) -> Response {
        metered::run(&node, id.0, None, |meter| async {
            let _meter = meter;
            tokio::task::yield_now().await;
            panic!("a test's own panic")
        })
        .await
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_the_next_request_is_served() {
        let node = node();
        let router = Router::new()
            .route("/panics", get(panicking))
            .route("/health", get(probes::health))
            .layer(middleware::from_fn_with_state(Arc::clone(&node), outermost))
            .with_state(Arc::clone(&node));
        let ask = async |path: &str| {
            let request = Request::builder().uri(path).body(Body::empty()).unwrap();
            router.clone().oneshot(request).await.unwrap()
        };
        let answer = ask("/panics").await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let id = answer.headers()["request-id"].to_str().unwrap().to_owned();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(told["type"], "error");
        assert_eq!(told["error"]["type"], "api_error");
        assert_eq!(told["error"]["message"], "an internal error happened");
        assert_eq!(told["request_id"], id);
        assert_eq!(ask("/health").await.status(), StatusCode::OK);

        assert_eq!(node.metrics.process.panics.get(), 1);
        assert_eq!(node.requests_in_flight(), 0);
        let counted = node.metrics.render().unwrap();
        assert!(
            counted.contains(r#"status="500""#) && !counted.contains(r#"status="499""#),
            "{counted}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_still_sending_ends_with_its_key() {
        let node = node();
        let (key, _) = auth::tests::key(auth::tests::ID);
        let id = KeyId::parse(auth::tests::ID.as_bytes()).unwrap();
        for path in ["/v1/messages", "/v1/messages/count_tokens"] {
            node.live
                .swap(Arc::new(fixture::snapshot()), std::time::Instant::now());
            let never = futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>();
            let request = Request::post(path)
                .header("x-api-key", &key)
                .body(Body::from_stream(never))
                .unwrap();
            let mut asked = Box::pin(public(Arc::clone(&node)).oneshot(request));
            assert!(asked.as_mut().now_or_never().is_none(), "{path}");
            let without = fixture::received(2, fixture::resources()[1..].to_vec());
            let without = crate::snapshot::decode::decode(&without, None, false).unwrap();
            node.live.swap(Arc::new(without), std::time::Instant::now());
            assert_eq!(node.running.end([id], node.live.held().as_deref()), 1, "{path}");
            let answer = asked.await.unwrap();
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
            assert_eq!(node.requests_in_flight(), 0);
            assert!(node.leash(id).is_none(), "nothing begins with a key that is gone");
        }
    }
}
