//! What passes: bodies, events and heads as they are, and nothing that is ours or another's.

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{TestProviderRequest, TierModels};
use bridge_tests::admin::UPSTREAM_KEY;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::answer::{self, native::SIGNATURE};
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Gate, Script};
use bridge_tests::sse::{Event, Transcript};
use bridge_tests::stage::MODEL;
use reqwest::Method;
use serde_json::json;

use super::{last, post, stage};

#[tokio::test]
async fn c104_p01_the_body_passes_untouched_and_keys_do_not() -> Result<()> {
    let stage = stage().await?;
    stage.upstream.always(MODEL, Script::text("Fine."));
    let body = r#"{ "model":"m",  "max_tokens" : 256, "brand_new":{"b":1,"a":[1.50, 1e3]},
        "messages":[{"role":"user","content":"\u00e9\/ \"m\""},{"role":"system","content":"Be brief."}] }"#;
    let headers = [
        ("anthropic-beta", "context-1m-2025-08-07,brand-new-2027-01-01"),
        ("user-agent", "claude-cli/9.9"),
        ("x-stainless-lang", "js"),
        ("x-claude-code-session-id", "session"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "10.0.0.1"),
        ("accept-encoding", "gzip"),
        ("authorization", "Bearer somebody-elses"),
    ];
    let path = format!("/v1/messages?beta=true&api_key={}", stage.key);
    let answer = post(&stage.client()?, &path, &headers, body.to_owned()).await?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "Fine."),
        "{answer:?}"
    );

    let sent = last(&stage.upstream)?;
    assert_eq!(sent.body, body);
    assert_eq!(sent.path, "/v1/messages?beta=true");
    for (name, value) in &headers[..4] {
        assert_eq!(sent.header(name), Some(*value));
    }
    assert_eq!(sent.header("x-api-key"), Some(UPSTREAM_KEY));
    assert_eq!(sent.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(sent.header("accept-encoding"), Some("identity"));
    for name in ["cookie", "x-forwarded-for", "authorization"] {
        assert_eq!(sent.header(name), None, "{name}");
    }

    // With another name upstream, only that name differs.
    let renamed = body.replacen("\"m\"", "\"opus\"", 1);
    let answer = stage.client()?.post("/v1/messages", renamed).await?;
    assert_eq!(last(&stage.upstream)?.body, body);
    assert_eq!(answer.body["model"], "opus");
    let everything = format!("{:?}", stage.upstream.requests());
    assert!(!everything.contains(&stage.key), "the client's key went up");
    Ok(())
}

#[tokio::test]
async fn c104_p02_events_pass_at_once_and_the_model_is_the_clients() -> Result<()> {
    let stage = stage().await?;
    let gate = Gate::closed();
    let said = answer::Answer::text("One moment, please.").reasoning("Hm.");
    stage
        .upstream
        .once(MODEL, Script::answer(said.clone()).hold_after(5, &gate));
    let mut stream = stage.client()?.stream(&ask("opus", "Hi")).await?;
    let start = stream.next_of("message_start").await?;
    assert_eq!(start.payload["message"]["model"], "opus");
    stream.next_of("content_block_delta").await?;
    gate.open();
    let transcript = stream.to_end().await?;
    assert_eq!(transcript.text(), "One moment, please.");
    assert_eq!(transcript.message["content"][0]["signature"], SIGNATURE);

    // Under its own name the very bytes pass.
    stage.upstream.once(MODEL, Script::answer(said));
    let mut body = ask(MODEL, "Hi");
    body["stream"] = json!(true);
    let request = stage.client()?.request(Method::POST, "/v1/messages");
    let bytes = request.body(body.to_string()).send().await?.bytes().await?;
    Transcript::parse(Event::take_whole(&mut bytes.to_vec())?)?;
    let text = std::str::from_utf8(&bytes)?;
    assert!(text.contains("\"model\":\"m\"") && text.ends_with("{\"type\":\"message_stop\"}\n\n"));
    assert!(text.contains("event: ping\n"), "{text}");
    Ok(())
}

#[tokio::test]
async fn tokens_are_counted_by_the_provider_or_here() -> Result<()> {
    let stage = stage().await?;
    let usage = answer::Usage {
        prompt_tokens: 4711,
        cached_tokens: 0,
        completion_tokens: 1,
    };
    let count = || async {
        let mut body = ask("opus", "How many tokens are these?");
        body.as_object_mut().context("no object")?.remove("max_tokens");
        let path = "/v1/messages/count_tokens?beta=true";
        stage.client()?.post(path, body.to_string()).await
    };
    let script = Script::answer(answer::Answer::default().usage(usage));
    stage.upstream.once(MODEL, script);
    let answer = count().await?;
    assert_eq!(answer.body["input_tokens"], 4711, "{answer:?}");
    let sent = last(&stage.upstream)?;
    assert_eq!(sent.path, "/v1/messages/count_tokens?beta=true");
    assert_eq!(sent.json()?["model"], MODEL);

    let elsewhere = [
        Script::refusal(404, "not_found_error", "no"),
        Script::refusal(405, "invalid_request_error", "no"),
        Script::refusal(501, "api_error", "no"),
        Script::refusal(429, "rate_limit_error", "no"),
        Script::body(200, "text/html", "<html>"),
        Script::text("lost").cut(After::Nothing, End::Reset),
    ];
    for script in elsewhere {
        stage.upstream.once(MODEL, script);
        let answer = count().await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        let counted = answer.body["input_tokens"].as_u64().unwrap_or_default();
        assert!((5..50).contains(&counted), "{answer:?}");
    }
    let refusal = Script::refusal(400, "invalid_request_error", "messages: too odd");
    stage.upstream.once(MODEL, refusal);
    let answer = count().await?;
    assert_eq!(
        (answer.status, answer.error_message()),
        (400, "messages: too odd")
    );
    Ok(())
}

#[tokio::test]
async fn headers_come_back_by_a_list() -> Result<()> {
    let stage = stage().await?;
    let document = r#"{"type":"message","id":"msg_1","role":"assistant","model":"m","content":[],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let script = Script::body(200, "application/json", document)
        .header("request-id", "req_theirs")
        .header("anthropic-ratelimit-tokens-remaining", "9")
        .header("cf-ray", "ray")
        .header("set-cookie", "a=b")
        .header("server", "theirs");
    stage.upstream.once(MODEL, script);
    let answer = stage.client()?.messages(&ask(MODEL, "Hi")).await?;
    let expected = [
        ("x-bridge-upstream-request-id", Some("req_theirs")),
        ("anthropic-ratelimit-tokens-remaining", Some("9")),
        ("cf-ray", Some("ray")),
        ("set-cookie", None),
        ("server", None),
        ("x-bridge-provider", Some("scripted")),
    ];
    for (name, value) in expected {
        assert_eq!(answer.header(name), value, "{name}");
    }
    assert_ne!(answer.header("request-id"), Some("req_theirs"));
    Ok(())
}

#[tokio::test]
async fn an_admin_can_test_a_native_provider() -> Result<()> {
    let mut stage = stage().await?;
    stage.upstream.once(MODEL, Script::text("ok"));
    let request = || TestProviderRequest {
        name: stage.provider.name.clone(),
        model: MODEL.to_owned(),
        ..TestProviderRequest::default()
    };
    let report = stage
        .admin
        .providers()
        .test_provider(request())
        .await?
        .into_inner();
    assert!(report.ok, "{report:?}");
    assert_eq!(last(&stage.upstream)?.path, "/v1/messages");
    let refusal = Script::refusal(401, "authentication_error", "invalid x-api-key");
    stage.upstream.once(MODEL, refusal);
    let report = stage
        .admin
        .providers()
        .test_provider(request())
        .await?
        .into_inner();
    assert!(!report.ok, "{report:?}");

    // A base URL without the version leads to the same place.
    stage.provider.base_url = format!("http://{}", stage.upstream.address());
    stage.provider.models = Some(TierModels {
        big: vec![MODEL.to_owned()],
        ..TierModels::default()
    });
    stage.provider = stage
        .admin
        .update_provider(stage.provider.clone(), "base_url")
        .await?;
    stage.settle().await?;
    stage.upstream.once(MODEL, Script::text("ok"));
    stage.client()?.messages(&ask("opus", "Hi")).await?;
    assert_eq!(last(&stage.upstream)?.path, "/v1/messages");
    Ok(())
}
