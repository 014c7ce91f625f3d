//! Splits `<think>…</think>` off a text that arrives in pieces.
//!
//! Holds back only what could still become a tag.

use crate::dialect::ThinkTags;

const OPEN: &str = "<think>";
const CLOSE: &str = "</think>";
/// White space before an answer's first word; behind more of it no tag is looked for.
const LEAD_BYTES_MAX: usize = 4 * 1024;

/// A piece of the answer, told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'t> {
    Thinking(&'t str),
    Text(&'t str),
}

#[derive(Debug)]
enum State {
    /// Looking at the start of the answer; holds white space and part of a tag.
    Lead {
        held: String,
        mode: ThinkTags,
    },
    /// Between the tags; holds what could be the start of the closing tag.
    Inside {
        held: String,
    },
    /// Right behind the closing tag, where newlines are dropped.
    Behind,
    Text,
}

#[derive(Debug)]
pub(super) struct Think {
    state: State,
    /// Everything between the tags so far: if the closing tag never comes, it was the answer.
    inside: String,
}

impl Think {
    pub(super) fn new(mode: ThinkTags) -> Self {
        let state = match mode {
            ThinkTags::Off => State::Text,
            ThinkTags::Explicit | ThinkTags::Implicit => State::Lead {
                held: String::new(),
                mode,
            },
        };
        Think {
            state,
            inside: String::new(),
        }
    }

    pub(super) fn push(&mut self, text: &str, emit: &mut impl FnMut(Piece<'_>)) {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Text => {
                if !text.is_empty() {
                    emit(Piece::Text(text));
                }
            }
            State::Lead { mut held, mode } => {
                held.push_str(text);
                self.lead(held, mode, emit);
            }
            State::Inside { mut held } => {
                held.push_str(text);
                self.inside(&held, emit);
            }
            State::Behind => self.behind(text, emit),
        }
    }

    /// How much is kept in case the closing tag never comes.
    pub(super) fn held_bytes(&self) -> usize {
        self.inside.len()
    }

    /// The answer is over. Gives back the thinking of a tag that never closed.
    pub(super) fn finish(&mut self, emit: &mut impl FnMut(Piece<'_>)) -> Option<String> {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Text | State::Behind => return None,
            State::Lead {
                held,
                mode: ThinkTags::Implicit,
            } if !held.is_empty() => {
                emit(Piece::Thinking(&held));
                self.inside.push_str(&held);
            }
            State::Lead { held, mode: _ } => {
                if !held.is_empty() {
                    emit(Piece::Text(&held));
                }
                return None;
            }
            State::Inside { held } => {
                if !held.is_empty() {
                    emit(Piece::Thinking(&held));
                }
                self.inside.push_str(&held);
            }
        }
        Some(std::mem::take(&mut self.inside))
    }

    fn lead(&mut self, held: String, mode: ThinkTags, emit: &mut impl FnMut(Piece<'_>)) {
        let start = held.trim_start();
        if let Some(rest) = start.strip_prefix(OPEN) {
            return self.inside(rest, emit);
        }
        if OPEN.starts_with(start) && held.len() <= LEAD_BYTES_MAX {
            self.state = State::Lead { held, mode };
            return;
        }
        match mode {
            ThinkTags::Implicit => self.inside(&held, emit),
            ThinkTags::Explicit | ThinkTags::Off => emit(Piece::Text(&held)),
        }
    }

    fn inside(&mut self, text: &str, emit: &mut impl FnMut(Piece<'_>)) {
        if let Some((thinking, rest)) = text.split_once(CLOSE) {
            if !thinking.is_empty() {
                emit(Piece::Thinking(thinking));
            }
            self.inside = String::new();
            return self.behind(rest, emit);
        }
        let keep = (1..CLOSE.len())
            .rev()
            .find(|n| CLOSE.get(..*n).is_some_and(|part| text.ends_with(part)))
            .unwrap_or(0);
        let (thinking, held) = text.split_at(text.len() - keep);
        if !thinking.is_empty() {
            emit(Piece::Thinking(thinking));
        }
        self.inside.push_str(thinking);
        self.state = State::Inside {
            held: held.to_owned(),
        };
    }

    fn behind(&mut self, text: &str, emit: &mut impl FnMut(Piece<'_>)) {
        let text = text.trim_start_matches(['\n', '\r']);
        if text.is_empty() {
            self.state = State::Behind;
            return;
        }
        self.state = State::Text;
        emit(Piece::Text(text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mode: ThinkTags, pieces: &[&str]) -> (String, String, Option<String>) {
        let (mut thinking, mut text) = (String::new(), String::new());
        let mut emit = |piece: Piece<'_>| match piece {
            Piece::Thinking(part) => thinking.push_str(part),
            Piece::Text(part) => text.push_str(part),
        };
        let mut think = Think::new(mode);
        for piece in pieces {
            think.push(piece, &mut emit);
        }
        let unclosed = think.finish(&mut emit);
        (thinking, text, unclosed)
    }

    fn check(mode: ThinkTags, whole: &str, thinking: &str, text: &str) {
        for cut in (0..=whole.len()).filter(|cut| whole.is_char_boundary(*cut)) {
            let (head, tail) = whole.split_at(cut);
            let got = run(mode, &[head, tail]);
            assert_eq!(
                (got.0.as_str(), got.1.as_str()),
                (thinking, text),
                "{whole:?} cut at {cut}"
            );
        }
    }

    #[test]
    fn tags_are_found_over_any_cut() {
        check(
            ThinkTags::Explicit,
            " \n<think>a</b></think>\n\nHi <think>x",
            "a</b>",
            "Hi <think>x",
        );
        check(
            ThinkTags::Explicit,
            "no <think>tag</think>",
            "",
            "no <think>tag</think>",
        );
        check(ThinkTags::Implicit, "a < b</think>\nHi", "a < b", "Hi");
        check(ThinkTags::Off, "<think>a</think>b", "", "<think>a</think>b");
    }

    #[test]
    fn white_space_without_end_is_not_kept() {
        let space = " ".repeat(LEAD_BYTES_MAX);
        let (thinking, text, unclosed) = run(ThinkTags::Explicit, &[&space, "<think>a</think>b"]);
        assert_eq!((thinking.as_str(), text.as_str(), unclosed), ("a", "b", None));
        let (_, text, _) = run(ThinkTags::Explicit, &[&space, " ", "<think>"]);
        assert_eq!(text, format!("{space} <think>"));
        let (thinking, text, _) = run(ThinkTags::Implicit, &[&space, " ", "a</think>b"]);
        assert_eq!((thinking, text.as_str()), (format!("{space} a"), "b"));
    }

    #[test]
    fn thinking_that_never_ends_is_given_back() {
        let (thinking, text, unclosed) = run(ThinkTags::Explicit, &["<think>all of", " it</thi"]);
        assert_eq!((thinking.as_str(), text.as_str()), ("all of it</thi", ""));
        assert_eq!(unclosed.as_deref(), Some("all of it</thi"));
    }
}
