//! The secret parts of a provider: in the clear for a moment, sealed for good.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

use super::{FieldViolation, Invalid, Violations};

/// Longest API key of a provider, in bytes.
const API_KEY_BYTES_MAX: usize = 2 * 1024;
/// Most custom headers of a provider.
const HEADERS_MAX: usize = 8;
/// Longest name of a custom header, in bytes.
const HEADER_NAME_BYTES_MAX: usize = 64;
/// Values of all custom headers together, in bytes.
const HEADER_VALUES_BYTES_MAX: usize = 2 * 1024;
/// A hint is shown only of keys at least this long, in bytes.
const HINTED_KEY_BYTES_MIN: usize = 16;
/// Characters of a hint.
const HINT_CHARS: usize = 4;

/// Headers that frame a message or belong to one connection.
const REFUSED_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
];

/// The name of a header that an admin may set, in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeaderName(String);

impl HeaderName {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let name = text.to_ascii_lowercase();
        let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || name.len() > HEADER_NAME_BYTES_MAX || !name.bytes().all(is_token) {
            return Err(Invalid::new(format!(
                "must be the name of a header, at most {HEADER_NAME_BYTES_MAX} bytes"
            )));
        }
        if REFUSED_HEADERS.contains(&name.as_str()) {
            return Err(Invalid::new(format!("{name} is set by the bridge itself")));
        }
        Ok(Self(name))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Secrets as somebody writes them, not yet checked.
#[derive(Debug, Default)]
pub struct SecretsDraft {
    /// Empty: the provider needs none.
    pub api_key: SecretString,
    pub custom_headers: Vec<(String, SecretString)>,
}

/// Checked secrets in the clear.
#[derive(Debug, Default)]
pub struct PlainSecrets {
    pub api_key: Option<SecretString>,
    /// Sorted by name, each name once.
    pub custom_headers: Vec<(HeaderName, SecretString)>,
}

impl SecretsDraft {
    /// Violations name headers, never their values.
    pub fn check(self) -> Result<PlainSecrets, Vec<FieldViolation>> {
        let Self {
            api_key,
            custom_headers,
        } = self;
        let mut violations = Violations::default();
        let api_key = Some(api_key.expose_secret().trim())
            .filter(|key| !key.is_empty())
            .map(SecretString::from);
        if let Some(key) = &api_key {
            violations.check("api_key", check_value(key.expose_secret(), API_KEY_BYTES_MAX));
        }
        let values_bytes: usize = custom_headers
            .iter()
            .map(|(_, value)| value.expose_secret().len())
            .sum();
        if custom_headers.len() > HEADERS_MAX || values_bytes > HEADER_VALUES_BYTES_MAX {
            let limits = format!(
                "must be at most {HEADERS_MAX} with values of at most {HEADER_VALUES_BYTES_MAX} bytes together"
            );
            violations.add("custom_headers", limits);
        }
        let mut checked: Vec<(HeaderName, SecretString)> = Vec::with_capacity(custom_headers.len());
        for (name, value) in custom_headers {
            let field = format!("custom_headers.{name}");
            let name = violations.check(&field, HeaderName::parse(&name));
            violations.check(
                &field,
                check_value(value.expose_secret(), HEADER_VALUES_BYTES_MAX),
            );
            checked.extend(name.map(|name| (name, value)));
        }
        checked.sort_by(|(a, _), (b, _)| a.cmp(b));
        for pair in checked.windows(2) {
            if pair[0].0 == pair[1].0 {
                violations.add(format!("custom_headers.{}", pair[0].0), "is given twice");
            }
        }
        violations.finish(Some(PlainSecrets {
            api_key,
            custom_headers: checked,
        }))
    }
}

/// What may stand in a header: visible ASCII, and blanks inside.
fn check_value(value: &str, bytes_max: usize) -> Result<(), Invalid> {
    if value.len() > bytes_max {
        return Err(Invalid::new(format!("must have at most {bytes_max} bytes")));
    }
    if !value.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) || value.trim().len() != value.len() {
        return Err(Invalid::new("must be printable ASCII without blanks at its ends"));
    }
    Ok(())
}

impl PlainSecrets {
    /// The last characters of the API key, if it is long enough to keep the rest.
    #[must_use]
    pub fn api_key_hint(&self) -> String {
        let key = self
            .api_key
            .as_ref()
            .map(SecretString::expose_secret)
            .unwrap_or_default();
        if key.len() < HINTED_KEY_BYTES_MIN {
            String::new()
        } else {
            key[key.len() - HINT_CHARS..].to_owned()
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.api_key.is_none() && self.custom_headers.is_empty()
    }
}

/// One secret, encrypted with the record's own key: nonce and ciphertext.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedField {
    pub field: String,
    pub sealed: Vec<u8>,
}

/// The secrets of one record: its own key, wrapped by the master key, and what is
/// encrypted with it. Only the keyring can read it.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedSecrets {
    /// Which master key wraps.
    pub master_key_id: String,
    pub wrapped_key: Vec<u8>,
    pub fields: Vec<SealedField>,
}

impl fmt::Debug for SealedField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealedField")
            .field("field", &self.field)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for SealedSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            master_key_id,
            wrapped_key: _,
            fields,
        } = self;
        f.debug_struct("SealedSecrets")
            .field("master_key_id", master_key_id)
            .field("fields", fields)
            .finish_non_exhaustive()
    }
}

/// What is kept of a provider's secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// `None`: the provider has no secrets.
    pub sealed: Option<SealedSecrets>,
    pub has_api_key: bool,
    /// The last characters of a long API key, or nothing.
    pub api_key_hint: String,
    pub custom_header_names: Vec<HeaderName>,
}

impl Credentials {
    /// Whether the secrets are the same, by whichever master key they are wrapped: what is
    /// encrypted alike under a key that is as random is the same.
    #[must_use]
    pub fn is_same_secret(&self, other: &Self) -> bool {
        let Self {
            sealed,
            has_api_key,
            api_key_hint,
            custom_header_names,
        } = self;
        let fields = |sealed: &Option<SealedSecrets>| {
            let sealed = sealed.as_ref();
            sealed.map(|sealed| sealed.fields.clone())
        };
        fields(sealed) == fields(&other.sealed)
            && *has_api_key == other.has_api_key
            && *api_key_hint == other.api_key_hint
            && *custom_header_names == other.custom_header_names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(api_key: &str, headers: &[(&str, &str)]) -> Result<PlainSecrets, Vec<String>> {
        let custom_headers = headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), SecretString::from(*value)))
            .collect();
        let draft = SecretsDraft {
            api_key: api_key.into(),
            custom_headers,
        };
        draft
            .check()
            .map_err(|violations| violations.into_iter().map(|violation| violation.field).collect())
    }

    #[test]
    fn headers_are_lower_case_and_sorted() {
        let secrets = check(" key ", &[("X-Team", "a"), ("Authorization", "b c")]).unwrap();
        assert_eq!(secrets.api_key.unwrap().expose_secret(), "key");
        let names: Vec<_> = secrets
            .custom_headers
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["authorization", "x-team"]);
    }

    #[test]
    fn framing_headers_and_split_values_are_refused() {
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "connection",
            "TE",
            "x y",
            "",
        ] {
            assert!(check("", &[(name, "v")]).is_err(), "{name}");
        }
        assert_eq!(
            check("", &[("x-a", "v\r\nHost: evil")]).unwrap_err(),
            ["custom_headers.x-a"]
        );
        assert_eq!(check("k\ney", &[]).unwrap_err(), ["api_key"]);
        assert_eq!(
            check("", &[("X-A", "1"), ("x-a", "2")]).unwrap_err(),
            ["custom_headers.x-a"]
        );
        assert_eq!(
            check(&"k".repeat(API_KEY_BYTES_MAX + 1), &[]).unwrap_err(),
            ["api_key"]
        );
    }

    #[test]
    fn a_hint_is_given_only_of_long_keys() {
        assert_eq!(check("sk-0123456789abcdef", &[]).unwrap().api_key_hint(), "cdef");
        assert_eq!(check("short-key", &[]).unwrap().api_key_hint(), "");
    }
}
