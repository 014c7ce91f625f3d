//! What would become of a request, by the code that would serve it: the name, the key's
//! rights, the candidates, what each would be sent. Nothing is called and nothing is kept
//! of it: no count, no right, no line in the log.

use std::{sync::Arc, time::Instant};

use bridge_translate::{anthropic, tokens};
use bytes::Bytes;
use http::HeaderMap;

use crate::{
    auth,
    error::Error,
    limits::{Asking, Refusal},
    node::Node,
    routing::{self, Candidate, Plan, Skip},
    snapshot::{ApiKey, KeyId, Snapshot, Tier},
    upstream::{
        failover::{self, Explained, Order, Step},
        pass::Asked,
    },
};

/// Candidates that are told of.
const CANDIDATES_MAX: usize = 200;
/// What a client is answered here if it wants no output.
const ANSWERED_HERE: &str = "answered here: with max_tokens 0 only a native provider is asked";

pub(crate) struct Question {
    /// A body of `/v1/messages`.
    pub(crate) body: Bytes,
    /// Empty: nobody's.
    pub(crate) key_id: String,
}

#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) config_revision: u64,
    /// The name that was asked for.
    pub(crate) model: String,
    pub(crate) rule: Option<String>,
    pub(crate) tier: Option<Tier>,
    pub(crate) steps: Vec<Step>,
    /// Providers that the plan passed over.
    pub(crate) skipped: Vec<Skip>,
    /// None if somebody would be asked.
    pub(crate) told: Option<Told>,
    pub(crate) input_tokens: u64,
}

/// What a client would be answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) error_type: &'static str,
    pub(crate) message: String,
}

impl From<Error> for Told {
    fn from(error: Error) -> Self {
        Self {
            status: error.status(),
            error_type: error.error_type().as_str(),
            message: error.to_string(),
        }
    }
}

/// Long for large bodies: not for the reactor.
pub(crate) fn explain(node: &Node, question: &Question) -> Answer {
    let mut answer = Answer::default();
    if let Err(error) = walk_through(node, question, &mut answer) {
        // What stands in the way first is what a client hears of.
        answer.told.get_or_insert(error.into());
    }
    answer
}

fn walk_through(node: &Node, question: &Question, answer: &mut Answer) -> Result<(), Error> {
    let now = Instant::now();
    let snapshot = node.live.current(now)?;
    answer.config_revision = snapshot.version.revision;
    let key = key_of(node, &snapshot, &question.key_id, now)?;
    // Whoever is over a limit is asked nothing more, and still told where it would go.
    if let Err(refusal) = limited(node, &key, &question.body, now) {
        answer.told = Some(Error::Limited(refusal).into());
    }
    let request = anthropic::Request::parse(&question.body)?;
    answer.model = request.model().to_owned();
    let lead = routing::lead(&snapshot, request.model());
    (answer.rule, answer.tier) = (lead.rule.map(str::to_owned), lead.tier);
    let mut plan = match routing::plan(&snapshot, &key, request.model(), &mut rand::rng()) {
        Ok(plan) => plan,
        Err(error) => {
            if let routing::Error::NoCandidate { skipped, .. } = &error {
                answer.skipped.clone_from(skipped);
            }
            return Err(error.into());
        }
    };
    answer.skipped = std::mem::take(&mut plan.skipped);
    plan.candidates.truncate(CANDIDATES_MAX);
    if request.wants_no_output() {
        plan.candidates.retain(Candidate::is_native);
        if plan.candidates.is_empty() {
            answer.told.get_or_insert(Told {
                status: 200,
                error_type: "",
                message: ANSWERED_HERE.to_owned(),
            });
            return Ok(());
        }
    }
    let order = Order {
        upstreams: &node.upstreams,
        snapshot: &snapshot,
        key: &key,
        asked: Asked {
            request: &request,
            body: &question.body,
            headers: &HeaderMap::new(),
            query: None,
        },
        arrived: now,
        has_leisure: false,
    };
    let Explained { steps, refused } = failover::explain(order, &plan);
    answer.input_tokens = count(node, &snapshot, &request, &plan, &steps)?;
    answer.steps = steps;
    refused.map_or(Ok(()), Err)
}

/// The key as authentication would find it, without its secret.
fn key_of(node: &Node, snapshot: &Snapshot, id: &str, now: Instant) -> Result<Arc<ApiKey>, Error> {
    if id.is_empty() {
        return Ok(Arc::new(ApiKey::of_nobody()));
    }
    let now = node.clock.at(now);
    KeyId::parse(id.as_bytes())
        .and_then(|id| snapshot.keys.get(&id))
        .filter(|key| key.hash.is_some())
        .filter(|key| key.expires_at.is_none_or(|expires_at| now < expires_at))
        .cloned()
        .ok_or(Error::Auth(auth::Error::Invalid))
}

/// Whether a request with this key would be let in now.
fn limited(node: &Node, key: &ApiKey, body: &Bytes, now: Instant) -> Result<(), Refusal> {
    let asking = Asking {
        body_bytes: body.len(),
        now,
        wall: node.clock.at(now),
    };
    node.limits.look(key, &asking)
}

/// For the first candidate that would be asked, else for the first.
fn count(
    node: &Node,
    snapshot: &Snapshot,
    request: &anthropic::Request<'_>,
    plan: &Plan,
    steps: &[Step],
) -> Result<u64, Error> {
    let asked = steps.iter().find(|step| step.skipped.is_none());
    let Some(first) = asked.map(|step| &step.candidate).or(plan.candidates.first()) else {
        return Ok(0);
    };
    let counted = tokens::count(request, &first.target(snapshot))?;
    Ok(node.upstreams.learnt.correct_counted(first, counted))
}

#[cfg(test)]
mod tests;
