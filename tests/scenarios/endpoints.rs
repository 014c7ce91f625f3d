//! The other endpoints of a data plane: probes for clients, and counting tokens.

use anyhow::Result;
use bridge_tests::anthropic::read_answer;
use bridge_tests::stage::Stage;
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn probes_answer_without_a_key() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?.without_key();
    let health = read_answer(client.request(Method::GET, "/health").send().await?).await?;
    assert_eq!((health.status, health.body), (200, json!({"status": "healthy"})));
    for method in [Method::HEAD, Method::GET] {
        assert_eq!(client.request(method, "/").send().await?.status(), 200);
    }
    let events = client.post("/api/event_logging/batch", "{}").await?;
    assert_eq!(events.status, 200);
    Ok(())
}

#[tokio::test]
async fn tokens_are_counted_without_calling_anyone() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?;
    let count = async |body: Value| -> Result<u64> {
        let answer = client
            .post("/v1/messages/count_tokens?beta=true", body.to_string())
            .await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.body["model"], "haiku");
        Ok(answer.body["input_tokens"].as_u64().unwrap())
    };
    let text = |prompt: &str| json!({"model": "haiku", "messages": [{"role": "user", "content": prompt}]});

    let short = count(text("测试消息")).await?;
    assert_eq!(count(text("测试消息")).await?, short);
    let long = count(text(&"The quick brown fox jumps over the lazy dog. ".repeat(100))).await?;
    assert!((900..1300).contains(&long), "{long}");

    let mut with_tools = text("测试消息");
    with_tools["system"] = json!("Be brief.");
    with_tools["tools"] = json!([{"name": "f", "description": "does f", "input_schema": {"type": "object"}}]);
    assert!(count(with_tools).await? > short);

    let mut with_image = text("");
    with_image["messages"][0]["content"] = json!([
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO".repeat(250_000)}},
    ]);
    assert!(count(with_image).await? < 4000, "base64 is not text");
    assert!(stage.upstream.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn metrics_are_on_the_ops_listener_only() -> Result<()> {
    let mut stage = Stage::start().await?;
    let client = stage.client()?;
    assert_eq!(
        client.request(Method::GET, "/metrics").send().await?.status(),
        404
    );
    assert!(stage.bridge.node(0)?.metrics().await?.contains("# TYPE"));
    Ok(())
}
