//! `GET /v1/models`: the names that a key can use, in Anthropic's shape.

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{CreateApiKeyRequest, Provider};
use bridge_tests::admin;
use bridge_tests::anthropic::{Answer, Client, ask, read_answer};
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use reqwest::Method;
use serde_json::{Value, json};

async fn get(client: &Client, path: &str) -> Result<Answer> {
    read_answer(client.request(Method::GET, path).send().await?).await
}

fn ids(list: &Answer) -> Vec<String> {
    let models = list.body["data"].as_array().cloned().unwrap_or_default();
    let ids = models.iter().filter_map(|model| model["id"].as_str());
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn v01_models_are_listed_with_every_key() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.offer(&["qwen3-coder-plus", MODEL]).await?;
    let client = stage.client()?;
    let list = get(&client, "/v1/models?limit=1000").await?;
    assert_eq!(list.status, 200, "{list:?}");
    let ids = ids(&list);
    for name in [
        "haiku",
        "opus",
        MODEL,
        "qwen3-coder-plus",
        "anthropic-qwen3-coder-plus",
    ] {
        assert!(ids.contains(&name.to_owned()), "{name} in {ids:?}");
    }
    assert_eq!(list.body["has_more"], false);
    assert_eq!(list.body["first_id"].as_str(), ids.first().map(String::as_str));
    assert_eq!(list.body["last_id"].as_str(), ids.last().map(String::as_str));

    let model = get(&client, "/v1/models/anthropic-qwen3-coder-plus").await?.body;
    assert_eq!(model["type"], "model");
    assert_eq!(model["display_name"], "Qwen3 Coder Plus");
    assert_eq!(model["lifecycle"], "active");
    for key in [
        "created_at",
        "line",
        "max_input_tokens",
        "max_tokens",
        "deprecated_at",
        "retires_at",
    ] {
        assert!(model.get(key).is_some(), "{key} in {model}");
    }
    let capabilities = &model["capabilities"];
    assert_eq!(capabilities["image_input"], json!({"supported": true}));
    assert_eq!(capabilities["batch"], json!({"supported": false}));
    assert_eq!(capabilities["thinking"]["supported"], false);

    let unlisted = get(&client, "/v1/models/claude-opus-4-8").await?;
    assert_eq!(
        (unlisted.status, &unlisted.body["id"]),
        (200, &json!("claude-opus-4-8"))
    );
    let unknown = get(&client, "/v1/models/gpt-unheard-of").await?;
    assert_eq!((unknown.status, unknown.error_type()), (404, "not_found_error"));
    assert!(unknown.error_message().contains("model:"), "{unknown:?}");
    Ok(())
}

#[tokio::test]
async fn capabilities_are_what_every_candidate_can() -> Result<()> {
    let stage = Stage::start().await?;
    let thinker = Provider {
        dialect: "qwen".to_owned(),
        ..admin::provider("thinker", &stage.upstream.base_url(), "thinks")
    };
    stage.admin.create_provider(thinker).await?;
    stage.settle().await?;
    let client = stage.client()?;
    let thinks = async |id: &str| -> Result<Value> {
        let model = get(&client, &format!("/v1/models/{id}")).await?;
        Ok(model.body["capabilities"]["thinking"]["supported"].clone())
    };
    assert_eq!(thinks("thinks").await?, true);
    assert_eq!(thinks(MODEL).await?, false);
    assert_eq!(thinks("sonnet").await?, false, "the other provider may answer");
    Ok(())
}

#[tokio::test]
async fn every_listed_name_can_be_asked_for() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.offer(&["Qwen/Qwen3-Coder", MODEL]).await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    stage.upstream.always("Qwen/Qwen3-Coder", Script::text("Hi"));
    let client = stage.client()?;
    for id in ids(&get(&client, "/v1/models").await?) {
        let answer = client.messages(&ask(&id, "Hi")).await?;
        assert_eq!(answer.text(), "Hi", "{id}: {answer:?}");
        assert_eq!(answer.body["model"], id);
        let path = format!("/v1/models/{}", id.replace('/', "%2F"));
        assert_eq!(get(&client, &path).await?.body["id"], id);
    }
    Ok(())
}

#[tokio::test]
async fn a_key_sees_its_own_models_only() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.offer(&["secret-model", MODEL]).await?;
    let request = CreateApiKeyRequest {
        name: "narrow".to_owned(),
        allowed_models: vec!["claude-opus-*".to_owned(), MODEL.to_owned()],
        ..CreateApiKeyRequest::default()
    };
    let key = stage.admin.keys().create_api_key(request).await?.into_inner().key;
    stage.settle().await?;
    let client = stage.bridge.client(0, &key)?;
    assert_eq!(
        ids(&get(&client, "/v1/models").await?),
        [MODEL, &format!("anthropic-{MODEL}")]
    );
    assert_eq!(get(&client, "/v1/models/secret-model").await?.status, 404);
    assert_eq!(client.messages(&ask("haiku", "Hi")).await?.status, 403);
    Ok(())
}

#[tokio::test]
async fn pages_are_walked_by_ids() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?;
    let all = ids(&get(&client, "/v1/models").await?);
    let mut walked = Vec::new();
    let mut path = "/v1/models?limit=3".to_owned();
    loop {
        let page = get(&client, &path).await?;
        walked.extend(ids(&page));
        if page.body["has_more"] == false {
            break;
        }
        let last = page.body["last_id"].as_str().context("a page without an end")?;
        path = format!("/v1/models?limit=3&after_id={last}");
    }
    assert_eq!(walked, all);
    let wrong = get(&client, "/v1/models?limit=0").await?;
    assert_eq!((wrong.status, wrong.error_type()), (400, "invalid_request_error"));
    Ok(())
}
