//! Case 103: what four families of providers want in their own way.

use anyhow::Result;
use bridge_proto::admin::v1::{Provider, TierModels};
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use serde_json::{Value, json};

use super::bed::{Bed, calls, saying, text, thinking, tool, with};
use super::chunks;

#[tokio::test]
async fn c103_q01_qwen_is_streamed_and_told_whether_to_think() -> Result<()> {
    let bed = Bed::speaking("qwen").await?;
    let marked = json!([{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]);
    let body = thinking(with(ask("haiku", "Why?"), "system", marked));
    let said = bed.whole(Script::text("Fine."), &body).await?;
    assert_eq!(text(&said), "Fine.");
    let sent = bed.last_sent()?;
    assert_eq!(
        (&sent["enable_thinking"], &sent["thinking_budget"]),
        (&json!(true), &json!(1024))
    );
    assert_eq!(
        (&sent["stream"], &sent["stream_options"]["include_usage"]),
        (&json!(true), &json!(true))
    );
    let system = &sent["messages"][0]["content"][0];
    assert_eq!(system["cache_control"], json!({"type": "ephemeral"}), "{sent}");

    let sent = bed.sent(&ask("haiku", "Hi")).await?;
    assert_eq!(sent["enable_thinking"], false);
    assert!(sent.get("thinking_budget").is_none(), "{sent}");
    Ok(())
}

#[tokio::test]
async fn c103_q02_deepseek_gets_its_reasoning_back() -> Result<()> {
    let bed = Bed::speaking("deepseek").await?;
    let body = |messages: Value| with(thinking(saying(messages)), "tools", json!([tool("f")]));
    let first = json!([{"role": "user", "content": "Go"}]);
    let calling = json!({"role": "assistant", "content": null, "reasoning_content": "I need f.",
        "tool_calls": [chunks::whole_call("call_1", "f", "{}")]});
    let answer = bed
        .whole(chunks::document(&calling, "tool_calls"), &body(first))
        .await?;
    assert_eq!(calls(&answer), [("f", &json!({}))]);
    assert_eq!(bed.last_sent()?["thinking"], json!({"type": "enabled"}));

    let next = json!([
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": answer["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "done"}]},
    ]);
    let sent = bed
        .sent(&with(body(next), "output_config", json!({"effort": "medium"})))
        .await?;
    assert_eq!(sent["messages"][1]["reasoning_content"], "I need f.");
    assert_eq!(sent["reasoning_effort"], "high");

    let sent = bed
        .sent(&with(ask("haiku", "Hi"), "thinking", json!({"type": "disabled"})))
        .await?;
    assert_eq!(sent["thinking"], json!({"type": "disabled"}));
    Ok(())
}

#[tokio::test]
async fn c103_q03_gpt_5_has_its_own_fields() -> Result<()> {
    const GPT: &str = "gpt-5.4";
    let bed = Bed::of(|provider| Provider {
        dialect: "openai-reasoning".to_owned(),
        models: Some(TierModels {
            small: vec![GPT.to_owned()],
            ..TierModels::default()
        }),
        ..provider
    })
    .await?;
    bed.stage.upstream.always(GPT, Script::text("Fine."));
    let mut body = with(ask("haiku", "Hi"), "system", json!("Be brief."));
    for (name, value) in [
        ("temperature", json!(0.5)),
        ("top_p", json!(0.5)),
        ("stop_sequences", json!(["END"])),
    ] {
        body[name] = value;
    }
    let plain = bed.client.messages(&body).await?;
    assert_eq!(plain.status, 200, "{plain:?}");
    let sent = bed.last_sent()?;
    assert_eq!(sent["max_completion_tokens"], 256);
    assert_eq!(sent["messages"][0]["role"], "developer");
    for name in ["max_tokens", "temperature", "top_p", "top_k", "stop"] {
        assert!(sent.get(name).is_none(), "{name}: {sent}");
    }
    let with_tools = thinking(with(ask("haiku", "Go"), "tools", json!([tool("f")])));
    bed.client.messages(&with_tools).await?;
    assert_eq!(bed.last_sent()?["reasoning_effort"], "none");
    Ok(())
}

#[tokio::test]
async fn c103_q04_mistral_has_short_ids_and_no_user_behind_a_tool() -> Result<()> {
    let bed = Bed::speaking("mistral").await?;
    let body = saying(json!([
        {"role": "user", "content": "Go"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_01A09q90qw90lq917835lq9", "name": "f", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "toolu_01A09q90qw90lq917835lq9", "content": "done"},
            {"type": "text", "text": "Go on."},
        ]},
    ]));
    let mut body = with(body, "tools", json!([tool("f")]));
    body["tool_choice"] = json!({"type": "any"});
    let sent = bed.sent(&body).await?;
    assert_eq!(sent["tool_choice"], "any");
    let id = sent["messages"][1]["tool_calls"][0]["id"].as_str().unwrap();
    assert!(
        id.len() == 9 && id.chars().all(|c| c.is_ascii_alphanumeric()),
        "{id}"
    );
    let result = &sent["messages"][2];
    assert_eq!(
        (&result["role"], &result["tool_call_id"]),
        (&json!("tool"), &json!(id))
    );
    assert_eq!(sent["messages"].as_array().unwrap().len(), 3, "{sent}");
    assert!(result["content"].as_str().unwrap().contains("Go on."), "{result}");
    Ok(())
}
