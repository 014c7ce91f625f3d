//! What all ways back have in common: the client's stream obeys the grammar, and says what
//! the plain answer says.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bridge_tests::sse::{Event, Transcript};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// Stands for arguments that are no object.
const REPLACED_INPUT: &str = r#"{"replaced":true}"#;

/// What the parser says of JSON that is right and does not fit into its trees: too deep, or a
/// number that no machine has. Models may write both into their calls.
const UNREAD: &[&str] = &["recursion limit", "number out of range"];

/// What the parser says of half a surrogate pair.
const HALF_CHARACTER: &str = "hex escape";

/// The stream put together as a client would.
pub(super) fn transcript(client: &[u8]) -> Result<Transcript> {
    // The harness takes single events off live bytes; off a long whole that would be quadratic.
    let mut events = Vec::new();
    let text = std::str::from_utf8(client).context("a stream that is not UTF-8")?;
    for frame in text.split_inclusive("\n\n") {
        let mut frame = frame.as_bytes().to_vec();
        events.extend(Event::take_whole(&mut frame).context("a stream of broken events")?);
        ensure!(frame.is_empty(), "half an event at the end");
    }
    replace_odd_arguments(&mut events)?;
    Transcript::parse(events).context("a stream against the grammar")
}

/// Arguments go to the client as the model wrote them, and any bytes write no object. The
/// judge of scenarios insists on one, so those that are none are replaced. Half a character
/// is never among them, since clients die of it.
fn replace_odd_arguments(events: &mut [Event]) -> Result<()> {
    let mut calls: BTreeMap<u64, String> = BTreeMap::new();
    for event in &mut *events {
        if let (Some(call), Some(piece)) = (index(event), piece(event)) {
            calls
                .entry(call)
                .or_default()
                .push_str(piece.as_str().unwrap_or_default());
        }
    }
    let mut odd = BTreeMap::new();
    for (call, arguments) in calls {
        match serde_json::from_str::<Value>(&arguments) {
            Ok(Value::Object(_)) => continue,
            Ok(_) => {}
            Err(error) => ensure!(
                !error.to_string().contains(HALF_CHARACTER),
                "half a character in arguments"
            ),
        }
        odd.insert(call, arguments);
    }
    for event in events {
        if let Some(call) = index(event)
            && let Some(piece) = piece(event)
            && let Some(arguments) = odd.get_mut(&call)
        {
            *piece = json!(if arguments.is_empty() { "" } else { REPLACED_INPUT });
            arguments.clear();
        }
    }
    Ok(())
}

fn index(event: &Event) -> Option<u64> {
    event.payload["index"].as_u64()
}

/// A piece of arguments, if the event carries one.
fn piece(event: &mut Event) -> Option<&mut Value> {
    event.payload.get_mut("delta")?.get_mut("partial_json")
}

/// JSON as a tree; none if it does not fit into one, which only inputs may do.
pub(super) fn tree(json: &[u8]) -> Result<Option<Value>> {
    match serde_json::from_slice(json) {
        Ok(tree) => Ok(Some(tree)),
        Err(error) if UNREAD.iter().any(|words| error.to_string().contains(words)) => {
            serde_json::from_slice::<IgnoredAny>(json)?;
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The stream, put together, is the plain answer.
pub(super) fn same_message(transcript: &Transcript, answer: &[u8]) -> Result<()> {
    let Some(answer) = tree(answer).context("an answer that is no JSON")? else {
        return Ok(());
    };
    let streamed = &transcript.message;
    for key in ["id", "type", "role", "model", "stop_reason", "stop_sequence"] {
        ensure!(
            answer[key] == streamed[key],
            "stream and answer differ in a field of the message"
        );
    }
    for key in ["input_tokens", "output_tokens", "cache_read_input_tokens"] {
        ensure!(
            answer["usage"][key] == streamed["usage"][key],
            "stream and answer differ in usage"
        );
    }
    let (answer, streamed) = (blocks(&answer)?, blocks(streamed)?);
    ensure!(
        answer.len() == streamed.len(),
        "stream and answer differ in the number of blocks"
    );
    for (whole, pieced) in answer.iter().zip(streamed) {
        for key in ["type", "text", "thinking", "signature", "data", "id", "name"] {
            ensure!(whole[key] == pieced[key], "stream and answer differ in a block");
        }
        let is_replaced = pieced["input"]["replaced"] == true;
        ensure!(
            is_replaced || whole["input"] == pieced["input"],
            "stream and answer differ in an input"
        );
    }
    Ok(())
}

fn blocks(message: &Value) -> Result<&Vec<Value>> {
    message["content"].as_array().context("a message without content")
}
