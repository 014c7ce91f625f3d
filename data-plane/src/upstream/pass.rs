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
    let query = native_head::query(url.query(), query);
    url.set_query(query.as_deref());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::decode::tests as fixture;

    #[tokio::test]
    async fn a_url_keeps_its_query() {
        const BODY: &str = r#"{"model":"opus","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
        let mut provider = fixture::provider_of("anthropic");
        provider.endpoint.url.set_query(Some("api-version=1"));
        let candidate = Candidate {
            provider: provider.into(),
            model: "m".into(),
        };
        let asked = Asked {
            request: &anthropic::Request::parse(BODY.as_bytes()).unwrap(),
            body: &Bytes::from(BODY),
            headers: &HeaderMap::new(),
            query: Some("beta=true"),
        };
        let room = Room::soon(BODY.len()).await.unwrap();
        let passed = pass(&asked, &candidate, &fixture::snapshot(), History::Signed, room).unwrap();
        assert_eq!(passed.call.url.query(), Some("api-version=1&beta=true"));
    }
}
