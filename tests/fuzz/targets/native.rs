//! Any bytes on the way without translation: a body stays JSON and is changed no more than
//! it has to be; a stream gives the same bytes however it is cut, and without a broken event
//! they are the upstream's own.

use anyhow::{Context, Result, ensure};
use bridge_campaign::dice;
use bridge_translate::anthropic::{ErrorBody, ErrorType, Request};
use bridge_translate::native::{self, History, Reply, Status, Stream};
use bridge_translate::{Dialect, Target};
use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use serde::de::IgnoredAny;

use super::stream::cut;
use crate::fixtures::{Fixtures, target};

const ASKED: &[u8] =
    br#"{"model":"claude-asked","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
const MODELS: [&str; 2] = ["\"up-one\"", "\"up-other\""];

pub(crate) fn run(fixtures: &Fixtures, input: &[u8]) -> Result<()> {
    let mut dice = dice(input);
    let dialect = fixtures.natives.choose(&mut dice).context("no dialect")?;
    body(input, dialect, &mut dice).context("the body")?;
    stream(input, dialect, &mut dice).context("the stream")?;
    answer(input, dialect).context("the answer")
}

fn body(input: &[u8], dialect: &Dialect, dice: &mut SmallRng) -> Result<()> {
    let Ok(request) = Request::parse(input) else {
        return Ok(());
    };
    let history = if dice.random() {
        History::Signed
    } else {
        History::WithoutThinking
    };
    let [one, other] = MODELS.map(|model| {
        let target = Target {
            model: model.trim_matches('"'),
            ..target(dialect)
        };
        native::edit(input, &request, &target, history)
    });
    let (Ok(one), Ok(other)) = (one, other) else {
        return Ok(());
    };
    let sent = one.body.context("a new name changes nothing")?;
    serde_json::from_slice::<IgnoredAny>(&sent).context("what goes up is no JSON")?;
    let other = other.body.context("a new name changes nothing")?;
    ensure!(is_renamed(&sent, &other), "a name changes more than a name");
    let Ok(again) = Request::parse(&sent) else {
        return Ok(());
    };
    ensure!(again.model() == "up-one", "another model than was wanted");
    let target = Target {
        model: "up-one",
        ..target(dialect)
    };
    if let Ok(outbound) = native::edit(&sent, &again, &target, history) {
        let is_same = outbound.body.is_none_or(|body| body == sent);
        ensure!(is_same, "what fits is changed again");
    }
    Ok(())
}

/// Whether the two differ in the one name and nothing else.
fn is_renamed(one: &[u8], other: &[u8]) -> bool {
    let [from, to] = MODELS.map(str::as_bytes);
    let mut places = one
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from);
    places.any(|(at, _)| [&one[..at], to, &one[at + from.len()..]].concat() == other)
}

fn reply(model: &str, dialect: &Dialect) -> Result<Reply> {
    let request = Request::parse(ASKED)?;
    let target = Target {
        model,
        ..target(dialect)
    };
    Ok(native::edit(ASKED, &request, &target, History::Signed)?.reply)
}

fn stream(input: &[u8], dialect: &Dialect, dice: &mut SmallRng) -> Result<()> {
    let same_name = reply("claude-asked", dialect)?;
    let (client, status) = passed(&same_name, [input], |_, _| {})?;
    let pieces = cut(input, dice);
    let again = passed(&same_name, pieces.iter().copied(), |_, _| {})?;
    ensure!(
        again == (client.clone(), status.clone()),
        "cuts change what the client gets"
    );
    match &status {
        Status::Ended => {
            let own = client.strip_suffix(b"\n\n").unwrap_or(&client);
            ensure!(input.starts_with(own), "other bytes than the upstream's");
        }
        Status::Failed(_) => {
            let told = b"event: error\ndata: {\"type\":\"error\"";
            let end = client.windows(told.len()).rposition(|window| window == told);
            ensure!(
                client.is_empty() == end.is_none(),
                "a broken answer without an error"
            );
            let own = &client[..end.unwrap_or_default()];
            let own = own.strip_suffix(b"\n\n").unwrap_or(own);
            ensure!(input.starts_with(own), "other bytes than the upstream's");
        }
        Status::Held | Status::Streaming => anyhow::bail!("a stream without an end"),
    }
    let renamed = reply("up-one", dialect)?;
    let (_, same) = passed(&renamed, pieces, |stream, out| {
        if dice.random_ratio(1, 4) {
            stream.keep_alive(out);
        }
    })?;
    ensure!(same == status, "a name changes how it ends");
    Ok(())
}

/// Feeds the pieces and ends as the data plane does.
fn passed<'p>(
    reply: &Reply,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    mut between: impl FnMut(&mut Stream, &mut Vec<u8>),
) -> Result<(Vec<u8>, Status)> {
    let mut stream = Stream::new(reply.clone());
    let mut out = Vec::new();
    for piece in pieces {
        let status = stream.push(piece, &mut out);
        ensure!(out.is_empty() || stream.is_committed(), "bytes before content");
        ensure!(status != Status::Held || out.is_empty(), "held, and written");
        between(&mut stream, &mut out);
    }
    let status = stream.end(&mut out);
    if let Status::Failed(fault) = &status {
        stream.fail(&ErrorBody::new(ErrorType::Api, &fault.message, "req_1"), &mut out);
    }
    let length = out.len();
    stream.push(b"event: ping\ndata: {}\n\n", &mut out);
    stream.keep_alive(&mut out);
    ensure!(out.len() == length, "bytes after the end");
    Ok((out, status))
}

fn answer(input: &[u8], dialect: &Dialect) -> Result<()> {
    let (same_name, renamed) = (reply("claude-asked", dialect)?, reply("up-one", dialect)?);
    match (native::answer(input, &same_name), native::answer(input, &renamed)) {
        (Ok(same), Ok(renamed)) => {
            ensure!(same.body == input, "other bytes than the upstream's");
            serde_json::from_slice::<IgnoredAny>(&renamed.body)?;
            Ok(())
        }
        (Err(_), Err(_)) => {
            native::refusal(400, None, input, &same_name);
            Ok(())
        }
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => anyhow::bail!("a name decides whether it is an answer"),
    }
}
