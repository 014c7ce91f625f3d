//! Cases 65–68, 71, 73 and 76: odd chunks, and how streams may end.

use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::faultd::script::{After, End};
use serde_json::{Value, json};

use super::bed::{Bed, calls, kinds, text, thinking, thought, tool, with};
use super::chunks::{
    self, DONE, arguments, content, delta, event, finish, opening, stream, stream_without_done, usage,
};

#[tokio::test]
async fn c065_s13_chunks_without_sense_do_no_harm() -> Result<()> {
    let bed = Bed::start().await?;
    let role = |text: &str| delta(json!({"role": "assistant", "content": text}));
    let second = json!({"choices": [{"index": 1, "delta": {"content": "not me"}, "finish_reason": null}]});
    let message = json!({"choices": [{"index": 0, "message": {"role": "assistant", "content": "c"}, "finish_reason": null}]});
    let chunks = [
        json!({"choices": [{"index": 0, "delta": null, "finish_reason": null}]}),
        json!({"choices": []}),
        json!({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}),
        json!({"id": "chatcmpl-1"}),
        role("a"),
        role("b"),
        second,
        message,
        delta(json!({"content": null, "tool_calls": null, "refusal": null})),
        finish("stop"),
        json!({"choices": [{"index": 1, "delta": {}, "finish_reason": "length"}]}),
    ];
    let transcript = bed.streamed(stream(chunks), &ask("haiku", "Hi")).await?;
    assert_eq!(
        (transcript.text().as_str(), &transcript.message["stop_reason"]),
        ("abc", &json!("end_turn"))
    );
    Ok(())
}

#[tokio::test]
async fn c066_s14_ends_that_are_none_too_regular() -> Result<()> {
    let bed = Bed::start().await?;
    let tail = usage(json!({"prompt_tokens": 9, "completion_tokens": 2}));
    let late = json!({"choices": [{"index": 0, "delta": {"content": " last"}, "finish_reason": null}]});
    let rows = [
        (
            "text after the finish",
            stream([content("first"), finish("stop"), late, tail.clone()]),
            "first last",
        ),
        (
            "no [DONE]",
            stream_without_done([content("first"), finish("stop"), tail]),
            "first",
        ),
        ("no finish", stream([content("first")]), "first"),
        (
            "finish with the last text",
            stream([
                json!({"choices": [{"index": 0, "delta": {"content": "first"}, "finish_reason": "stop"}]}),
            ]),
            "first",
        ),
    ];
    for (what, script, expected) in rows {
        let transcript = bed.streamed(script, &ask("haiku", "Hi")).await?;
        assert!(transcript.error.is_none(), "{what}");
        assert_eq!(
            (transcript.text().as_str(), &transcript.message["stop_reason"]),
            (expected, &json!("end_turn")),
            "{what}"
        );
    }
    let call = stream([opening(0, "call_1", "f"), arguments(0, "{}")]);
    let body = with(ask("haiku", "Go"), "tools", json!([tool("f")]));
    assert_eq!(
        bed.streamed(call, &body).await?.message["stop_reason"],
        "tool_use"
    );
    Ok(())
}

#[tokio::test]
async fn c067_s15_an_upstream_that_hangs_after_its_finish_is_not_waited_for() -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(10);
    let bed = Bed::of(|provider| bridge_proto::admin::v1::Provider {
        timeout: 60,
        ..provider
    })
    .await?;
    let events = [content("All."), finish("stop")].map(|chunk| event(&chunk));
    let hangs = || Script::stream(events.clone()).cut(After::Events(2), End::Stall);
    let started = Instant::now();
    let transcript = bed.streamed(hangs(), &ask("haiku", "Hi")).await?;
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert_eq!(
        (transcript.text().as_str(), &transcript.message["stop_reason"]),
        ("All.", &json!("end_turn"))
    );
    let started = Instant::now();
    assert_eq!(text(&bed.whole(hangs(), &ask("haiku", "Hi")).await?), "All.");
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn c068_s16_a_document_for_a_stream_becomes_events() -> Result<()> {
    let bed = Bed::start().await?;
    let said = json!({"role": "assistant", "reasoning_content": "Hm.", "content": "Whole",
        "tool_calls": [chunks::whole_call("call_1", "f", r#"{"a":1}"#)]});
    let body = thinking(with(ask("haiku", "Go"), "tools", json!([tool("f")])));
    let transcript = bed.streamed(chunks::document(&said, "tool_calls"), &body).await?;
    let message = &transcript.message;
    assert_eq!(kinds(message), ["thinking", "text", "tool_use"]);
    assert_eq!(
        (thought(message).as_str(), text(message).as_str()),
        ("Hm.", "Whole")
    );
    assert_eq!(calls(message), [("f", &json!({"a": 1}))]);
    assert_eq!(message["usage"]["output_tokens"], 10);
    Ok(())
}

#[tokio::test]
async fn c071_s19_an_empty_answer_is_a_whole_stream() -> Result<()> {
    let bed = Bed::start().await?;
    let role = delta(json!({"role": "assistant", "content": ""}));
    let transcript = bed
        .streamed(stream([role, finish("stop")]), &ask("haiku", "Hi"))
        .await?;
    let mut seen = transcript.kinds();
    seen.retain(|kind| *kind != "ping");
    assert_eq!(seen, ["message_start", "message_delta", "message_stop"]);
    assert_eq!(transcript.message["stop_reason"], "end_turn");
    Ok(())
}

#[tokio::test]
async fn c073_s21_a_broken_chunk_never_passes_for_an_end() -> Result<()> {
    let bed = Bed::start().await?;
    let chunk = |chunk: Value| event(&chunk);
    let events = [
        chunk(content("before")),
        "data: {\"choices\":[{\"index\":0,\"del\n\n".to_owned(),
        chunk(content(" after")),
        chunk(finish("stop")),
        DONE.to_owned(),
    ];
    let transcript = bed.streamed(Script::stream(events), &ask("haiku", "Hi")).await?;
    match &transcript.error {
        Some(_) => assert_eq!(transcript.error_type(), "api_error"),
        None => assert_eq!(transcript.text(), "before after"),
    }
    Ok(())
}

#[tokio::test]
async fn c076_think_tags_are_seen_wherever_they_are_cut() -> Result<()> {
    // The preset of a provider that writes its thinking into the text.
    let bed = Bed::speaking("minimax").await?;
    let written = "<think>Hm, 1 < 2.</think>\n\nForty-two <b>.";
    for piece_chars in [1, 3, 7, 100] {
        let characters: Vec<char> = written.chars().collect();
        let pieces = characters
            .chunks(piece_chars)
            .map(|piece| content(&piece.iter().collect::<String>()));
        let chunks: Vec<Value> = pieces.chain([finish("stop")]).collect();
        let message = bed
            .streamed(stream(chunks.clone()), &thinking(ask("haiku", "Why?")))
            .await?
            .message;
        assert_eq!(kinds(&message), ["thinking", "text"], "{piece_chars}");
        assert_eq!(
            (thought(&message).as_str(), text(&message).as_str()),
            ("Hm, 1 < 2.", "Forty-two <b>.")
        );
        let unasked = bed.streamed(stream(chunks), &ask("haiku", "Why?")).await?.message;
        assert_eq!(
            (kinds(&unasked), text(&unasked).as_str()),
            (vec!["text"], "Forty-two <b>.")
        );
    }
    Ok(())
}
