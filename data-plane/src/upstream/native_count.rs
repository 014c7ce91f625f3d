//! Lets a provider that speaks the client's API count tokens itself.
//!
//! A question beside the traffic: no breaker is asked or told, and whoever cannot answer
//! is not asked twice. Counting here is always the other way.

use std::{sync::Arc, time::Duration};

use bridge_translate::native::{self, History};
use http::header;
use serde::Deserialize;

use super::{
    admission::Upstreams,
    client::Answer,
    outcome::Failure,
    pass::{Asked, Passed, pass},
    refusal::{self, Advice},
};
use crate::{off_reactor::Room, routing::Candidate, snapshot::Snapshot};

/// Clients ask a dozen times at once and wait. Shorter limits of the provider or of requests hold too.
const TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1 << 20;
const PATH: &str = "count_tokens";

#[derive(Deserialize)]
struct Counted {
    #[serde(rename = "input_tokens")]
    _input_tokens: u64,
}

/// The provider's own answer; `None` if it has none. Refused is only what is the client's fault.
pub(crate) async fn count(
    upstreams: &Arc<Upstreams>,
    snapshot: &Snapshot,
    candidate: &Candidate,
    asked: &Asked<'_>,
) -> Result<Option<Vec<u8>>, Failure> {
    let Ok(room) = Room::soon(asked.body.len()).await else {
        return Ok(None);
    };
    let Ok(Passed { mut call, reply, .. }) = pass(asked, candidate, snapshot, History::Signed, room) else {
        return Ok(None);
    };
    if let Ok(mut path) = call.url.path_segments_mut() {
        path.push(PATH);
    }
    let answer = async {
        let Answer {
            status,
            headers,
            mut body,
        } = upstreams.client.send(&call).await.ok()?;
        let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?.to_owned();
        let body = body.collect(TIMEOUT, ANSWER_BYTES_MAX).await.ok()?;
        Some((status, content_type, body))
    };
    let limits = [
        candidate.provider.endpoint.pace.idle,
        snapshot.settings.attempts.deadline,
    ];
    let within = limits.into_iter().fold(TIMEOUT, Duration::min);
    let Ok(Some((status, content_type, body))) = tokio::time::timeout(within, answer).await else {
        return Ok(None);
    };
    match status {
        200 => Ok(serde_json::from_slice::<Counted>(&body).is_ok().then_some(body)),
        400 | 413 => {
            let refusal = native::refusal(status, Some(&content_type), &body, &reply);
            let is_said = refusal.verbatim.is_some() && !native::refuses_thinking(&refusal.fault);
            if is_said {
                Err(refusal::failure(candidate, refusal, Advice::default()))
            } else {
                Ok(None)
            }
        }
        _ => Ok(None),
    }
}
