//! Every request is metered, the refused ones too.

use std::{sync::Arc, time::Instant};

use axum::response::Response;

use super::stamp;
use crate::{
    error::Error,
    node::Node,
    request_id::RequestId,
    usage::{meter::Meter, trace::Trace},
};

/// Runs one metered request; its meter records also what was refused.
pub(super) async fn run<F>(
    node: &Arc<Node>,
    id: RequestId,
    trace: Option<Trace>,
    serve: impl FnOnce(Box<Meter>) -> F,
) -> Response
where
    F: Future<Output = Result<Response, (Box<Meter>, Error)>>,
{
    let mut meter = Meter::start(&node.metrics, id, Instant::now());
    meter.traced_by(trace);
    serve(meter)
        .await
        .unwrap_or_else(|(meter, error)| refuse(meter, error))
}

/// An error as an answer, with what is known of the way it took.
pub(super) fn refuse(mut meter: Box<Meter>, error: Error) -> Response {
    if let Error::Overloaded(shortage) = &error {
        meter.shed(*shortage);
    }
    // Of who has left the meter knows by itself.
    if !matches!(error, Error::ClientLeft) {
        meter.failed(error.status(), error.error_type().as_str());
    }
    let mut response = error.into_response(meter.id());
    stamp::trail(response.headers_mut(), meter.trail());
    response
}
