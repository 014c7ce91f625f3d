//! Rows 12, 14–19: a 200 that is no answer, and answers that are only odd.

use anyhow::{Result, ensure};
use bridge_tests::anthropic::ask;
use bridge_tests::faultd::Script;
use bridge_tests::faultd::fault::Fault;

use super::bed::{Bed, ROW, Row, WITH_RETRIES, with};

/// The tables of the tokenizer come with the first request, and the largest answer is held twice
/// while the buffer for it grows.
const GROWTH_KIB_MAX: usize = (50 + 3 * 32 + 32) * 1024;

const NONSENSE: Row = Row {
    outcome: "nonsense",
    ..ROW
};

#[tokio::test]
async fn r12_what_is_no_json_is_no_answer() -> Result<()> {
    let mut bed = Bed::start().await?;
    bed.hold("garbage", with("garbage")?, NONSENSE).await?;
    let cut_short = Script::body(
        200,
        "application/json",
        r#"{"choices":[{"message":{"content":"Hal"#,
    );
    bed.hold("half a document", cut_short, NONSENSE).await?;
    bed.hold("a number", Script::body(200, "application/json", "42"), NONSENSE)
        .await
}

#[tokio::test]
async fn r14_what_is_no_answer_is_none_whatever_its_status() -> Result<()> {
    let mut bed = Bed::start().await?;
    for fault in ["html", "empty"] {
        bed.hold(fault, with(fault)?, NONSENSE).await?;
    }
    let binary = Script::body(200, "application/octet-stream", &b"\x00\x01\x02"[..]);
    bed.hold("bytes", binary, NONSENSE).await?;
    let on_fire = Row {
        outcome: "server_error",
        calls: WITH_RETRIES,
        ..ROW
    };
    bed.hold("an error in a 200", with("error-in-200")?, on_fire)
        .await
}

#[tokio::test]
async fn r15_an_error_as_first_event_is_judged_like_a_status() -> Result<()> {
    let mut bed = Bed::start().await?;
    let overloaded = Row {
        status: 529,
        kind: "overloaded_error",
        outcome: "overloaded",
        calls: WITH_RETRIES,
        ..ROW
    };
    bed.hold("overloaded", with("first-overloaded")?, overloaded)
        .await?;
    let empty = Row {
        outcome: "quota",
        should_retry: Some("false"),
        ..ROW
    };
    bed.hold("quota", with("first-quota")?, empty).await?;
    let on_fire = Row {
        outcome: "server_error",
        calls: WITH_RETRIES,
        ..ROW
    };
    bed.hold("fire", with("first-fire")?, on_fire).await
}

#[tokio::test]
async fn r16_what_does_not_end_is_cut_off() -> Result<()> {
    let mut bed = Bed::start().await?;
    let pid = bed.node_pid()?;
    let before = peak_resident_kib(pid)?;
    bed.script(with("endless-body")?);
    let too_big = Row {
        outcome: "too_big",
        ..ROW
    };
    bed.hold_alone("a document", false, too_big).await?;
    bed.script(with("huge-line")?);
    bed.hold_alone("a line", true, NONSENSE).await?;
    bed.script(with("endless-head")?);
    bed.hold_alone("a head", false, too_big).await?;
    let grown = peak_resident_kib(pid)? - before;
    println!("figure: answers without an end: {grown} KiB more at the peak");
    ensure!(grown < GROWTH_KIB_MAX, "{grown} KiB more");
    Ok(())
}

#[tokio::test]
async fn r17_bytes_that_are_no_character_are_replaced_in_text_only() -> Result<()> {
    let bed = Bed::start().await?;
    bed.script(with("utf8-text")?);
    let streamed = bed.client.stream_to_end(&ask("sonnet", "Hi")).await?;
    let whole = bed.client.messages(&ask("sonnet", "Hi")).await?;
    for text in [streamed.text(), whole.text()] {
        assert!(text.starts_with("\u{fffd}\u{fffd}The quic"), "{text:?}");
    }
    // Cut at every byte, characters of several bytes come out as they went in.
    let multilingual = "Zürich 東京 🌉 naïve";
    bed.script(Fault::Split.apply(Script::text(multilingual)));
    let streamed = bed.client.stream_to_end(&ask("sonnet", "Hi")).await?;
    assert_eq!(streamed.text(), multilingual);
    let whole = bed.client.messages(&ask("sonnet", "Hi")).await?;
    assert_eq!(whole.text(), multilingual);
    Ok(())
}

#[tokio::test]
async fn r19_an_encoding_that_nobody_asked_for_is_refused() -> Result<()> {
    let mut bed = Bed::start().await?;
    let encoded = Row {
        outcome: "encoded",
        ..ROW
    };
    bed.hold("gzip", with("gzip")?, encoded).await?;
    let pid = bed.node_pid()?;
    let before = peak_resident_kib(pid)?;
    bed.script(with("gzip-bomb")?);
    bed.hold_alone("a bomb", false, encoded).await?;
    let grown = peak_resident_kib(pid)?.saturating_sub(before);
    ensure!(grown < 16 * 1024, "{grown} KiB for 10 GB");
    let asked = bed.upstream().requests();
    ensure!(
        asked.iter().all(|request| request
            .header("accept-encoding")
            .is_none_or(|value| value == "identity")),
        "an encoding was asked for"
    );
    Ok(())
}

/// The most memory that a process has held.
fn peak_resident_kib(pid: u32) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let words = line.unwrap_or_default().trim().trim_end_matches(" kB");
    Ok(words.parse()?)
}
