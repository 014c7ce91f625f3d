//! What translation could not carry over.
//!
//! A list of paths into the client's request with the reason, in the order they were
//! met. The caller puts it into `x-bridge-loss`, the log and the metrics.

/// Longest header value in bytes, the closing dots included.
const HEADER_BYTES_MAX: usize = 1024;
const MORE: &str = "...";
/// More losses than anyone reads are not kept: a request may have a million odd blocks.
const LOSSES_MAX: usize = 256;

/// One thing that was dropped or weakened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// Path into the client's request: `top_k`, `messages.2.content.0.document`.
    pub path: String,
    /// Why, for people.
    pub reason: &'static str,
}

/// Everything that was lost on the way, up to a limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LossList(Vec<Loss>);

impl LossList {
    pub(crate) fn add(&mut self, path: impl Into<String>, reason: &'static str) {
        let path = path.into();
        if self.0.len() < LOSSES_MAX && !self.0.iter().any(|loss| loss.path == path) {
            self.0.push(Loss { path, reason });
        }
    }

    /// Adds what was lost elsewhere.
    pub fn extend(&mut self, other: LossList) {
        for Loss { path, reason } in other.0 {
            self.add(path, reason);
        }
    }

    /// Whether nothing was lost.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The losses in the order they were met.
    pub fn iter(&self) -> impl Iterator<Item = &Loss> {
        self.0.iter()
    }

    /// The value of `x-bridge-loss`; none if nothing was lost.
    pub fn header(&self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        let mut text = String::new();
        for loss in &self.0 {
            let separator = if text.is_empty() { "" } else { ", " };
            let path: String = loss
                .path
                .chars()
                .map(|c| if c.is_ascii_graphic() && c != ',' { c } else { '?' })
                .collect();
            if text.len() + separator.len() + path.len() + MORE.len() + 2 > HEADER_BYTES_MAX {
                text.push_str(separator);
                text.push_str(MORE);
                break;
            }
            text.push_str(separator);
            text.push_str(&path);
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_ascii_and_bounded() {
        let mut list = LossList::default();
        assert_eq!(list.header(), None);
        list.add("thinking.display", "");
        list.add("top_k", "");
        list.add("top_k", "");
        assert_eq!(list.header().unwrap(), "thinking.display, top_k");
        list.add("fr\u{e9}d\r\n", "");
        assert_eq!(list.header().unwrap(), "thinking.display, top_k, fr?d??");
        for n in 0..200 {
            list.add(format!("messages.{n}.content.0.document"), "");
        }
        let header = list.header().unwrap();
        assert!(
            header.len() <= HEADER_BYTES_MAX && header.ends_with(", ..."),
            "{header}"
        );
    }
}
