//! Providers that speak the client's own API: bytes pass, keys do not, and whatever goes
//! wrong is told as honestly as on the translated way.

use std::pin::Pin;

use anyhow::{Context, Result};
use bridge_proto::admin::v1::{ApiFormat, Provider, TestProviderRequest, TierModels};
use bridge_proto::fleet::v1::{Dialect, StringList};
use bridge_tests::admin::{self, UPSTREAM_KEY};
use bridge_tests::anthropic::{Answer, Client, ask, read_answer};
use bridge_tests::faultd::answer::{self, native::SIGNATURE};
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Faultd, Gate, Recorded, Script};
use bridge_tests::stage::{MODEL, Stage};
use reqwest::Method;
use serde_json::{Value, json};

const CALLERS_KEY: &str = "sk-ant-callers-own-77aa";

fn native(provider: Provider) -> Provider {
    Provider {
        api_format: ApiFormat::Anthropic.into(),
        ..provider
    }
}

async fn stage() -> Result<Stage> {
    Stage::without_memory_of(native).await
}

/// A native provider with knobs of its own. Boxed, since all knobs together are large.
fn stage_with(knobs: Dialect) -> Pin<Box<impl Future<Output = Result<Stage>>>> {
    Box::pin(Stage::without_memory_of(|provider| Provider {
        dialect_overrides: Some(knobs),
        ..native(provider)
    }))
}

fn list(values: &[&str]) -> Option<StringList> {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    Some(StringList { values })
}

/// What the upstream got last.
fn last(upstream: &Faultd) -> Result<Recorded> {
    upstream.requests().pop().context("nothing went up")
}

/// Posts with more of a head than the harness usually sends.
async fn post(client: &Client, path: &str, headers: &[(&str, &str)], body: String) -> Result<Answer> {
    let mut request = client.request(Method::POST, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read_answer(request.body(body).send().await?).await
}

/// A second provider, translated, behind the native one.
async fn add_translated(stage: &Stage) -> Result<Faultd> {
    let upstream = Faultd::start().await?;
    upstream.always("second", Script::text("from the second"));
    let provider = Provider {
        priority: 2,
        ..admin::provider("second", &upstream.base_url(), "second")
    };
    stage.admin.create_provider(provider).await?;
    stage.settle().await?;
    Ok(upstream)
}

/// A turn of the assistant with this thinking, between two of the user.
fn conversation(thinking: &[Value]) -> Value {
    let mut said = thinking.to_vec();
    said.push(json!({"type": "text", "text": "So."}));
    let mut body = ask("opus", "Hi");
    body["messages"] = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "Go on"},
    ]);
    body
}

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
    let text = std::str::from_utf8(&bytes)?;
    assert!(text.contains("\"model\":\"m\"") && text.ends_with("{\"type\":\"message_stop\"}\n\n"));
    assert!(text.contains("event: ping\n"), "{text}");
    Ok(())
}

#[tokio::test]
async fn c104_p03_errors_pass_unless_they_are_the_admins_affair() -> Result<()> {
    let stage = stage().await?;
    let passed = [
        (400, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ];
    for (status, kind) in passed {
        let words = format!("exactly these words, not {UPSTREAM_KEY}");
        let script = Script::refusal(status, kind, &words)
            .header("retry-after", "90")
            .header("anthropic-ratelimit-requests-remaining", "0")
            .header("x-should-retry", "false");
        stage.upstream.once(MODEL, script);
        let answer = stage.client()?.messages(&ask("opus", "Hi")).await?;
        assert_eq!((answer.status, answer.error_type()), (status, kind), "{answer:?}");
        assert_eq!(answer.error_message(), "exactly these words, not ***");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
        assert_eq!(answer.header("anthropic-ratelimit-requests-remaining"), Some("0"));
        let is_wait_told = matches!(status, 429 | 529);
        assert_eq!(
            answer.header("retry-after"),
            is_wait_told.then_some("60"),
            "{status}"
        );
        assert_eq!(answer.body["request_id"].as_str(), answer.header("request-id"));
    }
    let hidden = [
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
    ];
    for (status, kind) in hidden {
        stage.upstream.once(MODEL, Script::refusal(status, kind, "no"));
        let answer = stage.client()?.messages(&ask("opus", "Hi")).await?;
        assert_eq!(
            (answer.status, answer.error_type()),
            (502, "api_error"),
            "{answer:?}"
        );
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    Ok(())
}

#[tokio::test]
async fn c104_p04_a_lost_upstream_ends_in_an_error_event() -> Result<()> {
    let stage = stage().await?;
    let said = Script::text("The quick brown fox jumps.");
    for (cut, end) in [(620, End::Reset), (700, End::Fin), (760, End::Early)] {
        stage
            .upstream
            .once(MODEL, said.clone().cut(After::Bytes(cut), end));
        let transcript = stage.client()?.stream_to_end(&ask("opus", "Hi")).await?;
        let error = transcript.error.context("a whole answer")?;
        assert_eq!(error["error"]["type"], "api_error", "cut after {cut}");
        assert!(transcript.is_block_open, "cut after {cut}");
    }
    // Before content it is an HTTP status.
    for cut in [0, 10, 300] {
        let script = said.clone().cut(After::Bytes(cut), End::Reset);
        stage.upstream.once(MODEL, script);
        let stream = stage.client()?.stream(&ask("opus", "Hi")).await?;
        assert_eq!(stream.status, 502, "cut after {cut}");
    }
    Ok(())
}

#[tokio::test]
async fn an_error_event_is_a_status_before_content_and_an_event_after_it() -> Result<()> {
    let stage = stage().await?;
    let error = |kind: &str| {
        format!(
            "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"Sorry\"}}}}\n\n"
        )
    };
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n";
    let block = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
    let statuses = [
        ("overloaded_error", 529),
        ("rate_limit_error", 429),
        ("api_error", 502),
    ];
    for (kind, status) in statuses {
        for pieces in [vec![error(kind)], vec![start.to_owned(), error(kind)]] {
            stage.upstream.once(MODEL, Script::stream(pieces));
            let stream = stage.client()?.stream(&ask("opus", "Hi")).await?;
            assert_eq!(stream.status, status, "{kind}");
        }
    }
    let pieces = [start.to_owned(), block.to_owned(), error("overloaded_error")];
    stage.upstream.once(MODEL, Script::stream(pieces));
    let transcript = stage.client()?.stream_to_end(&ask("opus", "Hi")).await?;
    let told = transcript.error.context("no error")?;
    assert_eq!(told["error"]["type"], "overloaded_error");
    assert!(
        told["error"]["message"]
            .as_str()
            .unwrap_or_default()
            .contains("Sorry")
    );
    Ok(())
}

#[tokio::test]
async fn c104_p05_own_thinking_is_left_out_and_foreign_passes() -> Result<()> {
    let stage = stage().await?;
    stage.upstream.always(MODEL, Script::text("Fine."));
    let signed = json!({"type": "thinking", "thinking": "a", "signature": SIGNATURE});
    let redacted = json!({"type": "redacted_thinking", "data": "EmwKAhgB"});
    let ours = json!({"type": "thinking", "thinking": "b", "signature": "brg1.eyJwIjoicCJ9"});
    let unsigned = json!({"type": "thinking", "thinking": "c", "signature": ""});
    let ours_redacted = json!({"type": "redacted_thinking", "data": "brg1.e30"});
    let body = conversation(&[
        signed.clone(),
        ours.clone(),
        redacted.clone(),
        unsigned,
        ours_redacted,
    ]);
    let answer = stage.client()?.messages(&body).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-bridge-loss"), None);
    let sent = last(&stage.upstream)?.json()?;
    let kept = json!([signed, redacted, {"type": "text", "text": "So."}]);
    assert_eq!(sent["messages"][1]["content"], kept);

    let mut body = conversation(&[]);
    body["messages"][1]["content"] = json!([ours]);
    stage.client()?.messages(&body).await?;
    let sent = last(&stage.upstream)?.json()?;
    let roles: Vec<_> = sent["messages"].as_array().into_iter().flatten().collect();
    assert_eq!(roles.len(), 2, "an empty turn is no turn: {sent}");
    Ok(())
}

#[tokio::test]
async fn p31_refused_thinking_is_left_out_and_asked_again_once() -> Result<()> {
    let stage = stage().await?;
    let refused = "messages.1.content.0: Invalid `signature` in `thinking` block";
    let refusal = Script::refusal(400, "invalid_request_error", refused);
    let signed = json!({"type": "thinking", "thinking": "a", "signature": "EqSomebodyElses"});
    stage.upstream.once(MODEL, refusal.clone());
    stage.upstream.once(MODEL, Script::text("Fine."));
    let body = conversation(&[signed]);
    let answer = stage.client()?.messages(&body).await?;
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (200, "Fine."),
        "{answer:?}"
    );
    assert_eq!(answer.header("x-bridge-attempts"), Some("2"));
    assert_eq!(answer.header("x-bridge-loss"), Some("messages.1.content.0"));
    let sent = last(&stage.upstream)?.json()?;
    assert_eq!(
        sent["messages"][1]["content"],
        json!([{"type": "text", "text": "So."}])
    );

    // Once is enough: what is refused again is told.
    stage.upstream.always(MODEL, refusal);
    let before = stage.upstream.requests().len();
    let answer = stage.client()?.messages(&body).await?;
    assert_eq!(
        (answer.status, answer.error_message()),
        (400, refused),
        "{answer:?}"
    );
    assert_eq!(stage.upstream.requests().len(), before + 2);
    Ok(())
}

#[tokio::test]
async fn native_and_translated_providers_stand_in_for_each_other() -> Result<()> {
    let stage = stage().await?;
    let second = add_translated(&stage).await?;
    let said = answer::Answer::text("from the second").reasoning("Hm.");
    second.always("second", Script::answer(said));
    let mut body = ask("opus", "Hi");
    body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    body["max_tokens"] = json!(4096);
    let failures = [
        Script::refusal(529, "overloaded_error", "Overloaded"),
        Script::refusal(404, "not_found_error", "model: m"),
        Script::body(200, "text/html", "<html>welcome</html>"),
        Script::body(200, "application/json", "{}"),
        Script::text("lost").cut(After::Bytes(100), End::Reset),
    ];
    for script in failures {
        stage.upstream.always(MODEL, script);
        let transcript = stage.client()?.stream_to_end(&body).await?;
        assert_eq!(transcript.text(), "from the second");
        let answer = stage.client()?.messages(&body).await?;
        assert_eq!(answer.text(), "from the second", "{answer:?}");
        assert_eq!(answer.body["model"], "opus");
    }
    let keys: Vec<_> = second
        .requests()
        .iter()
        .map(|sent| sent.header("x-api-key").is_some())
        .collect();
    assert!(
        !keys.contains(&true),
        "a native header reached a translated provider"
    );

    // And back: what the translated one thought is no native thinking.
    let thought = stage.client()?.messages(&body).await?;
    second.always("second", Script::error(500, "server_error", "no"));
    stage.upstream.always(MODEL, Script::text("from the first"));
    body["messages"] = json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": thought.body["content"]},
        {"role": "user", "content": "Go on"},
    ]);
    assert_eq!(thought.body["content"][0]["type"], "thinking", "{thought:?}");
    let answer = stage.client()?.messages(&body).await?;
    assert_eq!(answer.text(), "from the first", "{answer:?}");
    let sent = last(&stage.upstream)?.json()?;
    let kept = json!([thought.body["content"][1]]);
    assert_eq!(sent["messages"][1]["content"], kept);
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
async fn p49_knobs_fit_a_request_to_a_provider_that_knows_less() -> Result<()> {
    let stage = stage_with(Dialect {
        mid_system: Some("user".into()),
        strip_fields: list(&["context_management"]),
        strip_betas: list(&["context-management-*"]),
        thinking_adaptive: Some("enabled".into()),
        ..Dialect::default()
    })
    .await?;
    stage.upstream.always(MODEL, Script::text("Fine."));
    let body = json!({
        "model": "opus",
        "max_tokens": 32000,
        "context_management": {"edits": []},
        "thinking": {"type": "adaptive"},
        "messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief."}],
    });
    let headers = [(
        "anthropic-beta",
        "effort-2025-11-24,context-management-2025-06-27",
    )];
    let answer = post(&stage.client()?, "/v1/messages", &headers, body.to_string()).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let lost = "context_management, thinking.type, anthropic-beta.context-management-2025-06-27";
    assert_eq!(answer.header("x-bridge-loss"), Some(lost));
    let sent = last(&stage.upstream)?;
    assert_eq!(sent.header("anthropic-beta"), Some("effort-2025-11-24"));
    let sent = sent.json()?;
    assert_eq!(sent.get("context_management"), None);
    assert_eq!(sent["thinking"]["type"], "enabled");
    assert_eq!(sent["messages"][1]["role"], "user");
    Ok(())
}

#[tokio::test]
async fn the_callers_own_credential_is_passed_on_and_ours_is_not() -> Result<()> {
    let stage = stage_with(Dialect {
        auth: Some("client".into()),
        ..Dialect::default()
    })
    .await?;
    stage.upstream.always(MODEL, Script::text("Fine."));
    let bearer = format!("Bearer {CALLERS_KEY}");
    let body = ask("opus", "Hi").to_string();
    let headers = [("authorization", bearer.as_str())];
    let answer = post(&stage.client()?, "/v1/messages", &headers, body.clone()).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let sent = last(&stage.upstream)?;
    assert_eq!(sent.header("authorization"), Some(bearer.as_str()));
    assert_eq!(sent.header("x-api-key"), None);

    // Who brings only a key of ours shows nothing.
    post(&stage.client()?, "/v1/messages", &[], body).await?;
    let sent = last(&stage.upstream)?;
    assert_eq!(
        (sent.header("authorization"), sent.header("x-api-key")),
        (None, None)
    );
    assert!(!format!("{:?}", stage.upstream.requests()).contains(&stage.key));
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
