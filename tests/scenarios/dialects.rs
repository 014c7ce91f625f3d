//! What an admin says of a provider and its models changes what the upstream is sent.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{LossPolicy, ModelOptions, Provider, Settings, Tier};
use bridge_proto::fleet::v1::Dialect;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use bridge_tests::wait;
use serde_json::{Value, json};
use tonic::{Code, Status};

const NODES: usize = 3;
/// The promise for a change, at its loosest.
const CHANGED_MAX: Duration = Duration::from_secs(1);

/// The field that says how long an answer may get, as the knob names it.
fn with_field(name: &str) -> Option<Dialect> {
    Some(Dialect {
        max_tokens_field: Some(name.to_owned()),
        ..Dialect::default()
    })
}

/// What the upstream is sent for a request to one node.
async fn sent(stage: &Stage, node: usize, model: &str, upstream_model: &str) -> Result<Value> {
    let client = stage.bridge.client(node, &stage.key)?;
    let answer = client.messages(&ask(model, "Hi")).await?;
    anyhow::ensure!(answer.status == 200, "{answer:?}");
    let requests = stage.upstream.requests_for(upstream_model);
    requests.last().context("the upstream was not asked")?.json()
}

#[tokio::test]
async fn a_knob_counts_at_every_node_within_a_second() -> Result<()> {
    let stage = Stage::with_nodes(NODES).await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    for node in 0..NODES {
        assert_eq!(sent(&stage, node, "haiku", MODEL).await?["max_tokens"], 256);
    }
    let provider = Provider {
        dialect_overrides: with_field("max_completion_tokens"),
        ..stage.provider.clone()
    };
    let asked = Instant::now();
    let provider = stage
        .admin
        .update_provider(provider, "dialect_overrides.max_tokens_field")
        .await?;
    for node in 0..NODES {
        wait::until("the knob to count", || async {
            let body = sent(&stage, node, "haiku", MODEL).await.ok()?;
            (body["max_completion_tokens"] == 256 && body["max_tokens"].is_null()).then_some(())
        })
        .await?;
    }
    let took = asked.elapsed();
    assert!(took < CHANGED_MAX, "{took:?}");
    eprintln!(
        "figure: a knob counted at {NODES} nodes in {} ms",
        took.as_millis()
    );

    let provider = Provider {
        dialect_overrides: None,
        ..provider
    };
    stage.admin.update_provider(provider, "dialect_overrides").await?;
    stage.settle().await?;
    assert_eq!(sent(&stage, 1, "haiku", MODEL).await?["max_tokens"], 256);
    Ok(())
}

#[tokio::test]
async fn a_model_has_the_last_word_about_itself() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    stage.upstream.always("special", Script::text("Hi"));
    stage.offer(&["special"]).await?;
    let tuned = Provider {
        dialect_overrides: with_field("max_completion_tokens"),
        model_options: vec![ModelOptions {
            model: "special".to_owned(),
            context_window: Some(8_192),
            max_output_tokens: Some(150),
            dialect_overrides: with_field("max_tokens"),
        }],
        ..stage.provider.clone()
    };
    let after = stage
        .admin
        .update_provider(tuned.clone(), "dialect_overrides")
        .await?;
    let tuned = Provider {
        revision: after.revision,
        ..tuned
    };
    stage.admin.update_provider(tuned, "model_options").await?;
    stage.settle().await?;

    let general = sent(&stage, 0, "opus", MODEL).await?;
    assert_eq!(
        (&general["max_completion_tokens"], &general["max_tokens"]),
        (&json!(256), &Value::Null)
    );
    let special = sent(&stage, 0, "haiku", "special").await?;
    assert_eq!(
        (&special["max_completion_tokens"], &special["max_tokens"]),
        (&Value::Null, &json!(150))
    );
    Ok(())
}

#[tokio::test]
async fn a_template_puts_the_model_into_the_path() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let template = |url: &str| Provider {
        dialect_overrides: Some(Dialect {
            url_template: Some(url.to_owned()),
            ..Dialect::default()
        }),
        ..stage.provider.clone()
    };
    let away = template("http://127.0.0.1:1/{model}");
    assert!(
        stage
            .admin
            .update_provider(away, "dialect_overrides")
            .await
            .is_err()
    );
    let here = template("/deployments/{model}/chat?api-version=1");
    stage.admin.update_provider(here, "dialect_overrides").await?;
    stage.settle().await?;
    sent(&stage, 0, "haiku", MODEL).await?;
    let path = &stage.upstream.requests_for(MODEL)[0].path;
    assert_eq!(path, "/v1/deployments/m/chat?api-version=1");
    Ok(())
}

#[tokio::test]
async fn a_wrong_word_is_refused_with_the_right_ones_and_changes_nothing() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let provider = Provider {
        dialect_overrides: with_field("tokens"),
        ..stage.provider.clone()
    };
    let refused = stage.admin.update_provider(provider, "dialect_overrides").await;
    let refused = refused.err().context("a wrong word was taken")?;
    let status = refused.downcast_ref::<Status>().context("it is no status")?;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(
        status.message(),
        "provider.dialect_overrides.max_tokens_field: must be one of: max_tokens, max_completion_tokens"
    );
    stage.settle().await?;
    assert_eq!(sent(&stage, 0, "haiku", MODEL).await?["max_tokens"], 256);
    Ok(())
}

#[tokio::test]
async fn a_key_decides_what_becomes_of_losses() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let mut lossy = ask("haiku", "Hi");
    lossy["top_k"] = json!(5);
    let (key, record) = stage.admin.create_key("choosy").await?;
    stage.bridge.wait_until_accepted(&key).await?;
    let client = stage.bridge.client(0, &key)?;
    let answer = client.messages(&lossy).await?;
    assert_eq!(
        (answer.status, answer.header("x-bridge-loss")),
        (200, Some("top_k"))
    );

    let record = stage.admin.set_loss_policy(&record, LossPolicy::Strict).await?;
    stage.settle().await?;
    let asked = stage.upstream.requests().len();
    let answer = client.messages(&lossy).await?;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(
        answer.body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("top_k")
    );
    assert_eq!(stage.upstream.requests().len(), asked, "nobody was asked");
    assert_eq!(client.messages(&ask("haiku", "Hi")).await?.status, 200);
    assert_eq!(stage.client()?.messages(&lossy).await?.status, 200, "another key");

    stage.admin.set_loss_policy(&record, LossPolicy::Silent).await?;
    stage.settle().await?;
    let answer = client.messages(&lossy).await?;
    assert_eq!((answer.status, answer.header("x-bridge-loss")), (200, None));
    Ok(())
}

#[tokio::test]
async fn the_settings_speak_for_keys_and_names_that_say_nothing() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let client = stage.client()?;
    assert_eq!(client.messages(&ask("gpt-9", "Hi")).await?.status, 404);
    let settings = Settings {
        default_tier: Tier::Middle.into(),
        loss_policy: LossPolicy::Strict.into(),
        ..stage.admin.get_settings().await?
    };
    let after = stage
        .admin
        .update_settings(settings.clone(), "default_tier")
        .await?;
    let settings = Settings {
        revision: after.revision,
        ..settings
    };
    stage.admin.update_settings(settings, "loss_policy").await?;
    stage.settle().await?;
    let mut body = ask("gpt-9", "Hi");
    assert_eq!(client.messages(&body).await?.status, 200);
    body["top_k"] = json!(5);
    assert_eq!(client.messages(&body).await?.status, 400);
    Ok(())
}
