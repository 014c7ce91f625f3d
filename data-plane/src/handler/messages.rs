//! `POST /v1/messages`: the way of a request, on one screen.

use std::{
    future::pending,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bridge_translate::{Ids, LossList, anthropic, response};
use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http::{HeaderMap, request::Parts};
use tokio::{sync::watch, time::sleep};

use super::{metered, shed, stamp};
use crate::{
    auth, body,
    error::Error,
    limits::Asking,
    node::Node,
    off_reactor::Room,
    overload::Held,
    relay::{Committed, Gather, Outcome, Relay},
    request_id::RequestId,
    routing::{self, Candidate},
    running::Leash,
    snapshot::{KeyId, Snapshot},
    upstream::{
        failover::{self, Order},
        pass::Asked,
    },
    usage::meter::Meter,
};

/// How long a head is held back for a first event; none as long as nobody is known to want
/// a stream.
type Hold = Option<Duration>;

pub(super) async fn create(
    State(node): State<Arc<Node>>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    match shed::unless_there_is_room(&node, &id, request) {
        ControlFlow::Continue(request) => {
            let trace = node.trace("POST /v1/messages", request.headers());
            metered::run(&node, id, trace, |meter| serve(&node, request, meter)).await
        }
        ControlFlow::Break(refusal) => {
            node.recorder.turned_away();
            refusal
        }
    }
}

async fn serve(
    node: &Arc<Node>,
    request: Request,
    mut meter: Box<Meter>,
) -> Result<Response, (Box<Meter>, Error)> {
    let arrived = Instant::now();
    meter.writes_into(node.book());
    let admitted = match admit(node, request, arrived, &mut meter).await {
        Ok(admitted) => admitted,
        Err(error) => return Err((meter, error)),
    };
    if let Err(error) = grant(node, &admitted, &mut meter) {
        return Err((meter, error));
    }
    let (tell_hold, hold) = watch::channel(None);
    let head = Head {
        hold,
        id: meter.id().clone(),
        limits: meter.trail().limits.clone(),
    };
    let leash = admitted.leash.clone();
    let asked = walk(Arc::clone(node), admitted, meter, arrived, tell_hold);
    Ok(answer(node, leash, asked.boxed(), head).await)
}

/// What an answer may begin with before anything of it is there.
struct Head {
    hold: watch::Receiver<Hold>,
    id: RequestId,
    limits: HeaderMap,
}

/// Holds the request against the limits of its key, before anything of it is translated.
fn grant(node: &Node, admitted: &Admitted, meter: &mut Meter) -> Result<(), Error> {
    let Admitted {
        snapshot, key, body, ..
    } = admitted;
    let key = snapshot.keys.get(key).ok_or(auth::Error::Invalid)?;
    let now = Instant::now();
    let asking = Asking {
        body_bytes: body.len(),
        now,
        wall: node.clock.at(now),
    };
    let Some(verdict) = node.limits.admit(key, &snapshot.settings.prices, &asking) else {
        return Ok(());
    };
    meter.tells_limits(verdict.headers);
    meter.granted(verdict.grant.map_err(Error::Limited)?);
    Ok(())
}

/// A request whose caller is known, and what it is judged by.
pub(super) struct Admitted {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) key: KeyId,
    pub(super) leash: Leash,
    pub(super) head: Parts,
    pub(super) body: Bytes,
    /// The memory that the body is accounted for.
    pub(super) held: Held,
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
    // A body may take minutes to come, and the key may end before it.
    let leash = node.leash(key).ok_or(auth::Error::Invalid)?;
    node.upstreams.tables.want();
    let read = body::read(&head, body, &node.overload.bodies);
    let body::Whole { bytes, held } = leash.hold(read).await??;
    Ok(Admitted {
        snapshot,
        key,
        leash,
        head,
        body: bytes,
        held,
    })
}

/// Finds the caller and tells the meter.
pub(super) fn authenticate(
    node: &Node,
    snapshot: &Snapshot,
    head: &Parts,
    meter: &mut Meter,
) -> Result<KeyId, Error> {
    let caller = auth::authenticate(
        snapshot,
        &head.headers,
        head.uri.query(),
        node.clock.at(Instant::now()),
    )?;
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
    tell_hold: watch::Sender<Hold>,
) -> Outcome {
    let Admitted {
        snapshot,
        key,
        leash,
        head,
        body,
        // As long as the walk may send the body once more.
        held: _held,
    } = admitted;
    let asking = async {
        let key = snapshot.keys.get(&key).ok_or(auth::Error::Invalid)?;
        let room = Room::soon(body.len()).await.map_err(Error::Overloaded)?;
        let request = room.run(|| anthropic::Request::parse(&body))?;
        meter.asked(request.model(), request.is_stream());
        let mut plan = routing::plan(&snapshot, key, request.model(), &mut rand::rng())?;
        if request.is_stream() {
            let first = plan.candidates.first();
            tell_hold.send_replace(first.map(|first| first.provider.endpoint.pace.hold_head));
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
            has_leisure: !node.overload.is_shedding(),
        };
        if request.wants_no_output() {
            plan.candidates.retain(Candidate::is_native);
            if plan.candidates.is_empty() {
                let (answer, losses) = without_output(&request);
                order.report(losses, &mut meter)?;
                return Ok(Committed::Whole(answer.into()));
            }
        }
        failover::run(order, plan, &mut meter).await
    };
    let result = leash.hold(asking).await.flatten();
    Outcome { meter, result }
}

/// `max_tokens: 0` warms a cache that no translated provider has: without a native one it
/// is answered here.
fn without_output(request: &anthropic::Request<'_>) -> (Vec<u8>, LossList) {
    let ids = Ids::new(rand::random());
    if !request.is_stream() {
        let answer = response::without_output(request, &ids);
        return (answer.body, answer.losses);
    }
    let mut events = Vec::new();
    let told = response::without_output_events(request, &ids, &mut events);
    (events, told.losses)
}

/// Waits for the walk; a streaming client gets its head after a while in any case.
async fn answer(
    node: &Arc<Node>,
    leash: Leash,
    mut walk: BoxFuture<'static, Outcome>,
    head: Head,
) -> Response {
    let Head { hold, id, limits } = head;
    let outcome = tokio::select! {
        // An answer that is there is better than a ping.
        biased;
        outcome = &mut walk => outcome,
        () = head_is_due(hold.clone()) => {
            let metrics = Arc::clone(&node.metrics);
            let mut response = events(Relay::waiting(walk, leash, Gather::new(node.overload.pressure.clone()), metrics, id));
            stamp::limits(response.headers_mut(), &limits);
            return response;
        }
    };
    let Outcome { mut meter, result } = outcome;
    match result {
        Err(error) => metered::refuse(meter, error),
        Ok(Committed::Flow(flow)) => {
            let trail = meter.trail().clone();
            let mut response = events(Relay::content(
                flow,
                meter,
                leash,
                Gather::new(node.overload.pressure.clone()),
            ));
            stamp::trail(response.headers_mut(), &trail);
            response
        }
        Ok(Committed::Whole(bytes)) => {
            meter.succeeded();
            let mut response = Response::new(Body::from(bytes));
            if hold.borrow().is_some() {
                stamp::events(response.headers_mut());
            } else {
                stamp::json(response.headers_mut());
            }
            stamp::trail(response.headers_mut(), meter.trail());
            response
        }
    }
}

/// Never, for a client that wants no stream.
async fn head_is_due(mut hold: watch::Receiver<Hold>) {
    let told = hold.wait_for(Option::is_some).await.map(|hold| *hold);
    match told {
        Ok(Some(hold)) => sleep(hold).await,
        Ok(None) | Err(_) => pending().await,
    }
}

fn events(relay: Relay) -> Response {
    let mut response = Response::new(Body::new(relay));
    stamp::events(response.headers_mut());
    response
}
