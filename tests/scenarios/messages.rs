//! `POST /v1/messages` without a stream: what reaches the upstream, and what comes back.

use anyhow::Result;
use bridge_tests::admin::UPSTREAM_KEY;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::faultd::answer::{Answer, Usage};
use bridge_tests::stage::{MODEL, Stage};
use serde_json::json;

#[tokio::test]
async fn a_text_answer_has_the_whole_envelope() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.once(MODEL, Script::text("Bonjour 🌊"));
    let answer = stage.client()?.messages(&ask("haiku", "Hello")).await?;

    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.text(), "Bonjour 🌊");
    let body = &answer.body;
    assert_eq!(body["type"], "message");
    assert_eq!(body["role"], "assistant");
    assert_eq!(body["model"], "haiku");
    assert_eq!(body["stop_reason"], "end_turn");
    assert!(body["stop_sequence"].is_null());
    assert!(body["id"].as_str().unwrap().starts_with("msg_"));
    assert_eq!(body["usage"]["input_tokens"], 20);
    assert_eq!(body["usage"]["output_tokens"], 10);

    assert!(answer.header("request-id").unwrap().starts_with("req_"));
    assert_eq!(answer.header("x-bridge-provider"), Some("scripted"));
    assert_eq!(answer.header("x-bridge-model"), Some(MODEL));
    assert_eq!(answer.header("x-bridge-attempts"), Some("1"));
    assert!(answer.header("x-bridge-config-version").is_some());
    assert_eq!(answer.header("x-bridge-loss"), None);
    Ok(())
}

#[tokio::test]
async fn the_upstream_gets_its_own_key_and_nothing_of_the_client() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?;
    let request = client.request(reqwest::Method::POST, "/v1/messages?beta=true");
    let request = request.header("anthropic-beta", "unheard-of-2031-01-01");
    let request = request.header("x-stainless-lang", "js").header("cookie", "a=b");
    stage.upstream.once(MODEL, Script::text("Hi"));
    let response = request.body(ask("opus", "Hello").to_string()).send().await?;
    assert_eq!(response.status(), 200);

    let seen = &stage.upstream.requests_for(MODEL)[0];
    assert_eq!(seen.path, "/v1/chat/completions");
    assert_eq!(
        seen.header("authorization"),
        Some(&*format!("Bearer {UPSTREAM_KEY}"))
    );
    let leaks = |name: &str| {
        ["x-api-key", "cookie"].contains(&name)
            || name.starts_with("anthropic-")
            || name.starts_with("x-stainless-")
    };
    let leaked: Vec<_> = seen.headers.iter().filter(|(name, _)| leaks(name)).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    assert!(!format!("{seen:?}").contains(&stage.key));

    let body = seen.json()?;
    assert_eq!(body["messages"], json!([{"role": "user", "content": "Hello"}]));
    assert_eq!(body["max_tokens"], 256);
    assert_ne!(body["stream"], true);
    Ok(())
}

#[tokio::test]
async fn system_prompts_of_every_form_arrive() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let mut body = ask("haiku", "Hello");
    body["system"] = json!([{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}]);
    body["messages"] = json!([
        {"role": "user", "content": "Hello"},
        {"role": "system", "content": "The user is in Oslo."},
    ]);
    assert_eq!(stage.client()?.messages(&body).await?.status, 200);

    let seen = stage.upstream.requests_for(MODEL)[0].json()?;
    assert_eq!(
        seen["messages"][0],
        json!({"role": "system", "content": "Be brief.\n\nBe kind."})
    );
    assert!(seen["messages"].to_string().contains("The user is in Oslo."));
    Ok(())
}

#[tokio::test]
async fn images_arrive_as_data_or_as_the_same_url() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("A cat"));
    let mut body = ask("sonnet", "");
    body["messages"][0]["content"] = json!([
        {"type": "text", "text": "What is this?"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/image.jpg"}},
    ]);
    assert_eq!(stage.client()?.messages(&body).await?.status, 200);

    let seen = stage.upstream.requests_for(MODEL)[0].json()?;
    let parts = json!([
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/image.jpg"}},
    ]);
    assert_eq!(seen["messages"][0]["content"], parts);
    Ok(())
}

#[tokio::test]
async fn what_translation_cannot_carry_is_named() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let mut body = ask("haiku", "Hello");
    body["top_k"] = json!(5);
    let answer = stage.client()?.messages(&body).await?;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .header("x-bridge-loss")
            .unwrap_or_default()
            .contains("top_k"),
        "{answer:?}"
    );
    assert!(stage.upstream.requests_for(MODEL)[0].json()?["top_k"].is_null());
    Ok(())
}

#[tokio::test]
async fn max_tokens_is_clamped_to_the_settings() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let mut body = ask("haiku", "Hello");
    for (asked, sent) in [(5, 100), (5000, 5000), (2_000_000, 1_000_000)] {
        body["max_tokens"] = json!(asked);
        assert_eq!(stage.client()?.messages(&body).await?.status, 200);
        let seen = stage.upstream.requests_for(MODEL);
        assert_eq!(
            seen.last().unwrap().json()?["max_tokens"],
            sent,
            "asked for {asked}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn max_tokens_0_is_answered_without_an_upstream_call() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?;
    let mut body = ask(MODEL, "warm up");
    body["max_tokens"] = json!(0);

    let plain = client.messages(&body).await?;
    assert_eq!((plain.status, &plain.body["content"]), (200, &json!([])));
    let streamed = client.stream_to_end(&body).await?;
    assert_eq!(streamed.message["content"], json!([]));
    for message in [&plain.body, &streamed.message] {
        assert_eq!(message["stop_reason"], "max_tokens");
    }
    assert!(stage.upstream.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn stop_reasons_and_cached_tokens_are_translated() -> Result<()> {
    let stage = Stage::start().await?;
    let usage = Usage {
        prompt_tokens: 100,
        cached_tokens: 64,
        completion_tokens: 7,
    };
    let answer = Answer::text("Once upon").finish_reason("length").usage(usage);
    stage.upstream.once(MODEL, Script::answer(answer));
    let answer = stage.client()?.messages(&ask("haiku", "A story")).await?;
    assert_eq!(answer.body["stop_reason"], "max_tokens");
    assert_eq!(answer.body["usage"]["input_tokens"], 36);
    assert_eq!(answer.body["usage"]["cache_read_input_tokens"], 64);
    assert_eq!(answer.body["usage"]["output_tokens"], 7);
    Ok(())
}
