//! Cases 26–33: texts, images, documents, and calls with their results.

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use serde_json::{Value, json};

use super::bed::{Bed, losses, saying};

const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";

fn user(content: Value) -> Value {
    saying(json!([{"role": "user", "content": content}]))
}

/// A turn of calls `(id, input)` of `f`, and the turn that follows it.
fn after_calls(calls: &[(&str, Value)], content: Value) -> Value {
    let calls: Vec<Value> = calls
        .iter()
        .map(|(id, input)| json!({"type": "tool_use", "id": id, "name": "f", "input": input}))
        .collect();
    saying(json!([
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": calls},
        {"role": "user", "content": content},
    ]))
}

fn roles(sent: &Value) -> Vec<&str> {
    let messages = sent["messages"].as_array();
    let messages = messages.into_iter().flatten();
    messages.filter_map(|message| message["role"].as_str()).collect()
}

#[tokio::test]
async fn c026_m01_a_string_and_text_blocks_are_the_same() -> Result<()> {
    let bed = Bed::start().await?;
    let string = bed.sent_raw(ask("haiku", "Hi").to_string()).await?;
    let blocks = user(json!([{"type": "text", "text": "Hi"}]));
    assert_eq!(bed.sent_raw(blocks.to_string()).await?.body, string.body);

    let three = user(json!([
        {"type": "text", "text": "a"}, {"type": "text", "text": ""}, {"type": "text", "text": "b"},
    ]));
    assert_eq!(bed.sent(&three).await?["messages"][0]["content"], "a\n\nb");
    Ok(())
}

#[tokio::test]
async fn c027_m02_texts_are_exact() -> Result<()> {
    let bed = Bed::start().await?;
    for text in [
        "  🦊 \u{2028} e\u{301} é\t\r\n\u{0}\u{7f} \\u0041 \"\\\" ",
        "\u{feff}ａ\u{200d}\u{10ffff}",
        "\n\n",
    ] {
        let sent = bed.sent(&ask("haiku", text)).await?;
        assert_eq!(sent["messages"][0]["content"], text);
    }
    Ok(())
}

#[tokio::test]
async fn c028_m03_images_go_up_as_urls() -> Result<()> {
    let bed = Bed::start().await?;
    let sent = bed
        .sent(&user(json!([
            {"type": "text", "text": "Look"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png?b=c"}},
        ])))
        .await?;
    let expected = json!([
        {"type": "text", "text": "Look"},
        {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{PNG}")}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png?b=c"}},
    ]);
    assert_eq!(sent["messages"][0]["content"], expected);
    Ok(())
}

#[tokio::test]
async fn c029_m04_documents_are_read_out_or_reported() -> Result<()> {
    let bed = Bed::start().await?;
    let sent = bed
        .sent(&user(json!([
            {"type": "document", "title": "Plan", "source": {"type": "text", "media_type": "text/plain", "data": "Step one."}},
            {"type": "search_result", "title": "Found", "source": "https://example.com", "content": [{"type": "text", "text": "A line."}]},
        ])))
        .await?;
    let content = sent["messages"][0]["content"].as_str().unwrap();
    for part in ["Plan", "Step one.", "Found", "https://example.com", "A line."] {
        assert!(content.contains(part), "{part} is not in {content}");
    }

    let pdf = json!({"type": "document", "title": "spec", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}});
    let body = user(json!([{"type": "text", "text": "Read"}, pdf]));
    let answer = bed.ask(Script::text("Fine."), &body).await?;
    assert_eq!(losses(&answer).len(), 1, "{answer:?}");
    assert!(
        losses(&answer)[0].starts_with("messages.0.content.1"),
        "{answer:?}"
    );
    assert!(
        bed.last_sent()?["messages"][0]["content"]
            .as_str()
            .unwrap()
            .contains("spec")
    );

    let bed = Bed::speaking("openai").await?;
    let answer = bed.ask(Script::text("Fine."), &body).await?;
    assert_eq!(losses(&answer), [""; 0]);
    let file = &bed.last_sent()?["messages"][0]["content"][1];
    assert_eq!(
        file["file"]["file_data"], "data:application/pdf;base64,JVBE",
        "{file}"
    );
    Ok(())
}

#[tokio::test]
async fn c030_m05_results_stand_in_the_order_of_their_calls() -> Result<()> {
    let bed = Bed::start().await?;
    // As text, since a `Value` would sort `z` and `a`.
    let body = r#"{"model":"haiku","max_tokens":9,"messages":[{"role":"user","content":"Go."},
        {"role":"assistant","content":[{"type":"text","text":"Looking."},
          {"type":"tool_use","id":"toolu_a","name":"f","input":{"z":1,"a":2}},
          {"type":"tool_use","id":"toolu_b","name":"g","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_b","is_error":true,"content":"exit 1"},
          {"type":"tool_result","tool_use_id":"toolu_a","content":[{"type":"text","text":"1"},{"type":"text","text":"2"}]},
          {"type":"text","text":"Go on."}]}]}"#;
    let call = |id: &str, name: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let expected = json!([
        {"role": "user", "content": "Go."},
        {"role": "assistant", "content": "Looking.",
         "tool_calls": [call("toolu_a", "f", r#"{"z":1,"a":2}"#), call("toolu_b", "g", "{}")]},
        {"role": "tool", "tool_call_id": "toolu_a", "content": "1\n\n2"},
        {"role": "tool", "tool_call_id": "toolu_b", "content": "Error: exit 1"},
        {"role": "user", "content": "Go on."},
    ]);
    assert_eq!(bed.sent_raw(body).await?.json()?["messages"], expected);
    Ok(())
}

#[tokio::test]
async fn c031_m06_results_come_before_what_is_said_with_them() -> Result<()> {
    let bed = Bed::start().await?;
    let body = after_calls(
        &[("toolu_1", json!({}))],
        json!([{"type": "text", "text": "Here:"}, {"type": "tool_result", "tool_use_id": "toolu_1"}]),
    );
    let sent = bed.sent(&body).await?;
    assert_eq!(roles(&sent), ["user", "assistant", "tool", "user"]);
    let result = sent["messages"][2]["content"].as_str().unwrap();
    assert!(!result.is_empty());
    assert_eq!(sent["messages"][3]["content"], "Here:");
    Ok(())
}

#[tokio::test]
async fn c032_m07_an_image_in_a_result_stands_behind_it() -> Result<()> {
    let bed = Bed::start().await?;
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}});
    let body = after_calls(
        &[("toolu_1", json!({}))],
        json!([
            {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "a dot"}, image]},
            {"type": "text", "text": "What is it?"},
        ]),
    );
    let sent = bed.sent(&body).await?;
    assert_eq!(roles(&sent), ["user", "assistant", "tool", "user"]);
    let result = sent["messages"][2]["content"].as_str().unwrap();
    assert!(result.contains("a dot"), "{result}");
    let shown = &sent["messages"][3]["content"];
    let has_image = shown
        .as_array()
        .unwrap()
        .iter()
        .any(|part| part["image_url"]["url"] == format!("data:image/png;base64,{PNG}"));
    assert!(has_image && shown.to_string().contains("What is it?"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn c033_m08_calls_and_results_without_each_other_are_repaired() -> Result<()> {
    let bed = Bed::start().await?;
    let body = after_calls(
        &[("toolu_1", json!({})), ("toolu_2", json!({}))],
        json!([
            {"type": "tool_result", "tool_use_id": "toolu_2", "content": "two"},
            {"type": "tool_result", "tool_use_id": "toolu_9", "content": "nine"},
        ]),
    );
    let sent = bed.sent(&body).await?;
    assert_eq!(roles(&sent), ["user", "assistant", "tool", "tool", "user"]);
    let [_, _, first, second, orphan] = &sent["messages"].as_array().unwrap()[..] else {
        unreachable!("five roles were seen");
    };
    assert_eq!(first["tool_call_id"], "toolu_1");
    assert!(!first["content"].as_str().unwrap().is_empty());
    assert_eq!(
        (&second["tool_call_id"], &second["content"]),
        (&json!("toolu_2"), &json!("two"))
    );
    assert!(orphan["content"].as_str().unwrap().contains("nine"), "{orphan}");
    Ok(())
}
