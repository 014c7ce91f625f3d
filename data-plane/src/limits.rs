//! What a key may still do: requests and tokens in a minute, requests at once, budgets.
//!
//! Limits hold for the whole fleet; this node enforces its share, which the control plane
//! tells. Without one it takes its part of the limit by the number of live nodes. What is
//! shared out and spent stays in force while the control plane is away.
//!
//! Pure: time is an argument. The tokens of a request are known when it has ended; until
//! then its prompt is estimated by its length and its answer counts nothing, so that what
//! runs at a moment may go beyond a limit by its answers.

mod account;
mod budget;
mod calendar;
mod grant;
mod headers;
mod price;
mod refusal;
mod share;
mod window;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use http::HeaderMap;

use self::account::Account;
pub(crate) use self::{
    account::Use, budget::Told as BudgetTold, grant::Grant, price::cost_micros, refusal::Refusal,
    share::Share,
};
use crate::snapshot::{
    ApiKey, KeyId,
    limits::{Period, Price},
};

/// Keys with limits that are kept in mind: about 5 KiB each, some 150 MiB if all are in use at once.
const KEYS_MAX: usize = 20_000;
/// Bytes of a request that are taken for a token, until its usage is known.
const BYTES_PER_TOKEN: u64 = 4;

/// All keys with limits that were used lately.
#[derive(Debug)]
pub(crate) struct Limits {
    started: Instant,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    accounts: HashMap<KeyId, Account>,
    /// As the last heartbeat said.
    live_nodes: u32,
}

/// A request that asks to be let in.
pub(crate) struct Asking {
    pub(crate) body_bytes: usize,
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
}

/// Whether it is let in, and what its sender is told of the limits.
pub(crate) struct Verdict {
    pub(crate) grant: Result<Grant, Refusal>,
    pub(crate) headers: HeaderMap,
}

/// What is spent of a key's budget by the whole fleet.
pub(crate) struct Spent {
    pub(crate) period: Period,
    pub(crate) told: BudgetTold,
}

impl Limits {
    pub(crate) fn new(started: Instant) -> Self {
        Self {
            started,
            table: Mutex::default(),
        }
    }

    /// Lets a request in, or says which limit it meets. Keys without limits cost nothing.
    pub(crate) fn admit(
        self: &Arc<Self>,
        key: &ApiKey,
        prices: &Arc<[Price]>,
        asking: &Asking,
    ) -> Option<Verdict> {
        let limits = key.limits.as_deref()?;
        let second = self.second(asking.now);
        let estimate = asking.estimate();
        let mut table = self.lock();
        let live_nodes = table.live_nodes;
        let Some(account) = table.account(key.id, second) else {
            return Some(Verdict {
                grant: Err(Refusal::of_full_table()),
                headers: HeaderMap::new(),
            });
        };
        let share = account.share.of(limits, live_nodes);
        let admitted = account.admit(limits, share, estimate, second, asking.wall);
        let headers = headers::of(limits, account.left(share, second), asking.wall);
        let grant = |()| Grant::new(Arc::clone(self), key.id, Arc::clone(prices), second, estimate);
        Some(Verdict {
            grant: admitted.map(grant),
            headers,
        })
    }

    /// What [`Self::admit`] would say, without letting anything in: asked of a copy.
    pub(crate) fn look(&self, key: &ApiKey, asking: &Asking) -> Result<(), Refusal> {
        let Some(limits) = key.limits.as_deref() else {
            return Ok(());
        };
        let second = self.second(asking.now);
        let table = self.lock();
        let mut account = match table.accounts.get(&key.id) {
            Some(account) => account.clone(),
            None if table.is_full(second) => return Err(Refusal::of_full_table()),
            None => Account::default(),
        };
        let share = account.share.of(limits, table.live_nodes);
        account.admit(limits, share, asking.estimate(), second, asking.wall)
    }

    /// A request is over.
    fn settle(&self, key: KeyId, settled: &grant::Settled) {
        let second = self.second(settled.now);
        if let Some(account) = self.lock().accounts.get_mut(&key) {
            account.settle(settled, second);
        }
    }

    pub(crate) fn live_nodes(&self, count: u32) {
        self.lock().live_nodes = count;
    }

    /// What the control plane grants this node of a key's limits.
    pub(crate) fn shared(
        &self,
        key: KeyId,
        share: Share,
        spent: &[Spent],
        counted_sequence: u64,
        now: Instant,
    ) {
        let second = self.second(now);
        let mut table = self.lock();
        if let Some(account) = table.account(key, second) {
            account.shared(share, spent, counted_sequence);
        }
    }

    /// What was spent with these keys is in the report with this sequence.
    pub(crate) fn reported<'a>(&self, sequence: u64, keys: impl Iterator<Item = (&'a KeyId, u64, u64)>) {
        let mut table = self.lock();
        for (key, tokens, cost_micros) in keys {
            if let Some(account) = table.accounts.get_mut(key) {
                account.reported(sequence, tokens, cost_micros);
            }
        }
    }

    /// What clients asked for in the last minute, the busiest keys first.
    pub(crate) fn uses(&self, now: Instant, count: usize) -> Vec<(KeyId, Use)> {
        let second = self.second(now);
        let table = self.lock();
        let uses = table
            .accounts
            .iter()
            .map(|(key, account)| (*key, account.used(second)));
        let mut uses: Vec<(KeyId, Use)> = uses.filter(|(_, used)| used.requests > 0).collect();
        uses.sort_by(|(one_key, one), (other_key, other)| {
            (other.requests, other_key.as_bytes()).cmp(&(one.requests, one_key.as_bytes()))
        });
        uses.truncate(count);
        uses
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking {
    /// Tokens of the prompt, until they are known.
    fn estimate(&self) -> u64 {
        self.body_bytes as u64 / BYTES_PER_TOKEN
    }
}

impl Table {
    /// There is no room for one more key, not even if the idle ones go.
    fn is_full(&self, second: u64) -> bool {
        self.accounts.len() >= KEYS_MAX && !self.accounts.values().any(|account| account.is_idle(second))
    }

    /// `None`: there is no room, because so many keys are in use.
    fn account(&mut self, key: KeyId, second: u64) -> Option<&mut Account> {
        if self.accounts.len() >= KEYS_MAX && !self.accounts.contains_key(&key) {
            self.accounts.retain(|_, account| !account.is_idle(second));
            if self.accounts.len() >= KEYS_MAX {
                return None;
            }
        }
        Some(self.accounts.entry(key).or_default())
    }
}

#[cfg(test)]
mod tests;
