//! Rows, and how they are read: all that the rest of the store knows of what keeps
//! them. A row belongs to a family, has a key and a value, and both are bytes. Keys
//! are ordered as bytes are.
//!
//! Reading blocks. Whoever reads holds one moment of the store: rows do not change
//! between two reads of the same [`Rows`].

use super::{Error, family::Family};

/// Largest record, in bytes. Far below the size from which sled writes a value into
/// a file of its own, which it does not sync.
pub(super) const RECORD_BYTES_MAX: usize = 16 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// Rows as they are found; those that nobody asks for need not be read.
pub(super) type RowIter<'a> = Box<dyn Iterator<Item = Result<Row, Error>> + 'a>;

/// One moment of the store.
pub(super) trait Rows {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error>;
    fn scan(&self, family: Family, span: Span, order: Order) -> RowIter<'_>;
}

/// Keys next to each other: from one, itself included, to below another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from: Vec<u8>,
    /// `None`: to the end of the family.
    pub(super) below: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Ascending,
    Descending,
}

impl Span {
    pub(super) fn all() -> Self {
        Self::from(b"")
    }

    pub(super) fn from(key: &[u8]) -> Self {
        Self {
            from: key.to_vec(),
            below: None,
        }
    }

    /// All keys that begin with this one.
    pub(super) fn prefix(prefix: &[u8]) -> Self {
        let last = prefix.iter().rposition(|byte| *byte != u8::MAX);
        let below = last.map(|last| {
            let mut below = prefix.get(..=last).unwrap_or_default().to_vec();
            below.iter_mut().skip(last).for_each(|byte| *byte += 1);
            below
        });
        Self {
            from: prefix.to_vec(),
            below,
        }
    }

    /// Whether there is no key in it, whatever the rows.
    pub(super) fn is_empty(&self) -> bool {
        self.below.as_ref().is_some_and(|below| *below <= self.from)
    }
}

/// The row with the highest key of a family.
pub(super) fn last(rows: &dyn Rows, family: Family) -> Result<Option<Row>, Error> {
    rows.scan(family, Span::all(), Order::Descending)
        .next()
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_one_begins() {
        let check = |prefix: &[u8], below: Option<&[u8]>| {
            assert_eq!(Span::prefix(prefix).below.as_deref(), below, "{prefix:?}");
        };
        check(b"", None);
        check(b"ab", Some(b"ac"));
        check(b"a\xff", Some(b"b"));
        check(b"\xff\xff", None);
        check(b"\xfe\xff\xff", Some(b"\xff"));
    }
}
