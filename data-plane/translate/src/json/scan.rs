//! Watches a JSON text that arrives in pieces and tells when it is complete.

/// The state between two pieces. Only objects and arrays can be seen to be complete:
/// a bare number may always go on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scan {
    depth: u32,
    started: bool,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    pub(crate) fn push(&mut self, piece: &str) {
        for byte in piece.bytes() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.started = true;
                    self.depth = self.depth.saturating_add(1);
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// Every bracket that was opened is closed.
    pub(crate) fn is_complete(&self) -> bool {
        self.started && self.depth == 0 && !self.in_string
    }

    pub(crate) fn is_in_string(&self) -> bool {
        self.in_string
    }
}

/// Whether a text is one complete object or array by its brackets.
pub(crate) fn is_complete(text: &str) -> bool {
    let mut scan = Scan::default();
    scan.push(text);
    scan.is_complete()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completeness_is_seen_over_any_cut() {
        let text = r#"{"a":"}\"{","b":[1,{"c":"\\"}]}"#;
        for cut in 0..text.len() {
            let mut scan = Scan::default();
            scan.push(&text[..cut]);
            assert!(!scan.is_complete(), "{cut}");
            scan.push(&text[cut..]);
            assert!(scan.is_complete(), "{cut}");
        }
        assert!(!is_complete("") && !is_complete("12") && !is_complete("\"{}\""));
    }
}
