//! Pains of the field that cannot be seen without processes: numbers of the table of known
//! pains in `data-plane/translate/README.md`.

use std::io::Write;

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::stage::MODEL;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::future::try_join_all;
use reqwest::Method;
use serde_json::json;

use super::bed::{Bed, check_error};
use super::chunks;

#[tokio::test]
async fn p22_a_client_that_waits_for_no_stream_takes_the_upstream_along_too() -> Result<()> {
    let bed = Bed::start().await?;
    bed.once(Script::silence());
    let request = bed.client.request(Method::POST, "/v1/messages");
    let asked = tokio::spawn(request.body(ask("haiku", "Hi").to_string()).send());
    bed.stage.upstream.wait_for_request(MODEL, 0).await?;
    asked.abort();
    bed.stage.upstream.wait_for_client_gone(MODEL, 0).await?;
    Ok(())
}

#[tokio::test]
async fn p50_betas_stay_here() -> Result<()> {
    let bed = Bed::start().await?;
    bed.once(Script::text("Fine."));
    let request = bed.client.request(Method::POST, "/v1/messages?beta=true");
    let request = request
        .header(
            "anthropic-beta",
            "context-1m-2025-08-07,never-heard-of-2031-01-01",
        )
        .header("anthropic-beta", "effort-2025-11-24");
    let answer = request.body(ask("haiku", "Hi").to_string()).send().await?;
    assert_eq!(answer.status(), 200);
    let sent = bed.stage.upstream.wait_for_request(MODEL, 0).await?;
    let ours = sent
        .headers
        .iter()
        .find(|(name, _)| name.starts_with("anthropic-"));
    assert_eq!(ours, None);
    Ok(())
}

#[tokio::test]
async fn p57_a_storm_of_counts_costs_nobody_anything() -> Result<()> {
    const COUNTS: usize = 50;
    let bed = Bed::start().await?;
    let body = json!({"model": "haiku", "messages": [{"role": "user", "content": "How many?"}]}).to_string();
    let counts = (0..COUNTS).map(|_| bed.client.post("/v1/messages/count_tokens", body.clone()));
    for answer in try_join_all(counts).await? {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    assert_eq!(bed.calls(), 0);
    let answer = bed.ask(Script::text("Fine."), &ask("haiku", "Hi")).await?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "Fine."),
        "{answer:?}"
    );
    Ok(())
}

#[tokio::test]
async fn p59_an_error_body_is_no_stream_whatever_it_calls_itself() -> Result<()> {
    let bed = Bed::start().await?;
    let mut body = ask("haiku", "Hi");
    body["stream"] = json!(true);
    let error = json!({"error": {"message": "scripted refusal"}}).to_string();
    for (kind, text) in [
        ("text/event-stream", error.clone()),
        ("application/json", error),
        ("text/plain", "scripted refusal".to_owned()),
    ] {
        let answer = bed.ask(Script::body(400, kind, text), &body).await?;
        check_error(&answer, 400, "invalid_request_error", kind);
        assert!(
            answer.error_message().contains("scripted refusal"),
            "{kind}: {answer:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn p61_limits_of_a_provider_are_not_told_as_ours() -> Result<()> {
    let bed = Bed::start().await?;
    let script = Script::text("Fine.")
        .header("x-ratelimit-remaining-requests", "3")
        .header("anthropic-ratelimit-requests-remaining", "3")
        .header("set-cookie", "upstream=1")
        .header("server", "scripted");
    let answer = bed.ask(script, &ask("haiku", "Hi")).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let theirs = ["x-ratelimit", "anthropic-ratelimit", "set-cookie", "server"];
    let copied = answer
        .headers
        .keys()
        .find(|name| theirs.iter().any(|start| name.as_str().starts_with(start)));
    assert_eq!(copied, None);
    Ok(())
}

#[tokio::test]
async fn p62_nothing_packed_is_asked_for_or_passed_on() -> Result<()> {
    let bed = Bed::start().await?;
    let plain = bed.ask(Script::text("Fine."), &ask("haiku", "Hi")).await?;
    assert_eq!(plain.status, 200, "{plain:?}");
    let sent = bed.stage.upstream.wait_for_request(MODEL, 0).await?;
    assert_eq!(sent.header("accept-encoding"), Some("identity"));

    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let whole = json!({"choices": [{"index": 0, "message": {"content": "Fine."}, "finish_reason": "stop"}]});
    packed.write_all(whole.to_string().as_bytes())?;
    let script = Script::body(200, "application/json", packed.finish()?).header("content-encoding", "gzip");
    let answer = bed.ask(script, &ask("haiku", "Hi")).await?;
    check_error(&answer, 502, "api_error", "gzip that nobody asked for");
    assert_eq!(answer.header("content-encoding"), None);

    let script =
        chunks::stream([chunks::content("Fine."), chunks::finish("stop")]).header("content-encoding", "gzip");
    let answer = bed.ask(script, &ask("haiku", "Hi")).await?;
    check_error(&answer, 502, "api_error", "a stream that calls itself packed");
    Ok(())
}
