//! Reads sums, in parts: a long read must not hold up the writer.

use std::{collections::BTreeMap, sync::Arc};

use super::{KeyUsage, keys, record};
use crate::{
    domain::usage::{Step, Subject, Sums},
    store::{
        Error, Store,
        family::Family,
        rows::{Order, Row, Rows, Span},
    },
};

/// Rows that are read before the writer may go on.
const PART_ROWS: usize = 2_000;

/// Which sums are wanted.
#[derive(Clone)]
pub struct UsageAsk {
    pub step: Step,
    /// Seconds since 1970.
    pub from_s: u64,
    pub below_s: u64,
    pub keep: Arc<dyn Fn(&Subject) -> bool + Send + Sync>,
    /// Rows that may be looked at.
    pub rows_max: usize,
}

impl Store {
    /// Adds up sums; `None` if there are more rows than may be looked at.
    pub async fn fold_usage<S: Send + 'static>(
        &self,
        ask: UsageAsk,
        state: S,
        add: fn(&mut S, u64, Subject, &Sums),
    ) -> Result<Option<S>, Error> {
        let mut span = keys::between(ask.step, ask.from_s, ask.below_s);
        let (mut state, mut left) = (state, ask.rows_max);
        loop {
            let (part, keep) = (span.clone(), Arc::clone(&ask.keep));
            let (folded, seen, next) = self
                .blocking(move |rows| fold_part(rows, part, keep.as_ref(), state, add))
                .await?;
            state = folded;
            if seen > left {
                return Ok(None);
            }
            left -= seen;
            match next {
                Some(next) => span.from = next,
                None => return Ok(Some(state)),
            }
        }
    }
}

type Part<S> = (S, usize, Option<Vec<u8>>);

fn fold_part<S>(
    rows: &dyn Rows,
    span: Span,
    keep: &(dyn Fn(&Subject) -> bool + Send + Sync),
    mut state: S,
    add: fn(&mut S, u64, Subject, &Sums),
) -> Result<Part<S>, Error> {
    let mut seen = 0;
    for row in rows.scan(Family::UsageSums, span, Order::Ascending) {
        let Row { key, value } = row?;
        if seen >= PART_ROWS {
            return Ok((state, seen, Some(key)));
        }
        seen += 1;
        let read = keys::read_sums(&key);
        let (start_s, subject) =
            read.ok_or_else(|| Error::damaged(Family::UsageSums, "a key names no time or no subject"))?;
        if keep(&subject) {
            add(&mut state, start_s, subject, &record::sums(&value)?);
        }
    }
    Ok((state, seen, None))
}

pub(super) fn key_usages(rows: &dyn Rows) -> Result<BTreeMap<String, KeyUsage>, Error> {
    rows.scan(Family::KeyUsage, Span::all(), Order::Ascending)
        .map(|row| {
            let Row { key, value } = row?;
            let id =
                String::from_utf8(key).map_err(|_| Error::damaged(Family::KeyUsage, "a key is no text"))?;
            Ok((id, record::key_usage(&value)?))
        })
        .collect()
}
