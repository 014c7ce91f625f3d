//! Rows 6–8: upstreams that say nothing, or stop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bridge_proto::admin::v1::Provider;
use bridge_proto::fleet::v1::Dialect;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::faultd::script::{After, End};

use super::bed::{Bed, ROW, Row};

const TEXT: &str = "The quick brown fox jumps over the lazy dog.";
const SILENT: Row = Row {
    status: 504,
    kind: "timeout_error",
    outcome: "silent",
    ..ROW
};
const TIMEOUT_S: u32 = 1;
/// More than the limit by the tick of a second, and some for the machine.
const LATE_MAX: Duration = Duration::from_secs(TIMEOUT_S as u64 + 2);

#[tokio::test]
async fn r06_a_head_that_does_not_come_is_not_waited_for() -> Result<()> {
    let mut bed = Bed::patient_for(TIMEOUT_S).await?;
    let started = Instant::now();
    bed.script(Script::silence());
    bed.hold_alone("silence", false, SILENT).await?;
    assert!(started.elapsed() < LATE_MAX, "{:?}", started.elapsed());
    bed.hold("silence", Script::silence(), SILENT).await
}

#[tokio::test]
async fn r07_a_body_without_content_is_not_waited_for() -> Result<()> {
    let mut bed = Bed::patient_for(TIMEOUT_S).await?;
    let stalls = |after| Script::text(TEXT).cut(after, End::Stall);
    bed.hold("after the head", stalls(After::Bytes(0)), SILENT)
        .await?;
    bed.script(stalls(After::Events(1)));
    bed.hold_alone("after the role", true, SILENT).await?;
    // Comments are no content, however many come.
    let comments = Script::stream((0..100).map(|_| ": still there\n\n")).paced(Duration::from_millis(50));
    bed.script(comments);
    bed.hold_alone("comments", true, SILENT).await
}

#[tokio::test]
async fn r07_a_stream_that_has_its_head_ends_in_an_error() -> Result<()> {
    let bed = Bed::of(|provider| Provider {
        // A tick for the ping, and one more.
        timeout: 2 * TIMEOUT_S,
        dialect_overrides: Some(Dialect {
            hold_head_ms: Some(100),
            ..Dialect::default()
        }),
        ..provider
    })
    .await?;
    bed.script(Script::silence());
    let transcript = bed.client.stream_to_end(&ask("sonnet", "Hi")).await?;
    assert_eq!(transcript.error_type(), "timeout_error");
    let kinds = transcript.kinds();
    assert!(
        kinds.iter().all(|kind| ["ping", "error"].contains(kind)) && kinds.first() == Some(&"ping"),
        "{kinds:?}"
    );
    // The next provider can still answer.
    let transcript = bed.client.stream_to_end(&ask("opus", "Hi")).await?;
    assert_eq!(
        (transcript.text().as_str(), transcript.error.is_none()),
        ("from the next", true)
    );
    Ok(())
}

#[tokio::test]
async fn r08_a_stream_that_stops_ends_in_a_timeout() -> Result<()> {
    let mut bed = Bed::patient_for(TIMEOUT_S).await?;
    let script = Script::text(TEXT).cut(After::Events(3), End::Stall);
    let started = Instant::now();
    let transcript = bed
        .hold_broken("a stall", script, 2, (504, "timeout_error"))
        .await?;
    assert!(TEXT.starts_with(&transcript.text()));
    let limit = Duration::from_secs(TIMEOUT_S.into());
    assert!(
        (limit..LATE_MAX).contains(&started.elapsed()),
        "{:?}",
        started.elapsed()
    );
    bed.upstream()
        .wait_for_client_gone("m", 0)
        .await
        .context("the upstream was left open")?;
    Ok(())
}
