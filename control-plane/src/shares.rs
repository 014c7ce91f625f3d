//! Shares the limits of keys out over the fleet, and tells nodes what is spent of budgets.
//!
//! Nodes say every five seconds what clients asked of them; every two seconds each key in
//! use is divided anew (`split`), and who gets more or less than before by a tenth is told.

mod board;
mod split;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bridge_proto::fleet::v1 as fleet;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::board::{Board, Known};
use crate::domain::api_key::KeyId;
use crate::domain::limits::{Amount, Limits};
use crate::domain::usage::Boot;
use crate::snapshot::limits::period;
use crate::snapshot::nodes::Nodes;
use crate::store::{self, KeyUsage, Store};

const TURN: Duration = Duration::from_secs(2);

/// Clones share the board.
#[derive(Clone)]
pub(crate) struct Shares {
    shared: Arc<Shared>,
}

struct Shared {
    started: Instant,
    nodes: Nodes,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    board: Board,
    seats: u64,
}

/// A connected node's place; its drop takes the node out.
pub(crate) struct Seat {
    shares: Shares,
    node_id: String,
    seat: u64,
    news: Arc<Notify>,
}

impl Shares {
    pub(crate) fn new(nodes: Nodes) -> Self {
        let shared = Shared {
            started: Instant::now(),
            nodes,
            table: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Takes a node in.
    pub(crate) fn join(&self, node_id: &str, boot_id: &str) -> Seat {
        let news = Arc::new(Notify::new());
        let boot = Boot {
            node_id: node_id.to_owned(),
            boot_id: boot_id.to_owned(),
        };
        let mut table = self.lock();
        table.seats += 1;
        let seat = table.seats;
        table.board.join(seat, boot, Arc::clone(&news));
        Seat {
            shares: self.clone(),
            node_id: node_id.to_owned(),
            seat,
            news,
        }
    }

    /// Runs until the shutdown.
    pub(crate) async fn run(self, store: Store, shutdown: CancellationToken) {
        let mut turns = interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut limits = KnownLimits::default();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                _ = turns.tick() => {}
            }
            if let Err(error) = self.turn(&store, &mut limits).await {
                tracing::warn!(%error, "limits of keys cannot be shared out");
            }
        }
    }

    async fn turn(&self, store: &Store, limits: &mut KnownLimits) -> Result<(), store::Error> {
        let (keys, boots) = {
            let table = self.lock();
            (table.board.keys(), table.board.boots())
        };
        if keys.is_empty() {
            return Ok(());
        }
        limits.follow(store, &keys).await?;
        // Before what is spent is read, so that it contains at least these.
        let mut counted = Vec::with_capacity(boots.len());
        for boot in boots {
            let sequence = store.counted_sequence(&boot).await?;
            counted.push((boot, sequence));
        }
        let with_budgets = limits.with_budgets(&keys);
        let usage = store.key_usage(with_budgets).await?;
        let now = SystemTime::now();
        let known = limits.known(&keys, &usage, now);
        let elsewhere = self.shared.nodes.live_elsewhere();
        let mut table = self.lock();
        let known = part_of_all(known, table.board.live_nodes(), elsewhere);
        for (boot, sequence) in &counted {
            table.board.counted(boot, *sequence);
        }
        let now = self.now();
        table.board.turn(&known, now);
        Ok(())
    }

    fn now(&self) -> u64 {
        u64::try_from(self.shared.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Seat ===

impl Seat {
    /// What clients asked of this node.
    pub(crate) fn asked(&self, uses: Vec<fleet::KeyUse>) {
        let now = self.shares.now();
        self.shares
            .lock()
            .board
            .status(&self.node_id, self.seat, uses, now);
    }

    /// Waits until there is something to tell.
    pub(crate) async fn changed(&self) {
        self.news.notified().await;
    }

    /// What the node has to be told, if anything.
    pub(crate) fn take(&self) -> Option<fleet::KeyShares> {
        self.shares.lock().board.take(&self.node_id, self.seat)
    }

    /// Among how many the limits are shared out.
    pub(crate) fn live_nodes(&self) -> u32 {
        let here = self.shares.lock().board.live_nodes();
        let all = here + self.shares.shared.nodes.live_elsewhere();
        u32::try_from(all).unwrap_or(u32::MAX)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = self.shares.now();
        self.shares.lock().board.leave(&self.node_id, self.seat, now);
    }
}

/// The limits of keys in use, read again whenever something has changed.
#[derive(Default)]
struct KnownLimits {
    revision: Option<u64>,
    limits: HashMap<String, Option<Limits>>,
}

impl KnownLimits {
    async fn follow(&mut self, store: &Store, keys: &[String]) -> Result<(), store::Error> {
        let revision = store.version().revision;
        if self.revision != Some(revision) {
            self.limits.clear();
            self.revision = Some(revision);
        }
        self.limits.retain(|id, _| keys.binary_search(id).is_ok());
        for id in keys {
            if self.limits.contains_key(id) {
                continue;
            }
            let limits = match KeyId::parse(id) {
                Ok(key) => store.api_key(&key).await?.map(|key| key.value.spec.limits),
                Err(_) => None,
            };
            self.limits
                .insert(id.clone(), limits.filter(|limits| !limits.is_unlimited()));
        }
        Ok(())
    }

    fn of(&self, id: &str) -> Option<&Limits> {
        self.limits.get(id)?.as_ref()
    }

    fn with_budgets(&self, keys: &[String]) -> Vec<KeyId> {
        let has_budgets = |id: &&String| self.of(id).is_some_and(|limits| !limits.budgets.is_empty());
        let keys = keys.iter().filter(has_budgets);
        keys.filter_map(|id| KeyId::parse(id).ok()).collect()
    }

    fn known(
        &self,
        keys: &[String],
        usage: &BTreeMap<String, KeyUsage>,
        now: SystemTime,
    ) -> BTreeMap<String, Known> {
        let known = keys.iter().filter_map(|id| {
            let limits = self.of(id)?.clone();
            let budgets = spent(&limits, usage.get(id), now);
            Some((id.clone(), Known { limits, budgets }))
        });
        known.collect()
    }
}

/// What this control plane may share out: as much as it has of all nodes. Others share
/// out the rest; budgets are counted for all of them together.
fn part_of_all(known: BTreeMap<String, Known>, here: usize, elsewhere: usize) -> BTreeMap<String, Known> {
    let part = |(id, known): (String, Known)| {
        let limits = known.limits.part(here, here + elsewhere);
        (id, Known { limits, ..known })
    };
    known.into_iter().map(part).collect()
}

fn spent(limits: &Limits, usage: Option<&KeyUsage>, now: SystemTime) -> Vec<fleet::BudgetUse> {
    let spent = |budget: &crate::domain::limits::Budget| {
        let spent = usage.and_then(|usage| usage.spent_in(budget.period, now));
        let used = match (spent, budget.amount) {
            (None, _) => 0,
            (Some(spent), Amount::Tokens(_)) => spent.tokens,
            (Some(spent), Amount::CostMicros(_)) => spent.cost_micros,
        };
        fleet::BudgetUse {
            period: period(budget.period).into(),
            used,
            resets_at: Some(budget.period.end(now).into()),
        }
    };
    limits.budgets.iter().map(spent).collect()
}
