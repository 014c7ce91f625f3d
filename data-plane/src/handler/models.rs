//! `GET /v1/models`: the names that the caller's key can use.

mod entry;
mod page;

use std::{sync::Arc, time::Instant};

use axum::{
    Extension,
    body::Body,
    extract::{Path, Request, State},
    response::Response,
};
use http::request::Parts;
use serde::Serialize;

use super::{messages::authenticate, metered, stamp};
use crate::{
    auth,
    error::Error,
    node::Node,
    request_id::RequestId,
    routing,
    snapshot::{ApiKey, Snapshot},
    usage::meter::Meter,
};

use self::{entry::Model, page::Query};

pub(super) async fn list(
    State(node): State<Arc<Node>>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let trace = node.trace("GET /v1/models", &head.headers);
    metered::run(&node, id, trace, async |mut meter| {
        let found = look_up(&node, &head, &mut meter, routing::reachable);
        let page = found.and_then(|found| {
            let query = Query::parse(head.uri.query().unwrap_or_default())?;
            Ok(query.page(found.into_iter().map(Model::new).collect())?)
        });
        match page {
            Ok(page) => respond(meter, &page),
            Err(error) => Err((meter, error)),
        }
    })
    .await
}

pub(super) async fn find(
    State(node): State<Arc<Node>>,
    Extension(id): Extension<RequestId>,
    Path(asked): Path<String>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    let trace = node.trace("GET /v1/models/{id}", &head.headers);
    metered::run(&node, id, trace, async |mut meter| {
        let found = look_up(&node, &head, &mut meter, |snapshot, key| {
            routing::reach(snapshot, key, &asked)
        });
        match found {
            Ok(Some(reach)) => respond(meter, &Model::new(reach)),
            Ok(None) => Err((meter, Error::Routing(routing::Error::Unmapped(asked)))),
            Err(error) => Err((meter, error)),
        }
    })
    .await
}

/// Finds something for the caller's key.
fn look_up<T>(
    node: &Node,
    head: &Parts,
    meter: &mut Meter,
    find: impl FnOnce(&Snapshot, &ApiKey) -> T,
) -> Result<T, Error> {
    let snapshot = node.live.current(Instant::now())?;
    meter.judged_by(snapshot.version.revision);
    let key = authenticate(node, &snapshot, head, meter)?;
    let key = snapshot.keys.get(&key).ok_or(auth::Error::Invalid)?;
    Ok(find(&snapshot, key))
}

fn respond(mut meter: Box<Meter>, answer: &impl Serialize) -> Result<Response, (Box<Meter>, Error)> {
    let Ok(bytes) = serde_json::to_vec(answer) else {
        return Err((meter, Error::Internal));
    };
    meter.succeeded();
    let mut response = Response::new(Body::from(bytes));
    stamp::json(response.headers_mut());
    stamp::trail(response.headers_mut(), meter.trail());
    Ok(response)
}
