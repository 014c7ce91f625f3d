//! Cuts a prefill off the answer's start if the upstream repeats it.

/// Compares the first text of an answer with what the client wrote itself.
#[derive(Debug)]
pub(super) struct Echo {
    expected: Option<String>,
    held: String,
}

impl Echo {
    pub(super) fn new(prefill: Option<&str>) -> Self {
        Echo {
            expected: prefill.filter(|text| !text.is_empty()).map(str::to_owned),
            held: String::new(),
        }
    }

    /// Whether nothing is left to compare, so that text may pass untouched.
    pub(super) fn is_decided(&self) -> bool {
        self.expected.is_none()
    }

    /// The text that is to be written, once that can be told.
    pub(super) fn push(&mut self, text: &str) -> Option<String> {
        self.held.push_str(text);
        let expected = self.expected.as_deref()?;
        if self.held.len() < expected.len() && expected.starts_with(&self.held) {
            return None;
        }
        let held = std::mem::take(&mut self.held);
        let rest = held.strip_prefix(expected).map(str::to_owned);
        self.expected = None;
        Some(rest.unwrap_or(held))
    }

    /// What was held back when the answer ended too early to tell.
    pub(super) fn finish(&mut self) -> Option<String> {
        self.expected = None;
        Some(std::mem::take(&mut self.held)).filter(|held| !held.is_empty())
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
