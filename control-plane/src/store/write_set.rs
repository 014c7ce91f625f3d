//! What is going to be written, readable like the store it will lead to.

use std::{cmp::Ordering, collections::BTreeMap, iter::Peekable};

use super::{
    CommitError, Error,
    digest::StateDigest,
    family::Family,
    rows::{Order, RECORD_BYTES_MAX, Row, RowIter, Rows, Span},
};

/// Rows to put and, where there is no value, to delete.
pub(super) type Writes = BTreeMap<(Family, Vec<u8>), Option<Vec<u8>>>;

/// Writes on top of rows, which may be a write set themselves.
pub(super) struct WriteSet<'a> {
    below: &'a dyn Rows,
    writes: Writes,
}

impl<'a> WriteSet<'a> {
    pub(super) fn on(below: &'a dyn Rows) -> Self {
        Self {
            below,
            writes: Writes::new(),
        }
    }

    /// What was there before.
    pub(super) fn below(&self) -> &dyn Rows {
        self.below
    }

    pub(super) fn put(&mut self, family: Family, key: &[u8], value: Vec<u8>) -> Result<(), CommitError> {
        if value.len() > RECORD_BYTES_MAX {
            return Err(CommitError::TooLarge {
                family: family.name(),
                bytes: value.len(),
                max: RECORD_BYTES_MAX,
            });
        }
        self.writes.insert((family, key.to_vec()), Some(value));
        Ok(())
    }

    pub(super) fn delete(&mut self, family: Family, key: &[u8]) {
        self.writes.insert((family, key.to_vec()), None);
    }

    /// All rows of a family below a prefix.
    pub(super) fn scan_prefix(
        &self,
        family: Family,
        prefix: &[u8],
    ) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Error> {
        self.scan(family, Span::prefix(prefix), Order::Ascending)
            .map(|row| row.map(|Row { key, value }| (key, value)))
            .collect()
    }

    /// The digest after this set, from the one before it.
    pub(super) fn digest_after(&self, before: StateDigest) -> Result<StateDigest, Error> {
        let mut digest = before;
        for ((family, key), value) in self.writes.iter().filter(|((family, _), _)| family.is_digested()) {
            if let Some(old) = self.below.get(*family, key)? {
                digest.toggle(*family, key, &old);
            }
            if let Some(new) = value {
                digest.toggle(*family, key, new);
            }
        }
        Ok(digest)
    }

    /// Takes in what was planned on top of this set.
    pub(super) fn merge(&mut self, writes: Writes) {
        self.writes.extend(writes);
    }

    pub(super) fn into_writes(self) -> Writes {
        self.writes
    }
}

impl Rows for WriteSet<'_> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self.writes.get(&(family, key.to_vec())) {
            Some(written) => Ok(written.clone()),
            None => self.below.get(family, key),
        }
    }

    fn scan(&self, family: Family, span: Span, order: Order) -> RowIter<'_> {
        if span.is_empty() {
            return Box::new(std::iter::empty());
        }
        let from = (family, span.from.clone());
        let in_span = span.clone();
        let written = self
            .writes
            .range(from..)
            .take_while(move |((of, key), _)| {
                *of == family && in_span.below.as_ref().is_none_or(|below| key < below)
            })
            .map(|((_, key), value)| (key.as_slice(), value.as_deref()));
        let mut written: Vec<Written<'_>> = written.collect();
        if order == Order::Descending {
            written.reverse();
        }
        Box::new(Merged {
            below: self.below.scan(family, span, order).peekable(),
            written: written.into_iter().peekable(),
            order,
        })
    }
}

type Written<'a> = (&'a [u8], Option<&'a [u8]>);

/// Rows and writes in one order; a write hides the row that it replaces.
struct Merged<'a> {
    below: Peekable<RowIter<'a>>,
    written: Peekable<std::vec::IntoIter<Written<'a>>>,
    order: Order,
}

impl Iterator for Merged<'_> {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((key, _)) = self.written.peek() else {
                return self.below.next();
            };
            let which = match self.below.peek() {
                None => Ordering::Greater,
                Some(Err(_)) => return self.below.next(),
                Some(Ok(row)) => match self.order {
                    Order::Ascending => row.key.as_slice().cmp(key),
                    Order::Descending => row.key.as_slice().cmp(key).reverse(),
                },
            };
            match which {
                Ordering::Less => return self.below.next(),
                Ordering::Equal => drop(self.below.next()),
                Ordering::Greater => {}
            }
            if let Some((key, Some(value))) = self.written.next() {
                return Some(Ok(Row {
                    key: key.to_vec(),
                    value: value.to_vec(),
                }));
            }
        }
    }
}
