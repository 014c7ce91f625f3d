//! Cases 70, 72 and 75: upstreams that take their time, in real time.
//!
//! They wait for seconds on purpose: what they hold is a number of seconds. A wait of more than
//! half a minute is ignored unless asked for; its rule is held with a paused clock beside the relay.

use std::time::{Duration, Instant};

use anyhow::Result;
use bridge_proto::admin::v1::Provider;
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::{Gate, Script};
use bridge_tests::sse::Transcript;

use super::bed::Bed;
use super::chunks::{DONE, content, event, finish};

const SILENCE: Duration = Duration::from_secs(25);

/// A provider whose time limits are no part of the case.
async fn patient_bed() -> Result<Bed> {
    Bed::of(|provider| Provider {
        timeout: 600,
        ..provider
    })
    .await
}

fn story() -> [String; 4] {
    let chunks = [content("Once"), content(" upon a time."), finish("stop")];
    let [first, second, last] = chunks.map(|chunk| event(&chunk));
    [first, second, last, DONE.to_owned()]
}

/// An upstream that is silent for so long after its first `pieces` writes.
async fn after_silence(bed: &Bed, pieces: usize, silence: Duration) -> Result<(Transcript, Duration)> {
    let gate = Gate::closed();
    bed.once(Script::stream(story()).hold_after(pieces, &gate));
    let started = Instant::now();
    let body = ask("haiku", "A story");
    let asked = async {
        let stream = bed.client.stream(&body).await?;
        let head_after = started.elapsed();
        anyhow::Ok((stream.to_end().await?, head_after))
    };
    let opened = async {
        tokio::time::sleep(silence).await;
        gate.open();
    };
    let (outcome, ()) = tokio::join!(asked, opened);
    outcome
}

#[tokio::test]
async fn c070_s18_a_silence_is_filled_with_pings() -> Result<()> {
    let bed = patient_bed().await?;
    let (transcript, _) = after_silence(&bed, 1, SILENCE).await?;
    assert_eq!(transcript.text(), "Once upon a time.");
    let kinds = transcript.kinds();
    let first_text = kinds
        .iter()
        .position(|kind| *kind == "content_block_delta")
        .unwrap();
    let pings = kinds[first_text..].iter().filter(|kind| **kind == "ping").count();
    assert!(pings >= 2, "{kinds:?}");
    Ok(())
}

#[tokio::test]
async fn c072_s20_a_head_comes_before_a_late_answer() -> Result<()> {
    const HEAD_WITHIN: Duration = Duration::from_secs(21);
    let bed = patient_bed().await?;
    let (transcript, head_after) = after_silence(&bed, 0, SILENCE).await?;
    assert!(head_after < HEAD_WITHIN, "the head came after {head_after:?}");
    assert_eq!(transcript.text(), "Once upon a time.");
    assert!(transcript.error.is_none());
    Ok(())
}

#[tokio::test]
#[ignore = "takes minutes: SLOW=1 tests/run"]
async fn c075_a_long_silence_is_broken_by_an_empty_delta() -> Result<()> {
    const LONG_SILENCE: Duration = Duration::from_secs(215);
    let bed = patient_bed().await?;
    let (transcript, _) = after_silence(&bed, 1, LONG_SILENCE).await?;
    assert_eq!(transcript.text(), "Once upon a time.");
    let is_empty_delta = |event: &bridge_tests::sse::Event| event.payload["delta"]["text"] == "";
    assert!(
        transcript.events.iter().any(is_empty_delta),
        "{:?}",
        transcript.kinds()
    );
    Ok(())
}
