//! Any bytes as server-sent events: the events do not depend on how the bytes are cut, and
//! nothing comes out that did not go in.

use anyhow::{Context, Result, ensure};
use bridge_campaign::dice;
use bridge_translate::sse::{Decoder, Event, TooLarge};
use rand::RngExt as _;

use crate::fixtures::Fixtures;

type Owned = (String, String);

pub(crate) fn run(_: &Fixtures, input: &[u8]) -> Result<()> {
    let whole = decode([input]).context("an event that is too large")?;
    let mut dice = dice(input);
    let size = dice.random_range(1..=40);
    let pieces = decode(input.chunks(size)).context("an event that is too large")?;
    ensure!(whole == pieces, "cuts change the events");
    ensure!(
        decode(input.chunks(1)).as_ref() == Ok(&whole),
        "single bytes change the events"
    );
    // A byte that is not UTF-8 becomes a character of three.
    let bytes: usize = whole.iter().map(|(_, data)| data.len()).sum();
    ensure!(bytes <= 3 * input.len(), "more data than bytes");
    Ok(())
}

fn decode<'p>(pieces: impl IntoIterator<Item = &'p [u8]>) -> Result<Vec<Owned>, TooLarge> {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        while let Some(event) = decoder.next_event()? {
            events.push(owned(event));
        }
    }
    while let Some(event) = decoder.finish()? {
        events.push(owned(event));
    }
    Ok(events)
}

fn owned(Event { name, data }: Event<'_>) -> Owned {
    (name.into_owned(), data.into_owned())
}
