//! A call that is passed on to a provider which speaks the client's API.

use bridge_translate::{
    LossList, anthropic,
    error::BadRequest,
    native::{self, History},
};
use bytes::Bytes;
use http::HeaderMap;

use super::{
    client::{self, Accept},
    native_head,
};
use crate::{off_reactor::Room, routing::Candidate, snapshot::Snapshot};

/// What the client sent.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a anthropic::Request<'a>,
    pub(crate) body: &'a Bytes,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) query: Option<&'a str>,
}

/// What goes to the provider, and what is needed when it answers.
pub(crate) struct Passed {
    pub(crate) call: client::Request,
    pub(crate) reply: native::Reply,
    pub(crate) losses: LossList,
}

/// Makes the call that creates a message.
pub(crate) fn pass(
    asked: &Asked<'_>,
    candidate: &Candidate,
    snapshot: &Snapshot,
    history: History,
    room: Room,
) -> Result<Passed, BadRequest> {
    let target = candidate.target(snapshot);
    let Asked {
        request,
        body,
        headers,
        query,
    } = *asked;
    let outbound = room.run(|| native::edit(body, request, &target, history))?;
    let endpoint = &candidate.provider.endpoint;
    let (headers, lost_betas) = native_head::up(headers, endpoint, &target.dialect.strip_betas);
    let mut losses = outbound.losses;
    losses.extend(lost_betas);
    let mut url = endpoint.url_of(&candidate.model);
    url.set_query(native_head::query(query).as_deref());
    let accept = if request.is_stream() {
        Accept::Events
    } else {
        Accept::Json
    };
    Ok(Passed {
        call: client::Request {
            url,
            headers,
            accept,
            body: outbound.body.map_or_else(|| body.clone(), Bytes::from),
        },
        reply: outbound.reply,
        losses,
    })
}
