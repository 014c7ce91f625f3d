//! Things as the audit log tells them: JSON, every field by name, secrets as `***`. What is
//! configured comes in the words of `provider.json`; who may sign in and what is held for a
//! while come from here.

mod account;
mod fleet;
mod held;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::domain::audit::{SUMMARY_BYTES_MAX, Summary};

pub(crate) use account::{service_token, session, user};
pub(crate) use fleet::{fleet_node, join_token};
pub(crate) use held::breaker_override;

/// A thing by its fields.
pub(crate) type Document = Map<String, Value>;

/// What the audit log keeps of a thing. Fields for which it has no room are told by
/// their length and hash, the longest first.
pub(crate) fn summary(mut document: Document) -> Summary {
    let mut text = written(&document);
    while text.len() > SUMMARY_BYTES_MAX {
        let lengths = document
            .iter()
            .map(|(name, value)| (value.to_string().len(), name));
        let Some((bytes, longest)) = lengths.max().map(|(bytes, name)| (bytes, name.clone())) else {
            break;
        };
        let told = document.get(&longest).map(|value| abridged(value, bytes));
        let told = told.filter(|told| told.to_string().len() < bytes);
        if told.and_then(|told| document.insert(longest, told)).is_none() {
            break;
        }
        text = written(&document);
    }
    Summary::new(text)
}

fn written(document: &Document) -> String {
    serde_json::to_string(document).unwrap_or_default()
}

fn abridged(value: &Value, bytes: usize) -> Value {
    let hash = Sha256::digest(value.to_string());
    let start: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{bytes} bytes, SHA-256 {start}…").into()
}

/// A thing about which there is no more to say than a sentence.
pub(crate) fn note(text: &str) -> Document {
    document([("note", text.into())])
}

fn document<const N: usize>(fields: [(&str, Value); N]) -> Document {
    let fields = fields.into_iter();
    fields.map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The same without what was not chosen.
fn chosen<const N: usize>(fields: [(&str, Value); N]) -> Document {
    let mut document = document(fields);
    document.retain(|_, value| !value.is_null());
    document
}

/// Whole seconds since 1970.
fn seconds(at: std::time::SystemTime) -> Value {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    since.as_secs().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_that_would_be_too_long_is_still_json_and_says_that_something_differs() {
        let with = |filler: &str| {
            let long: Vec<String> = (0..500).map(|n| format!("{filler}-{n}")).collect();
            summary(document([("name", "qwen".into()), ("models", long.into())]))
        };
        let said = with("model");
        let read: Document = serde_json::from_str(said.as_str()).unwrap();
        assert!(said.as_str().len() <= SUMMARY_BYTES_MAX);
        assert_eq!(read["name"], "qwen");
        assert!(
            read["models"].as_str().unwrap().contains("bytes, SHA-256"),
            "{said:?}"
        );
        assert_ne!(said, with("nodel"));
        let short = summary(note("first start"));
        assert_eq!(short.as_str(), r#"{"note":"first start"}"#);
    }
}
