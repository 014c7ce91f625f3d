//! Any whole answer: a fault, or a message that says the same as its stream does.

use anyhow::{Context, Result, ensure};
use bridge_campaign::dice;
use bridge_translate::response;
use rand::seq::IndexedRandom as _;

use super::judge;
use crate::fixtures::{Fixtures, ids};

pub(crate) fn run(fixtures: &Fixtures, input: &[u8]) -> Result<()> {
    let reply = fixtures.replies.choose(&mut dice(input)).context("no reply")?;
    // Where a whole answer was asked for, a stream is collected.
    let is_document = input.trim_ascii_start().starts_with(b"{");
    let answer = response::to_anthropic(input, reply, ids());
    let mut events = Vec::new();
    let streamed = response::to_anthropic_events(input, reply, ids(), &mut events);
    match (answer, streamed) {
        (Ok(answer), Ok(told)) => {
            ensure!(answer.usage == told.usage, "stream and answer differ in usage");
            let transcript = judge::transcript(&events)?;
            ensure!(transcript.error.is_none(), "an answer whose stream is broken");
            judge::same_message(&transcript, &answer.body)
        }
        (Err(fault), Err(same)) => {
            ensure!(
                !is_document || fault == same,
                "stream and answer fail in different ways"
            );
            ensure!(events.is_empty(), "a fault that has written something");
            Ok(())
        }
        (Ok(answer), Err(_)) => {
            ensure!(
                !input.trim_ascii_start().starts_with(b"{"),
                "an answer without a stream"
            );
            serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body)
                .context("an answer that is no JSON")?;
            Ok(())
        }
        (Err(_), Ok(_)) => anyhow::bail!("a stream without an answer"),
    }
}
