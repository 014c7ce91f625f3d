//! Streams: as they come, to the end or to one honest error.

use std::time::Duration;

use anyhow::Result;
use bridge_proto::admin::v1::Provider;
use bridge_proto::fleet::v1::Dialect;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::answer::Answer;
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Gate, Script};
use bridge_tests::stage::{MODEL, Stage};
use serde_json::json;

const STORY: &str = "Once upon a time there was a bridge.";

#[tokio::test]
async fn a_stream_is_a_whole_message() -> Result<()> {
    let stage = Stage::start().await?;
    stage.upstream.once(MODEL, Script::text(STORY));
    let transcript = stage.client()?.stream_to_end(&ask("sonnet", "A story")).await?;
    assert_eq!(transcript.text(), STORY);
    assert_eq!(transcript.message["model"], "sonnet");
    assert_eq!(transcript.message["stop_reason"], "end_turn");
    assert_eq!(transcript.message["usage"]["input_tokens"], 20);
    assert_eq!(transcript.message["usage"]["output_tokens"], 10);

    let seen = stage.upstream.requests_for(MODEL)[0].json()?;
    assert_eq!(seen["stream"], true);
    assert_eq!(seen["stream_options"], json!({"include_usage": true}));
    Ok(())
}

#[tokio::test]
async fn text_arrives_while_the_upstream_is_still_talking() -> Result<()> {
    let stage = Stage::start().await?;
    let gate = Gate::closed();
    stage
        .upstream
        .once(MODEL, Script::text(STORY).hold_after(2, &gate));
    let mut stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
    assert_eq!(stream.headers["content-type"], "text/event-stream; charset=utf-8");
    let first = stream.next_of("content_block_delta").await?;
    assert_eq!(first.payload["delta"]["text"], &STORY[..8]);
    gate.open();
    stream.next_of("message_stop").await?;
    assert!(stream.next().await?.is_none());
    Ok(())
}

#[tokio::test]
async fn thinking_is_a_block_of_its_own_and_only_on_demand() -> Result<()> {
    let stage = Stage::start().await?;
    stage
        .upstream
        .always(MODEL, Script::answer(Answer::text("42").reasoning("Hm, hm, hm.")));
    let mut body = ask("opus", "Why?");
    let unasked = stage.client()?.stream_to_end(&body).await?;
    assert_eq!(unasked.message["content"].as_array().unwrap().len(), 1);

    body["max_tokens"] = json!(4096);
    body["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
    let asked = stage.client()?.stream_to_end(&body).await?;
    let content = &asked.message["content"];
    assert_eq!(content[0]["thinking"], "Hm, hm, hm.");
    assert!(content[0]["signature"].as_str().unwrap().starts_with("brg1."));
    assert_eq!(content[1]["text"], "42");
    Ok(())
}

#[tokio::test]
async fn a_stream_that_breaks_after_content_ends_in_one_error() -> Result<()> {
    let stage = Stage::without_memory().await?;
    let content = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Once\"}}]}\n\n";
    let garbage = "data: {]\n\n";
    let inner_error = "data: {\"error\":{\"message\":\"the engine is on fire\"}}\n\n";
    let cut = |after, end| Script::text(STORY).cut(after, end);
    // How many writes bring the first content, and what comes after it.
    let broken = [
        ("fin", 2, cut(After::Events(3), End::Fin)),
        ("reset", 2, cut(After::Events(3), End::Reset)),
        ("clean end without a finish", 2, cut(After::Events(3), End::Early)),
        ("cut inside an event", 2, cut(After::Bytes(700), End::Fin)),
        ("garbage", 1, Script::stream([content, garbage])),
        ("error inside", 1, Script::stream([content, inner_error])),
    ];
    for (name, content_writes, script) in broken {
        let gate = Gate::closed();
        stage
            .upstream
            .once(MODEL, script.hold_after(content_writes, &gate));
        let mut stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
        stream.next_of("content_block_delta").await?;
        gate.open();
        let transcript = stream.to_end().await?;
        assert_eq!(
            transcript.error_type(),
            "api_error",
            "{name}: {:?}",
            transcript.kinds()
        );
        assert!(transcript.is_block_open, "{name}");
        assert!(
            STORY.starts_with(&transcript.text()),
            "{name}: {}",
            transcript.text()
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_tool_call_that_breaks_is_never_completed() -> Result<()> {
    let stage = Stage::without_memory().await?;
    let gate = Gate::closed();
    let answer = Answer::default()
        .tool_call("call_1", "write_file", r#"{"path":"/a","text":"all of it"}"#)
        .tool_call("call_2", "write_file", r#"{"path":"/b","text":"all of it"}"#)
        .interleaved();
    let script = Script::answer(answer)
        .cut(After::Events(7), End::Reset)
        .hold_after(4, &gate);
    stage.upstream.once(MODEL, script);
    let mut stream = stage.client()?.stream(&ask("haiku", "Write")).await?;
    stream.next_of("content_block_start").await?;
    gate.open();
    let transcript = stream.to_end().await?;
    assert_eq!(transcript.error_type(), "api_error");
    assert!(
        !transcript.kinds().contains(&"content_block_stop"),
        "{:?}",
        transcript.kinds()
    );
    Ok(())
}

#[tokio::test]
async fn a_stream_that_breaks_before_content_has_a_status() -> Result<()> {
    let stage = Stage::without_memory().await?;
    let overload = "data: {\"error\":{\"message\":\"slow down\",\"code\":429}}\n\n";
    let broken = [
        (
            "no head",
            Script::text(STORY).cut(After::Nothing, End::Reset),
            502,
        ),
        (
            "no event",
            Script::text(STORY).cut(After::Events(0), End::Fin),
            502,
        ),
        (
            "only a role",
            Script::text(STORY).cut(After::Events(1), End::Reset),
            502,
        ),
        (
            "inside the first event",
            Script::text(STORY).cut(After::Bytes(20), End::Early),
            502,
        ),
        ("an error first", Script::stream([overload]), 429),
    ];
    for (name, script, status) in broken {
        stage.upstream.once(MODEL, script);
        let stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
        assert_eq!(stream.status, status, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn an_upstream_that_stalls_after_content_is_given_up() -> Result<()> {
    let mut stage = Stage::without_memory().await?;
    stage.provider.timeout = 1;
    let provider = stage.provider.clone();
    stage.admin.update_provider(provider, "timeout").await?;
    stage.settle().await?;
    stage
        .upstream
        .once(MODEL, Script::text(STORY).cut(After::Events(3), End::Stall));
    let transcript = stage.client()?.stream_to_end(&ask("haiku", "A story")).await?;
    assert_eq!(transcript.error_type(), "timeout_error");
    stage.upstream.wait_for_client_gone(MODEL, 0).await?;
    Ok(())
}

#[tokio::test]
async fn the_forms_of_upstream_and_client_may_differ() -> Result<()> {
    let stage = Stage::start().await?;
    let document = r#"{"choices":[{"index":0,"message":{"role":"assistant","content":"Whole"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1}}"#;
    stage
        .upstream
        .once(MODEL, Script::body(200, "application/json", document));
    let transcript = stage.client()?.stream_to_end(&ask("haiku", "Hi")).await?;
    assert_eq!(transcript.text(), "Whole");

    let events = [
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"In \"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"pieces\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    ];
    stage.upstream.once(MODEL, Script::stream(events));
    let answer = stage.client()?.messages(&ask("haiku", "Hi")).await?;
    assert_eq!(answer.text(), "In pieces", "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn p22_a_client_that_leaves_takes_the_upstream_request_along() -> Result<()> {
    let stage = Stage::start().await?;
    stage
        .upstream
        .always(MODEL, Script::text(STORY).cut(After::Events(3), End::Stall));
    let mut stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
    stream.next_of("content_block_delta").await?;
    let left = std::time::Instant::now();
    drop(stream);
    let noticed = stage.upstream.wait_for_client_gone(MODEL, 0).await?;
    let after_ms = noticed.duration_since(left).as_millis();
    assert!(after_ms < 1000, "upstream let go after {after_ms} ms");

    // The plain path is the one that gateways forget.
    stage.upstream.always(MODEL, Script::silence());
    let client = stage.client()?;
    let body = ask("haiku", "A story");
    let plain = client.messages(&body);
    tokio::select! {
        answer = plain => panic!("a silent upstream was answered for: {answer:?}"),
        request = stage.upstream.wait_for_request(MODEL, 1) => { request?; }
    }
    stage.upstream.wait_for_client_gone(MODEL, 1).await?;
    Ok(())
}

#[tokio::test]
async fn many_streams_at_once_stay_apart() -> Result<()> {
    const STREAMS: usize = 50;
    let stage = Stage::start().await?;
    stage
        .upstream
        .always(MODEL, Script::echo().paced(Duration::from_millis(1)));
    let client = stage.client()?;
    let prompts: Vec<String> = (0..STREAMS)
        .map(|number| format!("prompt number {number} of many"))
        .collect();
    let streams = prompts.iter().map(|prompt| {
        let body = ask("haiku", prompt);
        let client = &client;
        async move { client.stream_to_end(&body).await }
    });
    let transcripts = futures_util::future::try_join_all(streams).await?;
    let texts: Vec<String> = transcripts.iter().map(|transcript| transcript.text()).collect();
    assert_eq!(texts, prompts);
    Ok(())
}

#[tokio::test]
async fn s20_a_client_gets_its_head_when_the_provider_takes_its_time() -> Result<()> {
    let knobs = Dialect {
        hold_head_ms: Some(300),
        ..Dialect::default()
    };
    let stage = Box::pin(Stage::without_memory_of(|provider| Provider {
        dialect_overrides: Some(knobs),
        ..provider
    }))
    .await?;
    let gate = Gate::closed();
    stage
        .upstream
        .once(MODEL, Script::text(STORY).hold_after(0, &gate));
    let mut stream = stage.client()?.stream(&ask("haiku", "A story")).await?;
    assert_eq!(stream.status, 200);
    assert!(
        !stream.headers.contains_key("x-bridge-provider"),
        "nobody is chosen yet"
    );
    assert_eq!(stream.next_of("ping").await?.kind, "ping");
    gate.open();
    assert_eq!(stream.to_end().await?.text(), STORY);
    Ok(())
}
