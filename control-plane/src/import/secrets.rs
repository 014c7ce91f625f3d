//! What a file says of a provider's secrets. It may leave them to what is there: by
//! saying nothing, or `***` as exported files do.

use secrecy::SecretString;
use serde_json::Value;

use super::{object::Object, variables::Variables, without_mark};
use crate::domain::{
    Violations,
    provider::{HeaderName, SecretsDraft},
};

/// What stands for a secret that the file does not hold.
pub const MASK: &str = "***";

const API_KEY: &str = "api_key";
const HEADERS: &str = "custom_headers";
const PROVIDERS: &str = "providers";

/// How a file mentions a secret.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mention {
    #[default]
    Absent,
    Masked,
    /// A new one, or none if it is empty.
    Given,
}

/// What the file leaves to what is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kept {
    pub api_key: Mention,
    /// Whether the file names headers at all; otherwise all stay.
    pub has_headers: bool,
    /// Headers that are `***` in it.
    pub masked_headers: Vec<HeaderName>,
}

impl Kept {
    #[must_use]
    pub fn is_masked(&self) -> bool {
        self.api_key == Mention::Masked || !self.masked_headers.is_empty()
    }
}

pub(super) fn read(
    provider: &mut Object,
    variables: &mut Variables<'_>,
    violations: &mut Violations,
) -> (SecretsDraft, Kept) {
    let mut kept = Kept::default();
    let mut draft = SecretsDraft::default();
    if let Some(text) = provider.text(API_KEY, violations) {
        if text == MASK {
            kept.api_key = Mention::Masked;
        } else if let Some(api_key) = variables.resolved(&text) {
            kept.api_key = Mention::Given;
            draft.api_key = api_key.into();
        }
    }
    let Some(value) = provider.take(HEADERS) else {
        return (draft, kept);
    };
    kept.has_headers = true;
    let path = format!("{}.{HEADERS}", provider.path());
    let Some(mut headers) = Object::of(path.clone(), value, violations) else {
        return (draft, kept);
    };
    for name in headers.names() {
        let Some(text) = headers.text(&name, violations) else {
            continue;
        };
        if text == MASK {
            let name = violations.check(format!("{path}.{name}"), HeaderName::parse(&name));
            kept.masked_headers.extend(name);
        } else {
            let value: SecretString = variables.resolve(&text).into();
            draft.custom_headers.push((name, value));
        }
    }
    (draft, kept)
}

/// The file with `***` for every secret in it; as it is, if it is no such file.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let Ok(mut file) = serde_json::from_str::<Value>(without_mark(text)) else {
        return text.to_owned();
    };
    let providers = file.get_mut(PROVIDERS).and_then(Value::as_array_mut);
    for provider in providers.into_iter().flatten() {
        if let Some(api_key) = provider.get_mut(API_KEY) {
            *api_key = MASK.into();
        }
        let headers = provider.get_mut(HEADERS).and_then(Value::as_object_mut);
        for (_, header) in headers.into_iter().flatten() {
            *header = MASK.into();
        }
    }
    file.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_its_secrets_is_still_the_file() {
        let text =
            r#"{"providers":[{"name":"a","api_key":"canary","custom_headers":{"x":"canary"}},7],"b":1}"#;
        let expected = r#"{"b":1,"providers":[{"api_key":"***","custom_headers":{"x":"***"},"name":"a"},7]}"#;
        let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(read(&without_secrets(text)), read(expected));
        assert_eq!(without_secrets("no file"), "no file");
        let marked = without_secrets(&format!("\u{feff}{text}"));
        assert_eq!(read(&marked), read(expected), "editors begin files so");
    }
}
