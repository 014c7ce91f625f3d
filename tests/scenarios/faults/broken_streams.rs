//! Rows 9, 10, 13, 17: answers that break off, before their content and after it. What happens at
//! every single byte is held by the chaos run `cuts`.

use anyhow::Result;
use bridge_tests::faultd::Script;
use bridge_tests::faultd::fault::Fault;
use bridge_tests::faultd::script::{After, End};

use super::bed::{Bed, ROW, Row, WITH_RETRIES};

const TEXT: &str = "The quick brown fox jumps over the lazy dog.";
const BROKEN: (u16, &str) = (502, "api_error");

fn cut(after: After, end: End) -> Script {
    Script::text(TEXT).cut(after, end)
}

#[tokio::test]
async fn r09_what_breaks_before_content_is_asked_again() -> Result<()> {
    let mut bed = Bed::start().await?;
    let row = Row {
        outcome: "reset",
        calls: WITH_RETRIES,
        ..ROW
    };
    for (after, end) in [
        // Without a byte of an answer it may have been the connection that was too old: row 11.
        (After::Bytes(0), End::Fin),
        (After::Bytes(0), End::Reset),
        (After::Bytes(60), End::Fin),
        (After::Bytes(60), End::Reset),
    ] {
        bed.hold(&format!("{end:?} after {after:?}"), cut(after, end), row)
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn r09_a_document_that_is_cut_short_is_never_an_answer() -> Result<()> {
    let mut bed = Bed::start().await?;
    let row = Row {
        outcome: "nonsense",
        ..ROW
    };
    bed.hold("early", cut(After::Bytes(100), End::Early), row).await?;
    bed.hold("empty", cut(After::Bytes(0), End::Early), row).await
}

#[tokio::test]
async fn r10_what_breaks_after_content_ends_in_one_error() -> Result<()> {
    let mut bed = Bed::start().await?;
    for end in [End::Fin, End::Reset, End::Early] {
        for events in [3, 5, 7] {
            let what = format!("{end:?} after {events} events");
            let transcript = bed
                .hold_broken(&what, cut(After::Events(events), end), 2, BROKEN)
                .await?;
            assert!(
                TEXT.starts_with(&transcript.text()),
                "{what}: {}",
                transcript.text()
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn r13_one_bad_line_ends_a_stream() -> Result<()> {
    let mut bed = Bed::start().await?;
    let script = Fault::BadLineAt { event: 4 }.apply(Script::text(TEXT));
    let transcript = bed.hold_broken("a bad line", script, 3, BROKEN).await?;
    assert_eq!(transcript.text(), &TEXT[..24], "what came before it");
    let script = Fault::ErrorAt { event: 4 }.apply(Script::text(TEXT));
    let transcript = bed.hold_broken("an error", script, 3, BROKEN).await?;
    let error = transcript.error.unwrap_or_default();
    assert!(
        error["error"]["message"]
            .to_string()
            .contains("the engine is on fire"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn r17_bytes_that_are_no_character_break_a_structure() -> Result<()> {
    let mut bed = Bed::start().await?;
    let script = Fault::BrokenStructureAt { event: 4 }.apply(Script::text(TEXT));
    bed.hold_broken("between members", script, 3, BROKEN).await?;
    Ok(())
}
