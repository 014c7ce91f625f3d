//! `reasoning_details`: entries that an upstream wants back as it gave them.
//!
//! In a stream they come in pieces and are put together again. Their texts are mostly what
//! the thinking block shows anyway; then only lengths are packed, and the client's block
//! gives the texts back.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{LUGGAGE_BYTES_MAX, Seal};

/// Entries of one block.
#[derive(Debug, Default)]
pub(crate) struct Details {
    entries: Vec<Map<String, Value>>,
    bytes: usize,
}

impl Details {
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// One entry, or a piece of the last one.
    pub(crate) fn push(&mut self, raw: &RawValue) {
        self.bytes = self.bytes.saturating_add(raw.get().len());
        if self.is_too_large() {
            self.entries = Vec::new();
            return;
        }
        let Ok(Value::Object(mut piece)) = serde_json::from_str(raw.get()) else {
            return;
        };
        let continued = self.entries.last_mut().filter(|last| {
            text_key(last).is_some()
                && last.get("type") == piece.get("type")
                && last.get("index") == piece.get("index")
        });
        let Some(last) = continued else {
            self.entries.push(piece);
            return;
        };
        for key in TEXT_KEYS {
            if let (Some(Value::String(have)), Some(Value::String(more))) =
                (last.get_mut(key), piece.get(key))
            {
                have.push_str(more);
                piece.remove(key);
            }
        }
        last.extend(piece.into_iter().filter(|(_, value)| !value.is_null()));
    }

    /// Half of the entries are of no use to anyone: what is too large is left behind whole.
    pub(crate) fn is_too_large(&self) -> bool {
        self.bytes > LUGGAGE_BYTES_MAX
    }

    /// The entries for a block whose thinking went into `seal`; `empty` is one without any.
    pub(super) fn pack(self, seal: &Seal, empty: &Seal) -> Vec<Box<RawValue>> {
        let mut texts = empty.clone();
        self.entries
            .iter()
            .filter_map(text)
            .for_each(|text| texts.update(text));
        let is_shown = texts.is_same(seal);
        let entries = self.entries.into_iter().filter_map(|mut entry| {
            if is_shown && let Some(key) = text_key(&entry) {
                let length = text(&entry).map_or(0, str::len);
                entry.insert(key.to_owned(), Value::from(length));
            }
            RawValue::from_string(Value::Object(entry).to_string()).ok()
        });
        entries.collect()
    }
}

/// The entries as they were, with their texts taken from the thinking.
pub(super) fn unpack(packed: Vec<Box<RawValue>>, thinking: &str) -> Vec<Box<RawValue>> {
    let mut rest = thinking;
    let entries = packed.into_iter().map(|raw| {
        let Ok(Value::Object(mut entry)) = serde_json::from_str(raw.get()) else {
            return raw;
        };
        for key in TEXT_KEYS {
            let Some(length) = entry.get(key).and_then(Value::as_u64) else {
                continue;
            };
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let (text, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
            rest = behind;
            entry.insert(key.to_owned(), Value::from(text));
        }
        RawValue::from_string(Value::Object(entry).to_string()).unwrap_or(raw)
    });
    entries.collect()
}

/// The keys whose values come in pieces.
const TEXT_KEYS: [&str; 2] = ["text", "summary"];

fn text_key(entry: &Map<String, Value>) -> Option<&'static str> {
    TEXT_KEYS
        .into_iter()
        .find(|key| entry.get(*key).is_some_and(Value::is_string))
}

fn text(entry: &Map<String, Value>) -> Option<&str> {
    entry.get(text_key(entry)?)?.as_str()
}

#[cfg(test)]
mod tests {
    use super::super::{Luggage, Signer, open};
    use super::*;

    fn round_trip(pieces: &[&str], thinking: &str) -> (String, Vec<String>) {
        let mut luggage = Luggage::default();
        for piece in pieces {
            luggage
                .details
                .push(&RawValue::from_string((*piece).to_owned()).unwrap());
        }
        let signer = Signer::new("acme", "m");
        let mut seal = signer.seal();
        seal.update(thinking);
        let signature = signer.sign(seal, luggage);
        let details = open(&signature, thinking).unwrap().details;
        (
            signature,
            details.iter().map(|raw| raw.get().to_owned()).collect(),
        )
    }

    const PIECES: [&str; 4] = [
        r#"{"format":"f","index":0,"text":"one ","type":"reasoning.text"}"#,
        r#"{"format":"f","index":0,"text":"two","type":"reasoning.text"}"#,
        r#"{"index":0,"signature":"sig","type":"reasoning.text"}"#,
        r#"{"data":"gAAA","index":1,"type":"reasoning.encrypted"}"#,
    ];
    const WHOLE: [&str; 2] = [
        r#"{"format":"f","index":0,"signature":"sig","text":"one two","type":"reasoning.text"}"#,
        PIECES[3],
    ];

    #[test]
    fn pieces_come_back_as_whole_entries() {
        let (short, details) = round_trip(&PIECES, "one two");
        assert_eq!(details, WHOLE);
        // A summary of it is shown: the texts travel with the signature.
        let (long, details) = round_trip(&PIECES, "in short");
        assert_eq!(details, WHOLE);
        assert!(short.len() < long.len(), "texts that are shown are not packed");
    }

    #[test]
    fn what_is_too_large_is_left_behind_whole() {
        let huge = format!(
            r#"{{"type":"reasoning.encrypted","data":"{}"}}"#,
            "x".repeat(LUGGAGE_BYTES_MAX)
        );
        let (_, details) = round_trip(&[PIECES[0], &huge, PIECES[3]], "one ");
        assert!(details.is_empty());
    }
}
