//! The walk against a model of it: random plans over upstreams that do random things, and what
//! the table of failures says must come of that. Who is asked, in which order and how often;
//! who answers, or whose failure is told; and that nothing switches after content.
//!
//! The model knows none of the walk's code: its table is written here once more.

mod guarded;
mod upstreams;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use bridge_translate::anthropic;
use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;
use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng, seq::IndexedRandom as _};
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};

use self::upstreams::{Calls, serve};
use super::{Order, run};
use crate::{
    error::Error,
    metrics::Metrics,
    overload::Pressure,
    relay::{Committed, Gather, Relay},
    request_id::RequestId,
    routing, running,
    snapshot::{Provider, Snapshot, decode::tests as fixture},
    upstream::{admission::Upstreams, client::Client, pass::Asked},
    usage::meter::Meter,
};

const CASES: u64 = 300;
const CASES_VARIABLE: &str = "WALKS";
/// Pauses between tries make one case slow and many no slower.
const AT_ONCE: u64 = 50;
/// Of one candidate, more than one walk can ask for.
const ACTS: usize = 3;

const STREAMED: &[u8] =
    br#"{"model":"opus","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
const WHOLE: &[u8] = br#"{"model":"opus","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
/// What an upstream does with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Answers,
    Refuses(u16),
    /// 200, and an error of this type instead of an answer.
    Admits(&'static str),
    CutsBeforeHead,
    CutsAfterHead,
    CutsAfterContent,
    FailsAfterContent,
    TalksNonsense,
    ShowsPage,
    Redirects,
}

const POSSIBLE: &[Act] = &[
    Act::Answers,
    Act::Refuses(400),
    Act::Refuses(401),
    Act::Refuses(402),
    Act::Refuses(403),
    Act::Refuses(404),
    Act::Refuses(409),
    Act::Refuses(413),
    Act::Refuses(429),
    Act::Refuses(500),
    Act::Refuses(502),
    Act::Refuses(503),
    Act::Refuses(504),
    Act::Refuses(529),
    Act::Admits("overloaded"),
    Act::Admits("insufficient_quota"),
    Act::Admits("server_error"),
    Act::CutsBeforeHead,
    Act::CutsAfterHead,
    Act::CutsAfterContent,
    Act::FailsAfterContent,
    Act::TalksNonsense,
    Act::ShowsPage,
    Act::Redirects,
];

// === the model ===

/// What a failure leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Row {
    same: bool,
    next: bool,
    status: u16,
    may_pass: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// A whole answer.
    Answered,
    /// Content, then one error.
    Broken,
    /// The failure of this provider, as this status.
    Told(String, u16),
    /// Nobody may be asked.
    AllOpen,
}

#[derive(Debug, Clone)]
struct Candidate {
    provider: String,
    model: String,
    retries: u32,
    /// Call by call, and then from the beginning.
    acts: Vec<Act>,
}

impl Candidate {
    fn act(&self, nth: usize) -> Act {
        self.acts[nth % self.acts.len()]
    }
}

#[derive(Debug, Clone)]
struct Case {
    candidates: Vec<Candidate>,
    max_attempts: u32,
    is_stream: bool,
}

/// `None`: content goes out, and nobody else is asked.
fn row(act: Act, is_stream: bool) -> Option<Row> {
    let row = |same, next, status, may_pass| {
        Some(Row {
            same,
            next,
            status,
            may_pass,
        })
    };
    match act {
        Act::Answers => None,
        Act::CutsAfterContent | Act::FailsAfterContent if is_stream => None,
        Act::Refuses(400) => row(false, false, 400, true),
        Act::Refuses(413) => row(false, false, 413, false),
        Act::Refuses(401..=404) | Act::Redirects | Act::Admits("insufficient_quota") => {
            row(false, true, 502, false)
        }
        Act::Refuses(status @ (409 | 429 | 504)) => row(false, true, status, true),
        Act::Refuses(status @ (503 | 529)) => row(true, true, status, true),
        Act::Admits("overloaded") => row(true, true, 529, true),
        Act::TalksNonsense | Act::ShowsPage => row(false, true, 502, true),
        Act::Refuses(_)
        | Act::Admits(_)
        | Act::CutsBeforeHead
        | Act::CutsAfterHead
        | Act::CutsAfterContent
        | Act::FailsAfterContent => row(true, true, 502, true),
    }
}

/// Who is asked, in order, and how it ends.
fn expected(case: &Case) -> (Vec<(String, String)>, End) {
    let mut calls = Vec::new();
    let mut failures: Vec<(String, Row)> = Vec::new();
    'candidates: for candidate in &case.candidates {
        let (provider, model) = (&candidate.provider, &candidate.model);
        for nth in 0..=candidate.retries {
            if calls.len() == case.max_attempts as usize {
                break 'candidates;
            }
            calls.push((provider.clone(), model.clone()));
            let act = candidate.act(nth as usize);
            let Some(row) = row(act, case.is_stream) else {
                let is_whole = act == Act::Answers;
                return (calls, if is_whole { End::Answered } else { End::Broken });
            };
            if !row.next {
                return (calls, End::Told(provider.clone(), row.status));
            }
            failures.push((provider.clone(), row));
            if !row.same {
                break;
            }
        }
    }
    let (told, _) = worth_telling(&failures).unwrap();
    (calls, told)
}

/// As what the failures are told, and whether it may pass.
fn worth_telling(failures: &[(String, Row)]) -> Option<(End, bool)> {
    let latest = failures.iter().rev();
    let told = latest.clone().find(|(_, row)| row.may_pass);
    let (provider, row) = told.or(latest.clone().next())?;
    Some((End::Told(provider.clone(), row.status), row.may_pass))
}

fn case(dice: &mut SmallRng) -> Case {
    let mut candidates = Vec::new();
    // More good luck than bad would end most walks at once; more bad would commit none.
    for provider in 0..dice.random_range(1..=3) {
        let retries = dice.random_range(0..=1);
        for model in 0..dice.random_range(1..=2) {
            candidates.push(Candidate {
                provider: format!("p{provider}"),
                model: format!("m{model}"),
                retries,
                acts: [(); ACTS].map(|()| *POSSIBLE.choose(dice).unwrap()).into(),
            });
        }
    }
    Case {
        candidates,
        max_attempts: dice.random_range(1..=6),
        is_stream: dice.random(),
    }
}

// === what really happens ===

fn snapshot(case: &Case, address: SocketAddr) -> Snapshot {
    let mut snapshot = fixture::snapshot();
    snapshot.settings.breaker.enabled = false;
    snapshot.settings.breaker.failure_threshold = u32::MAX;
    snapshot.settings.attempts.max_attempts = case.max_attempts;
    let mut providers: Vec<Provider> = Vec::new();
    for candidate in &case.candidates {
        let model: Arc<str> = candidate.model.as_str().into();
        if let Some(known) = providers
            .iter_mut()
            .find(|known| *known.name == *candidate.provider)
        {
            known.models.big.push(model);
            continue;
        }
        let priority = i32::try_from(providers.len()).unwrap();
        let mut provider = fixture::provider(&candidate.provider, priority, &[&candidate.model], &[]);
        provider.endpoint.url = format!("http://{address}/{}/", candidate.provider)
            .parse()
            .unwrap();
        provider.max_retries = candidate.retries;
        providers.push(provider);
    }
    snapshot.providers = providers.into_iter().map(Arc::new).collect();
    snapshot
}

fn upstreams(client: Client) -> Arc<Upstreams> {
    let metrics = Arc::new(Metrics::new());
    Arc::new(Upstreams::new(client, metrics, Arc::default()))
}

async fn walk(case: &Case, snapshot: &Arc<Snapshot>, upstreams: &Arc<Upstreams>) -> (End, u32) {
    let body = if case.is_stream { STREAMED } else { WHOLE };
    let request = anthropic::Request::parse(body).unwrap();
    let key = fixture::key("abcDEF012345");
    let plan = routing::plan(snapshot, &key, request.model(), &mut rand::rng()).unwrap();
    let mut meter = Meter::start(&upstreams.metrics, RequestId::new(), Instant::now());
    let order = Order {
        upstreams,
        snapshot,
        key: &key,
        asked: Asked {
            request: &request,
            body: &Bytes::from_static(body),
            headers: &HeaderMap::new(),
            query: None,
        },
        arrived: Instant::now(),
        has_leisure: true,
    };
    let result = run(order, plan, &mut meter).await;
    let attempts = meter.trail().attempts;
    let end = match result {
        Ok(Committed::Whole(bytes)) => {
            let answer: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(answer["content"][0]["text"], "Hello");
            assert_eq!(answer["stop_reason"], "end_turn");
            End::Answered
        }
        Ok(Committed::Flow(flow)) => {
            let relay = Relay::content(
                flow,
                meter,
                running::tests::leash(&Arc::default()),
                Gather::new(Pressure::default()),
            );
            let bytes = relay.collect().await.unwrap().to_bytes();
            judge(&String::from_utf8_lossy(&bytes))
        }
        Err(Error::Upstream(failure)) => {
            let provider = failure.provider.to_string();
            End::Told(provider, Error::Upstream(failure).status())
        }
        Err(Error::AllOpen { .. }) => End::AllOpen,
        Err(other) => panic!("another error than an upstream's: {other}"),
    };
    (end, attempts)
}

/// One beginning, and one end: the answer's or an error, never both.
fn judge(events: &str) -> End {
    let count = |kind: &str| events.matches(&format!("event: {kind}\n")).count();
    assert_eq!(count("message_start"), 1, "{events}");
    assert!(events.contains("Hello"), "{events}");
    match (count("message_stop"), count("error")) {
        (1, 0) => End::Answered,
        (0, 1) => {
            assert_eq!(
                count("content_block_stop") + count("message_delta"),
                0,
                "{events}"
            );
            End::Broken
        }
        ends => panic!("{ends:?} ends: {events}"),
    }
}

async fn check(seed: u64, client: Client) -> End {
    let case = case(&mut SmallRng::seed_from_u64(seed));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let snapshot = Arc::new(snapshot(&case, listener.local_addr().unwrap()));
    let upstreams = upstreams(client);
    let calls = Calls::default();
    let (end, attempts) = tokio::select! {
        () = serve(listener, &case, &calls) => panic!("upstreams serve for ever"),
        walked = walk(&case, &snapshot, &upstreams) => walked,
    };
    let calls = calls.into_inner().unwrap();
    let (expected_calls, expected_end) = expected(&case);
    assert_eq!(calls, expected_calls, "case {seed}: {case:?}");
    assert_eq!(end, expected_end, "case {seed}: {case:?}");
    assert_eq!(attempts as usize, calls.len(), "case {seed}");
    end
}

/// `WALKS=100000` for the long form.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_walk_goes_as_the_table_says() {
    let cases = std::env::var(CASES_VARIABLE).map_or(CASES, |text| text.parse().unwrap());
    let client = Client::plain();
    let mut ends = [0; 3];
    for first in (0..cases).step_by(AT_ONCE as usize) {
        let mut running: JoinSet<End> = JoinSet::new();
        for seed in first..(first + AT_ONCE).min(cases) {
            running.spawn(check(seed, client.clone()));
        }
        for end in running.join_all().await {
            ends[match end {
                End::Answered => 0,
                End::Broken => 1,
                End::Told(..) | End::AllOpen => 2,
            }] += 1;
        }
    }
    let at_least = cases / 20;
    assert!(
        ends.iter().all(|count| *count >= at_least),
        "a kind of end that is hardly tried: {ends:?}"
    );
}
