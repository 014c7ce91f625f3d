//! Rules that an admin makes decide where a name leads, and the lists of names agree.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{DeleteProviderRequest, ModelOptions, Provider, Tier, model_rule::Target};
use bridge_tests::admin::{self, upstream};
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use tonic::{Code, Status};

/// Provider and model that answered, by the headers of the answer.
async fn who_answers(stage: &Stage, model: &str) -> Result<(String, String)> {
    let answer = stage.client()?.messages(&ask(model, "Hi")).await?;
    anyhow::ensure!(answer.status == 200, "{answer:?}");
    anyhow::ensure!(answer.body["model"] == model, "{answer:?}");
    let header = |name| {
        answer
            .header(name)
            .map(str::to_owned)
            .context("a header is missing")
    };
    Ok((header("x-bridge-provider")?, header("x-bridge-model")?))
}

fn to(provider: &str, model: &str) -> (String, String) {
    (provider.to_owned(), model.to_owned())
}

/// A stage with a second provider that offers `other`.
async fn two_providers() -> Result<Stage> {
    let stage = Stage::start().await?;
    let second = Provider {
        priority: 2,
        ..admin::provider("second", &stage.upstream.base_url(), "other")
    };
    stage.admin.create_provider(second).await?;
    for model in [MODEL, "other", "gpt-9-mini", "gpt-9-nano", "long", "pinned"] {
        stage.upstream.always(model, Script::text("Hi"));
    }
    Ok(stage)
}

#[tokio::test]
async fn a_rule_maps_an_alias_and_a_star_keeps_the_name() -> Result<()> {
    let stage = two_providers().await?;
    stage
        .admin
        .create_rule("my-alias", upstream("second", "pinned"))
        .await?;
    stage.admin.create_rule("gpt-*", upstream("second", "*")).await?;
    stage.settle().await?;
    assert_eq!(who_answers(&stage, "my-alias").await?, to("second", "pinned"));
    assert_eq!(
        who_answers(&stage, "gpt-9-mini").await?,
        to("second", "gpt-9-mini")
    );
    assert_eq!(who_answers(&stage, "opus").await?, to("scripted", MODEL));
    Ok(())
}

#[tokio::test]
async fn the_first_rule_wins_until_another_is_moved_before_it() -> Result<()> {
    let stage = two_providers().await?;
    let big = Target::Tier(Tier::Big.into());
    stage.admin.create_rule("claude-*", big).await?;
    let second = stage
        .admin
        .create_rule("claude-opus-*", upstream("second", "pinned"))
        .await?;
    stage.settle().await?;
    assert_eq!(
        who_answers(&stage, "claude-opus-4-8").await?,
        to("scripted", MODEL)
    );
    stage.admin.move_rule(&second, 1).await?;
    stage.settle().await?;
    assert_eq!(
        who_answers(&stage, "claude-opus-4-8").await?,
        to("second", "pinned")
    );
    assert_eq!(
        who_answers(&stage, "claude-sonnet-5").await?,
        to("scripted", MODEL)
    );
    Ok(())
}

#[tokio::test]
async fn a_provider_leaves_with_its_rules_or_stays() -> Result<()> {
    let stage = two_providers().await?;
    stage
        .admin
        .create_rule("my-alias", upstream("second", "pinned"))
        .await?;
    let request = DeleteProviderRequest {
        name: "second".to_owned(),
        ..DeleteProviderRequest::default()
    };
    let refused: Status = stage
        .admin
        .providers()
        .delete_provider(request.clone())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    stage.settle().await?;
    assert_eq!(who_answers(&stage, "my-alias").await?, to("second", "pinned"));
    let request = DeleteProviderRequest {
        force: true,
        ..request
    };
    stage.admin.providers().delete_provider(request).await?;
    stage.settle().await?;
    assert_eq!(
        stage.client()?.messages(&ask("my-alias", "Hi")).await?.status,
        404
    );
    Ok(())
}

#[tokio::test]
async fn the_admin_and_the_clients_see_the_same_names() -> Result<()> {
    let stage = two_providers().await?;
    let options = |model: &str, window| ModelOptions {
        model: model.to_owned(),
        context_window: Some(window),
        max_output_tokens: Some(window / 8),
        dialect_overrides: None,
    };
    let provider = Provider {
        model_options: vec![options(MODEL, 32_768), options("gpt-9-mini", 1_000_000)],
        ..stage.provider.clone()
    };
    stage.admin.update_provider(provider, "model_options").await?;
    let third = Provider {
        priority: 3,
        max_tokens_limit: Some(4_096),
        ..admin::provider("third", &stage.upstream.base_url(), "vendor/gpt-9-nano")
    };
    stage.admin.create_provider(third).await?;
    stage
        .admin
        .create_rule("my-alias", upstream("second", "pinned"))
        .await?;
    stage
        .admin
        .create_rule("gpt-9-mini", upstream("scripted", "*"))
        .await?;
    stage
        .admin
        .create_rule("sonn*", upstream("second", "other"))
        .await?;
    stage
        .admin
        .create_rule("long[1m]", upstream("second", "*"))
        .await?;
    stage.admin.create_rule("gpt-*", upstream("third", "*")).await?;
    stage.settle().await?;

    let request = stage
        .client()?
        .request(reqwest::Method::GET, "/v1/models?limit=1000");
    let listed: serde_json::Value = serde_json::from_str(&request.send().await?.text().await?)?;
    let listed = listed["data"].as_array().context("there is no list")?;
    let for_clients: BTreeMap<_, _> = listed
        .iter()
        .map(|model| {
            let size = |name: &str| model[name].as_u64();
            let name = model["id"].as_str().unwrap_or_default().to_owned();
            (name, (size("max_input_tokens"), size("max_tokens")))
        })
        // Aliases for clients that hide other names; the admin is shown the names themselves.
        .filter(|(name, _)| !name.starts_with("anthropic-"))
        .collect();
    let models = stage.admin.list_models().await?;
    let for_admin: BTreeMap<_, _> = models
        .iter()
        .map(|model| {
            let size = |tokens: Option<u32>| tokens.map(u64::from);
            (
                model.name.clone(),
                (size(model.context_window), size(model.max_output_tokens)),
            )
        })
        .collect();
    assert_eq!(for_admin, for_clients);
    assert_eq!(for_admin["gpt-9-mini"], (Some(1_000_000), Some(125_000)));
    assert_eq!(for_admin["vendor/gpt-9-nano"], (None, Some(4_096)));
    for model in models {
        let first = model.destinations.first().context("a name leads nowhere")?;
        let answered = who_answers(&stage, &model.name).await?;
        assert_eq!(answered, to(&first.provider, &first.model), "{}", model.name);
    }
    Ok(())
}
