//! Changes that keep JSON JSON, alone or within other text: spans are laid over the bytes.

use std::ops::Range;

use rand::RngExt as _;
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom as _, IteratorRandom as _};

use super::spans::{self, Kind, Span};
use super::{Change, INPUT_BYTES_MAX, Mutator, put};

const ODD_VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1.5",
    "-0.0",
    "1e999",
    "2147483648",
    "9007199254740993",
    "18446744073709551615",
    "18446744073709551616",
    "[]",
    "{}",
    "[null]",
    "[[]]",
    "[{}]",
    r#"{"":null}"#,
    r#"{"type":null}"#,
    r#"{"type":"text","text":"x"}"#,
    r#""""#,
    r#"" ""#,
    r#""null""#,
    r#""18446744073709551615""#,
    r#""\u0000""#,
    r#""\ud83e""#,
    r#""\udd80""#,
    r#""{\"a\":1}""#,
    r#""[DONE]""#,
];

/// What is put into strings and leaves them strings.
const ODD_PIECES: &[&[u8]] = &[
    br"\ud83e",
    br"\udd80",
    br"\ud83e\udd80",
    // Inside arguments, which are JSON in a string.
    br"\\ud83e",
    br"\\udd80",
    br"\u0000",
    br"\n",
    br"\r\n\r\n",
    br"\\",
    br#"\""#,
    br"\u2028",
    "é".as_bytes(),
    "🦀".as_bytes(),
    "\u{feff}".as_bytes(),
    b"<think>",
    b"</think>",
    br#"{\"a\":"#,
    b"}",
    b"[DONE]",
    b"data:image/png;base64,iVBORw0K",
    b"https://example.org/a.png",
    b"brg1.e30",
    b"functions.Read:0",
    b"18446744073709551615 tokens",
];

const DEPTHS: &[usize] = &[1, 2, 10, 126, 127, 128, 129, 500, 5000];
const REPETITIONS: &[usize] = &[2, 3, 17, 300];

pub(super) const CHANGES: &[Change] = &[
    put_odd_value,
    put_foreign_value,
    put_own_value,
    add_foreign_member,
    repeat_value,
    remove_value,
    nest_value,
    change_string,
    change_lines,
];
/// One member in so many goes in although its key is there.
const TWICE_ONE_IN: u32 = 8;

fn some_span(input: &[u8], dice: &mut SmallRng, wanted: impl Fn(&Span) -> bool) -> Option<Range<usize>> {
    let spans = spans::find(input).into_iter();
    Some(spans.filter(wanted).choose(dice)?.place)
}

fn some_value(input: &[u8], dice: &mut SmallRng) -> Option<Range<usize>> {
    some_span(input, dice, |span| span.kind != Kind::Member)
}

fn put_odd_value(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    if let (Some(place), Some(odd)) = (some_value(input, dice), ODD_VALUES.choose(dice)) {
        put(input, place, odd.as_bytes());
    }
}

fn put_foreign_value(mutator: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    if let (Some(place), Some(foreign)) = (some_value(input, dice), mutator.values.choose(dice)) {
        put(input, place, foreign);
    }
}

fn put_own_value(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    if let (Some(place), Some(other)) = (some_value(input, dice), some_value(input, dice)) {
        let other = input.get(other).unwrap_or_default().to_vec();
        put(input, place, &other);
    }
}

/// Seldom one whose key is there already: most readers refuse that at once.
fn add_foreign_member(mutator: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let object = some_span(input, dice, |span| span.kind == Kind::Object);
    let (Some(object), Some(member)) = (object, mutator.members.choose(dice)) else {
        return;
    };
    let text = input.get(object.clone()).unwrap_or_default();
    let key = member
        .split_inclusive(|byte| *byte == b':')
        .next()
        .unwrap_or_default();
    let has_key = text.windows(key.len().max(1)).any(|part| part == key);
    if has_key && !dice.random_ratio(1, TWICE_ONE_IN) {
        return;
    }
    let separator: &[u8] = if text == b"{}" { b"" } else { b"," };
    let inside = object.start + 1;
    put(input, inside..inside, &[member, separator].concat());
}

fn repeat_value(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let element = some_span(input, dice, |span| !span.is_keyed && span.kind != Kind::Member);
    let (Some(place), Some(times)) = (element, REPETITIONS.choose(dice)) else {
        return;
    };
    let mut again = vec![b','];
    again.extend_from_slice(input.get(place.clone()).unwrap_or_default());
    let times = (INPUT_BYTES_MAX / again.len()).min(*times);
    put(input, place.end..place.end, &again.repeat(times));
}

/// With the comma behind it or else before it.
fn remove_value(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let Some(Range { mut start, mut end }) = some_span(input, dice, |span| !span.is_keyed) else {
        return;
    };
    if input.get(end) == Some(&b',') {
        end += 1;
    } else if start > 0 && input.get(start - 1) == Some(&b',') {
        start -= 1;
    }
    put(input, start..end, b"");
}

fn nest_value(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let (Some(place), Some(depth)) = (some_value(input, dice), DEPTHS.choose(dice)) else {
        return;
    };
    let (left, right) = if dice.random() {
        ("[", "]")
    } else {
        (r#"{"a":"#, "}")
    };
    put(input, place.end..place.end, right.repeat(*depth).as_bytes());
    put(input, place.start..place.start, left.repeat(*depth).as_bytes());
}

fn change_string(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let string = some_span(input, dice, |span| span.kind == Kind::String);
    if let (Some(string), Some(piece)) = (string, ODD_PIECES.choose(dice)) {
        let at = dice.random_range(string.start + 1..string.end.max(string.start + 2));
        let at = at.min(input.len());
        let times = if dice.random_ratio(1, 16) { 300 } else { 1 };
        put(input, at..at, &piece.repeat(times));
    }
}

/// Events repeated, lost and swapped; no blank line between them; other line ends.
fn change_lines(_: &Mutator<'_>, input: &mut Vec<u8>, dice: &mut SmallRng) {
    let mut lines: Vec<&[u8]> = input.split_inclusive(|byte| *byte == b'\n').collect();
    if lines.len() < 2 {
        return;
    }
    let (one, other) = (
        dice.random_range(0..lines.len()),
        dice.random_range(0..lines.len()),
    );
    match dice.random_range(0..5u8) {
        0 => lines.swap(one, other),
        1 => {
            lines.remove(one);
        }
        2 => lines.insert(other, lines[one]),
        3 => lines.insert(one, b"\n"),
        _ => lines.insert(one, b": comment\r\nevent: error\r"),
    }
    *input = lines.concat();
}

#[cfg(test)]
mod tests {
    use super::super::Material;
    use super::*;

    #[test]
    fn inputs_depend_on_their_number_alone_and_differ() {
        let seeds = vec![br#"{"a":[1,{"b":"x"}],"c":null}"#.to_vec()];
        let mutator = Mutator::new(Material::Json, &seeds);
        let inputs: Vec<_> = (0..200).map(|number| mutator.input(1, number)).collect();
        assert_eq!(inputs[77], Mutator::new(Material::Json, &seeds).input(1, 77));
        let distinct: std::collections::BTreeSet<_> = inputs.iter().collect();
        assert!(distinct.len() > 100, "{}", distinct.len());
        let is_json = |input: &&Vec<u8>| serde_json::from_slice::<serde::de::IgnoredAny>(input).is_ok();
        assert!(inputs.iter().filter(is_json).count() > 80, "too much noise");
    }
}
