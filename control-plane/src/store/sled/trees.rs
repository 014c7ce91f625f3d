//! Each family of records in a sled tree of its own, and one transaction over them.

use sled::{Transactional, transaction::TransactionError};

use crate::store::{
    Error,
    family::Family,
    rows::{Order, Row, RowIter, Rows, Span},
    write_set::Writes,
};

#[derive(Clone)]
pub(in crate::store) struct Trees {
    db: sled::Db,
    all: Vec<sled::Tree>,
}

impl Trees {
    pub(in crate::store) fn open(db: &sled::Db) -> Result<Self, sled::Error> {
        let all = Family::ALL
            .iter()
            .map(|family| db.open_tree(family.name()))
            .collect::<Result<_, _>>()?;
        Ok(Self { db: db.clone(), all })
    }

    pub(in crate::store) fn tree(&self, family: Family) -> &sled::Tree {
        &self.all[family as usize]
    }

    /// Hands what is in memory to the operating system.
    pub(in crate::store) fn flush(&self) -> Result<(), sled::Error> {
        self.db.flush().map(drop)
    }

    /// Whether there is no record at all.
    pub(super) fn are_empty(&self) -> bool {
        self.all.iter().all(sled::Tree::is_empty)
    }

    /// Writes it as one transaction: all of it or nothing.
    pub(super) fn apply(&self, writes: &Writes) -> Result<(), sled::Error> {
        let mut families: Vec<Family> = writes.keys().map(|(family, _)| *family).collect();
        families.dedup();
        let trees: Vec<&sled::Tree> = families.iter().map(|family| self.tree(*family)).collect();
        let result = trees.as_slice().transaction(|views| {
            for ((family, key), value) in writes {
                let Some(view) = families
                    .iter()
                    .position(|of| of == family)
                    .and_then(|place| views.get(place))
                else {
                    continue;
                };
                match value {
                    Some(value) => view.insert(key.as_slice(), value.as_slice())?,
                    None => view.remove(key.as_slice())?,
                };
            }
            Ok(())
        });
        result.map_err(|error: TransactionError<std::convert::Infallible>| match error {
            TransactionError::Abort(never) => match never {},
            TransactionError::Storage(error) => error,
        })
    }
}

impl Rows for Trees {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let value = self.tree(family).get(key).map_err(Error::unreadable)?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn scan(&self, family: Family, span: Span, order: Order) -> RowIter<'_> {
        if span.is_empty() {
            return Box::new(std::iter::empty());
        }
        let Span { from, below } = span;
        let rows = match below {
            Some(below) => self.tree(family).range(from..below),
            None => self.tree(family).range(from..),
        };
        let to_row = |row: sled::Result<(sled::IVec, sled::IVec)>| {
            let (key, value) = row.map_err(Error::unreadable)?;
            Ok(Row {
                key: key.to_vec(),
                value: value.to_vec(),
            })
        };
        match order {
            Order::Ascending => Box::new(rows.map(to_row)),
            Order::Descending => Box::new(rows.rev().map(to_row)),
        }
    }
}
