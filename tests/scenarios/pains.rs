//! Failures seen in the field that need processes to be shown: by the numbers of the known pains.
//!
//! `p20` and `p21` are held with a paused clock beside the relay, `p22` with the other streams,
//! `p64` beside the routes.

use std::io::Write;

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;

#[tokio::test]
async fn p57_counting_tokens_is_no_request_of_a_provider() -> Result<()> {
    const STORM: usize = 50;
    // With a breaker: were one of these a failure, it would open.
    let stage = Stage::start().await?;
    let client = stage.client()?;
    stage.upstream.kill();
    let body = json!({"model": "haiku", "messages": [{"role": "user", "content": "How many?"}]}).to_string();
    let counts = (0..STORM).map(|_| client.post("/v1/messages/count_tokens", body.clone()));
    for answer in futures_util::future::try_join_all(counts).await? {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // Its breaker is closed: it is still asked.
    let answer = client.messages(&ask("haiku", "Hi")).await?;
    assert_eq!(
        (answer.status, answer.header("x-bridge-attempts")),
        (503, Some("1")),
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn p59_a_refused_stream_keeps_the_providers_words() -> Result<()> {
    let stage = Stage::without_memory().await?;
    let client = stage.client()?;
    let refusals = [
        Script::error(400, "invalid_request_error", "tools.3 makes no sense"),
        Script::body(400, "text/plain", "tools.3 makes no sense"),
        Script::body(400, "text/event-stream", r#"{"detail":"tools.3 makes no sense"}"#),
    ];
    for script in refusals {
        stage.upstream.once(MODEL, script);
        let mut body = ask("haiku", "Hi");
        body["stream"] = json!(true);
        let answer = client.messages(&body).await?;
        assert_eq!(
            (answer.status, answer.error_type()),
            (400, "invalid_request_error"),
            "{answer:?}"
        );
        assert!(
            answer.error_message().contains("tools.3 makes no sense"),
            "{answer:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn p61_limits_of_a_provider_are_not_told_as_ours() -> Result<()> {
    let stage = Stage::without_memory().await?;
    let limited = Script::error(429, "rate_limit_exceeded", "slow down")
        .header("x-ratelimit-remaining-requests", "0")
        .header("x-ratelimit-reset-requests", "7s")
        .header("anthropic-ratelimit-requests-remaining", "0")
        .header("x-request-id", "their-id");
    stage.upstream.once(MODEL, limited);
    let answer = stage.client()?.messages(&ask("haiku", "Hi")).await?;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("7")));
    let told = answer
        .headers
        .keys()
        .filter(|name| name.as_str().contains("ratelimit"));
    assert_eq!(told.count(), 0, "{answer:?}");
    assert_ne!(answer.header("request-id"), Some("their-id"));
    Ok(())
}

#[tokio::test]
async fn p62_packed_answers_are_not_asked_for_and_never_passed_on() -> Result<()> {
    let stage = Stage::without_memory().await?;
    let client = stage.client()?;
    stage.upstream.once(MODEL, Script::text("Fine."));
    let answer = client.messages(&ask("haiku", "Hi")).await?;
    let length = answer
        .header("content-length")
        .and_then(|length| length.parse().ok());
    assert_eq!(length, Some(answer.body.to_string().len()), "{answer:?}");
    let asked = stage.upstream.requests_for(MODEL).remove(0);
    let accepted = asked.header("accept-encoding").unwrap_or("identity");
    assert_eq!(accepted, "identity");

    let document = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Fine."},"finish_reason":"stop"}]}"#;
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(document.as_bytes())?;
    let packed = Script::body(200, "application/json", packed.finish()?).header("content-encoding", "gzip");
    stage.upstream.once(MODEL, packed);
    let answer = client.messages(&ask("haiku", "Hi")).await?;
    assert_eq!(answer.header("content-encoding"), None);
    match answer.status {
        200 => assert_eq!(answer.text(), "Fine."),
        status => assert_eq!((status, answer.error_type()), (502, "api_error"), "{answer:?}"),
    }
    Ok(())
}
