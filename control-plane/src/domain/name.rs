//! Names of providers and models, and patterns over the latter: what things of
//! several kinds refer to each other by.

use std::fmt;

use super::Invalid;

/// Longest name of a provider, in bytes.
const PROVIDER_BYTES_MAX: usize = 64;
/// Longest name of a model or pattern, in bytes.
const MODEL_BYTES_MAX: usize = 128;

/// What a provider is called, everywhere and for good: 1–64 of [a-z0-9._-].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderName(String);

impl ProviderName {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_plain = text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
        if text.is_empty() || text.len() > PROVIDER_BYTES_MAX || !is_plain {
            return Err(Invalid::new(format!(
                "must be 1 to {PROVIDER_BYTES_MAX} of [a-z0-9._-]"
            )));
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProviderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn check_model_text(text: &str) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::new("must not be empty"));
    }
    if text.len() > MODEL_BYTES_MAX {
        return Err(Invalid::new(format!("must have at most {MODEL_BYTES_MAX} bytes")));
    }
    if text
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || matches!(c, '"' | '\\'))
    {
        return Err(Invalid::new("must have no white space, quotes or backslashes"));
    }
    Ok(())
}

/// An upstream's name of a model, taken as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

impl ModelName {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        check_model_text(text)?;
        if text.contains('*') {
            return Err(Invalid::new("must be the name of one model, without `*`"));
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A client's name of a model, in which `*` stands for any run of characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelPattern(String);

impl ModelPattern {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        check_model_text(text)?;
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_are_taken_as_they_are() {
        for good in ["qwen-max", "Qwen/Qwen3-8B", "@cf/meta/llama:free", "模型-1"] {
            assert_eq!(ModelName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a*", "a\"b", "a\\b"] {
            assert!(ModelName::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ModelPattern::parse("claude-*").is_ok());
    }
}
