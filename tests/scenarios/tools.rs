//! Tool calls: parallel, interleaved, and back again with their results.

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::faultd::answer::Answer;
use bridge_tests::stage::{MODEL, Stage};
use serde_json::{Value, json};

fn ask_with_tools() -> Value {
    let mut body = ask("opus", "How is the weather in Paris and in Oslo?");
    body["tools"] = json!([{
        "name": "get_weather",
        "description": "The weather of a city",
        "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    }]);
    body
}

fn two_calls() -> Answer {
    Answer::text("Let me look.")
        .tool_call("call_paris", "get_weather", r#"{"city":"Paris","unit":"C"}"#)
        .tool_call("call_oslo", "get_weather", r#"{"city":"Oslo","unit":"C"}"#)
}

fn check_two_calls(message: &Value) {
    assert_eq!(message["stop_reason"], "tool_use");
    let content = &message["content"];
    assert_eq!(content[0]["text"], "Let me look.");
    for (index, id, city) in [(1, "call_paris", "Paris"), (2, "call_oslo", "Oslo")] {
        assert_eq!(content[index]["type"], "tool_use");
        assert_eq!(content[index]["id"], id);
        assert_eq!(content[index]["name"], "get_weather");
        assert_eq!(content[index]["input"], json!({"city": city, "unit": "C"}));
    }
}

#[tokio::test]
async fn parallel_calls_come_out_whole_in_both_forms() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.once(MODEL, Script::answer(two_calls()));
    stage.upstream.once(MODEL, Script::answer(two_calls()));
    stage
        .upstream
        .once(MODEL, Script::answer(two_calls().interleaved()));
    let client = stage.client()?;
    check_two_calls(&client.messages(&ask_with_tools()).await?.body);
    check_two_calls(&client.stream_to_end(&ask_with_tools()).await?.message);
    check_two_calls(&client.stream_to_end(&ask_with_tools()).await?.message);

    let seen = stage.upstream.requests_for(MODEL)[0].json()?;
    assert_eq!(seen["tools"][0]["type"], "function");
    assert_eq!(seen["tools"][0]["function"]["name"], "get_weather");
    assert_eq!(
        seen["tools"][0]["function"]["parameters"]["required"],
        json!(["city"])
    );
    Ok(())
}

#[tokio::test]
async fn results_go_back_in_the_order_of_the_calls() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.once(MODEL, Script::text("12 and 3 degrees."));
    let mut body = ask_with_tools();
    body["messages"] = json!([
        {"role": "user", "content": "How is the weather?"},
        {"role": "assistant", "content": [
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "call_paris", "name": "get_weather", "input": {"z": 1, "a": 2}},
            {"type": "tool_use", "id": "call_oslo", "name": "get_weather", "input": {}},
        ]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "call_oslo", "is_error": true, "content": "no signal"},
            {"type": "tool_result", "tool_use_id": "call_paris", "content": [{"type": "text", "text": "12"}]},
            {"type": "text", "text": "Go on."},
        ]},
    ]);
    // A `Value` sorts its keys; the order that a client sends must survive.
    let body = body.to_string().replace(r#"{"a":2,"z":1}"#, r#"{"z":1,"a":2}"#);
    let answer = stage.client()?.post("/v1/messages", body).await?;
    assert_eq!(answer.text(), "12 and 3 degrees.", "{answer:?}");

    let seen = stage.upstream.requests_for(MODEL)[0].json()?;
    let expected = json!([
        {"role": "user", "content": "How is the weather?"},
        {"role": "assistant", "content": "Let me look.", "tool_calls": [
            {"id": "call_paris", "type": "function", "function": {"name": "get_weather", "arguments": "{\"z\":1,\"a\":2}"}},
            {"id": "call_oslo", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
        ]},
        {"role": "tool", "tool_call_id": "call_paris", "content": "12"},
        {"role": "tool", "tool_call_id": "call_oslo", "content": "Error: no signal"},
        {"role": "user", "content": "Go on."},
    ]);
    assert_eq!(seen["messages"], expected);
    Ok(())
}

#[tokio::test]
async fn call_ids_that_clients_would_choke_on_are_replaced() -> Result<()> {
    let stage = Stage::start().await?;
    let answer = || {
        Answer::default()
            .tool_call("functions.f:0", "f", "{}")
            .tool_call("", "g", "{}")
    };
    stage.upstream.always(MODEL, Script::answer(answer()));
    let plain = stage.client()?.messages(&ask_with_tools()).await?.body;
    let streamed = stage.client()?.stream_to_end(&ask_with_tools()).await?.message;
    for message in [plain, streamed] {
        let ids: Vec<&str> = message["content"]
            .as_array()
            .unwrap()
            .iter()
            .map(|block| block["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids.len(), 2, "{message}");
        assert_ne!(ids[0], ids[1]);
        for id in ids {
            assert!(
                !id.is_empty()
                    && id
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-'),
                "{id}"
            );
        }
    }
    Ok(())
}
