//! Asked once more: what an upstream refuses is changed, and what cured it remembered.

use std::pin::Pin;

use anyhow::Result;
use bridge_proto::admin::v1::{Provider, TestProviderRequest};
use bridge_proto::fleet::v1::{Dialect, StringList};
use bridge_tests::anthropic::{Answer, ask};
use bridge_tests::faultd::{Recorded, Script};
use bridge_tests::stage::{MODEL, Stage};
use serde_json::{Value, json};

/// A provider with knobs of its own. Boxed, since all knobs together are large.
fn stage_with(knobs: Dialect) -> Pin<Box<impl Future<Output = Result<Stage>>>> {
    Box::pin(Stage::without_memory_of(|provider| Provider {
        dialect_overrides: Some(knobs),
        ..provider
    }))
}

fn unknown_parameter(name: &str) -> Script {
    let error = json!({"error": {
        "message": format!("Unknown parameter: '{name}'."),
        "type": "invalid_request_error", "param": name, "code": "unknown_parameter",
    }});
    Script::body(400, "application/json", error.to_string())
}

async fn streamed(stage: &Stage) -> Result<String> {
    Ok(stage.client()?.stream_to_end(&ask("haiku", "Hi")).await?.text())
}

fn bodies(stage: &Stage) -> Result<Vec<Value>> {
    stage
        .upstream
        .requests_for(MODEL)
        .iter()
        .map(Recorded::json)
        .collect()
}

fn attempts(answer: &Answer) -> &str {
    answer.header("x-bridge-attempts").unwrap_or_default()
}

#[tokio::test]
async fn h07_a_refused_field_is_left_out_and_not_sent_again() -> Result<()> {
    let stage = Stage::without_memory().await?;
    stage.upstream.once(MODEL, unknown_parameter("stream_options"));
    stage.upstream.always(MODEL, Script::text("Hello"));
    for _ in 0..2 {
        assert_eq!(streamed(&stage).await?, "Hello");
    }
    let had_it: Vec<_> = bodies(&stage)?
        .iter()
        .map(|body| body.get("stream_options").is_some())
        .collect();
    assert_eq!(had_it, [true, false, false]);
    Ok(())
}

#[tokio::test]
async fn h07_the_output_limit_goes_by_its_other_name() -> Result<()> {
    let stage = Stage::without_memory().await?;
    stage.upstream.once(MODEL, unknown_parameter("max_tokens"));
    stage.upstream.always(MODEL, Script::text("Hello"));
    let client = stage.client()?;
    let first = client.messages(&ask("haiku", "Hi")).await?;
    assert_eq!(
        (first.text().as_str(), attempts(&first)),
        ("Hello", "2"),
        "{first:?}"
    );
    let second = client.messages(&ask("haiku", "Hi")).await?;
    assert_eq!(attempts(&second), "1");
    for body in &bodies(&stage)?[1..] {
        assert_eq!(
            (&body["max_tokens"], &body["max_completion_tokens"]),
            (&Value::Null, &json!(256))
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_change_that_does_not_cure_is_forgotten() -> Result<()> {
    let stage = Stage::without_memory().await?;
    for _ in 0..2 {
        stage.upstream.once(MODEL, unknown_parameter("max_tokens"));
    }
    stage.upstream.always(MODEL, Script::text("Hello"));
    let client = stage.client()?;
    let refused = client.messages(&ask("haiku", "Hi")).await?;
    assert_eq!((refused.status, attempts(&refused)), (400, "2"), "{refused:?}");
    assert!(refused.error_message().contains("max_tokens"), "{refused:?}");
    assert_eq!(client.messages(&ask("haiku", "Hi")).await?.status, 200);
    assert_eq!(bodies(&stage)?[2]["max_tokens"], 256);
    Ok(())
}

#[tokio::test]
async fn an_admin_can_forbid_it() -> Result<()> {
    let stage = stage_with(Dialect {
        adaptive: Some(false),
        ..Dialect::default()
    })
    .await?;
    stage.upstream.once(MODEL, unknown_parameter("max_tokens"));
    let refused = stage.client()?.messages(&ask("haiku", "Hi")).await?;
    assert_eq!((refused.status, attempts(&refused)), (400, "1"), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn h06_an_answer_that_does_not_fit_is_asked_for_shorter() -> Result<()> {
    let overflow = |prompt: u64, wanted: u64| {
        Script::error(
            400,
            "invalid_request_error",
            &format!(
                "This model's maximum context length is 40000 tokens. However, you requested {} tokens \
                 ({prompt} in the messages, {wanted} in the completion). Please reduce the length.",
                prompt + wanted
            ),
        )
    };
    let stage = Stage::without_memory().await?;
    let client = stage.client()?;
    let mut body = ask("haiku", "Hi");
    body["max_tokens"] = json!(32_000);
    stage.upstream.once(MODEL, overflow(12_526, 32_000));
    stage.upstream.once(MODEL, Script::text("Hello"));
    let answer = client.messages(&body).await?;
    assert_eq!(
        (answer.text().as_str(), attempts(&answer)),
        ("Hello", "2"),
        "{answer:?}"
    );
    assert_eq!(bodies(&stage)?[1]["max_tokens"], 40_000 - 12_526 - 256);

    stage.upstream.once(MODEL, overflow(39_500, 32_000));
    let refused = client.messages(&body).await?;
    assert_eq!((refused.status, attempts(&refused)), (400, "1"), "{refused:?}");
    let wording = "input length and `max_tokens` exceed context limit: 39500 + 32000 > 40000";
    assert!(refused.error_message().starts_with(wording), "{refused:?}");
    assert_eq!(
        bodies(&stage)?[2]["max_tokens"],
        32_000,
        "the next prompt may be shorter"
    );
    Ok(())
}

#[tokio::test]
async fn an_error_that_is_known_to_pass_is_tried_again() -> Result<()> {
    let failed = || {
        let error = json!({"error": {
            "message": "Failed to call a function.", "type": "invalid_request_error",
            "code": "tool_use_failed", "failed_generation": "<function>",
        }});
        Script::body(400, "application/json", error.to_string())
    };
    let stage = stage_with(Dialect {
        retry_codes: Some(StringList {
            values: vec!["tool_use_failed".to_owned()],
        }),
        ..Dialect::default()
    })
    .await?;
    let client = stage.client()?;
    stage.upstream.once(MODEL, failed());
    stage.upstream.once(MODEL, Script::text("Hello"));
    let answer = client.messages(&ask("haiku", "Hi")).await?;
    assert_eq!(
        (answer.text().as_str(), attempts(&answer)),
        ("Hello", "2"),
        "{answer:?}"
    );
    for _ in 0..2 {
        stage.upstream.once(MODEL, failed());
    }
    let refused = client.messages(&ask("haiku", "Hi")).await?;
    assert_eq!((refused.status, attempts(&refused)), (400, "2"), "only once");
    Ok(())
}

#[tokio::test]
async fn the_model_goes_into_the_path_where_the_provider_wants_it() -> Result<()> {
    let stage = stage_with(Dialect {
        url_template: Some("/deployments/{model}/chat?api-version=1".to_owned()),
        auth: Some("api-key".to_owned()),
        ..Dialect::default()
    })
    .await?;
    stage.upstream.once(MODEL, Script::text("Hello"));
    assert_eq!(
        stage.client()?.messages(&ask("haiku", "Hi")).await?.text(),
        "Hello"
    );
    let seen = &stage.upstream.requests_for(MODEL)[0];
    let path = format!("/v1/deployments/{MODEL}/chat?api-version=1");
    assert_eq!(seen.path, path);
    assert_eq!(seen.header("api-key"), Some(bridge_tests::admin::UPSTREAM_KEY));
    assert_eq!(seen.header("authorization"), None);

    // An admin's test goes the way of traffic.
    stage.upstream.once(MODEL, Script::text("ok"));
    let test = TestProviderRequest {
        name: stage.provider.name.clone(),
        model: MODEL.to_owned(),
        ..TestProviderRequest::default()
    };
    let report = stage.admin.providers().test_provider(test).await?.into_inner();
    assert!(report.ok, "{report:?}");
    assert_eq!(stage.upstream.requests_for(MODEL)[1].path, path);
    Ok(())
}
