//! Any resources: refused with reasons, or a configuration that every request can be served by.

use anyhow::{Context, Result, ensure};
use bridge_campaign::{Material, Target, check, dice};
use rand::seq::IndexedRandom as _;

use super::{tests as fixture, *};
use crate::routing;

const INPUTS: u64 = 500;
/// Names that clients ask for, and some that they make up.
const ASKED: &[&str] = &[
    "opus",
    "claude-sonnet-4-5-20250929",
    "anthropic-big-1",
    "big-1",
    "mid-1",
    "",
    "*",
    "..",
    "a/../b?c#d",
    "é",
];

/// Every kind of resource, with every field in use.
fn rich() -> Vec<Bytes> {
    use proto::{model_rule::Target, resource::Kind};
    let provider = proto::Provider {
        name: "rich".into(),
        priority: -3,
        api_format: proto::ApiFormat::Anthropic.into(),
        base_url: "https://llm.example:8443/base".into(),
        api_key: "provider-secret-2".into(),
        custom_headers: [("x-team".to_owned(), "a".to_owned())].into(),
        timeout: Some(prost_types::Duration { seconds: 7, nanos: 5 }),
        max_retries: Some(2),
        models: Some(proto::TierModels {
            big: vec!["big-1".into(), "vendor/big-2".into()],
            middle: Vec::new(),
            small: vec!["small-20250101".into()],
        }),
        max_tokens_limit: Some(4096),
        dialect: "anthropic".into(),
        dialect_overrides: Some(proto::Dialect {
            auth: Some("x-api-key".into()),
            url_template: Some("/deployments/{model}/chat".into()),
            hold_head_ms: Some(1000),
            extra_body: Some(r#"{"a":{"b":[1]}}"#.into()),
            temperature_max: Some(1.5),
            overloaded_as: Some("503".into()),
            retry_codes: Some(proto::StringList {
                values: vec!["busy".into()],
            }),
            ..Default::default()
        }),
        model_options: vec![proto::ModelOptions {
            model: "big-1".into(),
            context_window: Some(8192),
            max_output_tokens: Some(512),
            dialect_overrides: Some(proto::Dialect {
                vision: Some(false),
                ..Default::default()
            }),
        }],
        revision: 4,
    };
    let rule = |id: &str, pattern: &str, target| {
        Kind::ModelRule(proto::ModelRule {
            id: id.into(),
            position: 1,
            r#match: pattern.into(),
            target: Some(target),
        })
    };
    let upstream = proto::UpstreamModel {
        provider: "rich".into(),
        model: "*".into(),
    };
    let held = proto::BreakerOverride {
        id: "o".into(),
        provider: "rich".into(),
        model: "big-1".into(),
        state: proto::BreakerState::Open.into(),
        expires_at: Some(prost_types::Timestamp { seconds: 9, nanos: 1 }),
    };
    let added = [
        Kind::Provider(provider),
        rule("r1", "claude-*-4*", Target::Tier(proto::Tier::Big.into())),
        rule("r2", "*", Target::Upstream(upstream)),
        Kind::BreakerOverride(held),
    ];
    let mut all = fixture::resources();
    all.extend(added.map(fixture::encode));
    all
}

/// As a control plane sends it: encoded resources in one message.
fn chunk(resources: Vec<Bytes>) -> Vec<u8> {
    proto::SnapshotChunk { resources }.encode_to_vec()
}

fn read(input: &[u8]) -> Received {
    // What is no chunk may still be a resource.
    let resources = proto::SnapshotChunk::decode(input)
        .map_or_else(|_| vec![Bytes::copy_from_slice(input)], |chunk| chunk.resources);
    fixture::received(2, resources)
}

fn run(held: &Snapshot, input: &[u8]) -> Result<()> {
    let received = read(input);
    let alone = decode(&received, None, false);
    let mut turned = read(input);
    turned.resources.reverse();
    ensure!(
        decode(&turned, None, false).is_ok() == alone.is_ok(),
        "the order of resources decides"
    );
    let after = decode(&received, Some(held), false);
    ensure!(alone.is_ok() || after.is_err(), "what is held makes it sound");
    for refusals in [alone.as_ref().err(), after.as_ref().err()].into_iter().flatten() {
        ensure!(!refusals.is_empty(), "refused without a reason");
        ensure!(refusals.len() <= REFUSALS_MAX, "more reasons than anybody reads");
        ensure!(
            refusals.iter().all(|refusal| !refusal.reason.is_empty()),
            "an empty reason"
        );
    }
    alone.map_or(Ok(()), |snapshot| serves(&snapshot, input))
}

/// What was accepted must hold for whatever a request asks of it.
fn serves(snapshot: &Snapshot, input: &[u8]) -> Result<()> {
    let mut dice = dice(input);
    ensure!(
        snapshot
            .keys
            .values()
            .all(|key| snapshot.keys.get(&key.id).is_some()),
        "a key under a foreign id"
    );
    let places = snapshot
        .providers
        .iter()
        .map(|provider| (provider.priority, &provider.name));
    ensure!(places.is_sorted(), "providers out of order");
    for provider in &snapshot.providers {
        let endpoint = &provider.endpoint;
        ensure!(matches!(endpoint.url.scheme(), "http" | "https"), "an odd scheme");
        for asked in ASKED {
            let url = endpoint.url_of(asked);
            ensure!(
                url.origin() == endpoint.url.origin() && url.username().is_empty(),
                "a model leads to another host"
            );
        }
    }
    let keys = snapshot.keys.values().take(4);
    for key in keys {
        for asked in ASKED {
            let Ok(plan) = routing::plan(snapshot, key, asked, &mut dice) else {
                continue;
            };
            ensure!(!plan.candidates.is_empty(), "a plan of nobody");
            for candidate in &plan.candidates {
                candidate.target(snapshot);
            }
        }
        let asked = ASKED.choose(&mut dice).context("no name")?;
        routing::reach(snapshot, key, asked);
    }
    Ok(())
}

#[test]
fn fuzz_any_snapshot_is_refused_with_reasons_or_serves() {
    let held = fixture::snapshot();
    let target = Target {
        name: "snapshot",
        material: Material::Messages,
        seeds: vec![chunk(fixture::resources()), chunk(rich())],
        run: Box::new(move |input| run(&held, input)),
    };
    check(target, INPUTS).unwrap();
}
