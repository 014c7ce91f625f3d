//! What things were before each change, so that the configuration of an earlier
//! revision can be told and brought back. A thing's state at a revision is what stood
//! before the first change after it, or else what is there. Users, service
//! tokens, sealed secrets and hashes of keys are not in it.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use super::{
    CommitError, Error, Kind, Store, Thing,
    change::LoggedChange,
    family::Family,
    read::{get, model_rules},
    record::{self, ReachRecord, SETTINGS_KEY},
    rows::{Order, RECORD_BYTES_MAX, Row, Rows, Span},
    write_set::WriteSet,
};
use crate::domain::model::{ModelRule, RuleId};

/// Most revisions back, and most bytes.
const BOUNDS: Bounds = Bounds {
    revisions: 10_000,
    bytes: 32 * 1024 * 1024,
};
/// Rows that one commit drops; there may be more to drop with the next.
const TRIM_ROWS_MAX: usize = 1_000;
const REACH_KEY: &[u8] = b"history";

#[derive(Clone, Copy)]
struct Bounds {
    revisions: u64,
    bytes: u64,
}

/// What lies between two revisions.
#[derive(Debug, Clone)]
pub struct Between {
    /// The revision at which this was read.
    pub current: u64,
    pub changed: Vec<Changed>,
    /// Model rules in their order, at either revision.
    pub rules: [Vec<RuleId>; 2],
}

/// A thing that was changed, at two revisions; what is there at the newest has its secrets.
#[derive(Debug, Clone)]
pub struct Changed {
    pub kind: Kind,
    pub id: String,
    pub states: [Option<Thing>; 2],
}

type States = BTreeMap<(Kind, String), Option<Thing>>;

impl Store {
    /// What lies between two revisions; without a second one, between one and what is
    /// there. `None`: one of them is not kept.
    pub async fn between(&self, from: u64, to: Option<u64>) -> Result<Option<Between>, Error> {
        self.viewing(move |view| {
            let (rows, current) = (view.rows.as_ref(), view.revision);
            between(rows, current, from, to.unwrap_or(current))
        })
        .await
    }

    /// The oldest revision whose state is kept, and the newest.
    pub async fn kept_revisions(&self) -> Result<(u64, u64), Error> {
        self.viewing(|view| Ok((oldest(view.rows.as_ref(), view.revision)?, view.revision)))
            .await
    }
}

/// Notes what was there before a revision, and drops what is too old or too much now.
pub(super) fn append(
    writes: &mut WriteSet<'_>,
    revision: u64,
    log: &[LoggedChange],
) -> Result<(), CommitError> {
    append_within(BOUNDS, writes, revision, log)
}

fn append_within(
    bounds: Bounds,
    writes: &mut WriteSet<'_>,
    revision: u64,
    log: &[LoggedChange],
) -> Result<(), CommitError> {
    let changed: BTreeSet<(Kind, &str)> = log
        .iter()
        .filter(|change| has_history(change.kind))
        .map(|change| (change.kind, change.id.as_str()))
        .collect();
    if changed.is_empty() {
        return Ok(());
    }
    let mut reach = reach(writes)?.unwrap_or(ReachRecord {
        from_revision: revision.saturating_sub(1),
        bytes: 0,
    });
    for (place, (kind, id)) in changed.into_iter().enumerate() {
        let before = thing(writes.below(), kind, id)?;
        let row = record::encode_past(kind, id, before, revision)?;
        if row.len() > RECORD_BYTES_MAX {
            // It is not told what was before, so nothing before it can be.
            reach.from_revision = revision;
            continue;
        }
        let key = key(revision, place);
        reach.bytes = reach.bytes.saturating_add(size(&key, &row));
        writes.put(Family::History, &key, row)?;
    }
    trim(bounds, writes, revision, &mut reach)?;
    writes.put(
        Family::Meta,
        REACH_KEY,
        record::encode_row(Family::Meta, reach, revision)?,
    )
}

fn trim(
    bounds: Bounds,
    writes: &mut WriteSet<'_>,
    revision: u64,
    reach: &mut ReachRecord,
) -> Result<(), Error> {
    let mut outdated = Vec::new();
    let oldest = writes.scan(Family::History, Span::all(), Order::Ascending);
    for row in oldest.take(TRIM_ROWS_MAX) {
        let Row { key, value } = row?;
        let of = revision_of(&key)?;
        let is_kept = of > reach.from_revision
            && reach.bytes <= bounds.bytes
            && revision.saturating_sub(of) < bounds.revisions;
        if is_kept {
            break;
        }
        reach.from_revision = reach.from_revision.max(of);
        reach.bytes = reach.bytes.saturating_sub(size(&key, &value));
        outdated.push(key);
    }
    outdated
        .iter()
        .for_each(|key| writes.delete(Family::History, key));
    Ok(())
}

fn reach(rows: &dyn Rows) -> Result<Option<ReachRecord>, Error> {
    let row = rows.get(Family::Meta, REACH_KEY)?;
    let reach = row
        .map(|row| record::decode_row(Family::Meta, &row))
        .transpose()?;
    Ok(reach.map(|(reach, _)| reach))
}

/// The oldest revision whose state is kept: of a store that has no history, the newest.
pub(super) fn oldest(rows: &dyn Rows, current: u64) -> Result<u64, Error> {
    Ok(reach(rows)?.map_or(current, |reach| reach.from_revision))
}

fn between(rows: &dyn Rows, current: u64, from: u64, to: u64) -> Result<Option<Between>, Error> {
    let (low, high) = (from.min(to), from.max(to));
    if low < oldest(rows, current)? || high > current {
        return Ok(None);
    }
    let (mut at_low, mut at_high) = (States::new(), States::new());
    let after = Span::from(&low.saturating_add(1).to_be_bytes());
    for row in rows.scan(Family::History, after, Order::Ascending) {
        let past = record::decode_past(&row?.value)?;
        let states = if past.revision <= high {
            &mut at_low
        } else {
            &mut at_high
        };
        if let Entry::Vacant(first) = states.entry((past.kind, past.id.clone())) {
            first.insert(past.into_thing()?);
        }
    }
    let now = model_rules(rows)?.into_iter().map(|stored| stored.value);
    let mut rules: BTreeMap<String, ModelRule> = now.map(|rule| (rule.id.to_string(), rule)).collect();
    let rules_high = order_at(&mut rules, &at_high);
    let rules_low = order_at(&mut rules, &at_low);
    let mut changed = Vec::with_capacity(at_low.len());
    for ((kind, id), state_low) in at_low {
        let state_high = match at_high.remove(&(kind, id.clone())) {
            Some(state) => state,
            None => thing(rows, kind, &id)?,
        };
        let states = in_order(from <= to, state_low, state_high);
        changed.push(Changed { kind, id, states });
    }
    Ok(Some(Between {
        current,
        changed,
        rules: in_order(from <= to, rules_low, rules_high),
    }))
}

fn has_history(kind: Kind) -> bool {
    match kind {
        Kind::Provider | Kind::ApiKey | Kind::ModelRule | Kind::Settings => true,
        Kind::User | Kind::ServiceToken | Kind::JoinToken | Kind::Node | Kind::BreakerOverride => false,
    }
}

/// A thing as it is in these rows. Of users and service tokens no states are kept.
fn thing(rows: &dyn Rows, kind: Kind, id: &str) -> Result<Option<Thing>, Error> {
    Ok(match kind {
        Kind::User | Kind::ServiceToken | Kind::JoinToken | Kind::Node | Kind::BreakerOverride => None,
        Kind::Provider => get(rows, id.as_bytes())?.map(|stored| Thing::Provider(stored.value)),
        Kind::ApiKey => get(rows, id.as_bytes())?.map(|stored| Thing::ApiKey(stored.value)),
        Kind::ModelRule => get(rows, id.as_bytes())?.map(|stored| Thing::ModelRule(stored.value)),
        Kind::Settings => get(rows, SETTINGS_KEY)?.map(|stored| Thing::Settings(stored.value)),
    })
}

fn in_order<T>(is_forward: bool, low: T, high: T) -> [T; 2] {
    if is_forward { [low, high] } else { [high, low] }
}

/// Turns rules back to what these states say, and answers their order then.
fn order_at(rules: &mut BTreeMap<String, ModelRule>, states: &States) -> Vec<RuleId> {
    for ((kind, id), state) in states {
        match (kind, state) {
            (Kind::ModelRule, Some(Thing::ModelRule(rule))) => {
                rules.insert(id.clone(), rule.clone());
            }
            (Kind::ModelRule, _) => {
                rules.remove(id);
            }
            (Kind::User | Kind::ServiceToken | Kind::JoinToken | Kind::Node | Kind::BreakerOverride, _)
            | (Kind::Provider | Kind::ApiKey | Kind::Settings, _) => {}
        }
    }
    let mut ordered: Vec<&ModelRule> = rules.values().collect();
    ordered.sort_by_key(|rule| (rule.position, &rule.id));
    ordered.into_iter().map(|rule| rule.id.clone()).collect()
}

fn key(revision: u64, place: usize) -> Vec<u8> {
    let place = u32::try_from(place).unwrap_or(u32::MAX);
    [revision.to_be_bytes().as_slice(), place.to_be_bytes().as_slice()].concat()
}

fn revision_of(key: &[u8]) -> Result<u64, Error> {
    key.first_chunk::<8>()
        .map(|bytes| u64::from_be_bytes(*bytes))
        .ok_or_else(|| Error::damaged(Family::History, "a key is not a revision"))
}

fn size(key: &[u8], row: &[u8]) -> u64 {
    (key.len() as u64).saturating_add(row.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::settings::Draft;
    use crate::store::{rows::RowIter, write_set::Writes};

    struct Nothing;

    impl Rows for Nothing {
        fn get(&self, _: Family, _: &[u8]) -> Result<Option<Vec<u8>>, Error> {
            Ok(None)
        }

        fn scan(&self, _: Family, _: Span, _: Order) -> RowIter<'_> {
            Box::new(std::iter::empty())
        }
    }

    /// Revisions, each of which changes the settings.
    fn after(bounds: Bounds, revisions: std::ops::RangeInclusive<u64>) -> (Writes, ReachRecord) {
        let mut all = Writes::new();
        for revision in revisions {
            let mut below = WriteSet::on(&Nothing);
            below.merge(all.clone());
            let mut writes = WriteSet::on(&below);
            let log = [LoggedChange {
                revision,
                kind: Kind::Settings,
                id: String::new(),
                urgent: false,
            }];
            append_within(bounds, &mut writes, revision, &log).unwrap();
            let settings = Draft::default().check().unwrap();
            let row = record::encode(&settings, revision).unwrap();
            writes.put(Family::Settings, SETTINGS_KEY, row).unwrap();
            let writes = writes.into_writes();
            all.extend(writes);
            all.retain(|_, value| value.is_some());
        }
        let mut rows = WriteSet::on(&Nothing);
        rows.merge(all.clone());
        let reach = reach(&rows).unwrap().unwrap();
        all.retain(|(family, _), _| *family == Family::History);
        (all, reach)
    }

    #[test]
    fn what_is_kept_is_bounded_in_revisions_and_bytes() {
        let all = Bounds {
            revisions: 100,
            bytes: u64::MAX,
        };
        let (rows, reach) = after(all, 1..=20);
        assert_eq!((rows.len(), reach.from_revision), (20, 0));
        let told: u64 = rows
            .iter()
            .map(|((_, key), row)| size(key, row.as_ref().unwrap()))
            .sum();
        assert_eq!(reach.bytes, told);

        let (rows, reach) = after(Bounds { revisions: 3, ..all }, 1..=20);
        assert_eq!((rows.len(), reach.from_revision), (3, 17));

        let half = Bounds {
            bytes: told / 2,
            ..all
        };
        let (rows, reach) = after(half, 1..=20);
        assert!((8..=10).contains(&rows.len()), "{} rows", rows.len());
        assert_eq!(reach.from_revision, 20 - rows.len() as u64);
        assert!(reach.bytes <= told / 2);
    }

    #[test]
    fn a_store_that_was_there_before_has_a_history_from_then_on() {
        let (rows, reach) = after(BOUNDS, 7..=9);
        assert_eq!((rows.len(), reach.from_revision), (3, 6));
    }
}
