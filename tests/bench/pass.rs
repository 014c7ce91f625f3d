//! The floor that the data plane is measured against: hands every byte on and does nothing else.

use std::convert::Infallible;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;

type Body = BoxBody<Bytes, hyper::Error>;

/// Serves on `listen` until the process ends; every request goes to `upstream`'s chat completions.
pub(crate) async fn serve(listen: &str, upstream: &str) -> Result<Infallible> {
    let target: Uri = format!("{upstream}/chat/completions").parse()?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let listener = TcpListener::bind(listen)
        .await
        .context("the floor cannot listen")?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let (client, target) = (client.clone(), target.clone());
        let answer = hyper::service::service_fn(move |request| pass(client.clone(), target.clone(), request));
        tokio::spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new();
            // A client that hangs up is none of the floor's business.
            connection
                .serve_connection(TokioIo::new(socket), answer)
                .await
                .ok();
        });
    }
}

async fn pass(
    client: Client<HttpConnector, Incoming>,
    target: Uri,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (mut head, body) = request.into_parts();
    head.uri = target;
    head.headers.remove("host");
    let answer = client.request(Request::from_parts(head, body)).await;
    Ok(answer
        .map(|answer| answer.map(BodyExt::boxed))
        .unwrap_or_else(|_| bad_gateway()))
}

fn bad_gateway() -> Response<Body> {
    let empty = http_body_util::Empty::new().map_err(|never| match never {});
    let mut answer = Response::new(empty.boxed());
    *answer.status_mut() = StatusCode::BAD_GATEWAY;
    answer
}
