//! Reads the request log, the newest first, in parts.

use std::sync::Arc;

use super::{keys, record};
use crate::{
    domain::usage::Logged,
    store::{
        Error, Store,
        family::Family,
        rows::{Order, Row, Rows, Span},
    },
};

/// Entries that are read before the writer may go on.
const PART_ROWS: usize = 2_000;

/// Which entries are wanted.
#[derive(Clone)]
pub struct LogAsk {
    /// Milliseconds since 1970.
    pub from_ms: u64,
    pub below_ms: u64,
    /// Where the page before ended.
    pub before: Option<Vec<u8>>,
    pub keep: Arc<dyn Fn(&Logged) -> bool + Send + Sync>,
    pub size: usize,
    /// Entries that may be looked at for one page.
    pub rows_max: usize,
}

#[derive(Debug, Default)]
pub struct LogPage {
    pub entries: Vec<Logged>,
    /// Where the next page goes on; `None`: there is none.
    pub before: Option<Vec<u8>>,
}

impl Store {
    pub async fn request_log(&self, ask: LogAsk) -> Result<LogPage, Error> {
        let mut span = Span {
            from: keys::entry(ask.from_ms, ""),
            below: Some(
                ask.before
                    .clone()
                    .unwrap_or_else(|| keys::entry(ask.below_ms, "")),
            ),
        };
        let (mut page, mut left) = (LogPage::default(), ask.rows_max);
        loop {
            let (part, asked) = (span.clone(), ask.clone());
            let (more, seen, next) = self
                .blocking(move |rows| read_part(rows, part, &asked, page))
                .await?;
            page = more;
            left = left.saturating_sub(seen);
            let is_over = page.entries.len() >= ask.size || left == 0;
            match next {
                None => return Ok(page),
                Some(_) if is_over => {
                    page.before = next;
                    return Ok(page);
                }
                Some(_) => span.below = next,
            }
        }
    }

    /// One entry, by its whole name.
    pub async fn logged_request(&self, request_id: &str) -> Result<Option<Logged>, Error> {
        let mut span = Span::all();
        loop {
            let (part, wanted) = (span.clone(), request_id.as_bytes().to_vec());
            let (found, next) = self.blocking(move |rows| find_part(rows, part, &wanted)).await?;
            if found.is_some() || next.is_none() {
                return Ok(found);
            }
            span.below = next;
        }
    }
}

type Part = (LogPage, usize, Option<Vec<u8>>);

/// The last key says where to go on, if there is more.
fn read_part(rows: &dyn Rows, span: Span, ask: &LogAsk, mut page: LogPage) -> Result<Part, Error> {
    let (mut seen, mut last) = (0, None);
    for row in rows.scan(Family::RequestLog, span, Order::Descending) {
        let Row { key, value } = row?;
        if seen >= PART_ROWS || page.entries.len() >= ask.size {
            return Ok((page, seen, last));
        }
        seen += 1;
        let logged = record::entry(&value)?;
        if (ask.keep)(&logged) {
            page.entries.push(logged);
        }
        last = Some(key);
    }
    Ok((page, seen, None))
}

fn find_part(rows: &dyn Rows, span: Span, wanted: &[u8]) -> Result<(Option<Logged>, Option<Vec<u8>>), Error> {
    let mut last = None;
    let entries = rows.scan(Family::RequestLog, span, Order::Descending);
    for row in entries.take(PART_ROWS) {
        let Row { key, value } = row?;
        if keys::request_id(&key) == wanted {
            return Ok((Some(record::entry(&value)?), None));
        }
        last = Some(key);
    }
    Ok((None, last))
}
