//! Explain says what then happens: to whom a request goes, with which body, or what it is
//! answered, and nobody is called for it.

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{self as admin_api, HealthState, LossPolicy, Provider};
use bridge_proto::fleet::v1::{BreakerState, Candidate, Explanation};
use bridge_tests::admin::{self, upstream};
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::{Faultd, Script};
use bridge_tests::stage::{MODEL, Stage};
use serde_json::{Value, json};

const SECOND: &str = "second";

/// A provider, and one behind it that takes no pictures.
async fn two() -> Result<(Stage, Faultd)> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("from the first"));
    let blind = Faultd::start().await?;
    for model in [SECOND, "other-model"] {
        blind.always(model, Script::text("from the second"));
    }
    let provider = Provider {
        priority: 2,
        dialect_overrides: Some(bridge_proto::fleet::v1::Dialect {
            vision: Some(false),
            ..Default::default()
        }),
        ..admin::provider(SECOND, &blind.base_url(), SECOND)
    };
    stage.admin.create_provider(provider).await?;
    stage.settle().await?;
    Ok((stage, blind))
}

async fn explain(stage: &Stage, body: &Value, key_id: &str) -> Result<Explanation> {
    let request = admin_api::ExplainRequest {
        body: body.to_string(),
        key_id: key_id.to_owned(),
        node_id: String::new(),
    };
    let answer = stage.admin.routing().explain(request).await?.into_inner();
    answer.explanation.context("no explanation")
}

fn asked(explanation: &Explanation) -> Vec<&Candidate> {
    let candidates = explanation.candidates.iter();
    candidates
        .filter(|candidate| candidate.skipped.is_empty())
        .collect()
}

/// Explains a request, makes it, and holds one against the other.
async fn held_against(stage: &Stage, blind: &Faultd, body: &Value) -> Result<Explanation> {
    let calls = || stage.upstream.requests().len() + blind.requests().len();
    let before = calls();
    let explanation = explain(stage, body, "").await?;
    assert_eq!(calls(), before, "explaining calls nobody");
    let answer = stage.client()?.messages(body).await?;
    let Some(first) = asked(&explanation).first().copied() else {
        assert_eq!(u32::from(answer.status), explanation.http_status);
        assert_eq!(answer.error_type(), explanation.error_type);
        assert_eq!(answer.error_message(), explanation.message);
        assert_eq!(calls(), before);
        return Ok(explanation);
    };
    assert_eq!(explanation.http_status, 0);
    assert_eq!(answer.header("x-bridge-provider"), Some(&*first.provider));
    assert_eq!(answer.header("x-bridge-model"), Some(&*first.upstream_model));
    let losses = first.losses.join(", ");
    assert_eq!(answer.header("x-bridge-loss").unwrap_or_default(), losses);
    let asked = if first.provider == SECOND {
        blind
    } else {
        &stage.upstream
    };
    let recorded = asked.requests().pop().context("nobody was asked")?;
    assert_eq!(recorded.json()?, serde_json::from_str::<Value>(&first.body)?);
    assert!(first.url.starts_with(&asked.base_url()), "{}", first.url);
    Ok(explanation)
}

#[tokio::test]
async fn what_is_explained_happens() -> Result<()> {
    let (stage, blind) = two().await?;
    let rule = stage
        .admin
        .create_rule("my-alias", upstream(SECOND, "other-model"))
        .await?;
    stage.settle().await?;

    let by_tier = held_against(&stage, &blind, &ask("claude-opus-4-8", "Hi")).await?;
    assert_eq!(by_tier.tier(), bridge_proto::fleet::v1::Tier::Big);
    let order: Vec<_> = asked(&by_tier).iter().map(|it| it.provider.as_str()).collect();
    assert_eq!(order, ["scripted", SECOND]);
    assert!(by_tier.input_tokens > 0 && by_tier.config_revision > 0);

    let by_name = held_against(&stage, &blind, &ask(SECOND, "Hi")).await?;
    assert_eq!(asked(&by_name).len(), 1);

    let by_rule = held_against(&stage, &blind, &ask("my-alias", "Hi")).await?;
    assert_eq!(by_rule.model_rule_id, rule.id);
    assert_eq!(by_rule.candidates[0].upstream_model, "other-model");

    let mut picture = ask(SECOND, "Hi");
    picture["messages"][0]["content"] = json!([
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
    ]);
    let stripped = held_against(&stage, &blind, &picture).await?;
    assert!(!stripped.candidates[0].losses.is_empty(), "a picture is lost");

    held_against(&stage, &blind, &ask("unheard-of", "Hi")).await?;
    held_against(&stage, &blind, &json!({"model": "opus", "max_tokens": 5})).await?;
    Ok(())
}

#[tokio::test]
async fn breakers_and_keys_are_told() -> Result<()> {
    let (stage, blind) = two().await?;
    let (_, key) = stage.admin.create_key("strict").await?;
    let key = stage.admin.set_loss_policy(&key, LossPolicy::Strict).await?;
    stage.settle().await?;
    let mut lossy = ask("opus", "Hi");
    lossy["top_k"] = json!(3);
    let refused = explain(&stage, &lossy, &key.id).await?;
    assert_eq!(refused.http_status, 400);
    assert_eq!(refused.error_type, "invalid_request_error");
    assert!(refused.candidates.iter().all(|it| !it.skipped.is_empty()));
    let unknown = explain(&stage, &lossy, "nobodyhasit1").await.unwrap_err();
    let status = unknown.downcast_ref::<tonic::Status>().context("no status")?;
    assert_eq!(status.code(), tonic::Code::NotFound);

    let mut long = ask("opus", "");
    long["messages"][0]["content"] = json!("x".repeat(1_000_000));
    let whole = explain(&stage, &long, "").await?;
    assert!(whole.candidates[0].body.len() > 1_000_000);
    let mut settings = stage.admin.get_settings().await?;
    settings.circuit_breaker.get_or_insert_default().failure_threshold = 1;
    stage.admin.update_settings(settings, "circuit_breaker").await?;
    stage.settle().await?;
    stage
        .upstream
        .always(MODEL, Script::error(500, "server_error", "on fire"));
    stage.client()?.messages(&ask("opus", "Hi")).await?;
    let open = held_against(&stage, &blind, &ask("opus", "Hi")).await?;
    assert_eq!(open.candidates[0].breaker(), BreakerState::Open);
    assert_eq!(open.candidates[0].skipped, "breaker_open");
    Ok(())
}

#[tokio::test]
async fn providers_are_checked_where_traffic_runs() -> Result<()> {
    let (mut stage, blind) = two().await?;
    blind.always(SECOND, Script::error(401, "authentication_error", "no such key"));
    let request = admin_api::CheckHealthRequest::default();
    let mut results = stage.admin.health().check_health(request).await?.into_inner();
    let mut told = Vec::new();
    while let Some(result) = results.message().await? {
        told.push(result);
    }
    told.sort_by(|a, b| a.provider.cmp(&b.provider));
    let states: Vec<_> = told
        .iter()
        .map(|result| {
            (
                result.provider.as_str(),
                result.model.as_ref().map(|it| it.state()),
            )
        })
        .collect();
    assert_eq!(
        states,
        [
            ("scripted", Some(HealthState::Healthy)),
            (SECOND, Some(HealthState::Unhealthy)),
        ]
    );
    let failed = told[1].model.clone().context("no model")?;
    assert_eq!((failed.http_status, failed.error_class.is_empty()), (401, false));
    assert_eq!((stage.upstream.requests().len(), blind.requests().len()), (1, 1));

    stage.bridge.control().kill()?;
    stage.bridge.control().start().await?;
    stage.admin = stage.bridge.admin().await?;
    let list = admin_api::ListHealthRequest {};
    let listed = stage.admin.health().list_health(list).await?.into_inner();
    assert_eq!(listed.state(), HealthState::Partial, "the last results are there");
    Ok(())
}
