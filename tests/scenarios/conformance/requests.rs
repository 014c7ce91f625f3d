//! Cases 1–13: who asks, with what, and how the common fields go up.

use anyhow::Result;
use bridge_tests::admin::UPSTREAM_KEY;
use bridge_tests::anthropic::{Answer, ask, read_answer};
use bridge_tests::faultd::Script;
use serde_json::{Value, json};

use super::bed::{Bed, calls, check_error, losses, saying, tool, with};
use super::chunks;

/// A request with exactly these headers beside the content type.
async fn post(bed: &Bed, path: &str, headers: &[(&str, &str)], body: &Value) -> Result<Answer> {
    let url = format!("{}{path}", bed.client.base_url());
    let mut request = reqwest::Client::new().post(url);
    request = request.header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    read_answer(request.body(body.to_string()).send().await?).await
}

#[tokio::test]
async fn c001_r01_an_api_key_stays_here_and_the_providers_goes_up() -> Result<()> {
    let bed = Bed::start().await?;
    bed.once(Script::text("Fine."));
    let key = bed.stage.key.clone();
    let headers = [
        ("x-api-key", key.as_str()),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "context-1m-2025-08-07"),
        ("anthropic-dangerous-direct-browser-access", "true"),
        ("x-stainless-lang", "js"),
    ];
    let answer = post(&bed, "/v1/messages", &headers, &ask("haiku", "Hi")).await?;
    assert_eq!(answer.status, 200, "{answer:?}");

    let request = bed.stage.upstream.requests().remove(0);
    assert_eq!(
        request.header("authorization"),
        Some(format!("Bearer {UPSTREAM_KEY}").as_str())
    );
    for (name, value) in &request.headers {
        assert!(!value.contains(&key), "{name} holds the client's key");
        let is_foreign =
            name == "x-api-key" || name.starts_with("anthropic-") || name.starts_with("x-stainless-");
        assert!(!is_foreign, "{name}: {value}");
    }
    assert!(!String::from_utf8_lossy(&request.body).contains(&key));
    Ok(())
}

#[tokio::test]
async fn c002_r02_a_key_may_come_as_bearer() -> Result<()> {
    let bed = Bed::start().await?;
    bed.once(Script::text("Fine."));
    let bearer = format!("Bearer {}", bed.stage.key);
    let headers = [("authorization", bearer.as_str())];
    let answer = post(&bed, "/v1/messages", &headers, &ask("haiku", "Hi")).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn c003_r03_without_a_valid_key_nobody_is_called() -> Result<()> {
    let bed = Bed::start().await?;
    let wrong: [&[(&str, &str)]; 3] = [
        &[],
        &[("x-api-key", "sk-bridge-wrong")],
        &[("authorization", "Bearer sk-bridge-wrong")],
    ];
    for headers in wrong {
        let answer = post(&bed, "/v1/messages", headers, &ask("haiku", "Hi")).await?;
        check_error(&answer, 401, "authentication_error", &format!("{headers:?}"));
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    assert_eq!(bed.calls(), 0);
    Ok(())
}

#[tokio::test]
async fn c004_r04_no_version_no_beta_and_no_query_is_refused() -> Result<()> {
    let bed = Bed::start().await?;
    let key = bed.stage.key.clone();
    let old = ("anthropic-version", "2023-06-01");
    let ways: [(&str, Option<(&str, &str)>); 5] = [
        ("/v1/messages", Some(old)),
        ("/v1/messages", Some(("anthropic-version", "2026-10-21"))),
        ("/v1/messages", None),
        (
            "/v1/messages",
            Some(("anthropic-beta", "unheard-of-2031-01-01, another")),
        ),
        ("/v1/messages?beta=true", Some(old)),
    ];
    for (path, header) in ways {
        bed.once(Script::text("Fine."));
        let mut headers = vec![("x-api-key", key.as_str())];
        headers.extend(header);
        let answer = post(&bed, path, &headers, &ask("haiku", "Hi")).await?;
        assert_eq!(answer.status, 200, "{path} {header:?}: {answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn c005_r05_what_is_missing_or_wrong_is_named() -> Result<()> {
    let bed = Bed::start().await?;
    let without = |name: &str| {
        let mut body = ask("haiku", "Hi");
        body.as_object_mut().unwrap().remove(name);
        body
    };
    let wrong = [
        (without("model"), "model"),
        (without("messages"), "messages"),
        (without("max_tokens"), "max_tokens"),
        (saying(json!([])), "messages"),
        (saying(json!([{"role": "robot", "content": "Hi"}])), "role"),
    ];
    for (body, field) in wrong {
        let answer = bed.refused(&body, 400, "invalid_request_error").await?;
        assert!(answer.error_message().contains(field), "{answer:?}");
        assert_eq!(answer.header("x-should-retry"), Some("false"));
    }
    let answer = bed.client.post("/v1/messages", "{\"model\":").await?;
    check_error(&answer, 400, "invalid_request_error", "broken JSON");
    assert!(answer.error_message().contains("JSON"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn c006_r06_one_field_says_how_many_tokens() -> Result<()> {
    for (dialect, here, there) in [
        ("generic", "max_tokens", "max_completion_tokens"),
        ("openai-reasoning", "max_completion_tokens", "max_tokens"),
    ] {
        let bed = Bed::speaking(dialect).await?;
        let sent = bed
            .sent(&with(ask("haiku", "Hi"), "max_tokens", json!(321)))
            .await?;
        assert_eq!(sent[here], 321, "{sent}");
        assert!(sent.get(there).is_none(), "{sent}");
    }
    Ok(())
}

#[tokio::test]
async fn c007_r07_a_stream_asks_for_usage() -> Result<()> {
    let bed = Bed::start().await?;
    let plain = bed.sent(&ask("haiku", "Hi")).await?;
    assert!(plain.get("stream_options").is_none(), "{plain}");
    assert_ne!(plain["stream"], json!(true));

    bed.streamed(Script::text("Fine."), &ask("haiku", "Hi")).await?;
    let streamed = bed.last_sent()?;
    assert_eq!(streamed["stream"], true);
    assert_eq!(streamed["stream_options"], json!({"include_usage": true}));
    Ok(())
}

#[tokio::test]
async fn c008_r08_stops_and_sampling_are_the_same_above() -> Result<()> {
    let bed = Bed::start().await?;
    let mut body = with(ask("haiku", "Hi"), "stop_sequences", json!(["END", "\n\nHuman:"]));
    body["temperature"] = json!(0.25);
    body["top_p"] = json!(0.5);
    let sent = bed.sent(&body).await?;
    assert_eq!(sent["stop"], json!(["END", "\n\nHuman:"]));
    assert_eq!(
        (&sent["temperature"], &sent["top_p"]),
        (&json!(0.25), &json!(0.5))
    );

    let none = bed.sent(&with(body, "stop_sequences", json!([]))).await?;
    assert!(none.get("stop").is_none(), "{none}");
    Ok(())
}

#[tokio::test]
async fn c009_r09_a_system_prompt_is_one_message() -> Result<()> {
    let bed = Bed::start().await?;
    let sent = bed
        .sent(&with(ask("haiku", "Hi"), "system", json!("Be brief.")))
        .await?;
    let expected = json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]);
    assert_eq!(sent["messages"], expected);

    let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}});
    let billing = "x-anthropic-billing-header: cc_version=2.1; cch=0a1b2;";
    let blocks =
        json!([{"type": "text", "text": billing}, marked("A"), {"type": "text", "text": ""}, marked("B")]);
    let sent = bed.sent(&with(ask("haiku", "Hi"), "system", blocks)).await?;
    assert_eq!(
        sent["messages"][0],
        json!({"role": "system", "content": "A\n\nB"})
    );
    assert!(!sent.to_string().contains("cache_control"), "{sent}");
    Ok(())
}

#[tokio::test]
async fn c010_r10_schemas_keep_their_order_and_are_whole() -> Result<()> {
    let bed = Bed::start().await?;
    let body = r#"{"model":"haiku","max_tokens":9,"messages":[{"role":"user","content":"Hi"}],"tools":[
        {"name":"f","input_schema":{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
         "properties":{"z":{"type":"string"},"a":{"type":"integer"}},"required":["z"]}},
        {"name":"g","input_schema":{"type":"object"}}]}"#;
    let request = bed.sent_raw(body).await?;
    let bytes = String::from_utf8_lossy(&request.body).into_owned();
    assert!(!bytes.contains("$schema"), "{bytes}");
    assert!(bytes.find(r#""z""#) < bytes.find(r#""a""#), "{bytes}");
    let sent = request.json()?;
    assert_eq!(sent["tools"][0]["type"], "function");
    assert_eq!(
        sent["tools"][0]["function"]["parameters"]["required"],
        json!(["z"])
    );
    assert_eq!(
        sent["tools"][1]["function"]["parameters"]["properties"],
        json!({})
    );

    let mut none = with(ask("haiku", "Hi"), "tools", json!([]));
    none["tool_choice"] = json!({"type": "auto"});
    let sent = bed.sent(&none).await?;
    assert!(
        sent.get("tools").is_none() && sent.get("tool_choice").is_none(),
        "{sent}"
    );
    Ok(())
}

#[tokio::test]
async fn c011_r11_every_tool_choice_has_its_form() -> Result<()> {
    let bed = Bed::start().await?;
    let choices = [
        (json!({"type": "auto"}), json!("auto")),
        (json!({"type": "any"}), json!("required")),
        (
            json!({"type": "tool", "name": "f"}),
            json!({"type": "function", "function": {"name": "f"}}),
        ),
        (json!({"type": "none"}), json!("none")),
        (
            json!({"type": "auto", "disable_parallel_tool_use": true}),
            json!("auto"),
        ),
    ];
    for (choice, expected) in choices {
        let mut body = with(ask("haiku", "Hi"), "tools", json!([tool("f")]));
        body["tool_choice"] = choice.clone();
        let sent = bed.sent(&body).await?;
        assert_eq!(sent["tool_choice"], expected, "{choice}");
    }
    Ok(())
}

#[tokio::test]
async fn c012_r12_a_name_that_is_too_long_has_a_short_form_above() -> Result<()> {
    let bed = Bed::start().await?;
    let name = format!("mcp__plugin.server/{}", "x".repeat(73));
    assert_eq!(name.len(), 92);
    let mut body = saying(json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": name, "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}]},
    ]));
    body["tools"] = json!([tool(&name)]);
    body["tool_choice"] = json!({"type": "tool", "name": name});
    let sent = bed.sent(&body).await?;
    let short = sent["tools"][0]["function"]["name"].as_str().unwrap();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    assert!(short.len() <= 64 && short.chars().all(is_plain), "{short}");
    assert_eq!(sent["messages"][1]["tool_calls"][0]["function"]["name"], short);
    assert_eq!(sent["tool_choice"]["function"]["name"], short);

    let said = json!({"role": "assistant", "content": null, "tool_calls": [chunks::whole_call("call_9", short, "{}")]});
    for message in bed.both(&said, "tool_calls", &body).await? {
        assert_eq!(calls(&message), [(name.as_str(), &json!({}))]);
    }
    Ok(())
}

#[tokio::test]
async fn c013_r13_tools_that_nobody_can_offer() -> Result<()> {
    let bed = Bed::start().await?;
    let twice = with(ask("haiku", "Hi"), "tools", json!([tool("f"), tool("f")]));
    let answer = bed.refused(&twice, 400, "invalid_request_error").await?;
    assert!(answer.error_message().contains("unique"), "{answer:?}");

    let search = json!({"type": "web_search_20250305", "name": "web_search", "max_uses": 8});
    let alone = with(ask("haiku", "Hi"), "tools", json!([search]));
    let answer = bed.refused(&alone, 400, "invalid_request_error").await?;
    assert!(
        answer.error_message().contains("web_search is not available"),
        "{answer:?}"
    );

    let beside = with(ask("haiku", "Hi"), "tools", json!([tool("f"), search]));
    let answer = bed.ask(Script::text("Fine."), &beside).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        losses(&answer).iter().any(|path| path.starts_with("tools.1")),
        "{answer:?}"
    );
    let sent = bed.last_sent()?;
    assert_eq!(sent["tools"].as_array().unwrap().len(), 1);
    Ok(())
}
