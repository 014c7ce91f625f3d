//! Follows the store and publishes what data planes should hold.
//!
//! Only what survives a crash is published: the store announces a revision after it
//! is durable. What was read waits here until it is due; streams take what is newest
//! when they are ready for it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bridge_proto::fleet::v1 as fleet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::secrets::Keyring;
use crate::snapshot::feed::Feed;
use crate::snapshot::gather::Gather;
use crate::snapshot::index::{Key, Reach};
use crate::snapshot::ledger::Edit;
use crate::snapshot::nodes::Nodes;
use crate::snapshot::reader::Reader;
use crate::store::{self, Kind, ResourceChange, Store, StoreVersion};
use crate::telemetry::Metrics;

/// Wait before a failed read of the store is tried again.
const READ_RETRY: Duration = Duration::from_secs(1);

pub(crate) struct Hub {
    store: Store,
    metrics: Metrics,
    nodes: Nodes,
    feed: Feed,
    reader: Reader,
    pending: Pending,
}

/// What was read and is not published yet.
struct Pending {
    version: StoreVersion,
    edits: BTreeMap<Key, (Option<fleet::Resource>, Reach)>,
}

impl Hub {
    /// Reads the whole store: a crash between a commit and its publication loses nothing.
    pub(crate) async fn open(
        store: Store,
        keyring: Keyring,
        nodes: Nodes,
        metrics: Metrics,
    ) -> Result<Self, store::Error> {
        let mut reader = Reader::new(keyring);
        let ledger = reader.whole(store.configuration().await?);
        let version = ledger.newest();
        metrics.published_revision.set(version.revision);
        Ok(Self {
            store,
            metrics,
            nodes,
            feed: Feed::new(ledger),
            reader,
            pending: Pending::since(version),
        })
    }

    pub(crate) fn feed(&self) -> Feed {
        self.feed.clone()
    }

    /// Runs until the shutdown.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut revisions = self.store.revisions();
        revisions.mark_changed();
        let mut answers = self.nodes.changes();
        let mut gather = Gather::default();
        loop {
            tokio::select! {
                // News go first: what is due a moment later may as well carry them.
                biased;
                () = shutdown.cancelled() => return,
                changed = revisions.changed() => match changed {
                    Err(_) => return,
                    Ok(()) => match self.read().await {
                        Ok(news) => gather = news.add_to(gather),
                        Err(error) => {
                            tracing::error!(error = %error, "changes cannot be read from the store");
                            sleep(READ_RETRY).await;
                            revisions.mark_changed();
                        }
                    },
                },
                () = wait_for(gather.due()) => {
                    gather = Gather::Nothing;
                    self.publish();
                }
                _ = answers.changed() => self.feed.look(&self.nodes, Instant::now()),
                () = wait_for(self.feed.rollout().until()) => self.feed.look(&self.nodes, Instant::now()),
            }
        }
    }

    async fn read(&mut self) -> Result<News, store::Error> {
        let since = self.pending.version.revision;
        let Some(changes) = self.store.changes_since(since).await? else {
            tracing::warn!(revision = since, "the change log does not reach back this far");
            let ledger = self.reader.whole(self.store.configuration().await?);
            self.pending = Pending::since(ledger.newest());
            self.feed.replace(ledger);
            return Ok(News::None);
        };
        let news = News::of(&changes.resources);
        self.pending.version = changes.version;
        let risky = risky_revisions(&changes.resources);
        for change in changes.resources {
            let reach = reach_of(&change, &risky);
            if let Some((key, resource)) = self.reader.resource(change) {
                self.pending.edits.insert(key, (resource, reach));
            }
        }
        Ok(news)
    }

    fn publish(&mut self) {
        let version = self.pending.version;
        let edits = std::mem::take(&mut self.pending.edits);
        let edits = edits
            .into_iter()
            .map(|(key, (resource, reach))| Edit { key, resource, reach });
        let is_complete = self.reader.is_complete();
        let now = Instant::now();
        self.feed
            .publish(version, edits.collect(), is_complete, &self.nodes, now);
        self.metrics.published_revision.set(version.revision);
        tracing::info!(snapshot.version = version.revision, "snapshot published");
    }
}

async fn wait_for(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// A change that nodes might not be able to use.
fn is_risky(kind: Kind) -> bool {
    match kind {
        Kind::Provider | Kind::ModelRule | Kind::Settings => true,
        Kind::ApiKey | Kind::BreakerOverride => false,
        Kind::User | Kind::ServiceToken | Kind::JoinToken | Kind::Node => false,
    }
}

/// Revisions that hold such changes.
fn risky_revisions(changes: &[ResourceChange]) -> BTreeSet<u64> {
    let risky = changes.iter().filter(|change| is_risky(change.kind));
    risky.filter_map(ResourceChange::revision).collect()
}

/// What is changed together with something risky goes the same way, so that nobody has
/// half of it; what takes a right away waits for nothing.
fn reach_of(change: &ResourceChange, risky: &BTreeSet<u64>) -> Reach {
    let is_together = change
        .revision()
        .is_some_and(|revision| risky.contains(&revision));
    if is_risky(change.kind) {
        Reach::OneFirst
    } else if change.urgent {
        Reach::Everybody
    } else if is_together {
        Reach::OneFirst
    } else {
        Reach::Behind
    }
}

/// How soon data planes have to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Nothing that they know of has changed.
    None,
    Plain,
    Urgent,
}

impl News {
    fn of(changes: &[ResourceChange]) -> Self {
        if changes.iter().any(|change| change.urgent) {
            Self::Urgent
        } else if changes.is_empty() {
            Self::None
        } else {
            Self::Plain
        }
    }

    fn add_to(self, gather: Gather) -> Gather {
        match self {
            Self::None => gather,
            Self::Plain => gather.changed(Instant::now()),
            Self::Urgent => gather.urgent(Instant::now()),
        }
    }
}

// === impl Pending ===

impl Pending {
    fn since(version: StoreVersion) -> Self {
        Self {
            version,
            edits: BTreeMap::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::reader::tests::{change, keyring, sealed_provider};
    use crate::store::Resource;

    #[test]
    fn what_is_changed_with_something_risky_goes_its_way_unless_it_is_urgent() {
        let provider = change(
            Kind::Provider,
            Some(Resource::Provider(sealed_provider(&keyring()))),
            false,
        );
        let risky = risky_revisions(std::slice::from_ref(&provider));
        assert_eq!(risky, [1].into());
        assert_eq!(reach_of(&provider, &risky), Reach::OneFirst);
        let gone = change(Kind::ApiKey, None, true);
        assert_eq!(reach_of(&gone, &risky), Reach::Everybody);
        let rule = change(Kind::ModelRule, None, false);
        assert_eq!(reach_of(&rule, &BTreeSet::new()), Reach::OneFirst);
        let key = change(Kind::ApiKey, None, false);
        assert_eq!(reach_of(&key, &risky), Reach::Behind);
    }

    #[test]
    fn changes_that_no_data_plane_knows_of_are_no_news() {
        assert_eq!(News::of(&[]), News::None);
        let key = |urgent| change(Kind::ApiKey, None, urgent);
        assert_eq!(News::of(&[key(false)]), News::Plain);
        assert_eq!(News::of(&[key(false), key(true)]), News::Urgent);
    }
}
