use std::time::Duration;

use super::*;
use crate::{
    node,
    request_id::RequestId,
    snapshot::limits::KeyLimits,
    snapshot::{LossPolicy, Provider, decode::tests as fixture},
    upstream::outcome::{Class, Failure},
};

const REQUEST: &str =
    r#"{"model":"opus","max_tokens":9,"top_k":3,"messages":[{"role":"user","content":"Hi"}]}"#;

/// A node that holds these providers.
fn node_with(providers: Vec<Provider>, change: impl FnOnce(&mut Snapshot)) -> Arc<Node> {
    let node = node::tests::node();
    let mut snapshot = Snapshot {
        providers: providers.into_iter().map(Arc::new).collect(),
        ..fixture::snapshot()
    };
    snapshot.settings.loss_policy = LossPolicy::Report;
    change(&mut snapshot);
    node.live.swap(Arc::new(snapshot), Instant::now());
    node
}

fn two(change: impl FnOnce(&mut Snapshot)) -> Arc<Node> {
    let provider = |name, priority| fixture::provider(name, priority, &["big-1"], &[]);
    node_with(vec![provider("first", 1), provider("second", 2)], change)
}

fn ask(node: &Node, body: &str) -> Answer {
    ask_as(node, body, "")
}

fn ask_as(node: &Node, body: &str, key_id: &str) -> Answer {
    let question = Question {
        body: Bytes::copy_from_slice(body.as_bytes()),
        key_id: key_id.to_owned(),
    };
    explain(node, &question)
}

fn words(answer: &Answer) -> Vec<(&str, &str)> {
    let word = |step: &Step| step.skipped.as_ref().map_or("", |skipped| skipped.word);
    answer
        .steps
        .iter()
        .map(|step| (&*step.candidate.provider.name, word(step)))
        .collect()
}

/// Has requests to the first provider fail until its breaker opens.
fn break_first(node: &Node) {
    let snapshot = node.live.held().unwrap();
    let candidate = Candidate {
        provider: Arc::clone(&snapshot.providers[0]),
        model: "big-1".into(),
    };
    for _ in 0..snapshot.settings.breaker.failure_threshold {
        let now = Instant::now();
        let admitted = node
            .upstreams
            .admit(&snapshot, &candidate, &RequestId::new(), now);
        let failure = Failure::new(Class::Reset, Arc::clone(&candidate.provider.name));
        admitted.ok().unwrap().fail(&failure);
    }
}

#[test]
fn each_candidate_is_told_with_what_it_would_be_sent() {
    let node = two(|_| {});
    let answer = ask(&node, REQUEST);
    assert_eq!(words(&answer), [("first", ""), ("second", "")]);
    let call = answer.steps[0].call.as_ref().unwrap();
    let body: serde_json::Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!(body["model"], "big-1");
    assert_eq!(body["messages"][0]["content"], "Hi");
    assert_eq!(answer.tier, Some(Tier::Big));
    assert_eq!(answer.model, "opus");
    assert!(answer.input_tokens > 0 && answer.told.is_none());
}

#[test]
fn whoever_rests_is_skipped_and_asking_takes_no_probe() {
    let node = two(|_| {});
    break_first(&node);
    let answer = ask(&node, REQUEST);
    assert_eq!(words(&answer), [("first", "breaker_open"), ("second", "")]);

    let node = two(|snapshot| snapshot.settings.breaker.recovery_timeout = Duration::ZERO);
    break_first(&node);
    for _ in 0..2 {
        let answer = ask(&node, REQUEST);
        assert_eq!(words(&answer), [("first", ""), ("second", "")]);
        let breaker = answer.steps[0].breaker.unwrap();
        assert!(matches!(breaker, crate::upstream::breaker::State::Open { .. }));
    }
}

#[test]
fn the_last_one_is_asked_although_it_rests() {
    let first = || vec![fixture::provider("first", 1, &["big-1"], &[])];
    let node = node_with(first(), |_| {});
    break_first(&node);
    for _ in 0..2 {
        let answer = ask(&node, REQUEST);
        assert_eq!(words(&answer), [("first", "")]);
        assert_eq!(answer.told, None);
    }
}

#[test]
fn what_a_client_would_be_told_is_told() {
    let told = |answer: &Answer| {
        let told = answer.told.as_ref().unwrap();
        (told.status, told.error_type)
    };
    let nothing = node::tests::node();
    assert_eq!(told(&ask(&nothing, REQUEST)), (503, "api_error"));
    let node = two(|_| {});
    assert_eq!(told(&ask(&node, "{}")), (400, "invalid_request_error"));
    assert_eq!(
        told(&ask(&node, &REQUEST.replace("opus", "unheard-of"))),
        (404, "not_found_error")
    );
    assert_eq!(
        told(&ask_as(&node, REQUEST, "nobodyhasit1")),
        (401, "authentication_error")
    );
    let no_output = ask(&node, &REQUEST.replace(":9", ":0"));
    assert_eq!(told(&no_output), (200, ""));
}

#[test]
fn a_key_that_loses_nothing_is_refused_with_what_would_be_lost() {
    let node = two(|snapshot| snapshot.settings.loss_policy = LossPolicy::Strict);
    let answer = ask(&node, REQUEST);
    assert_eq!(words(&answer), [("first", "unfit"), ("second", "unfit")]);
    let losses = &answer.steps[0].call.as_ref().unwrap().losses;
    assert_eq!(losses.header().as_deref(), Some("top_k"));
    let told = answer.told.unwrap();
    assert_eq!((told.status, told.error_type), (400, "invalid_request_error"));
    assert!(told.message.contains("top_k"), "{}", told.message);
}

#[test]
fn long_bodies_share_the_room_there_is() {
    let models: Vec<String> = (0..6).map(|n| format!("big-{n}")).collect();
    let models: Vec<&str> = models.iter().map(String::as_str).collect();
    let node = node_with(vec![fixture::provider("first", 1, &models, &[])], |_| {});
    let prompt = "ä".repeat(450_000);
    let answer = ask(&node, &REQUEST.replace("Hi", &prompt));
    let bodies: Vec<&str> = answer
        .steps
        .iter()
        .map(|step| step.call.as_ref().unwrap().body.as_str())
        .collect();
    let total: usize = bodies.iter().map(|body| body.len()).sum();
    assert!(total < (3 << 20) + 6 * 64, "{total}");
    assert!(bodies[0].ends_with('}') && bodies[5].ends_with("bytes more"));
}

#[test]
fn nothing_is_counted() {
    let node = two(|_| {});
    let before = node.metrics.render().unwrap();
    ask(&node, REQUEST);
    assert_eq!(node.metrics.render().unwrap(), before);
}

#[test]
fn a_key_over_its_limit_is_told_so_and_where_it_would_go() {
    let key = Arc::new(crate::snapshot::ApiKey {
        limits: Some(Box::new(KeyLimits {
            requests_per_minute: Some(1),
            ..KeyLimits::default()
        })),
        ..fixture::key("abcDEF012345")
    });
    let node = two(|snapshot| {
        snapshot.keys.insert(key.id, Arc::clone(&key));
    });
    for _ in 0..3 {
        assert_eq!(ask_as(&node, REQUEST, "abcDEF012345").told, None);
    }
    let prices = Arc::clone(&node.live.held().unwrap().settings.prices);
    let now = Instant::now();
    let asking = Asking {
        body_bytes: REQUEST.len(),
        now,
        wall: node.clock.at(now),
    };
    let served = node.limits.admit(&key, &prices, &asking).unwrap();
    let refused = node.limits.admit(&key, &prices, &asking).unwrap().grant;
    let answer = ask_as(&node, REQUEST, "abcDEF012345");
    let told = answer.told.as_ref().unwrap();
    assert_eq!((told.status, told.error_type), (429, "rate_limit_error"));
    assert!(told.message.contains("1 requests per minute"), "{}", told.message);
    assert_eq!(words(&answer), [("first", ""), ("second", "")]);
    assert!(served.grant.is_ok() && refused.is_err());
}
