//! What is wrong with a request or with an upstream, as a client sees it: the rows of the failure table.

use std::time::Duration;

use anyhow::Result;
use bridge_tests::anthropic::{Answer, ask};
use bridge_tests::bridge::Bridge;
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Faultd, Script};
use bridge_tests::stage::{MODEL, Stage};
use serde_json::json;

const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

fn check_error(answer: &Answer, status: u16, kind: &str, what: &str) {
    assert_eq!(
        (answer.status, answer.error_type()),
        (status, kind),
        "{what}: {answer:?}"
    );
    assert_eq!(answer.body["type"], "error", "{what}");
    assert_eq!(
        answer.body["request_id"].as_str(),
        answer.header("request-id"),
        "{what}"
    );
    assert!(!answer.error_message().is_empty(), "{what}");
}

#[tokio::test]
async fn a_wrong_body_is_named_field_by_field() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?;
    let wrong = [
        ("", "JSON"),
        ("{", "JSON"),
        ("[]", "object"),
        (
            r#"{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#,
            "model",
        ),
        (
            r#"{"model":7,"max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#,
            "model",
        ),
        (r#"{"model":"haiku","max_tokens":1}"#, "messages"),
        (r#"{"model":"haiku","max_tokens":1,"messages":[]}"#, "messages"),
        (
            r#"{"model":"haiku","messages":[{"role":"user","content":"x"}]}"#,
            "max_tokens",
        ),
        (
            r#"{"model":"haiku","max_tokens":-1,"messages":[{"role":"user","content":"x"}]}"#,
            "max_tokens",
        ),
        (
            r#"{"model":"haiku","max_tokens":1,"messages":[{"role":"robot","content":"x"}]}"#,
            "role",
        ),
        (
            r#"{"model":"haiku","max_tokens":1,"messages":[{"role":"user","content":[{"text":"x"}]}]}"#,
            "type",
        ),
    ];
    for (body, field) in wrong {
        let answer = client.post("/v1/messages", body).await?;
        check_error(&answer, 400, "invalid_request_error", body);
        assert!(
            answer.error_message().contains(field),
            "{body}: {}",
            answer.error_message()
        );
        assert_eq!(answer.header("x-should-retry"), Some("false"), "{body}");
    }
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    check_error(
        &client.post("/v1/messages", deep).await?,
        400,
        "invalid_request_error",
        "deep nesting",
    );
    assert!(stage.upstream.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn an_unknown_model_is_not_found() -> Result<()> {
    let stage = Stage::start().await?;
    let answer = stage.client()?.messages(&ask("gpt-unheard-of", "Hi")).await?;
    check_error(&answer, 404, "not_found_error", "unknown model");
    assert!(answer.error_message().contains("model:"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_body_may_be_large_but_not_larger_than_the_limit() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Read."));
    let client = stage.client()?;
    let eight = "x".repeat(8 * 1024 * 1024);
    let answer = client.messages(&ask("haiku", &eight)).await?;
    assert_eq!(answer.status, 200);
    let seen = stage.upstream.requests_for(MODEL)[0].json()?;
    assert_eq!(
        seen["messages"][0]["content"].as_str().unwrap().len(),
        eight.len()
    );

    let too_long = vec![b' '; BODY_BYTES_MAX + 1];
    let answer = client.post("/v1/messages", too_long).await?;
    check_error(&answer, 413, "request_too_large", "33 MiB");
    assert_eq!(answer.header("x-should-retry"), Some("false"));
    Ok(())
}

#[tokio::test]
async fn paths_and_methods_that_do_not_exist_say_so_in_json() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?;
    let answer = client.post("/v1/messages/batches", "{}").await?;
    check_error(&answer, 404, "not_found_error", "batches");
    let response = client
        .request(reqwest::Method::GET, "/v1/messages")
        .send()
        .await?;
    assert_eq!(response.status(), 405);
    let body: serde_json::Value = serde_json::from_slice(&response.bytes().await?)?;
    assert_eq!(body["type"], "error");
    Ok(())
}

#[tokio::test]
async fn without_a_provider_no_model_is_known() -> Result<()> {
    let bridge = Bridge::start(1).await?;
    let admin = bridge.admin().await?;
    let key = bridge.accepted_key(&admin).await?;
    let answer = bridge.client(0, &key)?.messages(&ask("haiku", "Hi")).await?;
    check_error(&answer, 404, "not_found_error", "no provider");
    Ok(())
}

#[tokio::test]
async fn a_provider_that_is_down_is_503_and_named() -> Result<()> {
    let stage = Stage::without_memory().await?;
    let client = stage.client()?;
    stage.upstream.kill();
    let answer = client.messages(&ask("haiku", "Hi")).await?;
    check_error(&answer, 503, "api_error", "connection refused");
    assert!(answer.error_message().contains("scripted"), "{answer:?}");
    assert!(!answer.error_message().contains("127.0.0.1"), "{answer:?}");
    Ok(())
}

/// What the upstream does, and the status, type and `x-should-retry` that the client sees.
type Row = (&'static str, Script, u16, &'static str, Option<&'static str>);

fn upstream_rows() -> Vec<Row> {
    let error = |status| Script::error(status, "scripted_error", "scripted failure");
    let page = |body: &'static str| Script::body(200, "text/html", body);
    let json = |body: &'static str| Script::body(200, "application/json", body);
    let redirect = Script::body(307, "text/plain", "").header("location", "http://127.0.0.1:1/v1");
    vec![
        ("400", error(400), 400, "invalid_request_error", None),
        ("422", error(422), 400, "invalid_request_error", None),
        ("413", error(413), 413, "request_too_large", None),
        ("401", error(401), 502, "api_error", Some("false")),
        ("403", error(403), 502, "api_error", Some("false")),
        ("404", error(404), 502, "api_error", None),
        ("429", error(429), 429, "rate_limit_error", None),
        ("500", error(500), 502, "api_error", None),
        (
            "502 with a page",
            Script::body(502, "text/html", "<html>Bad gateway</html>"),
            502,
            "api_error",
            None,
        ),
        ("529", error(529), 529, "overloaded_error", None),
        ("redirect", redirect, 502, "api_error", Some("false")),
        ("a page", page("<html>It works!</html>"), 502, "api_error", None),
        ("not JSON", json("}{"), 502, "api_error", None),
        ("empty", json(""), 502, "api_error", None),
        ("no choices", json("{}"), 502, "api_error", None),
        (
            "error in 200",
            json(r#"{"error":{"message":"on fire"}}"#),
            502,
            "api_error",
            None,
        ),
        (
            "cut before the head",
            Script::text("x").cut(After::Nothing, End::Fin),
            502,
            "api_error",
            None,
        ),
        (
            "cut in the body",
            Script::text("x").cut(After::Bytes(20), End::Fin),
            502,
            "api_error",
            None,
        ),
        (
            "reset in the body",
            Script::text("x").cut(After::Bytes(20), End::Reset),
            502,
            "api_error",
            None,
        ),
    ]
}

#[tokio::test]
async fn what_upstreams_do_wrong_is_told_by_the_table() -> Result<()> {
    let stage = Stage::without_memory().await?;
    let client = stage.client()?;
    for (what, script, status, kind, should_retry) in upstream_rows() {
        stage.upstream.once(MODEL, script);
        let answer = client.messages(&ask("haiku", "Hi")).await?;
        check_error(&answer, status, kind, what);
        assert!(answer.error_message().contains("scripted"), "{what}: {answer:?}");
        assert!(!answer.error_message().contains('<'), "{what}: {answer:?}");
        if let Some(value) = should_retry {
            assert_eq!(answer.header("x-should-retry"), Some(value), "{what}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_redirect_is_never_followed() -> Result<()> {
    let stage = Stage::without_memory().await?;
    let trap = Faultd::start().await?;
    let location = format!("{}/chat/completions", trap.base_url());
    stage.upstream.once(
        MODEL,
        Script::body(307, "text/plain", "").header("location", &location),
    );
    let answer = stage.client()?.messages(&ask("haiku", "Hi")).await?;
    check_error(&answer, 502, "api_error", "redirect");
    assert!(trap.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_silent_upstream_times_out() -> Result<()> {
    let mut stage = Stage::without_memory().await?;
    stage.provider.timeout = 1;
    let provider = stage.provider.clone();
    stage.admin.update_provider(provider, "timeout").await?;
    stage.settle().await?;
    stage.upstream.always(MODEL, Script::silence());
    let started = std::time::Instant::now();
    let answer = stage.client()?.messages(&ask("haiku", "Hi")).await?;
    check_error(&answer, 504, "timeout_error", "silence");
    assert!(started.elapsed() >= Duration::from_secs(1));
    Ok(())
}

#[tokio::test]
async fn a_rate_limit_tells_how_long_to_wait() -> Result<()> {
    let stage = Stage::without_memory().await?;
    for (asked, told) in [("7", "7"), ("120", "60")] {
        let script = Script::error(429, "rate_limit_exceeded", "slow down").header("retry-after", asked);
        stage.upstream.once(MODEL, script);
        let answer = stage.client()?.messages(&ask("haiku", "Hi")).await?;
        check_error(&answer, 429, "rate_limit_error", asked);
        assert_eq!(answer.header("retry-after"), Some(told), "{asked}");
    }
    Ok(())
}

#[tokio::test]
async fn an_overflow_is_told_in_the_words_that_clients_act_on() -> Result<()> {
    let stage = Stage::without_memory().await?;
    let overflow = json!({"error": {
        "code": 400,
        "message": "request (6031 tokens) exceeds the available context size (4096 tokens), try increasing it",
        "type": "exceed_context_size_error", "n_prompt_tokens": 6031, "n_ctx": 4096,
    }});
    stage
        .upstream
        .once(MODEL, Script::body(400, "application/json", overflow.to_string()));
    let answer = stage.client()?.messages(&ask("haiku", "Hi")).await?;
    check_error(&answer, 400, "invalid_request_error", "overflow");
    let wording = "prompt is too long: 6031 tokens > 4096 maximum";
    assert!(answer.error_message().contains(wording), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn secrets_in_an_upstreams_words_are_masked() -> Result<()> {
    const REPLACED: &str = "9f2c4e6a8b0d1f3e5a7c9b1d3f5e7a9c";
    let stage = Stage::without_memory().await?;
    let own = bridge_tests::admin::UPSTREAM_KEY;
    for (secret, before) in [
        (own, "Incorrect API key provided: "),
        ("sk-proj-of-somebody-else", "Incorrect API key provided: "),
        (REPLACED, "header Authorization: Bearer "),
        (REPLACED, "refused by the gateway, api_key="),
    ] {
        let message = format!("{before}{secret}");
        stage
            .upstream
            .once(MODEL, Script::error(400, "invalid_request_error", &message));
        let answer = stage.client()?.messages(&ask("haiku", "Hi")).await?;
        assert_eq!(answer.status, 400);
        assert!(
            answer.error_message().ends_with(&format!("{before}***")),
            "{answer:?}"
        );
    }
    let mut bridge = stage.bridge;
    let log = bridge.node(0)?.process()?.log_text();
    for secret in [own, "of-somebody-else", REPLACED] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
    Ok(())
}
