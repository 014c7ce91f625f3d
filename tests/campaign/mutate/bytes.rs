//! Changes to bytes that mean anything or nothing.

use std::ops::Range;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::{Change, Mutator, put};

/// What no JSON string may hold, and JSON not between values.
const RUDE_PIECES: &[&[u8]] = &[
    br"\x",
    br"\u12",
    b"\\",
    b"\"",
    b"\x01",
    b"\x80",
    b"\xf0\x9f",
    b"\0",
    b"}",
    b"]",
    b",,",
    b"NaN",
    b"data: ",
];

/// What readers of heads, names, numbers and addresses take for something.
const TELLING_PIECES: &[&[u8]] = &[
    b"0",
    b"-1",
    b"1e308",
    b"18446744073709551616",
    b".",
    b"..",
    b"/",
    b"%00",
    b"%2e",
    b"*",
    b"&",
    b"=",
    b";",
    b":",
    b"@",
    b" ",
    b"\t",
    b"\r\n",
    b"\r\nx-other: 1",
    b"{model}",
    b"${HOME}",
    "é".as_bytes(),
    "\u{202e}".as_bytes(),
    b"\xff",
];

/// Where decoders change their mind.
const TELLING_BYTES: &[u8] = &[0, 1, b'0', b'A', b'z', 0x7f, 0x80, 0xfe, 0xff];

pub(super) const CHANGES: &[Change] = &[
    |_, input, dice| flip_bit(input, dice),
    |_, input, dice| set_byte(input, dice),
    put_telling_piece,
    repeat_piece,
    put_own_piece,
    put_foreign_piece,
    cut_out,
];

/// They cut characters in two, too.
pub(super) const RUDE_CHANGES: &[Change] = &[cut_off, cut_out, put_noise, put_bytes, join_with_other];

fn some_bytes(input: &[u8], dice: &mut SmallRng) -> Range<usize> {
    let start = dice.random_range(0..=input.len());
    let length = dice.random_range(0..=(input.len() - start).min(64));
    start..start + length
}

fn flip_bit(input: &mut [u8], dice: &mut SmallRng) {
    if input.is_empty() {
        return;
    }
    let (place, bit) = (dice.random_range(0..input.len()), dice.random_range(0..8u8));
    input[place] ^= 1 << bit;
}

fn set_byte(input: &mut [u8], dice: &mut SmallRng) {
    if let (false, Some(byte)) = (input.is_empty(), TELLING_BYTES.choose(dice)) {
        let place = dice.random_range(0..input.len());
        input[place] = *byte;
    }
}

fn put_telling_piece(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let place = some_bytes(input, dice);
    if let Some(piece) = TELLING_PIECES.choose(dice) {
        put(input, place.start..place.start, piece);
    }
}

fn repeat_piece(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let place = some_bytes(input, dice);
    let times = if dice.random_ratio(1, 16) { 300 } else { 1 };
    let again = input.get(place.clone()).unwrap_or_default().repeat(times);
    put(input, place.end..place.end, &again);
}

fn put_own_piece(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let (from, to) = (some_bytes(input, dice), some_bytes(input, dice));
    let piece = input.get(from).unwrap_or_default().to_vec();
    put(input, to, &piece);
}

fn put_foreign_piece(mutator: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    if let Some(other) = mutator.seeds.choose(dice) {
        let (from, to) = (some_bytes(other, dice), some_bytes(input, dice));
        put(input, to, other.get(from).unwrap_or_default());
    }
}

fn cut_off(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    input.truncate(dice.random_range(0..=input.len()));
}

fn cut_out(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let place = some_bytes(input, dice);
    put(input, place, b"");
}

fn put_noise(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let place = some_bytes(input, dice);
    let noise: [u8; 4] = dice.random();
    put(input, place.start..place.start, &noise);
}

fn put_bytes(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let place = some_bytes(input, dice);
    if let Some(piece) = RUDE_PIECES.choose(dice) {
        put(input, place.start..place.start, piece);
    }
}

fn join_with_other(mutator: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    if let Some(other) = mutator.seeds.choose(dice) {
        input.truncate(dice.random_range(0..=input.len()));
        let from = dice.random_range(0..=other.len());
        input.extend_from_slice(other.get(from..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Material;
    use super::*;

    #[test]
    fn no_input_is_too_small_to_be_changed() {
        let seeds = vec![Vec::new(), b"a".to_vec()];
        let mutator = Mutator::new(Material::Bytes, &seeds);
        let inputs: std::collections::BTreeSet<_> = (0..500).map(|number| mutator.input(1, number)).collect();
        assert!(inputs.len() > 100, "{}", inputs.len());
    }
}
