//! Changes to a JSON text that leave every byte around them as it was: prompt caches of
//! upstreams live on unchanged bytes.

use std::cmp::Reverse;

use super::walk::Span;

/// What is to be changed, in any order.
#[derive(Debug, Default)]
pub(super) struct Edits(Vec<(Span, Vec<u8>)>);

impl Edits {
    pub(super) fn replace(&mut self, span: Span, with: impl Into<Vec<u8>>) {
        self.0.push((span, with.into()));
    }

    pub(super) fn insert(&mut self, at: usize, text: impl Into<Vec<u8>>) {
        self.replace(at..at, text);
    }

    /// Takes items out of a list, their commas included.
    pub(super) fn remove(&mut self, items: &[Span], is_removed: &[bool]) {
        // Items before the first kept one go with the comma behind them, others with the one before.
        let first_kept = is_removed.iter().position(|is_removed| !is_removed);
        for (n, item) in items.iter().enumerate() {
            if !is_removed.get(n).is_some_and(|is_removed| *is_removed) {
                continue;
            }
            let is_leading = first_kept.is_none_or(|first| n < first);
            let span = match (is_leading, n.checked_sub(1).and_then(|before| items.get(before))) {
                (false, Some(before)) => before.end..item.end,
                _ => item.start..items.get(n + 1).map_or(item.end, |next| next.start),
            };
            self.replace(span, []);
        }
    }

    /// The changed text; `None` if there is nothing to change. What lies inside a change
    /// goes with it.
    pub(super) fn apply(mut self, text: &[u8]) -> Option<Vec<u8>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by_key(|(span, _)| (span.start, Reverse(span.end)));
        let added: usize = self.0.iter().map(|(_, with)| with.len()).sum();
        let mut changed = Vec::with_capacity(text.len() + added);
        let mut done = 0;
        for (span, with) in &self.0 {
            if span.start < done {
                continue;
            }
            changed.extend_from_slice(text.get(done..span.start).unwrap_or_default());
            changed.extend_from_slice(with);
            done = span.end;
        }
        changed.extend_from_slice(text.get(done..).unwrap_or_default());
        Some(changed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::walk::Text;
    use super::*;

    fn without(text: &str, removed: &[usize]) -> String {
        let walk = Text(text.as_bytes());
        let items = walk.elements(&walk.root());
        let is_removed: Vec<_> = (0..items.len()).map(|n| removed.contains(&n)).collect();
        let mut edits = Edits::default();
        edits.remove(&items, &is_removed);
        let changed = edits.apply(text.as_bytes());
        String::from_utf8(changed.unwrap_or_else(|| text.into())).unwrap()
    }

    #[test]
    fn items_go_with_one_comma_each() {
        let text = "[ 1 , 2,3 ,4 ]";
        let rows: [(&[usize], &str); 8] = [
            (&[], text),
            (&[0], "[ 2,3 ,4 ]"),
            (&[3], "[ 1 , 2,3 ]"),
            (&[1], "[ 1,3 ,4 ]"),
            (&[0, 1], "[ 3 ,4 ]"),
            (&[0, 2], "[ 2 ,4 ]"),
            (&[1, 2, 3], "[ 1 ]"),
            (&[0, 1, 2, 3], "[  ]"),
        ];
        for (removed, rest) in rows {
            assert_eq!(without(text, removed), rest, "{removed:?}");
        }
        assert_eq!(without("[7]", &[0]), "[]");
    }

    #[test]
    fn what_lies_inside_a_change_goes_with_it() {
        let mut edits = Edits::default();
        edits.replace(4..5, "x");
        edits.insert(0, "<");
        edits.replace(3..6, "");
        edits.insert(6, ">");
        assert_eq!(edits.apply(b"0123456789").unwrap(), b"<012>6789");
        assert!(Edits::default().apply(b"0").is_none());
    }
}
