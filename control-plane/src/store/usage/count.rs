//! Counts a report of a node: plans all that it adds, or nothing if it was counted before.

use std::time::{Duration, SystemTime};

use super::{
    KeyUsage, Spent, keys,
    record::{self, BootRecord, LogRecord},
};
use crate::{
    domain::{
        api_key::ApiKey,
        limits::Period,
        usage::{Report, Rollup, Step, Subject, Sums},
        user::UserId,
    },
    store::{CommitError, Error, family::Family, record::decode, rows::Rows, write_set::WriteSet},
};

pub(in crate::store) fn count(
    writes: &mut WriteSet<'_>,
    report: &Report,
    revision: u64,
    now_s: u64,
) -> Result<(), CommitError> {
    let boot = keys::boot(&report.boot);
    let counted = match writes.get(Family::UsageMeta, &boot)? {
        Some(row) => record::boot(&row)?.sequence,
        None => 0,
    };
    if report.sequence <= counted {
        return Ok(());
    }
    let mut counting = Counting {
        writes,
        revision,
        now_s,
    };
    for rollup in &report.rollups {
        counting.rollup(rollup)?;
    }
    counting.dropped(report.dropped)?;
    counting.entries(report)?;
    let record = BootRecord {
        sequence: report.sequence,
        at_s: now_s,
    };
    writes.put(Family::UsageMeta, &boot, record::encode_boot(&record, revision)?)
}

struct Counting<'a, 'b> {
    writes: &'a mut WriteSet<'b>,
    revision: u64,
    now_s: u64,
}

impl Counting<'_, '_> {
    fn rollup(&mut self, rollup: &Rollup) -> Result<(), CommitError> {
        let Rollup {
            minute_s,
            subject,
            sums,
        } = rollup;
        for step in Step::ALL {
            self.add(step, *minute_s, subject, sums)?;
        }
        if subject.key_id.is_empty() {
            return Ok(());
        }
        self.key(rollup)
    }

    fn add(&mut self, step: Step, minute_s: u64, subject: &Subject, sums: &Sums) -> Result<(), CommitError> {
        let key = keys::sums(step, step.start(minute_s), subject);
        let mut sum = match self.writes.get(Family::UsageSums, &key)? {
            Some(row) => record::sums(&row)?,
            None => Sums::default(),
        };
        sum.add(sums);
        self.writes
            .put(Family::UsageSums, &key, record::encode_sums(&sum, self.revision)?)
    }

    fn key(&mut self, rollup: &Rollup) -> Result<(), CommitError> {
        let key = rollup.subject.key_id.as_bytes();
        let mut usage = match self.writes.get(Family::KeyUsage, key)? {
            Some(row) => record::key_usage(&row)?,
            None => KeyUsage {
                owner: self.owner(key)?,
                last_used_s: 0,
                spent: Default::default(),
            },
        };
        usage.last_used_s = usage.last_used_s.max(rollup.minute_s);
        for period in Period::ALL {
            spend(usage.spent.entry(period).or_default(), period, rollup);
        }
        self.writes.put(
            Family::KeyUsage,
            key,
            record::encode_key_usage(&usage, self.revision)?,
        )
    }

    fn owner(&self, key: &[u8]) -> Result<Option<UserId>, Error> {
        let row = self.writes.get(Family::ApiKeys, key)?;
        let key = row.map(|row| decode::<ApiKey>(&row)).transpose()?;
        Ok(key.map(|key| key.value.spec.owner))
    }

    /// What was dropped is nobody's.
    fn dropped(&mut self, dropped: u64) -> Result<(), CommitError> {
        if dropped == 0 {
            return Ok(());
        }
        let nobody = Subject {
            key_id: String::new(),
            provider: String::new(),
            upstream_model: String::new(),
        };
        let sums = Sums {
            dropped,
            ..Sums::default()
        };
        for step in Step::ALL {
            self.add(step, self.now_s, &nobody, &sums)?;
        }
        Ok(())
    }

    fn entries(&mut self, report: &Report) -> Result<(), CommitError> {
        if report.entries.is_empty() {
            return Ok(());
        }
        let mut log = match self.writes.get(Family::UsageMeta, keys::LOG)? {
            Some(row) => record::log(&row)?,
            None => LogRecord::default(),
        };
        for logged in &report.entries {
            let key = keys::entry(logged.entry.started_ms, &logged.entry.request_id);
            let row = record::encode_entry(logged, self.revision)?;
            // The same request twice is none of ours.
            if self.writes.get(Family::RequestLog, &key)?.is_none() {
                log.rows += 1;
                log.bytes += row.len() as u64;
                self.writes.put(Family::RequestLog, &key, row)?;
            }
        }
        self.writes.put(
            Family::UsageMeta,
            keys::LOG,
            record::encode_log(log, self.revision)?,
        )
    }
}

/// What comes too late for a period was spent in one that nobody asks for any more.
fn spend(spent: &mut Spent, period: Period, rollup: &Rollup) {
    let start = period.start(SystemTime::UNIX_EPOCH + Duration::from_secs(rollup.minute_s));
    let start_s = start
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if start_s < spent.start_s {
        return;
    }
    if start_s > spent.start_s {
        *spent = Spent {
            start_s,
            ..Spent::default()
        };
    }
    spent.tokens = spent.tokens.saturating_add(rollup.sums.tokens.total());
    spent.cost_micros = spent.cost_micros.saturating_add(rollup.sums.cost_micros);
}
