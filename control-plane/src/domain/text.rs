//! Texts that people type: names and addresses.

use std::fmt;

use super::Invalid;

/// Longest name of a user or key, in characters.
const DISPLAY_NAME_CHARS_MAX: usize = 120;
/// Longest e-mail address, in bytes.
const EMAIL_BYTES_MAX: usize = 254;

/// A name that people read: 1–120 characters on one line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DisplayName(String);

impl DisplayName {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim();
        if text.is_empty() {
            return Err(Invalid::new("must not be empty"));
        }
        if text.chars().count() > DISPLAY_NAME_CHARS_MAX {
            return Err(Invalid::new(format!(
                "must have at most {DISPLAY_NAME_CHARS_MAX} characters"
            )));
        }
        if text.chars().any(char::is_control) {
            return Err(Invalid::new("must be one line without control characters"));
        }
        Ok(Self(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An e-mail address in lower case. Only its rough shape is checked: nothing is
/// ever sent to it, it is a name to sign in with.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Email(String);

impl Email {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let text = text.trim().to_lowercase();
        if text.len() > EMAIL_BYTES_MAX {
            return Err(Invalid::new(format!("must have at most {EMAIL_BYTES_MAX} bytes")));
        }
        let is_clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
        match text.split_once('@') {
            Some((local, host))
                if is_clean && !local.is_empty() && !host.is_empty() && !host.contains('@') =>
            {
                Ok(Self(text))
            }
            Some(_) | None => Err(Invalid::new("must be an e-mail address")),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DisplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_email_is_lower_case_and_has_two_sides() {
        assert_eq!(
            Email::parse(" Ann@Example.COM ").unwrap().as_str(),
            "ann@example.com"
        );
        for bad in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "a b@example.com",
            "a@b@c",
            "a@b\nc",
        ] {
            assert!(Email::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Email::parse(&format!("{}@example.com", "a".repeat(300))).is_err());
    }

    #[test]
    fn a_display_name_is_one_line_of_bounded_length() {
        assert_eq!(DisplayName::parse("  Ann Lee ").unwrap().as_str(), "Ann Lee");
        assert!(DisplayName::parse(&"é".repeat(DISPLAY_NAME_CHARS_MAX)).is_ok());
        assert!(DisplayName::parse(&"é".repeat(DISPLAY_NAME_CHARS_MAX + 1)).is_err());
        assert!(DisplayName::parse("a\nb").is_err());
        assert!(DisplayName::parse("   ").is_err());
    }
}
