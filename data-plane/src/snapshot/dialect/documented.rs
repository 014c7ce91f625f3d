//! The words of the contract against the words that this build takes: the comments of
//! `dialect.proto` are the reference.

use bridge_proto::fleet::v1 as proto;
use bridge_translate::dialect::Dialect;
use prost::Message;
use serde_json::{Map, Value};

use super::{Overrides, TRANSPORT_KNOBS, unknown};

const SOURCE: &str = include_str!("../../../../proto/bridge/fleet/v1/dialect.proto");

/// A knob whose words are written above it.
struct Documented {
    name: &'static str,
    number: u8,
    is_list: bool,
    words: Vec<&'static str>,
}

fn documented() -> Vec<Documented> {
    let mut knobs = Vec::new();
    let mut words = Vec::new();
    for line in SOURCE.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("// ") {
            if comment.contains(" | ") {
                words = comment.split(" | ").collect();
            }
            continue;
        }
        let words = std::mem::take(&mut words);
        let Some((declared, number)) = line.trim_end_matches(';').split_once(" = ") else {
            continue;
        };
        let Some((kind, name)) = declared.rsplit_once(' ') else {
            continue;
        };
        if !words.is_empty() {
            assert!(matches!(kind, "optional string" | "StringList"), "{line}");
            knobs.push(Documented {
                name,
                number: number.parse().unwrap(),
                is_list: kind == "StringList",
                words,
            });
        }
    }
    knobs
}

fn read(knob: &Documented, word: &str) -> Result<Dialect, String> {
    let entry = |number: u8, bytes: &[u8]| {
        let mut out = Vec::new();
        let tag = u64::from(number) << 3 | 2;
        prost::encoding::encode_varint(tag, &mut out);
        prost::encoding::encode_varint(bytes.len() as u64, &mut out);
        out.extend_from_slice(bytes);
        out
    };
    let word = word.as_bytes();
    let wire = if knob.is_list {
        entry(knob.number, &entry(1, word))
    } else {
        entry(knob.number, word)
    };
    let message = proto::Dialect::decode(wire.as_slice()).unwrap();
    let overrides = Overrides::read(Some(message))?.body;
    // This one has the fields that `web_search = native` needs.
    let base = Dialect::preset("qwen").unwrap();
    base.with_overrides(overrides).map_err(unknown)
}

#[test]
fn every_documented_word_is_taken_and_no_other() {
    let knobs = documented();
    assert!(knobs.len() > 30, "the comments were not understood");
    for knob in &knobs {
        for word in &knob.words {
            let taken = read(knob, word);
            assert!(taken.is_ok(), "{} = {word}: {taken:?}", knob.name);
        }
        let taken = read(knob, "no-such-word");
        assert!(taken.is_err(), "{}: {taken:?}", knob.name);
    }
}

/// A name that the translation does not know would refuse every provider that sets the knob.
#[test]
fn every_knob_of_the_contract_is_known() {
    let of_bodies = serde_json::to_string(&Dialect::default()).unwrap();
    let of_bodies: Map<String, Value> = serde_json::from_str(&of_bodies).unwrap();
    let (_, message) = SOURCE.split_once("message Dialect {").unwrap();
    let (message, _) = message.split_once("\n}").unwrap();
    let fields = message.lines().filter(|line| !line.trim().starts_with("//"));
    let names: Vec<&str> = fields
        .filter_map(|line| line.split_once(" = ")?.0.rsplit(' ').next())
        .collect();
    assert!(names.len() > 60, "the message was not understood: {names:?}");
    for name in &names {
        assert_ne!(
            of_bodies.contains_key(*name),
            TRANSPORT_KNOBS.contains(name),
            "{name}"
        );
    }
    assert!(TRANSPORT_KNOBS.iter().all(|knob| names.contains(knob)));
}

/// What an admin may choose must mean something here.
#[test]
fn every_preset_of_the_control_plane_is_known() {
    const CHOICES: &str = include_str!("../../../../control-plane/src/domain/dialect.rs");
    let (_, choices) = CHOICES.split_once("dialects! {").unwrap();
    let (choices, _) = choices.split_once('}').unwrap();
    let names: Vec<&str> = choices.split('"').skip(1).step_by(2).collect();
    assert!(names.len() > 20, "the list was not understood: {names:?}");
    for name in &names {
        assert!(Dialect::preset(name).is_some(), "{name}");
    }
    assert_eq!(Dialect::presets().count(), names.len());
}
