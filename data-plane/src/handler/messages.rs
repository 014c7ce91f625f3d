//! `POST /v1/messages`: the way of a request, on one screen.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bridge_translate::{Ids, anthropic, response};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::request::Parts;
use tokio::time::sleep;

use super::{metered, stamp};
use crate::{
    auth, body,
    error::Error,
    node::Node,
    off_reactor::off_reactor,
    relay::{Committed, Outcome, Relay},
    request_id::RequestId,
    routing::{self, Candidate},
    snapshot::{KeyId, Snapshot},
    upstream::{
        failover::{self, Order},
        pass::Asked,
    },
    usage::meter::Meter,
};

/// How long a streaming client's head is held back for a first event.
const HEADER_HOLD: Duration = Duration::from_secs(15);

pub(super) async fn create(
    State(node): State<Arc<Node>>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    metered::run(&node, id, |meter| serve(&node, request, meter)).await
}

async fn serve(
    node: &Arc<Node>,
    request: Request,
    mut meter: Box<Meter>,
) -> Result<Response, (Box<Meter>, Error)> {
    let arrived = Instant::now();
    let admitted = match admit(node, request, arrived, &mut meter).await {
        Ok(admitted) => admitted,
        Err(error) => return Err((meter, error)),
    };
    let wants_stream = Arc::new(AtomicBool::new(false));
    let id = meter.id().clone();
    let walk = walk(
        Arc::clone(node),
        admitted,
        meter,
        arrived,
        Arc::clone(&wants_stream),
    )
    .boxed();
    Ok(hold(node, walk, &wants_stream, id).await)
}

/// A request whose caller is known, and what it is judged by.
pub(super) struct Admitted {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) key: KeyId,
    pub(super) head: Parts,
    pub(super) body: Bytes,
}

/// Who asks, before anything of the body is read.
pub(super) async fn admit(
    node: &Node,
    request: Request,
    arrived: Instant,
    meter: &mut Meter,
) -> Result<Admitted, Error> {
    let (head, body) = request.into_parts();
    let snapshot = node.live.current(arrived)?;
    meter.judged_by(snapshot.version.revision);
    let key = authenticate(node, &snapshot, &head, meter)?;
    let body = body::read(&head.headers, body).await?;
    Ok(Admitted {
        snapshot,
        key,
        head,
        body,
    })
}

/// Finds the caller and tells the meter.
pub(super) fn authenticate(
    node: &Node,
    snapshot: &Snapshot,
    head: &Parts,
    meter: &mut Meter,
) -> Result<KeyId, Error> {
    let caller = auth::authenticate(snapshot, &head.headers, head.uri.query(), SystemTime::now())?;
    if caller.is_by_query {
        node.metrics.process.query_keys.inc();
    }
    meter.called_by(caller.key.id);
    Ok(caller.key.id)
}

/// Parse, plan, ask: up to the first content of an answer.
async fn walk(
    node: Arc<Node>,
    admitted: Admitted,
    mut meter: Box<Meter>,
    arrived: Instant,
    wants_stream: Arc<AtomicBool>,
) -> Outcome {
    let Admitted {
        snapshot,
        key,
        head,
        body,
    } = admitted;
    let result = async {
        let key = snapshot.keys.get(&key).ok_or(auth::Error::Invalid)?;
        let request = off_reactor(body.len(), || anthropic::Request::parse(&body))?;
        wants_stream.store(request.is_stream(), Ordering::Relaxed);
        meter.asked(request.model(), request.is_stream());
        let mut plan = routing::plan(&snapshot, key, request.model(), &mut rand::rng())?;
        if request.wants_no_output() {
            plan.candidates.retain(Candidate::is_native);
            if plan.candidates.is_empty() {
                return Ok(Committed::Whole(without_output(&request)));
            }
        }
        let order = Order {
            upstreams: &node.upstreams,
            snapshot: &snapshot,
            key,
            asked: Asked {
                request: &request,
                body: &body,
                headers: &head.headers,
                query: head.uri.query(),
            },
            arrived,
        };
        failover::run(order, plan, &mut meter).await
    }
    .await;
    Outcome { meter, result }
}

/// `max_tokens: 0` warms a cache that no translated provider has: without a native one it
/// is answered here.
fn without_output(request: &anthropic::Request<'_>) -> Vec<u8> {
    let ids = Ids::new(rand::random());
    if !request.is_stream() {
        return response::without_output(request, &ids).body;
    }
    let mut events = Vec::new();
    response::without_output_events(request, &ids, &mut events);
    events
}

/// Waits for the walk; a streaming client gets its head after a while in any case.
async fn hold(
    node: &Arc<Node>,
    mut walk: BoxFuture<'static, Outcome>,
    wants_stream: &AtomicBool,
    id: RequestId,
) -> Response {
    let mut held_long_enough = pin!(sleep(HEADER_HOLD));
    let outcome = tokio::select! {
        // An answer that is there is better than a ping.
        biased;
        outcome = &mut walk => outcome,
        () = &mut held_long_enough => {
            if wants_stream.load(Ordering::Relaxed) {
                let relay = Relay::waiting(walk, Arc::clone(&node.life), id);
                return events(relay);
            }
            walk.await
        }
    };
    let Outcome { mut meter, result } = outcome;
    let is_stream = wants_stream.load(Ordering::Relaxed);
    match result {
        Err(error) => metered::refuse(meter, error),
        Ok(Committed::Flow(flow)) => {
            let trail = meter.trail().clone();
            let mut response = events(Relay::content(flow, meter, Arc::clone(&node.life)));
            stamp::trail(response.headers_mut(), &trail);
            response
        }
        Ok(Committed::Whole(bytes)) => {
            meter.succeeded();
            let mut response = Response::new(Body::from(bytes));
            match is_stream {
                true => stamp::events(response.headers_mut()),
                false => stamp::json(response.headers_mut()),
            }
            stamp::trail(response.headers_mut(), meter.trail());
            response
        }
    }
}

fn events(relay: Relay) -> Response {
    let mut response = Response::new(Body::new(relay));
    stamp::events(response.headers_mut());
    response
}
