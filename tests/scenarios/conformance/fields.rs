//! Cases 14–25: tools of Anthropic's own, fields that stay here, and limits.

use std::io::Write;

use anyhow::Result;
use bridge_proto::admin::v1::{CreateApiKeyRequest, LossPolicy};
use bridge_tests::anthropic::{Answer, ask, read_answer};
use bridge_tests::faultd::Script;
use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::json;

use super::bed::{Bed, check_error, losses, saying, text, tool, with};

/// OpenAI's limit; its preset knows it.
const TOOLS_MAX: usize = 128;
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

#[tokio::test]
async fn c014_r14_tools_that_the_client_runs_get_a_schema() -> Result<()> {
    let bed = Bed::start().await?;
    let tools = [
        ("bash_20250124", "bash"),
        ("text_editor_20250728", "str_replace_based_edit_tool"),
        ("memory_20250818", "memory"),
    ];
    let declared: Vec<_> = tools
        .map(|(kind, name)| json!({"type": kind, "name": name}))
        .to_vec();
    let sent = bed
        .sent(&with(ask("haiku", "Hi"), "tools", json!(declared)))
        .await?;
    for (index, (_, name)) in tools.into_iter().enumerate() {
        let tool = &sent["tools"][index];
        assert_eq!(
            (&tool["type"], &tool["function"]["name"]),
            (&json!("function"), &json!(name))
        );
        let parameters = &tool["function"]["parameters"];
        assert_eq!(parameters["type"], "object", "{tool}");
        assert_eq!(parameters["properties"]["command"]["type"], "string", "{tool}");
    }
    Ok(())
}

#[tokio::test]
async fn c015_r15_deferred_tools_go_up_once_they_were_found() -> Result<()> {
    let bed = Bed::start().await?;
    let tools = json!([tool("Search"), with(tool("Rare"), "defer_loading", json!(true))]);
    let names = |sent: &serde_json::Value| -> Vec<String> {
        let tools = sent["tools"].as_array().unwrap();
        let names = tools
            .iter()
            .map(|tool| tool["function"]["name"].as_str().unwrap().to_owned());
        names.collect()
    };
    let unfound = bed
        .sent(&with(ask("haiku", "Hi"), "tools", tools.clone()))
        .await?;
    assert_eq!(names(&unfound), ["Search"]);

    let found = saying(json!([
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "Search", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "tool_reference", "tool_name": "Rare"}]},
            {"type": "text", "text": "Tool loaded."},
        ]},
    ]));
    let sent = bed.sent(&with(found, "tools", tools)).await?;
    assert_eq!(names(&sent), ["Search", "Rare"]);
    assert_eq!(sent["messages"][2]["role"], "tool");
    let said = sent["messages"][2]["content"].as_str().unwrap();
    assert!(said.contains("Rare"), "{said}");
    Ok(())
}

#[tokio::test]
async fn c016_r16_a_schema_for_the_answer_has_a_name() -> Result<()> {
    let bed = Bed::start().await?;
    let schema = json!({"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"], "additionalProperties": false});
    let format = json!({"format": {"type": "json_schema", "schema": schema}});
    let sent = bed
        .sent(&with(ask("haiku", "Hi"), "output_config", format))
        .await?;
    let asked = &sent["response_format"];
    assert_eq!(asked["type"], "json_schema");
    assert!(
        !asked["json_schema"]["name"]
            .as_str()
            .unwrap_or_default()
            .is_empty(),
        "{asked}"
    );
    assert_eq!(asked["json_schema"]["schema"], schema);
    Ok(())
}

#[tokio::test]
async fn c017_r17_what_claude_code_says_beside_stays_here() -> Result<()> {
    let bed = Bed::start().await?;
    let mut body = ask("claude-opus-4-8", "Hi");
    let user = json!({"device_id": "d3v1ce", "account_uuid": "", "session_id": "s3ss10n"}).to_string();
    body["thinking"] = json!({"type": "adaptive"});
    body["output_config"] = json!({"effort": "high"});
    body["context_management"] = json!({"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]});
    body["metadata"] = json!({"user_id": user});
    body["diagnostics"] = json!({"previous_message_id": null});
    body["speed"] = json!("standard");
    body["max_tokens"] = json!(64_000);
    let sent = bed.sent(&body).await?;
    let fields: Vec<&String> = sent.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["max_tokens", "messages", "model"], "{sent}");
    assert!(!sent.to_string().contains("d3v1ce"), "{sent}");
    Ok(())
}

#[tokio::test]
async fn c018_r18_unknown_fields_are_told_and_those_with_a_meaning_refused() -> Result<()> {
    let bed = Bed::start().await?;
    let odd = with(ask("haiku", "Hi"), "unheard_of", json!({"deep": [1]}));
    let answer = bed.ask(Script::text("Fine."), &odd).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(losses(&answer), ["unheard_of"]);
    assert!(bed.last_sent()?.get("unheard_of").is_none());

    for (name, value) in [
        ("thread", json!({"type": "continue", "id": "thread_1"})),
        (
            "mcp_servers",
            json!([{"type": "url", "name": "s", "url": "https://example.com"}]),
        ),
        ("container", json!("container_1")),
    ] {
        let body = with(ask("haiku", "Hi"), name, value);
        let answer = bed.refused(&body, 400, "invalid_request_error").await?;
        assert!(answer.error_message().contains(name), "{answer:?}");
        // Told so, the SDKs go on without a thread by themselves.
        let code = answer.body["error"]["details"]["error_code"].as_str();
        assert_eq!(code, (name == "thread").then_some("thread_unsupported_request"));
    }
    Ok(())
}

fn gzip(plain: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(plain)?;
    Ok(encoder.finish()?)
}

async fn post_encoded(bed: &Bed, encoding: &str, body: Vec<u8>) -> Result<Answer> {
    let request = bed.client.request(Method::POST, "/v1/messages");
    let request = request.header("content-encoding", encoding);
    read_answer(request.body(body).send().await?).await
}

#[tokio::test]
async fn c019_r19_a_packed_body_is_read_and_an_unknown_packing_named() -> Result<()> {
    let bed = Bed::start().await?;
    let body = ask("haiku", "Hi").to_string().into_bytes();
    bed.once(Script::echo());
    let answer = post_encoded(&bed, "gzip", gzip(&body)?).await?;
    assert_eq!((answer.status, answer.text().as_str()), (200, "Hi"), "{answer:?}");

    let answer = post_encoded(&bed, "rot13", body).await?;
    check_error(&answer, 400, "invalid_request_error", "rot13");
    let code = &answer.body["error"]["details"]["error_code"];
    assert_eq!(code, "request_body_encoding_unsupported");
    Ok(())
}

#[tokio::test]
async fn c020_r20_a_large_image_arrives_to_the_byte() -> Result<()> {
    const IMAGE_BYTES: usize = 8 * 1024 * 1024;
    let bed = Bed::start().await?;
    let data = "iVBO".repeat(IMAGE_BYTES / 4);
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}});
    let sent = bed
        .sent(&saying(json!([{"role": "user", "content": [image]}])))
        .await?;
    let url = sent["messages"][0]["content"][0]["image_url"]["url"]
        .as_str()
        .unwrap();
    assert_eq!(url.len(), "data:image/png;base64,".len() + IMAGE_BYTES);
    assert!(url.ends_with(&data));
    Ok(())
}

#[tokio::test]
async fn c021_r21_the_model_of_an_answer_is_the_one_asked_for() -> Result<()> {
    let bed = Bed::start().await?;
    for name in ["claude-sonnet-5", "Claude-Haiku-4-5-20251001"] {
        let body = ask(name, "Hi");
        assert_eq!(bed.whole(Script::text("Fine."), &body).await?["model"], name);
        assert_eq!(
            bed.streamed(Script::text("Fine."), &body).await?.message["model"],
            name
        );
    }
    Ok(())
}

#[tokio::test]
async fn c022_r22_no_tokens_are_no_call() -> Result<()> {
    let bed = Bed::start().await?;
    let body = with(ask("haiku", "Hi"), "max_tokens", json!(0));
    let whole = bed.client.messages(&body).await?;
    assert_eq!(whole.status, 200, "{whole:?}");
    assert_eq!(
        (&whole.body["content"], &whole.body["stop_reason"]),
        (&json!([]), &json!("max_tokens"))
    );
    assert_eq!(losses(&whole), ["max_tokens"], "no cache was warmed");
    let streamed = bed.client.stream_to_end(&body).await?;
    assert_eq!(
        (text(&streamed.message).as_str(), &streamed.message["stop_reason"]),
        ("", &json!("max_tokens"))
    );
    assert_eq!(bed.calls(), 0);
    Ok(())
}

#[tokio::test]
async fn c023_a_body_may_not_be_larger_packed_or_not() -> Result<()> {
    let bed = Bed::start().await?;
    let too_large = vec![b' '; BODY_BYTES_MAX + 1024 * 1024];
    let bomb = gzip(&too_large)?;
    let answer = bed.client.post("/v1/messages", too_large).await?;
    check_error(&answer, 413, "request_too_large", "33 MiB");
    let answer = post_encoded(&bed, "gzip", bomb).await?;
    check_error(&answer, 413, "request_too_large", "a bomb");
    assert_eq!(bed.calls(), 0);
    Ok(())
}

#[tokio::test]
async fn c024_too_many_tools_are_counted_out() -> Result<()> {
    let bed = Bed::speaking("openai").await?;
    let tools = |count: usize| -> Vec<_> { (0..count).map(|nth| tool(&format!("t{nth}"))).collect() };
    bed.sent(&with(ask("haiku", "Hi"), "tools", json!(tools(TOOLS_MAX))))
        .await?;
    let body = with(ask("haiku", "Hi"), "tools", json!(tools(TOOLS_MAX + 1)));
    let answer = bed.refused(&body, 400, "invalid_request_error").await?;
    for figure in [TOOLS_MAX, TOOLS_MAX + 1] {
        assert!(answer.error_message().contains(&figure.to_string()), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn c025_what_a_key_says_of_losses_counts() -> Result<()> {
    let bed = Bed::start().await?;
    let body = with(ask("haiku", "Hi"), "top_k", json!(5));
    let answer = bed.ask(Script::text("Fine."), &body).await?;
    assert_eq!((answer.status, losses(&answer)), (200, vec!["top_k"]));

    for policy in [LossPolicy::Strict, LossPolicy::Silent] {
        let request = CreateApiKeyRequest {
            name: policy.as_str_name().to_owned(),
            loss_policy: policy.into(),
            ..CreateApiKeyRequest::default()
        };
        let key = bed
            .stage
            .admin
            .keys()
            .create_api_key(request)
            .await?
            .into_inner()
            .key;
        bed.stage.bridge.wait_until_accepted(&key).await?;
        bed.once(Script::text("Fine."));
        let before = bed.calls();
        let answer = bed.stage.bridge.client(0, &key)?.messages(&body).await?;
        if policy == LossPolicy::Silent {
            assert_eq!((answer.status, losses(&answer)), (200, vec![]));
        } else {
            check_error(&answer, 400, "invalid_request_error", "strict");
            assert!(answer.error_message().contains("top_k"), "{answer:?}");
            assert_eq!(bed.calls(), before);
        }
    }
    Ok(())
}
