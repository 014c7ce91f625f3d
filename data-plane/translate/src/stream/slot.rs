//! One tool call while it arrives, and what to make of its arguments in the end.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::json::{Compact, halves::Halves, push_str, scan::Scan};

/// Key under which arguments that are no JSON are handed to the client.
const INVALID_KEY: &str = "__invalid_json";

/// How a block ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    Whole,
    /// The output limit cut the answer off: what is missing must not be guessed.
    Truncated,
}

/// One tool call of the upstream.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) index: Option<u64>,
    pub(super) id: Option<String>,
    /// The id that the client knows, once its block has begun.
    pub(super) client_id: Option<String>,
    /// What the upstream wants back with the call and has not been sealed yet.
    pub(super) extra: Option<Box<RawValue>>,
    pub(super) name: String,
    pub(super) stage: Stage,
    /// Arguments that were not written yet.
    pub(super) pending: String,
    pub(super) scan: Scan,
    pub(super) halves: Halves,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Stage {
    /// A block needs a name; it may come late.
    #[default]
    Nameless,
    Queued,
    Live {
        has_written: bool,
    },
    Closed,
    /// A second call where the client allowed one.
    Refused,
}

/// Arguments as one JSON object, whatever came.
pub(crate) fn whole_arguments(raw: &str, closing: Closing) -> Cow<'_, str> {
    let text = raw.trim();
    if text.is_empty() {
        return Cow::Borrowed("{}");
    }
    if is_json(text) {
        let compact = Compact(text);
        return Cow::Owned(if text.starts_with('{') {
            compact.to_string()
        } else {
            format!("{{\"value\":{compact}}}")
        });
    }
    if let Some(repaired) = repair(text, closing) {
        return Cow::Owned(Compact(&repaired).to_string());
    }
    let mut invalid = b"{".to_vec();
    push_str(&mut invalid, INVALID_KEY);
    invalid.push(b':');
    push_str(&mut invalid, raw);
    invalid.push(b'}');
    Cow::Owned(String::from_utf8_lossy(&invalid).into_owned())
}

/// One try: without a code fence, the first balanced object, or with its ends closed.
fn repair(text: &str, closing: Closing) -> Option<String> {
    let start = text.find('{')?;
    let object = text.get(start..)?;
    let mut scan = Scan::default();
    let mut closers = Vec::new();
    for (at, c) in object.char_indices() {
        let was_in_string = scan.is_in_string();
        scan.push(c.encode_utf8(&mut [0; 4]));
        if was_in_string {
            continue;
        }
        match c {
            '{' => closers.push('}'),
            '[' => closers.push(']'),
            '}' | ']' => {
                closers.pop();
            }
            _ => {}
        }
        if scan.is_complete() {
            return object
                .get(..=at)
                .filter(|object| is_json(object))
                .map(str::to_owned);
        }
    }
    if closing == Closing::Truncated {
        return None;
    }
    let mut closed = object.trim_end().trim_end_matches("```").to_owned();
    if scan.is_in_string() {
        closed.push('"');
    }
    closed.extend(closers.into_iter().rev());
    is_json(&closed).then_some(closed)
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(raw: &str, object: &str) {
        assert_eq!(whole_arguments(raw, Closing::Whole), object, "{raw}");
        let parsed: serde_json::Value = serde_json::from_str(&whole_arguments(raw, Closing::Whole)).unwrap();
        assert!(parsed.is_object());
    }

    #[test]
    fn d06_arguments_always_become_an_object() {
        check("", "{}");
        check("  \n", "{}");
        check(r#" {"z": 1, "a": "x y"} "#, r#"{"z":1,"a":"x y"}"#);
        check("[1]", r#"{"value":[1]}"#);
        check("\"x\"", r#"{"value":"x"}"#);
        check("```json\n{\"a\":1}\n```", r#"{"a":1}"#);
        check(r#"{"a":1}{"b":2}"#, r#"{"a":1}"#);
        check(r#"{"a":[1,{"b":"cut"#, r#"{"a":[1,{"b":"cut"}]}"#);
        check("not json", r#"{"__invalid_json":"not json"}"#);
    }

    #[test]
    fn truncated_arguments_are_not_completed() {
        assert_eq!(
            whole_arguments(r#"{"a":"cu"#, Closing::Truncated),
            r#"{"__invalid_json":"{\"a\":\"cu"}"#
        );
    }
}
