//! Calls as spans, if somebody collects traces: from their arrival to the last of their answer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use http_body::{Frame, SizeHint};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use tonic::Code;

use crate::traces::{FromNode, Place, Span, Traces, cut, text};

const STATUS: &str = "grpc-status";

/// Middleware around the services and whoever is let in to them.
pub(super) async fn follow(State(traces): State<Traces>, mut request: Request, next: Next) -> Response {
    let Some(place) = Traces::follow(request.headers()) else {
        return next.run(request).await;
    };
    let from_node = FromNode::default();
    request.extensions_mut().insert(from_node.clone());
    let mut call = Call {
        traces,
        place: Some(place),
        from_node,
        path: request.uri().path().trim_start_matches('/').to_owned(),
        arrived: (SystemTime::now(), Instant::now()),
        status: None,
    };
    let response = next.run(request).await;
    call.status = status(response.headers());
    response.map(|body| Body::new(Followed { body, call }))
}

/// Told when it is dropped: whether the answer was complete or nobody waited for it.
struct Call {
    traces: Traces,
    place: Option<Place>,
    from_node: FromNode,
    path: String,
    arrived: (SystemTime, Instant),
    /// `None`: it has not ended.
    status: Option<Code>,
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let code = self.status.unwrap_or(Code::Cancelled);
        let (started, arrived) = self.arrived;
        let mut attributes = vec![
            KeyValue::new("rpc.system", "grpc"),
            KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(code))),
        ];
        attributes.extend(self.from_node.attribute());
        if let Some((service, method)) = self.path.split_once('/') {
            attributes.push(text("rpc.service", service));
            attributes.push(text("rpc.method", method));
        }
        self.traces.tell(Span {
            place,
            name: cut(&self.path).into(),
            kind: SpanKind::Server,
            started,
            ended: started + arrived.elapsed(),
            attributes,
            error: is_ours(code).then_some(code.description()),
        });
    }
}

/// What a caller did wrong is no failure of ours.
fn is_ours(code: Code) -> bool {
    match code {
        Code::Unknown
        | Code::DeadlineExceeded
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unauthenticated => false,
    }
}

fn status(headers: &HeaderMap) -> Option<Code> {
    let status = headers.get(STATUS)?;
    Some(Code::from_bytes(status.as_bytes()))
}

struct Followed {
    body: Body,
    call: Call,
}

impl http_body::Body for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(trailers) = frame.trailers_ref()
        {
            self.call.status = status(trailers);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use tonic::codegen::Service;

    use super::*;
    use crate::traces::tests::traces;

    #[tokio::test]
    async fn a_call_says_from_which_data_plane_it_came_if_it_was_let_in() {
        let (traces, mut told) = traces(2);
        let services = Router::new().fallback(async |request: Request| {
            if request.uri().path() == "/Usage/Report" {
                FromNode::of(request.extensions()).tell("node-1");
                FromNode::of(request.extensions()).tell("node-2");
            }
        });
        let services = services.layer(from_fn_with_state(traces, follow));
        for (path, expected) in [("/Usage/Report", Some("node-1")), ("/Watch/Watch", None)] {
            let request = Request::get(path).body(Body::empty()).unwrap();
            drop(services.clone().call(request).await.unwrap());
            let span = told.try_recv().unwrap();
            let mut attributes = span.attributes.iter();
            let node = attributes.find(|it| it.key.as_str() == "node.id");
            assert_eq!(node.map(|it| it.value.to_string()).as_deref(), expected, "{path}");
        }
    }
}
