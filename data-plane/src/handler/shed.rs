//! Turns away whom there is no room for. Whoever sends three times what can be done is
//! refused twice as often as served, so that a refusal may cost next to nothing: it has no
//! meter and no line in the log of its own, but the same counters. It does not wait for the
//! body either, which comes in pieces of which each has its turn behind all other work.

use std::ops::ControlFlow;

use axum::{extract::Request, response::Response};

use crate::{body, error::Error, metrics::RequestLabels, node::Node, request_id::RequestId};

/// The request, or its refusal.
pub(super) fn unless_there_is_room(
    node: &Node,
    id: &RequestId,
    request: Request,
) -> ControlFlow<Response, Request> {
    let Err(shortage) = node.has_room() else {
        return ControlFlow::Continue(request);
    };
    tracing::debug!(request.id = %id, shortage = shortage.name(), "turned away");
    node.overload.refused();
    node.metrics.turned_away(shortage);
    let error = Error::Overloaded(shortage);
    let labels = RequestLabels {
        provider: String::new(),
        status: error.status(),
    };
    node.metrics.requests.get_or_create(&labels).inc();
    // A connection whose body was read can take the next request.
    if let Some(rest) = body::discard_short(request.into_body()) {
        node.tasks.spawn(rest);
    }
    ControlFlow::Break(error.into_response(id))
}
