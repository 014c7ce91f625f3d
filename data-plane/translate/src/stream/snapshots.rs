//! Servers that send everything so far where only what is new belongs: in each chunk, or
//! once more as a whole message at the end.
//!
//! A chunk that begins with all that was said before it is suspicious but no proof (`ha`,
//! `haha`), so that it waits for the next one. Other streams, which are nearly all, never
//! wait: their second chunk decides.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hasher as _};

/// Texts up to this length may well begin with the one before by chance, in bytes.
const CHANCE_BYTES_MAX: usize = 12;
/// A first chunk below this says nothing about a second and last one, in bytes.
const FIRST_BYTES_MIN: usize = 4;
/// Short chunks that wait longer than this say the same again and again, in bytes.
const WAITING_BYTES_MAX: usize = 64;
/// What is kept for comparison, in bytes.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One kind of text of a stream.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    /// Everything that was let through, unless it comes in pieces: an open stream must not
    /// cost more memory the longer it lasts.
    so_far: String,
    /// The same, as much as a whole message needs to be told from a new one.
    said: Said,
    mode: Mode,
}

/// A text that is known by its length and its hash.
#[derive(Debug, Default)]
struct Said {
    bytes: usize,
    hash: DefaultHasher,
}

#[derive(Debug, Default)]
enum Mode {
    #[default]
    Unknown,
    /// The last chunk begins with all so far, and is longer.
    Suspicious {
        last: String,
        /// All chunks since, for the case that they were pieces after all.
        waiting: String,
    },
    Pieces,
    Snapshots,
}

impl Snapshots {
    /// What is new in a chunk; nothing while that is not sure.
    pub(super) fn piece<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let extends = |shorter: &str| text.len() > shorter.len() && text.starts_with(shorter);
        let (mode, new) = match std::mem::take(&mut self.mode) {
            Mode::Unknown if self.so_far.is_empty() => (Mode::Unknown, Cow::Borrowed(text)),
            Mode::Unknown if extends(&self.so_far) => {
                let (last, waiting) = (text.to_owned(), text.to_owned());
                (Mode::Suspicious { last, waiting }, Cow::Borrowed(""))
            }
            Mode::Suspicious { last, waiting: _ }
                if (last == text || extends(&last)) && text.len() > CHANCE_BYTES_MAX =>
            {
                (Mode::Snapshots, self.rest(text))
            }
            Mode::Suspicious { last, waiting }
                if (last == text || extends(&last)) && waiting.len() <= WAITING_BYTES_MAX =>
            {
                let (last, waiting) = (text.to_owned(), waiting + text);
                (Mode::Suspicious { last, waiting }, Cow::Borrowed(""))
            }
            Mode::Suspicious { last: _, waiting } => (Mode::Pieces, Cow::Owned(waiting + text)),
            Mode::Snapshots if self.so_far.starts_with(text) => (Mode::Snapshots, Cow::Borrowed("")),
            Mode::Snapshots if extends(&self.so_far) => (Mode::Snapshots, self.rest(text)),
            Mode::Unknown | Mode::Pieces | Mode::Snapshots => (Mode::Pieces, Cow::Borrowed(text)),
        };
        self.mode = mode;
        self.keep(&new);
        new
    }

    /// What is new in a whole message.
    pub(super) fn whole<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        if self.said.bytes == 0 || !self.said.begins(text) {
            return self.piece(text);
        }
        if let Mode::Suspicious { .. } = &self.mode {
            // What waits is part of the whole.
            self.mode = Mode::Snapshots;
        }
        let new = self.rest(text);
        self.keep(&new);
        new
    }

    /// What waited when something else comes, or the end.
    pub(super) fn flush(&mut self) -> Option<String> {
        let Mode::Suspicious { last, waiting } = &mut self.mode else {
            return None;
        };
        let (last, waiting) = (std::mem::take(last), std::mem::take(waiting));
        let is_snapshot = self.said.bytes >= FIRST_BYTES_MIN;
        let new = if is_snapshot {
            self.rest(&last).into_owned()
        } else {
            waiting
        };
        self.mode = if is_snapshot {
            Mode::Snapshots
        } else {
            Mode::Pieces
        };
        self.keep(&new);
        Some(new)
    }

    pub(super) fn kept_bytes(&self) -> usize {
        self.so_far.capacity()
    }

    fn rest<'t>(&self, text: &'t str) -> Cow<'t, str> {
        Cow::Borrowed(text.get(self.said.bytes..).unwrap_or_default())
    }

    fn keep(&mut self, new: &str) {
        self.said.add(new);
        if self.said.bytes > KEPT_BYTES_MAX {
            // Too long to compare: from here on everything is taken as new.
            self.mode = Mode::Pieces;
        }
        match self.mode {
            Mode::Pieces => self.so_far = String::new(),
            Mode::Unknown | Mode::Suspicious { .. } | Mode::Snapshots => self.so_far.push_str(new),
        }
    }
}

impl Said {
    fn add(&mut self, text: &str) {
        self.bytes += text.len();
        self.hash.write(text.as_bytes());
    }

    /// Whether `text` begins with it.
    fn begins(&self, text: &str) -> bool {
        let mut same = Self::default();
        text.get(..self.bytes).is_some_and(|beginning| {
            same.add(beginning);
            same.hash.finish() == self.hash.finish()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&str], expect: &[&str]) {
        let mut snapshots = Snapshots::default();
        let mut told: Vec<String> = pieces
            .iter()
            .map(|piece| snapshots.piece(piece).into_owned())
            .collect();
        told.extend(snapshots.flush());
        told.retain(|text| !text.is_empty());
        assert_eq!(told, expect, "{pieces:?}");
    }

    #[test]
    fn pieces_pass_as_they_come() {
        check(&["The", " user", " asks"], &["The", " user", " asks"]);
        check(&["-", "-", "-"], &["-", "-", "-"]);
        check(&["a", "and", " so"], &["a", "and so"]);
        check(&["ha", "haha"], &["ha", "haha"]);
        check(&["1", "10", "100"], &["1", "10100"]);
        check(&["1", "10", "100", " x"], &["1", "10100 x"]);
        check(&["\n", "\n\n", "\n\n", "x"], &["\n", "\n\n\n\nx"]);
        check(&["ha", "haha", "hahaha", "!"], &["ha", "hahahahaha!"]);
        let mut again = vec!["a"];
        again.extend(["ab"; 100]);
        let mut snapshots = Snapshots::default();
        let told: String = again.iter().map(|piece| snapshots.piece(piece)).collect();
        assert_eq!(told, again.concat(), "what says the same for long does not wait");
    }

    #[test]
    fn of_snapshots_only_the_new_passes() {
        check(
            &[
                "The",
                "The user",
                "The user asks",
                "The user asks",
                "The user asks me",
            ],
            &["The", " user asks", " me"],
        );
        check(&["Hello", "Hello you"], &["Hello", " you"]);
        check(
            &["A", "A long text", "A long text of a server"],
            &["A", " long text of a server"],
        );
    }

    #[test]
    fn pieces_are_not_kept_and_yet_told_from_a_whole_message() {
        let mut snapshots = Snapshots::default();
        let mut said = String::new();
        for number in 0..10_000 {
            // Lengths that fill no block of a hash.
            let piece = format!("{number} and so on, ");
            said.push_str(&snapshots.piece(&piece));
        }
        assert!(snapshots.so_far.capacity() < 1000);
        assert_eq!(snapshots.whole(&format!("{said}and the end")), "and the end");
        let other = said.replacen('0', "O", 1);
        assert_eq!(snapshots.whole(&other), other);
    }

    #[test]
    fn a_whole_message_behind_its_pieces_is_no_news() {
        let mut snapshots = Snapshots::default();
        assert_eq!(snapshots.piece("Hel"), "Hel");
        assert_eq!(snapshots.piece("lo"), "lo");
        assert_eq!(snapshots.whole("Hello"), "");
        assert_eq!(snapshots.whole("Hello!"), "!");
        assert_eq!(snapshots.whole("Other"), "Other");
        let mut snapshots = Snapshots::default();
        assert_eq!(snapshots.piece("1"), "1");
        assert_eq!(snapshots.piece("10"), "");
        assert_eq!(snapshots.whole("110"), "10");
        assert_eq!(snapshots.flush(), None);
    }
}
