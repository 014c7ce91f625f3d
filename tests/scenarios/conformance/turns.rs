//! Cases 34–43: reminders, foreign blocks, and turns as clients send them.

use anyhow::Result;
use bridge_tests::faultd::Script;
use serde_json::{Value, json};

use super::bed::{Bed, losses, saying, text, tool, with};
use super::chunks;

#[tokio::test]
async fn c034_m09_a_reminder_stays_where_it_was_said() -> Result<()> {
    let bed = Bed::start().await?;
    let reminder = json!({"role": "system", "content": "Be terse."});
    let call = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]});
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "done"}]});
    let hi = json!({"role": "user", "content": "Hi"});
    let wrapped = "<system-reminder>\nBe terse.\n</system-reminder>";

    let after_user = bed.sent(&saying(json!([hi, reminder]))).await?;
    let merged = format!("Hi\n\n{wrapped}");
    assert_eq!(
        after_user["messages"],
        json!([{"role": "user", "content": merged}])
    );

    let after_results = bed.sent(&saying(json!([hi, call, result, reminder]))).await?;
    let [.., tool, last] = &after_results["messages"].as_array().unwrap()[..] else {
        unreachable!("there are four messages");
    };
    assert_eq!(
        (&tool["role"], &tool["content"]),
        (&json!("tool"), &json!("done"))
    );
    assert_eq!(last, &json!({"role": "user", "content": wrapped}));

    let said = json!({"role": "assistant", "content": "Hello."});
    let last = bed.sent(&saying(json!([hi, said, reminder]))).await?;
    assert_eq!(last["messages"][2], json!({"role": "user", "content": wrapped}));

    let bed = Bed::speaking("openai").await?;
    let in_place = bed.sent(&saying(json!([hi, reminder, said, hi]))).await?;
    assert_eq!(in_place["messages"][1], reminder);
    Ok(())
}

#[tokio::test]
async fn c035_m10_a_reminder_that_has_had_its_turn_is_gone() -> Result<()> {
    let bed = Bed::start().await?;
    let reminder = json!({"role": "system", "content": "Only now.", "clear_at": "next_user_message"});
    let mut messages = vec![json!({"role": "user", "content": "Hi"}), reminder];
    let now = bed.sent(&saying(json!(messages))).await?;
    assert!(now.to_string().contains("Only now."), "{now}");

    messages.push(json!({"role": "assistant", "content": "Hello."}));
    messages.push(json!({"role": "user", "content": "Next"}));
    let later = bed.sent(&saying(json!(messages))).await?;
    assert!(!later.to_string().contains("Only now."), "{later}");
    Ok(())
}

#[tokio::test]
async fn c036_m11_foreign_thinking_stays_here() -> Result<()> {
    let bed = Bed::speaking("vllm").await?;
    let blocks = [
        json!({"type": "thinking", "thinking": "a secret thought", "signature": "EqQBCkgIARABGAIiQL8"}),
        json!({"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3pzix"}),
        json!({"type": "thinking", "thinking": "a secret thought", "signature": ""}),
    ];
    for block in blocks {
        let body = saying(json!([
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [block, {"type": "text", "text": "Hello."}]},
            {"role": "user", "content": "Go on."},
        ]));
        let sent = bed.sent(&body).await?;
        assert_eq!(
            sent["messages"][1],
            json!({"role": "assistant", "content": "Hello."})
        );
        assert!(!sent.to_string().contains("secret"), "{sent}");
    }
    Ok(())
}

#[tokio::test]
async fn c037_m12_neighbours_are_merged_and_nothing_is_refused() -> Result<()> {
    let bed = Bed::start().await?;
    let body = saying(json!([
        {"role": "user", "content": "a"}, {"role": "user", "content": "b"},
        {"role": "assistant", "content": ""}, {"role": "user", "content": "c"},
    ]));
    let sent = bed.sent(&body).await?;
    assert_eq!(
        sent["messages"],
        json!([{"role": "user", "content": "a\n\nb\n\nc"}])
    );
    let empty = saying(json!([{"role": "user", "content": [{"type": "text", "text": ""}]}]));
    bed.refused(&empty, 400, "invalid_request_error").await?;
    Ok(())
}

#[tokio::test]
async fn c038_m13_a_prefill_is_passed_on_or_refused() -> Result<()> {
    let body = saying(json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Well, "}]));
    let bed = Bed::start().await?;
    let sent = bed.sent(&body).await?;
    assert_eq!(
        sent["messages"][1],
        json!({"role": "assistant", "content": "Well,"})
    );
    let bed = Bed::speaking("openai-reasoning").await?;
    let answer = bed.refused(&body, 400, "invalid_request_error").await?;
    assert!(answer.error_message().contains("prefill"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn c039_m14_searches_of_earlier_turns_are_told_as_text() -> Result<()> {
    let bed = Bed::start().await?;
    let found = json!({"type": "web_search_result", "title": "Weather in Oslo", "url": "https://example.com/oslo",
        "encrypted_content": "EncRypTed", "page_age": null});
    let body = saying(json!([
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "oslo"}},
            {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found]},
            {"type": "text", "text": "It rains."},
        ]},
        {"role": "user", "content": "Thanks"},
    ]));
    let sent = bed.sent(&body).await?;
    let said = &sent["messages"][1];
    let content = said["content"].as_str().unwrap();
    assert!(
        content.contains("Weather in Oslo") && content.contains("It rains."),
        "{content}"
    );
    assert!(said.get("tool_calls").is_none(), "{said}");
    assert!(!sent.to_string().contains("EncRypTed"), "{sent}");
    Ok(())
}

#[tokio::test]
async fn c040_m15_an_unknown_block_is_dropped_and_told() -> Result<()> {
    let bed = Bed::start().await?;
    let odd = json!({"type": "hologram", "data": "…"});
    let body = saying(json!([{"role": "user", "content": [odd, {"type": "text", "text": "Hi"}]}]));
    let answer = bed.ask(Script::text("Fine."), &body).await?;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(
        losses(&answer)[0].starts_with("messages.0.content.0"),
        "{answer:?}"
    );
    assert!(
        bed.last_sent()?["messages"][0]["content"]
            .as_str()
            .unwrap()
            .contains("Hi")
    );
    Ok(())
}

/// A conversation of so many turns, with calls and a reminder in it.
fn conversation(turns: usize) -> Value {
    let mut messages = Vec::new();
    for turn in 0..turns {
        let id = format!("toolu_{turn}");
        messages.push(json!({"role": "user", "content": format!("Question {turn}")}));
        messages.push(json!({"role": "assistant", "content": [
            {"type": "text", "text": "Let me see."},
            {"type": "tool_use", "id": id, "name": "mcp.look/up", "input": {"turn": turn}},
        ]}));
        messages.push(json!({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": id, "content": "found"}, {"type": "text", "text": "So?"},
        ]}));
        messages.push(json!({"role": "assistant", "content": "That is it."}));
    }
    messages.push(json!({"role": "user", "content": "And now?"}));
    let body = with(saying(json!(messages)), "tools", json!([tool("mcp.look/up")]));
    with(body, "system", json!([{"type": "text", "text": "Be kind."}]))
}

#[tokio::test]
async fn c041_m16_the_same_request_is_the_same_above() -> Result<()> {
    let bed = Bed::start().await?;
    let body = conversation(3).to_string();
    let first = bed.sent_raw(body.clone()).await?;
    assert_eq!(bed.sent_raw(body).await?.body, first.body);
    Ok(())
}

#[tokio::test]
async fn c042_m17_one_more_turn_leaves_the_earlier_ones_as_they_were() -> Result<()> {
    let bed = Bed::start().await?;
    let shorter = bed.sent_raw(conversation(2).to_string()).await?;
    let longer = bed.sent_raw(conversation(3).to_string()).await?;
    let last_turn = shorter
        .body
        .windows(8)
        .position(|bytes| bytes == b"And now?")
        .unwrap();
    assert!(last_turn > 500);
    assert_eq!(longer.body[..last_turn], shorter.body[..last_turn]);
    Ok(())
}

#[tokio::test]
async fn c043_a_prefill_that_the_upstream_repeats_is_cut_off() -> Result<()> {
    let body =
        saying(json!([{"role": "user", "content": "Count"}, {"role": "assistant", "content": "One, two,"}]));
    let bed = Bed::speaking("qwen").await?;
    let pieces = ["One, ", "two, th", "ree."].map(chunks::content);
    let repeated = || chunks::stream(pieces.iter().cloned().chain([chunks::finish("stop")]));
    assert_eq!(text(&bed.whole(repeated(), &body).await?), " three.");
    assert_eq!(text(&bed.streamed(repeated(), &body).await?.message), " three.");
    let sent = bed.last_sent()?;
    assert_eq!(sent["messages"][1]["partial"], true, "{sent}");

    let other = || chunks::stream([chunks::content("One moment."), chunks::finish("stop")]);
    assert_eq!(text(&bed.streamed(other(), &body).await?.message), "One moment.");
    Ok(())
}
