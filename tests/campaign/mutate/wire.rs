//! Changes that keep a message of protocol buffers a message: fields that are lost, twice, unknown
//! or of another message, and values that no honest sender has. Lengths stay true.

use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;

use super::{Change, Mutator};

pub(super) const CHANGES: &[Change] = &[
    |_, input, dice| change(input, dice, |fields, at, dice| set_value(fields, at, dice)),
    |_, input, dice| change(input, dice, |fields, at, dice| set_value(fields, at, dice)),
    |_, input, dice| change(input, dice, remove),
    |_, input, dice| change(input, dice, repeat),
    |_, input, dice| change(input, dice, |fields, at, dice| rename(fields, at, dice)),
    |_, input, dice| change(input, dice, |fields, at, dice| swap(fields, at, dice)),
    put_foreign_field,
];

/// Messages within messages that are looked into.
const DEPTH_MAX: u32 = 8;
const REPETITIONS: &[usize] = &[1, 2, 300];
const ODD_NUMBERS: &[u64] = &[
    0,
    1,
    2,
    99,
    0x7f,
    0x80,
    i32::MAX as u64,
    // As an `int32`: -1.
    u64::MAX,
    1 << 31,
    i64::MAX as u64,
    // Beyond every date.
    253_402_300_800,
];
const ODD_TEXTS: &[&[u8]] = &[
    b"",
    b" ",
    b"*",
    b"a*b*c",
    b"http://[::1",
    b"http://a/{model}/{model}",
    b"https://169.254.169.254/",
    b"http://user:word@a/?b#c",
    b"host",
    b"content-length",
    b"x-a\r\nx-b: c",
    b"{}",
    b"[",
    b"{\"a\":1e999}",
    b"999999999999",
    b"\xff\xfe",
    "🦀\u{202e}é".as_bytes(),
];
/// Longer than any name may be.
const LONG_TEXT_BYTES: usize = 5000;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    number: u64,
    value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Varint(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    Bytes(Vec<u8>),
}

type FieldChange = fn(&mut Vec<Field>, usize, &mut SmallRng);

/// Changes one field, at any depth.
fn change(input: &mut Vec<u8>, dice: &mut SmallRng, how: FieldChange) {
    if let Some(changed) = changed(input, dice, how, 0) {
        *input = changed;
    }
}

fn changed(message: &[u8], dice: &mut SmallRng, how: FieldChange, depth: u32) -> Option<Vec<u8>> {
    let mut fields = parse(message)?;
    if fields.is_empty() {
        return None;
    }
    let at = dice.random_range(0..fields.len());
    let inner = match &fields[at].value {
        // One in four messages is changed as a whole.
        Value::Bytes(bytes) if depth < DEPTH_MAX && !dice.random_ratio(1, 4) => {
            changed(bytes, dice, how, depth + 1)
        }
        Value::Bytes(_) | Value::Varint(_) | Value::Eight(_) | Value::Four(_) => None,
    };
    match inner {
        Some(inner) => fields[at].value = Value::Bytes(inner),
        None => how(&mut fields, at, dice),
    }
    Some(write(&fields))
}

fn set_value(fields: &mut [Field], at: usize, dice: &mut SmallRng) {
    match &mut fields[at].value {
        Value::Varint(number) => {
            if let Some(odd) = ODD_NUMBERS.choose(dice) {
                *number = *odd;
            }
        }
        Value::Eight(bytes) => *bytes = dice.random(),
        Value::Four(bytes) => *bytes = dice.random(),
        Value::Bytes(bytes) => match dice.random_range(0..4u8) {
            0 => *bytes = vec![b'x'; LONG_TEXT_BYTES],
            1 => bytes.truncate(dice.random_range(0..=bytes.len())),
            _ => *bytes = ODD_TEXTS.choose(dice).map_or_else(Vec::new, |text| text.to_vec()),
        },
    }
}

fn remove(fields: &mut Vec<Field>, at: usize, _: &mut SmallRng) {
    fields.remove(at);
}

fn repeat(fields: &mut Vec<Field>, at: usize, dice: &mut SmallRng) {
    let times = REPETITIONS.choose(dice).copied().unwrap_or(1);
    let again = vec![fields[at].clone(); times];
    fields.splice(at..at, again);
}

/// An unknown field, or one of another type.
fn rename(fields: &mut [Field], at: usize, dice: &mut SmallRng) {
    fields[at].number = dice.random_range(1..=24);
}

fn swap(fields: &mut [Field], at: usize, dice: &mut SmallRng) {
    let other = dice.random_range(0..fields.len());
    fields.swap(at, other);
}

fn put_foreign_field(mutator: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let other = mutator.seeds.choose(dice).and_then(|seed| parse(seed));
    let Some(field) = other.as_deref().and_then(|fields| fields.choose(dice)) else {
        return;
    };
    let Some(mut fields) = parse(input) else { return };
    let at = dice.random_range(0..=fields.len());
    fields.insert(at, field.clone());
    *input = write(&fields);
}

/// `None` if it is no message.
fn parse(mut message: &[u8]) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let tag = take_varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Varint(take_varint(&mut message)?),
            1 => Value::Eight(*take(&mut message, 8)?.first_chunk()?),
            2 => {
                let length = usize::try_from(take_varint(&mut message)?).ok()?;
                Value::Bytes(take(&mut message, length)?.to_vec())
            }
            5 => Value::Four(*take(&mut message, 4)?.first_chunk()?),
            _ => return None,
        };
        fields.push(Field {
            number: tag >> 3,
            value,
        });
    }
    Some(fields)
}

fn take<'m>(message: &mut &'m [u8], length: usize) -> Option<&'m [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn take_varint(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)?.first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn write(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for Field { number, value } in fields {
        let tag = number << 3;
        match value {
            Value::Varint(value) => {
                put_varint(&mut out, tag);
                put_varint(&mut out, *value);
            }
            Value::Eight(bytes) => {
                put_varint(&mut out, tag | 1);
                out.extend_from_slice(bytes);
            }
            Value::Bytes(bytes) => {
                put_varint(&mut out, tag | 2);
                put_varint(&mut out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Value::Four(bytes) => {
                put_varint(&mut out, tag | 5);
                out.extend_from_slice(bytes);
            }
        }
    }
    out
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::super::Material;
    use super::*;

    /// `{1: 300, 2: {1: "ab", 3: -1}}`
    const MESSAGE: &[u8] = &[
        0x08, 0xac, 0x02, 0x12, 15, 0x0a, 2, b'a', b'b', 0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0x01,
    ];

    #[test]
    fn a_message_is_read_and_written_unchanged() {
        let fields = parse(MESSAGE).unwrap();
        assert_eq!(fields[0].value, Value::Varint(300));
        let Value::Bytes(inner) = &fields[1].value else {
            panic!("a message is bytes")
        };
        assert_eq!(parse(inner).unwrap()[1].value, Value::Varint(u64::MAX));
        assert_eq!(write(&fields), MESSAGE);
        assert_eq!(parse(&MESSAGE[..4]), None);
    }

    #[test]
    fn most_of_what_is_made_is_still_a_message() {
        let seeds = vec![MESSAGE.to_vec()];
        let mutator = Mutator::new(Material::Messages, &seeds);
        let inputs: Vec<_> = (0..500).map(|number| mutator.input(1, number)).collect();
        let distinct: std::collections::BTreeSet<_> = inputs.iter().collect();
        assert!(distinct.len() > 200, "{}", distinct.len());
        let whole = inputs.iter().filter(|input| parse(input).is_some()).count();
        assert!((350..500).contains(&whole), "{whole}");
    }
}
