//! What translation cannot carry: told, counted, or refused, as the key wants it.

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{CreateApiKeyRequest, LossPolicy, Provider};
use bridge_tests::admin;
use bridge_tests::anthropic::{Client, ask};
use bridge_tests::faultd::{Faultd, Script};
use bridge_tests::stage::{MODEL, Stage};
use serde_json::{Value, json};

/// A request with a parameter that the first provider does not take.
fn with_top_k() -> Value {
    let mut body = ask("opus", "Hi");
    body["top_k"] = json!(5);
    body
}

async fn client_of(stage: &Stage, policy: LossPolicy) -> Result<Client> {
    let request = CreateApiKeyRequest {
        name: policy.as_str_name().to_lowercase(),
        loss_policy: policy.into(),
        ..CreateApiKeyRequest::default()
    };
    let key = stage.admin.keys().create_api_key(request).await?.into_inner().key;
    stage.settle().await?;
    stage.bridge.client(0, &key)
}

#[tokio::test]
async fn a_strict_key_goes_to_whoever_loses_nothing() -> Result<()> {
    let stage = Stage::start().await?;
    let client = client_of(&stage, LossPolicy::Strict).await?;
    let refused = client.messages(&with_top_k()).await?;
    assert_eq!(
        (refused.status, refused.error_type()),
        (400, "invalid_request_error"),
        "{refused:?}"
    );
    assert!(refused.error_message().contains("top_k"), "{refused:?}");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert!(stage.upstream.requests().is_empty());

    let second = Faultd::start().await?;
    second.always("second", Script::text("from the second"));
    let provider = Provider {
        priority: 2,
        dialect: "openrouter".to_owned(),
        ..admin::provider("second", &second.base_url(), "second")
    };
    stage.admin.create_provider(provider).await?;
    stage.settle().await?;
    let answer = client.messages(&with_top_k()).await?;
    assert_eq!(answer.text(), "from the second", "{answer:?}");
    assert_eq!(answer.header("x-bridge-attempts"), Some("1"));
    assert_eq!(answer.header("x-bridge-loss"), None);
    assert!(stage.upstream.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn r25_losses_are_told_counted_and_logged() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hello"));
    let told = client_of(&stage, LossPolicy::Report).await?;
    let silent = client_of(&stage, LossPolicy::Silent).await?;
    let answer = told.messages(&with_top_k()).await?;
    assert_eq!(answer.header("x-bridge-loss"), Some("top_k"));
    let answer = silent.messages(&with_top_k()).await?;
    assert_eq!((answer.status, answer.header("x-bridge-loss")), (200, None));
    let nothing = told.messages(&ask("opus", "Hi")).await?;
    assert_eq!(nothing.header("x-bridge-loss"), None);

    let node = stage.bridge.node(0)?;
    let metrics = node.metrics().await?;
    assert!(
        metrics.contains("bridge_translation_losses_total{path=\"top_k\"} 2"),
        "{metrics}"
    );
    let log = node.process()?.log_text();
    assert_eq!(log.matches("losses=\"top_k\"").count(), 2, "{log}");
    let line = log
        .lines()
        .find(|line| line.contains("losses="))
        .context("no line")?;
    for field in [
        "model=\"opus\"",
        "provider=\"scripted\"",
        "status=200",
        "input_tokens=20",
    ] {
        assert!(line.contains(field), "{field} in {line}");
    }
    assert!(!line.contains("Hi"), "no prompts: {line}");
    Ok(())
}

#[tokio::test]
async fn losses_are_those_of_the_candidate_that_answered() -> Result<()> {
    let mut stage = Stage::without_memory().await?;
    let second = Faultd::start().await?;
    second.always("second", Script::text("from the second"));
    let provider = Provider {
        priority: 2,
        dialect: "openrouter".to_owned(),
        ..admin::provider("second", &second.base_url(), "second")
    };
    stage.admin.create_provider(provider).await?;
    stage.settle().await?;
    stage
        .upstream
        .always(MODEL, Script::error(500, "server_error", "on fire"));
    let answer = stage.client()?.messages(&with_top_k()).await?;
    assert_eq!(answer.text(), "from the second", "{answer:?}");
    assert_eq!(answer.header("x-bridge-loss"), None);
    let metrics = stage.bridge.node(0)?.metrics().await?;
    assert!(!metrics.contains("path=\"top_k\""), "{metrics}");
    Ok(())
}

/// What one candidate cannot be asked, the next one may be.
#[tokio::test]
async fn r24_a_request_that_one_candidate_cannot_take_goes_to_the_next() -> Result<()> {
    let mut stage = Stage::start().await?;
    let tools: Vec<_> = (0..129)
        .map(|n| json!({"name": format!("t{n}"), "input_schema": {"type": "object"}}))
        .collect();
    let mut body = ask("opus", "Hi");
    body["tools"] = tools.into();
    stage.provider.dialect = "openai".to_owned();
    let provider = stage.provider.clone();
    stage.provider = stage.admin.update_provider(provider, "dialect").await?;
    stage.settle().await?;
    let refused = stage.client()?.messages(&body).await?;
    assert_eq!(
        (refused.status, refused.error_type()),
        (400, "invalid_request_error")
    );

    let second = Faultd::start().await?;
    second.always("second", Script::text("from the second"));
    let provider = Provider {
        priority: 2,
        ..admin::provider("second", &second.base_url(), "second")
    };
    stage.admin.create_provider(provider).await?;
    stage.settle().await?;
    let answer = stage.client()?.messages(&body).await?;
    assert_eq!(answer.text(), "from the second", "{answer:?}");
    Ok(())
}
