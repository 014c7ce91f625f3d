//! `POST /v1/messages/count_tokens`: the count of a native provider or of a server that has
//! its tokenizer on the wire, else an estimate that calls nobody.

use std::{ops::ControlFlow, sync::Arc, time::Instant};

use axum::{
    Extension,
    body::Body,
    extract::{Request, State},
    response::Response,
};
use bridge_translate::{Target, anthropic, dialect::Tokenizer, tokens};
use serde::Serialize;

use super::{
    messages::{Admitted, admit},
    metered, shed, stamp,
};
use crate::{
    auth,
    error::Error,
    node::Node,
    off_reactor::Room,
    request_id::RequestId,
    routing::{self, Candidate},
    upstream::{admission::Upstreams, native_count, pass::Asked, tokenize},
    usage::meter::Meter,
};

#[derive(Serialize)]
struct Counted<'a> {
    input_tokens: u64,
    model: &'a str,
    context_management: Option<()>,
}

pub(super) async fn count(
    State(node): State<Arc<Node>>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    match shed::unless_there_is_room(&node, &id, request) {
        ControlFlow::Continue(request) => {
            let trace = node.trace("POST /v1/messages/count_tokens", request.headers());
            metered::run(&node, id, trace, |meter| serve(&node, request, meter)).await
        }
        ControlFlow::Break(refusal) => refusal,
    }
}

async fn serve(
    node: &Arc<Node>,
    request: Request,
    mut meter: Box<Meter>,
) -> Result<Response, (Box<Meter>, Error)> {
    match answer(node, request, &mut meter).await {
        Ok(bytes) => {
            meter.succeeded();
            let mut response = Response::new(Body::from(bytes));
            stamp::json(response.headers_mut());
            stamp::trail(response.headers_mut(), meter.trail());
            Ok(response)
        }
        Err(error) => Err((meter, error)),
    }
}

async fn answer(node: &Node, request: Request, meter: &mut Meter) -> Result<Vec<u8>, Error> {
    let admitted = admit(node, request, Instant::now(), meter).await?;
    let leash = admitted.leash.clone();
    leash.hold(count_admitted(node, admitted, meter)).await.flatten()
}

async fn count_admitted(node: &Node, admitted: Admitted, meter: &mut Meter) -> Result<Vec<u8>, Error> {
    let Admitted {
        snapshot,
        key,
        leash: _,
        head,
        body,
        held: _held,
    } = admitted;
    let key = snapshot.keys.get(&key).ok_or(auth::Error::Invalid)?;
    let room = Room::soon(body.len()).await.map_err(Error::Overloaded)?;
    let request = room.run(|| anthropic::Request::parse_count_tokens(&body))?;
    meter.asked(request.model(), false);
    let plan = routing::plan(&snapshot, key, request.model(), &mut rand::rng())?;
    let first = plan
        .candidates
        .first()
        .ok_or_else(|| routing::Error::Unmapped(request.model().to_owned()))?;
    if first.is_native() {
        let asked = Asked {
            request: &request,
            body: &body,
            headers: &head.headers,
            query: head.uri.query(),
        };
        let counted = native_count::count(&node.upstreams, &snapshot, first, &asked).await;
        if let Some(counted) = counted.map_err(Error::Upstream)? {
            meter.attempt(&first.provider.name, &first.model);
            return Ok(counted);
        }
    }
    let target = first.target(&snapshot);
    let input_tokens = match count_upstream(&node.upstreams, &request, body.len(), &target, first).await {
        Some(counted) => counted,
        None => {
            // The first count may have to wait for the tables of the tokenizer besides.
            let room = Room::for_long().await.map_err(Error::Overloaded)?;
            let counted = room.run(|| tokens::count(&request, &target))?;
            node.upstreams.learnt.correct_counted(first, counted)
        }
    };
    let counted = Counted {
        input_tokens,
        model: request.model(),
        context_management: None,
    };
    serde_json::to_vec(&counted).map_err(|_| Error::Internal)
}

/// By the upstream's own tokenizer, where it has one for everybody.
async fn count_upstream(
    upstreams: &Upstreams,
    request: &anthropic::Request<'_>,
    body_bytes: usize,
    target: &Target<'_>,
    candidate: &Candidate,
) -> Option<u64> {
    if candidate.is_native() || target.dialect.tokenizer != Tokenizer::Upstream {
        return None;
    }
    let translate = || bridge_translate::request::to_openai(request, target);
    let outbound = Room::soon(body_bytes).await.ok()?.run(translate).ok()?;
    tokenize::count(upstreams, candidate, &outbound.body).await
}
