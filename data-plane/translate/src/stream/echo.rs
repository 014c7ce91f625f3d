//! Cuts a prefill off the answer's start if the upstream repeats it.

/// Compares the first text of an answer with what the client wrote itself.
#[derive(Debug)]
pub(super) struct Echo {
    expected: Option<String>,
    /// So much of it has come and is held back, in bytes.
    held: usize,
}

impl Echo {
    pub(super) fn new(prefill: Option<&str>) -> Self {
        Echo {
            expected: prefill.filter(|text| !text.is_empty()).map(str::to_owned),
            held: 0,
        }
    }

    /// Whether nothing is left to compare, so that text may pass untouched.
    pub(super) fn is_decided(&self) -> bool {
        self.expected.is_none()
    }

    /// The text that is to be written, once that can be told.
    pub(super) fn push(&mut self, text: &str) -> Option<String> {
        let Some((held, missing)) = self.split() else {
            return Some(text.to_owned());
        };
        if missing.len() > text.len() && missing.starts_with(text) {
            self.held += text.len();
            return None;
        }
        let told = text
            .strip_prefix(missing)
            .map_or_else(|| format!("{held}{text}"), str::to_owned);
        self.expected = None;
        Some(told)
    }

    /// What was held back when the answer ended too early to tell.
    pub(super) fn finish(&mut self) -> Option<String> {
        let held = self.split().map(|(held, _)| held.to_owned());
        self.expected = None;
        held.filter(|held| !held.is_empty())
    }

    /// What has come of the expected text, and what is missing.
    fn split(&self) -> Option<(&str, &str)> {
        self.expected.as_deref()?.split_at_checked(self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_repetition_is_cut() {
        let mut echo = Echo::new(Some("{\"a\":"));
        assert_eq!(echo.push("{\"a"), None);
        assert_eq!(echo.push("\": 1}").as_deref(), Some(" 1}"));
        assert!(echo.is_decided());
        let mut other = Echo::new(Some("abc"));
        assert_eq!(other.push("ab"), None);
        assert_eq!(other.push("x").as_deref(), Some("abx"));
        let mut short = Echo::new(Some("abc"));
        assert_eq!(short.push("a"), None);
        assert_eq!(short.finish().as_deref(), Some("a"));
    }
}
