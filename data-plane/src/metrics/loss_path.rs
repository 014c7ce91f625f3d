//! Paths of losses as labels: few, whatever clients send.
//!
//! A path names a place in the client's request. Positions and names that a client made up
//! are taken out, and once there are too many labels in spite of that, new ones are "other".

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

/// Labels that are told apart.
const LABELS_MAX: usize = 100;
const SEGMENTS_MAX: usize = 8;
const SEGMENT_CHARS_MAX: usize = 40;
const OTHER: &str = "other";
const ANY: &str = "*";
/// What a request of the Messages API has at its top.
const FIELDS: [&str; 27] = [
    "billing_policy",
    "cache_control",
    "compaction",
    "container",
    "context_management",
    "diagnostics",
    "fallbacks",
    "inference_geo",
    "max_tokens",
    "mcp_servers",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "thread",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

/// The labels in use.
#[derive(Debug, Default)]
pub(crate) struct Labels(Mutex<HashSet<String>>);

impl Labels {
    /// `messages.2.content.0.document` is counted as `messages.*.content.*.document`.
    pub(crate) fn of(&self, path: &str) -> String {
        let label = without_positions(path);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(&label) {
            return label;
        }
        if known.len() >= LABELS_MAX {
            return OTHER.to_owned();
        }
        known.insert(label.clone());
        label
    }
}

fn without_positions(path: &str) -> String {
    let mut segments = path.split('.');
    let root = segments.next().unwrap_or_default();
    if !FIELDS.contains(&root) {
        return OTHER.to_owned();
    }
    let mut label = root.to_owned();
    for segment in segments.take(SEGMENTS_MAX) {
        label.push('.');
        label.push_str(if is_word(segment) { segment } else { ANY });
    }
    label
}

fn is_word(segment: &str) -> bool {
    let is_snake = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    segment.len() <= SEGMENT_CHARS_MAX
        && segment.starts_with(|c: char| c.is_ascii_lowercase())
        && segment.bytes().all(is_snake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_made_up_names_are_no_labels() {
        let labels = Labels::default();
        for (path, label) in [
            ("top_k", "top_k"),
            ("thinking.display", "thinking.display"),
            ("messages.2.content.0.document", "messages.*.content.*.document"),
            ("tools.3.My Tool", "tools.*.*"),
            ("my_own_field", "other"),
            ("", "other"),
        ] {
            assert_eq!(labels.of(path), label, "{path}");
        }
        assert_eq!(
            without_positions(&format!("tools{}", ".a".repeat(99))).len(),
            5 + 2 * SEGMENTS_MAX
        );
    }

    #[test]
    fn there_are_never_too_many() {
        let labels = Labels::default();
        let seen: HashSet<_> = (0..10 * LABELS_MAX)
            .map(|n| labels.of(&format!("messages.0.kind_{n}")))
            .collect();
        assert_eq!(seen.len(), LABELS_MAX + 1);
        assert_eq!(labels.of("messages.1.kind_0"), "messages.*.kind_0");
        assert_eq!(labels.of("top_k"), OTHER);
    }
}
