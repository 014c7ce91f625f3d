//! Calls a provider once, the way that traffic would, because an admin asks how it is.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_translate::{anthropic, native::History, request};
use bytes::Bytes;
use http::HeaderMap;

use super::{
    admission::Upstreams,
    client::{self, Accept},
    mask::mask,
    outcome::Class,
    pass::{Asked, Passed, pass},
    way_back::Reply,
};
use crate::{off_reactor::Room, routing::Candidate, snapshot::Snapshot};

/// As small as a request can be that every model answers.
const REQUEST: &[u8] =
    br#"{"model":"probe","max_tokens":16,"messages":[{"role":"user","content":"Say ok."}]}"#;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) latency: Duration,
    /// Zero if the upstream did not answer.
    pub(crate) http_status: u16,
    /// Class and words, if it failed.
    pub(crate) failure: Option<(String, String)>,
}

impl Report {
    /// Nobody was called.
    pub(crate) fn refused(reason: &str) -> Self {
        Self {
            latency: Duration::ZERO,
            http_status: 0,
            failure: Some(("refused".into(), reason.into())),
        }
    }
}

pub(crate) async fn run(upstreams: &Arc<Upstreams>, snapshot: &Snapshot, probe: Probe) -> Report {
    let Probe {
        provider,
        model,
        timeout,
    } = probe;
    let Some(provider) = snapshot.providers.iter().find(|known| *known.name == *provider) else {
        return Report::refused("this node does not know the provider");
    };
    let candidate = Candidate {
        provider: Arc::clone(provider),
        model: model.into(),
    };
    let started = Instant::now();
    let mut http_status = 0;
    let call = call(upstreams, snapshot, &candidate, &mut http_status);
    let failure = match tokio::time::timeout(timeout.unwrap_or(TIMEOUT_DEFAULT), call).await {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(_) => Some(plain(Class::Silent)),
    };
    Report {
        latency: started.elapsed(),
        http_status,
        failure,
    }
}

fn plain(class: Class) -> (String, String) {
    (class.verdict().name.to_owned(), class.text().to_owned())
}

async fn call(
    upstreams: &Upstreams,
    snapshot: &Snapshot,
    candidate: &Candidate,
    http_status: &mut u16,
) -> Result<(), (String, String)> {
    let refused = |error: bridge_translate::error::BadRequest| ("bad_request".to_owned(), error.message);
    let parsed = anthropic::Request::parse(REQUEST).map_err(refused)?;
    let endpoint = &candidate.provider.endpoint;
    let (call, reply) = if candidate.is_native() {
        let asked = Asked {
            request: &parsed,
            body: &Bytes::from_static(REQUEST),
            headers: &HeaderMap::new(),
            query: None,
        };
        let Passed {
            call,
            reply,
            losses: _,
        } = pass(&asked, candidate, snapshot, History::Signed, Room::OnReactor).map_err(refused)?;
        (call, Reply::Native(reply))
    } else {
        let outbound = request::to_openai(&parsed, &candidate.target(snapshot)).map_err(refused)?;
        let accept = if outbound.upstream_streams {
            Accept::Events
        } else {
            Accept::Json
        };
        let call = client::Request {
            url: endpoint.url_of(&candidate.model),
            headers: endpoint.headers.clone(),
            accept,
            body: Bytes::from(outbound.body),
        };
        (call, Reply::Translated(outbound.reply))
    };
    let client::Answer {
        status,
        headers,
        mut body,
    } = upstreams.client.send(&call).await.map_err(plain)?;
    *http_status = status;
    let content_type = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let whole = body
        .collect(endpoint.pace.idle, ANSWER_BYTES_MAX)
        .await
        .map_err(plain)?;
    let fault = match status {
        200..300 => reply.document(&whole).err(),
        status => Some(reply.refusal(status, content_type, &whole).fault),
    };
    fault.map_or(Ok(()), |fault| {
        let name = Class::Said(fault.kind).verdict().name;
        Err((name.to_owned(), mask(&fault.message, &endpoint.secrets)))
    })
}
