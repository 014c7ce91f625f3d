//! What an admin has merged into requests to an upstream: a JSON object.

use serde_json::{Map, Value};

use super::{Invalid, knobs::OBJECT_BYTES_MAX};

/// Fields that decide who answers, how the answer is read, and what it may cost.
const OWN_FIELDS: [&str; 9] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "n",
    "tools",
    "tool_choice",
    "max_tokens",
    "max_completion_tokens",
];

pub(super) fn check(text: &str) -> Result<(), Invalid> {
    if text.len() > OBJECT_BYTES_MAX {
        return Err(Invalid::new(format!(
            "must have at most {OBJECT_BYTES_MAX} bytes"
        )));
    }
    let fields: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| Invalid::new("must be a JSON object"))?;
    let own: Vec<_> = OWN_FIELDS
        .into_iter()
        .filter(|name| fields.contains_key(*name))
        .collect();
    if own.is_empty() {
        Ok(())
    } else {
        Err(Invalid::new(format!(
            "must not set {}: the bridge decides about that",
            own.join(", ")
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_without_our_fields_is_taken() {
        assert_eq!(
            check(r#"{"tool_stream": true, "provider": {"order": ["a"]}}"#),
            Ok(())
        );
        for bad in ["", "[]", "7", r#"{"a": }"#, r#"{"a": 1} {}"#] {
            assert_eq!(check(bad), Err(Invalid::new("must be a JSON object")), "{bad}");
        }
        assert_eq!(
            check(r#"{"stream": false, "model": "x"}"#),
            Err(Invalid::new(
                "must not set model, stream: the bridge decides about that"
            ))
        );
        let long = format!(r#"{{"a": "{}"}}"#, "x".repeat(OBJECT_BYTES_MAX));
        assert!(check(&long).is_err());
    }
}
