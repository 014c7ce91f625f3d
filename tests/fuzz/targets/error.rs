//! Any refusal of an upstream: some kind of fault, with a message of bounded length that an
//! error body can carry.

use anyhow::{Context, Result, ensure};
use bridge_campaign::dice;
use bridge_tests::sse::Event;
use bridge_translate::anthropic::{ErrorBody, ErrorType};
use bridge_translate::{FaultKind, error};
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use serde_json::Value;

use crate::fixtures::Fixtures;

const STATUSES: &[u16] = &[
    200, 204, 302, 400, 401, 402, 403, 404, 408, 409, 413, 418, 422, 429, 500, 502, 503, 504, 520, 529, 599,
    999,
];
const CONTENT_TYPES: &[Option<&str>] = &[
    None,
    Some("application/json"),
    Some("text/html; charset=utf-8"),
    Some("text/plain"),
    Some(""),
];
/// Of which lengths of time are made.
const WAIT_PIECES: &[&str] = &[
    "0",
    "20",
    "1.5",
    "99999999999999999999",
    ".",
    "-",
    "s",
    "ms",
    "m",
    "h",
    "d",
    " ",
    "é",
];
const MESSAGE_CHARS_MAX: usize = 500;

pub(crate) fn run(fixtures: &Fixtures, input: &[u8]) -> Result<()> {
    let mut dice = dice(input);
    let reply = fixtures.replies.choose(&mut dice).context("no reply")?;
    let window = dice.random::<bool>().then(|| dice.random());
    for status in STATUSES {
        let content_type = CONTENT_TYPES.choose(&mut dice).copied().flatten();
        let fault = error::read(*status, content_type, input, reply);
        ensure!(!fault.message.is_empty(), "a fault without a message");
        let chars = fault.message.chars().count();
        ensure!(chars <= MESSAGE_CHARS_MAX, "a message that is too long");
        can_be_sent(&fault.message)?;
        if let FaultKind::ContextOverflow(overflow) = fault.kind {
            can_be_sent(&overflow.anthropic_message(window))?;
        }
    }
    let wait: String = (0..dice.random_range(0..6))
        .filter_map(|_| WAIT_PIECES.choose(&mut dice).copied())
        .collect();
    ensure!(
        error::duration(&wait).is_none() || wait.contains(|c: char| c.is_ascii_digit()),
        "a wait without a figure"
    );
    Ok(())
}

fn can_be_sent(message: &str) -> Result<()> {
    let body = ErrorBody::new(ErrorType::InvalidRequest, message, "req_1");
    let sent: Value = serde_json::from_slice(&body.to_json()).context("an error body that is no JSON")?;
    ensure!(
        sent["error"]["message"] == message,
        "an error body that says something else"
    );
    let mut event = Vec::new();
    body.to_event(&mut event);
    let events = Event::take_whole(&mut event).context("an error event that is broken")?;
    ensure!(
        events.len() == 1 && event.is_empty(),
        "an error that is not one event"
    );
    Ok(())
}
