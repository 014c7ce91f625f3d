//! Rows within one transaction, read from a thread that may block.

use std::{cell::RefCell, ops::DerefMut, vec};

use sqlx::PgConnection;
use tokio::runtime::Handle;

use crate::store::{
    Error,
    family::Family,
    rows::{Order, Row, RowIter, Rows, Span},
};

use super::client::wait;

pub(super) const GET: &str = "select value from bridge_rows where family = $1 and key = $2";
// Four statements instead of one with conditions in it: each is one walk along the primary key.
const UP_FROM: &str =
    "select key, value from bridge_rows where family = $1 and key >= $2 order by key limit $3";
const UP_BETWEEN: &str =
    "select key, value from bridge_rows where family = $1 and key >= $2 and key < $4 order by key limit $3";
const DOWN_FROM: &str =
    "select key, value from bridge_rows where family = $1 and key >= $2 order by key desc limit $3";
const DOWN_BETWEEN: &str = "select key, value from bridge_rows where family = $1 and key >= $2 and key < $4 order by key desc limit $3";
/// Rows that are fetched first, and at most, at a time. Most scans want few.
const PAGE_ROWS_FIRST: usize = 64;
const PAGE_ROWS_MAX: usize = 1024;

/// A connection with an open transaction.
pub(super) struct TransactionRows<C> {
    handle: Handle,
    /// `None` only while it is dropped.
    connection: RefCell<Option<C>>,
}

impl<C: DerefMut<Target = PgConnection>> TransactionRows<C> {
    pub(super) fn new(handle: &Handle, connection: C) -> Self {
        Self {
            handle: handle.clone(),
            connection: RefCell::new(Some(connection)),
        }
    }

    fn ask<T>(&self, ask: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>) -> Result<T, Error> {
        let mut connection = self.connection.borrow_mut();
        let Some(connection) = connection.as_deref_mut() else {
            return Err(Error::Interrupted);
        };
        Ok(wait(&self.handle, ask(connection))?)
    }

    fn page(&self, family: Family, span: &Span, order: Order, rows_max: usize) -> Result<Vec<Row>, Error> {
        let Span { from, below } = span;
        let statement = match (order, below) {
            (Order::Ascending, None) => UP_FROM,
            (Order::Ascending, Some(_)) => UP_BETWEEN,
            (Order::Descending, None) => DOWN_FROM,
            (Order::Descending, Some(_)) => DOWN_BETWEEN,
        };
        let mut query = sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>(statement)
            .bind(family.name())
            .bind(from)
            .bind(i64::try_from(rows_max).unwrap_or(i64::MAX));
        if let Some(below) = below {
            query = query.bind(below);
        }
        let rows = self.ask(async |connection| query.fetch_all(connection).await)?;
        Ok(rows.into_iter().map(|(key, value)| Row { key, value }).collect())
    }
}

impl<C> TransactionRows<C> {
    pub(super) fn into_connection(self) -> Option<C> {
        self.connection.take()
    }
}

impl<C> Drop for TransactionRows<C> {
    fn drop(&mut self) {
        // A connection goes back to its pool by a task of its runtime.
        let _inside = self.handle.enter();
        drop(self.connection.take());
    }
}

impl<C: DerefMut<Target = PgConnection>> Rows for TransactionRows<C> {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let query = sqlx::query_scalar(GET).bind(family.name()).bind(key);
        self.ask(async |connection| query.fetch_optional(connection).await)
    }

    fn scan(&self, family: Family, span: Span, order: Order) -> RowIter<'_> {
        Box::new(Scan {
            rows: self,
            family,
            rest: (!span.is_empty()).then_some(span),
            order,
            page: Vec::new().into_iter(),
            page_rows: PAGE_ROWS_FIRST,
        })
    }
}

struct Scan<'a, C> {
    rows: &'a TransactionRows<C>,
    family: Family,
    /// What is beyond the page; `None`: nothing.
    rest: Option<Span>,
    order: Order,
    page: vec::IntoIter<Row>,
    page_rows: usize,
}

impl<C: DerefMut<Target = PgConnection>> Scan<'_, C> {
    fn next_page(&mut self) -> Result<(), Error> {
        let Some(mut span) = self.rest.take() else {
            return Ok(());
        };
        let page = self.rows.page(self.family, &span, self.order, self.page_rows)?;
        if page.len() == self.page_rows
            && let Some(Row { key, .. }) = page.last()
        {
            match self.order {
                // The next key there can be.
                Order::Ascending => span.from = [key.as_slice(), &[0]].concat(),
                Order::Descending => span.below = Some(key.clone()),
            }
            self.rest = (!span.is_empty()).then_some(span);
        }
        self.page_rows = (self.page_rows * 4).min(PAGE_ROWS_MAX);
        self.page = page.into_iter();
        Ok(())
    }
}

impl<C: DerefMut<Target = PgConnection>> Iterator for Scan<'_, C> {
    type Item = Result<Row, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0
            && let Err(error) = self.next_page()
        {
            return Some(Err(error));
        }
        self.page.next().map(Ok)
    }
}
