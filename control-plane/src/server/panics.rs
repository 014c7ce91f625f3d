//! A panic in a call is an answer: its connection and everybody else's calls go on.

use std::panic::AssertUnwindSafe;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use futures_util::FutureExt;
use tonic::Status;

use crate::telemetry::Metrics;

/// Middleware next to the services. What they hold is whole at every await: changes are made by the
/// store's writer, in one piece.
pub(super) async fn answer(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    AssertUnwindSafe(next.run(request))
        .catch_unwind()
        .await
        .unwrap_or_else(|_panic| {
            metrics.panics.inc();
            tracing::error!(path, "a call ended in a panic");
            Status::internal("an internal error happened").into_http()
        })
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::post;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;
    use tonic::client::Grpc;

    use tonic::transport::{Channel, Endpoint};
    use tonic::{Code, Request as Call};
    use tonic_prost::ProstCodec;

    use super::*;
    use crate::server::{Listening, Protocols, serve};

    async fn panicking() -> Response {
        tokio::task::yield_now().await;
        panic!("a test's own panic")
    }

    async fn ask(channel: &Channel, path: &'static str) -> Status {
        let mut client = Grpc::new(channel.clone());
        client.ready().await.unwrap();
        let codec = ProstCodec::<(), ()>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        client.unary(Call::new(()), path, codec).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_panic_in_a_call_is_an_internal_error_and_the_connection_goes_on() {
        let metrics = Metrics::new();
        let unimplemented = || async { Status::unimplemented("not here").into_http::<Body>() };
        let app = Router::new()
            .route("/a.Service/Panics", post(panicking))
            .route("/a.Service/Is", post(unimplemented))
            .layer(from_fn_with_state(metrics.clone(), answer));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let listening = Listening {
            app,
            protocols: Protocols::Http2,
            tls: None,
        };
        let asking = async {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
            let channel = endpoint.connect().await.unwrap();
            for panics in 1..=3 {
                let told = ask(&channel, "/a.Service/Panics").await;
                assert_eq!(
                    (told.code(), told.message()),
                    (Code::Internal, "an internal error happened")
                );
                assert_eq!(metrics.panics.get(), panics);
                assert_eq!(ask(&channel, "/a.Service/Is").await.code(), Code::Unimplemented);
            }
            stop.cancel();
        };
        let (served, ()) = tokio::join!(serve(listener, 8, listening, stop.clone()), asking);
        served.unwrap();
    }
}
