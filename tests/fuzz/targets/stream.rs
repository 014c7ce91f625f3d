//! Any upstream stream, cut anywhere: the client's bytes do not depend on the cuts, obey the
//! grammar, end as the status says, and say what the collected answer says.

use anyhow::{Context, Result, ensure};
use bridge_campaign::dice;
use bridge_translate::anthropic::{ErrorBody, ErrorType};
use bridge_translate::stream::Collector;
use bridge_translate::{KeepAlive, Reply, Status, Translator};
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom as _, IteratorRandom as _};
use rand::{Rng, RngExt as _};

use super::judge;
use crate::fixtures::{Fixtures, ids};

const CUTS_MAX: usize = 24;

pub(crate) fn run(fixtures: &Fixtures, input: &[u8]) -> Result<()> {
    let mut dice = dice(input);
    let reply = fixtures.replies.choose(&mut dice).context("no reply")?;
    let (client, status) = translate(reply, [input], |_, _| {})?;
    let pieces = cut(input, &mut dice);
    let same = translate(reply, pieces.iter().copied(), |_, _| {})?;
    ensure!(
        same == (client.clone(), status.clone()),
        "cuts change what the client gets"
    );
    let (kept_alive, _) = translate(reply, pieces, |translator, out| {
        keep_alive(translator, out, &mut dice)
    })?;
    if !kept_alive.is_empty() {
        judge::transcript(&kept_alive).context("keep-alives break the stream")?;
    }

    let mut collector = Collector::new(reply.clone(), ids());
    collector.push(input);
    match (collector.end(), status) {
        (Ok(answer), Status::Ended { stop_reason }) => {
            ensure!(
                answer.stop_reason == stop_reason,
                "stream and answer end for different reasons"
            );
            let transcript = judge::transcript(&client)?;
            ensure!(transcript.error.is_none(), "a whole answer with an error");
            judge::same_message(&transcript, &answer.body)
        }
        (Err(fault), Status::Failed(same)) => {
            ensure!(fault == same, "stream and answer fail in different ways");
            if client.is_empty() {
                return Ok(());
            }
            let transcript = judge::transcript(&client)?;
            ensure!(transcript.error.is_some(), "a broken answer without an error");
            Ok(())
        }
        (Ok(_), _) => anyhow::bail!("an answer without a stream"),
        (Err(_), _) => anyhow::bail!("a stream without an answer"),
    }
}

/// Feeds the pieces and ends as the data plane does.
fn translate<'p>(
    reply: &Reply,
    pieces: impl IntoIterator<Item = &'p [u8]>,
    mut between: impl FnMut(&mut Translator, &mut Vec<u8>),
) -> Result<(Vec<u8>, Status)> {
    let mut translator = Translator::new(reply.clone(), ids());
    let mut out = Vec::new();
    let mut was_committed = false;
    for piece in pieces {
        let status = translator.push(piece, &mut out);
        ensure!(
            !was_committed || status != Status::Held,
            "held after content went out"
        );
        was_committed |= translator.is_committed();
        ensure!(out.is_empty() != translator.has_head(), "bytes without a head");
        between(&mut translator, &mut out);
    }
    let status = translator.end(&mut out);
    if let Status::Failed(fault) = &status {
        translator.fail(&ErrorBody::new(ErrorType::Api, &fault.message, "req_1"), &mut out);
    }
    let length = out.len();
    translator.push(
        b"data: {\"choices\":[{\"delta\":{\"content\":\"late\"}}]}\n\n",
        &mut out,
    );
    ensure!(out.len() == length, "bytes after the end");
    Ok((out, status))
}

pub(super) fn cut<'i>(mut input: &'i [u8], dice: &mut SmallRng) -> Vec<&'i [u8]> {
    if dice.random_ratio(1, 8) {
        return input.chunks(1).collect();
    }
    let count = dice.random_range(1..=CUTS_MAX);
    let mut places = (1..input.len()).sample(dice, count);
    places.sort_unstable();
    let mut pieces = Vec::with_capacity(places.len() + 1);
    let mut start = 0;
    for place in places {
        let (piece, rest) = input.split_at(place - start);
        pieces.push(piece);
        (input, start) = (rest, place);
    }
    pieces.push(input);
    pieces
}

fn keep_alive(translator: &mut Translator, out: &mut Vec<u8>, dice: &mut impl Rng) {
    match dice.random_range(0..8u8) {
        0 => translator.keep_alive(KeepAlive::Ping, out),
        1 => translator.keep_alive(KeepAlive::EmptyDelta, out),
        2 => translator.force_head(out),
        _ => {}
    }
}
