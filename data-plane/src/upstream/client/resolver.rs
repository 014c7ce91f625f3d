//! Names of upstreams become addresses, also while name servers are down.
//!
//! The system's resolver tells no lifetimes, so addresses count as fresh for a few seconds;
//! after that they serve only if asking again fails or takes too long. One question for a
//! name is on its way at a time, whoever waits for it. Which addresses may be called is
//! judged at every use, the remembered ones included.

mod table;

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use prometheus_client::metrics::counter::Counter;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use self::table::{Step, Table};
use crate::upstream::address::Rules;

/// How long a caller waits for an answer.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// Each holds a thread for as long as the system's resolver pleases.
const LOOKUPS_MAX: usize = 32;

/// Why a name leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the name has no address")]
    NotFound,
    #[error("the name points to an address that is not allowed")]
    Denied,
}

type LookUp = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

#[derive(Clone)]
pub(super) struct Resolver(Arc<Shared>);

struct Shared {
    table: Mutex<Table>,
    lookups: Arc<Semaphore>,
    look_up: Box<LookUp>,
    rules: Rules,
    /// Uses of addresses that could not be refreshed.
    stale: Counter,
}

impl Resolver {
    /// The system's, which reads `/etc/hosts` and `/etc/resolv.conf`.
    pub(super) fn system(rules: Rules, stale: Counter) -> Self {
        Self::new(Box::new(system), rules, stale)
    }

    fn new(look_up: Box<LookUp>, rules: Rules, stale: Counter) -> Self {
        Self(Arc::new(Shared {
            table: Mutex::default(),
            lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)),
            look_up,
            rules,
            stale,
        }))
    }

    async fn addresses_allowed(&self, name: &str) -> Result<Vec<SocketAddr>, Refusal> {
        let found = self.addresses(name).await.ok_or(Refusal::NotFound)?;
        let allowed: Vec<SocketAddr> = found
            .iter()
            .filter(|address| self.0.rules.allow(**address))
            .map(|address| (*address, 0).into())
            .collect();
        if allowed.is_empty() {
            return Err(Refusal::Denied);
        }
        Ok(allowed)
    }

    async fn addresses(&self, name: &str) -> Option<Arc<[IpAddr]>> {
        let step = self.table().consult(name, Instant::now());
        let mut answered = match step {
            Step::Use(addresses) => return Some(addresses),
            Step::UseStale(addresses) => {
                self.0.stale.inc();
                return Some(addresses);
            }
            Step::Wait(answered) => answered,
            Step::Ask(answered) => {
                self.ask(name);
                answered
            }
        };
        // The sender goes when the table knows the answer.
        let in_time = timeout(WAIT_MAX, answered.changed()).await.is_ok();
        let now = Instant::now();
        let mut table = self.table();
        if !in_time {
            table.is_late(name, now);
        }
        let (addresses, is_fresh) = table.best(name, now)?;
        if !is_fresh {
            self.0.stale.inc();
        }
        Some(addresses)
    }

    /// Asks again for a name in use, without waiting. Tells how often addresses of names have
    /// changed.
    pub(super) fn keep_fresh(&self, name: &str) -> u64 {
        let mut table = self.table();
        let changes = table.changes();
        let is_to_be_asked = table.refresh(name, Instant::now());
        drop(table);
        if is_to_be_asked {
            self.ask(name);
        }
        changes
    }

    /// Asks in the background: who stops waiting leaves the answer to the next one.
    fn ask(&self, name: &str) {
        let Ok(permit) = Arc::clone(&self.0.lookups).try_acquire_owned() else {
            return self.table().failed(name, Instant::now());
        };
        let (this, name) = (self.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || this.answer(&name, permit));
    }

    fn answer(&self, name: &str, permit: OwnedSemaphorePermit) {
        let found = (self.0.look_up)(name);
        drop(permit);
        let now = Instant::now();
        match found {
            Ok(addresses) if !addresses.is_empty() => self.table().found(name, addresses.into(), now),
            Ok(_) | Err(_) => self.table().failed(name, now),
        }
    }

    /// A panic elsewhere leaves a whole table behind: its entries do not depend on one another.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let this = self.clone();
        Box::pin(async move {
            let addresses = this.addresses_allowed(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Blocks.
fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    let addresses = (name, 0).to_socket_addrs()?;
    Ok(addresses.map(|address| address.ip()).collect())
}

#[cfg(test)]
mod tests;
