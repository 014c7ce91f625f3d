//! Cases 77–83: what breaks, before the first output and after it.

use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::script::{After, End};
use bridge_tests::faultd::{Gate, Script};
use bridge_tests::sse::Transcript;
use bridge_tests::stage::MODEL;
use serde_json::{Value, json};

use super::bed::{Bed, check_error, tool, with};
use super::chunks::{arguments, content, event, finish, opening, stream, stream_without_done};

/// A stream whose script is held back after `pieces` writes until the client has an event of this kind.
async fn broken_after(
    bed: &Bed,
    script: Script,
    pieces: usize,
    kind: &str,
    body: &Value,
) -> Result<Transcript> {
    let gate = Gate::closed();
    bed.once(script.hold_after(pieces, &gate));
    let mut events = bed.client.stream(body).await?;
    events.next_of(kind).await?;
    gate.open();
    events.to_end().await
}

/// The stream ends in an error, with its block left open: nothing looks finished.
fn check_broken(transcript: &Transcript, what: &str) {
    assert_eq!(
        transcript.error_type(),
        "api_error",
        "{what}: {:?}",
        transcript.kinds()
    );
    assert_eq!(transcript.kinds().last(), Some(&"error"), "{what}");
    assert!(transcript.is_block_open, "{what}: {:?}", transcript.kinds());
    assert!(!transcript.kinds().contains(&"message_delta"), "{what}");
    let id = transcript
        .error
        .as_ref()
        .and_then(|error| error["request_id"].as_str());
    assert!(id.is_some_and(|id| id.starts_with("req_")), "{what}: {id:?}");
}

fn with_tools() -> Value {
    with(ask("haiku", "Go"), "tools", json!([tool("f"), tool("g")]))
}

#[tokio::test]
async fn c077_f01_a_text_that_is_lost_ends_in_an_error() -> Result<()> {
    let bed = Bed::start().await?;
    for end in [End::Fin, End::Reset, End::Early] {
        let script = Script::text("Once upon a time.").cut(After::Events(3), end);
        let transcript = broken_after(&bed, script, 2, "content_block_delta", &ask("haiku", "Go")).await?;
        check_broken(&transcript, &format!("{end:?}"));
        assert!("Once upon a time.".starts_with(&transcript.text()));
    }
    Ok(())
}

#[tokio::test]
async fn c078_f02_a_call_that_is_lost_is_never_completed() -> Result<()> {
    let bed = Bed::start().await?;
    let one = [
        opening(0, "call_1", "f"),
        arguments(0, "{\"a\":"),
        arguments(0, "1"),
    ];
    let two = [
        opening(0, "call_1", "f"),
        arguments(0, "{\"a\":"),
        opening(1, "call_2", "g"),
        arguments(1, "{}"),
    ];
    for (what, chunks) in [("one call", one.to_vec()), ("one more behind it", two.to_vec())] {
        let writes = chunks.len();
        let cut = stream_without_done(chunks).cut(After::Events(writes), End::Reset);
        let transcript = broken_after(&bed, cut, 2, "content_block_start", &with_tools()).await?;
        check_broken(&transcript, what);
        assert!(!transcript.kinds().contains(&"content_block_stop"), "{what}");
    }
    Ok(())
}

#[tokio::test]
async fn c079_f03_a_whole_call_without_an_end_is_no_success() -> Result<()> {
    let bed = Bed::start().await?;
    let chunks = [opening(0, "call_1", "f"), arguments(0, "{\"a\":1}")];
    let script = || stream_without_done(chunks.clone());
    let transcript = bed.streamed(script(), &with_tools()).await?;
    check_broken(&transcript, "streamed");
    let answer = bed.ask(script(), &with_tools()).await?;
    check_error(&answer, 502, "api_error", "collected");
    Ok(())
}

#[tokio::test]
async fn c080_f04_errors_inside_a_stream_come_out_as_errors() -> Result<()> {
    let bed = Bed::start().await?;
    let first = event(&content("Once"));
    let rows = [
        (
            "an error object",
            "data: {\"error\":{\"message\":\"on fire\"}}\n\n".to_owned(),
        ),
        (
            "an error event",
            "event: error\ndata: {\"message\":\"on fire\"}\n\n".to_owned(),
        ),
        ("an error as finish", event(&finish("error"))),
        (
            "an error without choices",
            "data: {\"object\":\"error\",\"message\":\"on fire\"}\n\n".to_owned(),
        ),
    ];
    for (what, broken) in rows {
        let script = Script::stream([first.clone(), broken]);
        let transcript = broken_after(&bed, script, 1, "content_block_delta", &ask("haiku", "Go")).await?;
        check_broken(&transcript, what);
    }
    Ok(())
}

#[tokio::test]
async fn c081_f05_before_the_first_output_a_failure_has_a_status() -> Result<()> {
    let bed = Bed::start().await?;
    let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n";
    let error = "data: {\"error\":{\"message\":\"on fire\"}}\n\n";
    let limited = "data: {\"error\":{\"message\":\"slow down\",\"code\":429}}\n\n";
    let rows = [
        (
            "no head",
            Script::text("x").cut(After::Nothing, End::Reset),
            502,
            "api_error",
        ),
        (
            "an empty body",
            Script::text("x").cut(After::Events(0), End::Early),
            502,
            "api_error",
        ),
        ("an error", Script::stream([error]), 502, "api_error"),
        (
            "a role, then an error",
            Script::stream([role, error]).paced(Duration::from_secs(2)),
            502,
            "api_error",
        ),
        ("a limit", Script::stream([limited]), 429, "rate_limit_error"),
    ];
    for (what, script, status, kind) in rows {
        bed.once(script);
        let body = with(ask("haiku", "Go"), "stream", json!(true));
        let answer = bed.client.messages(&body).await?;
        check_error(&answer, status, kind, what);
    }
    Ok(())
}

#[tokio::test]
async fn c082_f06_a_client_that_leaves_takes_the_upstream_along() -> Result<()> {
    const WITHIN: Duration = Duration::from_secs(3);
    let bed = Bed::start().await?;
    bed.once(Script::text("Once upon a time.").cut(After::Events(3), End::Stall));
    let mut events = bed.client.stream(&ask("haiku", "Go")).await?;
    events.next_of("content_block_delta").await?;
    let left = Instant::now();
    drop(events);
    let noticed = bed.stage.upstream.wait_for_client_gone(MODEL, 0).await?;
    assert!(noticed.duration_since(left) < WITHIN);
    Ok(())
}

#[tokio::test]
async fn c083_f07_a_network_error_as_finish_is_an_error() -> Result<()> {
    let bed = Bed::start().await?;
    let script = stream([content("Once"), finish("network_error")]);
    let transcript = bed.streamed(script, &ask("haiku", "Go")).await?;
    assert_eq!(transcript.error_type(), "api_error");
    assert!(transcript.is_block_open);
    Ok(())
}
