//! `GET /v1/models`: the names that the caller's key can use.

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
use crate::{auth, error::Error, node::Node, request_id::RequestId, routing, usage::meter::Meter};

/// Clients show a date, and no provider tells one.
const CREATED_AT: &str = "1970-01-01T00:00:00Z";

#[derive(Serialize)]
struct Page {
    data: Vec<Model>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

/// Every key is always present, as in the real API.
#[derive(Serialize)]
struct Model {
    id: String,
    r#type: &'static str,
    display_name: String,
    created_at: &'static str,
    lifecycle: &'static str,
    line: Option<&'static str>,
    max_input_tokens: Option<u32>,
    max_tokens: Option<u32>,
    capabilities: Option<()>,
    deprecated_at: Option<()>,
    retires_at: Option<()>,
}

impl Model {
    fn new(id: String, limits: routing::Limits) -> Self {
        Self {
            display_name: id.clone(),
            line: routing::line(&id),
            id,
            r#type: "model",
            created_at: CREATED_AT,
            lifecycle: "active",
            max_input_tokens: limits.context_window,
            max_tokens: limits.max_output_tokens,
            capabilities: None,
            deprecated_at: None,
            retires_at: None,
        }
    }
}

pub(super) async fn list(
    State(node): State<Arc<Node>>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Response {
    let (head, _) = request.into_parts();
    metered::run(&node, id, async |mut meter| {
        match reachable(&node, &head, &mut meter) {
            Ok(data) => {
                let (first, last) = (data.first(), data.last());
                let (first_id, last_id) = (
                    first.map(|model| model.id.clone()),
                    last.map(|model| model.id.clone()),
                );
                respond(
                    meter,
                    &Page {
                        data,
                        has_more: false,
                        first_id,
                        last_id,
                    },
                )
            }
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
    metered::run(&node, id, async |mut meter| {
        let found = reachable(&node, &head, &mut meter).and_then(|models| {
            let mut models = models.into_iter();
            models
                .find(|model| model.id.eq_ignore_ascii_case(&asked))
                .ok_or(Error::Routing(routing::Error::Unmapped(asked)))
        });
        match found {
            Ok(model) => respond(meter, &model),
            Err(error) => Err((meter, error)),
        }
    })
    .await
}

fn reachable(node: &Node, head: &Parts, meter: &mut Meter) -> Result<Vec<Model>, Error> {
    let snapshot = node.live.current(Instant::now())?;
    meter.judged_by(snapshot.version.revision);
    let key = authenticate(node, &snapshot, head, meter)?;
    let key = snapshot.keys.get(&key).ok_or(auth::Error::Invalid)?;
    Ok(routing::reachable(&snapshot, key)
        .into_iter()
        .map(|(id, limits)| Model::new(id, limits))
        .collect())
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
