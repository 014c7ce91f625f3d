//! Who may call: every form of the key, every way to get it wrong, and never a 401 for our own troubles.

use anyhow::Result;
use bridge_tests::anthropic::{Answer, Client, ask, read_answer};
use bridge_tests::faultd::Script;
use bridge_tests::stage::{MODEL, Stage};
use reqwest::Method;

async fn send(client: &Client, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    let mut request = client.request(Method::POST, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read_answer(request.body(ask("haiku", "Hi").to_string()).send().await?).await
}

#[tokio::test]
async fn every_form_of_the_key_is_accepted() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let client = stage.client()?.without_key();
    let key = stage.key.as_str();
    let bearer = format!("Bearer {key}");
    let query = format!("/v1/messages?api_key={key}");
    let forms: [(&str, &[(&str, &str)]); 6] = [
        ("/v1/messages", &[("x-api-key", key)]),
        ("/v1/messages", &[("authorization", &bearer)]),
        (
            "/v1/messages",
            &[("x-api-key", key), ("authorization", "Bearer sk-wrong")],
        ),
        (
            "/v1/messages",
            &[("x-api-key", "sk-wrong"), ("authorization", &bearer)],
        ),
        (&query, &[]),
        ("/v1/messages?beta=true", &[("x-api-key", key)]),
    ];
    for (path, headers) in forms {
        let answer = send(&client, path, headers).await?;
        assert_eq!(answer.status, 200, "{path} {headers:?} {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn every_other_key_is_refused_for_good() -> Result<()> {
    let stage = Stage::start().await?;
    let client = stage.client()?.without_key();
    let key = stage.key.as_str();
    let (disabled, record) = stage.admin.create_key("disabled").await?;
    stage.bridge.wait_until_accepted(&disabled).await?;
    stage.admin.set_key_enabled(&record, false).await?;
    stage.bridge.wait_until_refused(&disabled).await?;

    // The last character is part of the check sum: a typo.
    let mut typo = key.to_owned();
    typo.pop();
    let longer = format!("{key}x");
    let query = format!("/v1/messages?api_key={key}");
    let forms: [(&str, &[(&str, &str)]); 8] = [
        ("/v1/messages", &[]),
        ("/v1/messages", &[("x-api-key", "")]),
        ("/v1/messages", &[("x-api-key", "sk-wrong")]),
        ("/v1/messages", &[("x-api-key", &typo)]),
        ("/v1/messages", &[("x-api-key", &longer)]),
        ("/v1/messages", &[("authorization", key)]),
        ("/v1/messages", &[("x-api-key", &disabled)]),
        // A header says who calls; the query then says nothing.
        (&query, &[("x-api-key", "sk-wrong")]),
    ];
    for (path, headers) in forms {
        let answer = send(&client, path, headers).await?;
        assert_eq!(answer.status, 401, "{path} {headers:?}");
        assert_eq!(answer.error_type(), "authentication_error");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!(answer.header("x-bridge-error-source"), Some("bridge"));
        assert_eq!(answer.body["request_id"].as_str(), answer.header("request-id"));
    }
    assert!(stage.upstream.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_key_leaves_no_trace_in_any_log() -> Result<()> {
    let mut stage = Stage::start().await?;
    stage.upstream.always(MODEL, Script::text("Hi"));
    let client = stage.client()?.without_key();
    let query = format!("/v1/messages?api_key={}", stage.key);
    assert_eq!(send(&client, &query, &[]).await?.status, 200);
    assert_eq!(
        send(&client, "/v1/messages", &[("x-api-key", &stage.key)])
            .await?
            .status,
        200
    );
    let (_, secret) = stage.key.split_at("sk-bridge-".len() + 12);
    let logs = [
        stage.bridge.node(0)?.process()?.log_text(),
        stage.bridge.control().process()?.log_text(),
    ];
    for log in logs {
        assert!(!log.is_empty());
        for canary in [
            secret,
            bridge_tests::admin::UPSTREAM_KEY,
            bridge_tests::admin::PASSWORD,
        ] {
            assert!(!log.contains(canary), "{canary} is in a log");
        }
    }
    Ok(())
}
