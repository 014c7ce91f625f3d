//! Puts what is kept in force at the start of a node.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use tracing::{info, warn};

use super::{Cache, Found, Kept, generations, read};
use crate::{
    metrics::{Metrics, ResultLabel},
    node::Node,
    snapshot::token::TokenError,
};

/// A disk that hangs must not hold up the control plane's snapshot.
const RESTORE_WAIT: Duration = Duration::from_secs(5);

/// What became of a look into the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restored {
    /// There is no more to be found there.
    Done,
    /// Nothing opens without the node's secret, which may come later.
    NoToken,
}

/// Where what is in force came from.
enum Source {
    Cache,
    Bootstrap,
}

impl Source {
    fn label(&self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Bootstrap => "bootstrap",
        }
    }
}

impl Cache {
    /// Puts the newest good snapshot in force, if nothing is.
    pub(crate) async fn restore(&self, node: &Arc<Node>) -> Restored {
        let cache = self.clone();
        let metrics = Arc::clone(&node.metrics);
        let search = tokio::task::spawn_blocking(move || cache.search(&metrics));
        let found = match tokio::time::timeout(RESTORE_WAIT, search).await {
            Ok(Ok(found)) => found,
            // What panics is caught where it is read; this would be a bug of ours.
            Ok(Err(_panicked)) => Ok(None),
            Err(_elapsed) => {
                warn!("the snapshot cache takes too long to read; going on without it");
                Ok(None)
            }
        };
        match found {
            Err(_) => Restored::NoToken,
            Ok(None) => Restored::Done,
            Ok(Some((source, kept))) => {
                put_in_force(node, &source, kept);
                Restored::Done
            }
        }
    }

    fn search(&self, metrics: &Metrics) -> Result<Option<(Source, Kept)>, TokenError> {
        if self.files.is_none() && self.bootstrap.is_none() {
            return Ok(None);
        }
        let sealer = self.sealer()?;
        let good = |path: &Path, found: Found| match found {
            Ok(kept) => kept,
            Err(reason) => {
                warn!(path = %path.display(), "a kept snapshot cannot be used: {reason}");
                count(metrics, "refused");
                None
            }
        };
        let mut kept: Vec<Kept> = Vec::new();
        if let Some(files) = &self.files {
            let found = generations(files, &sealer);
            kept.extend(
                found
                    .into_iter()
                    .filter_map(|(slot, found)| good(&files.slot(slot), found)),
            );
        }
        let newest = kept.into_iter().max_by_key(|kept| kept.generation);
        if let Some(newest) = newest {
            return Ok(Some((Source::Cache, newest)));
        }
        let bootstrap = self.bootstrap.as_deref();
        let bootstrap = bootstrap.and_then(|path| good(path, read(path, &sealer)));
        if bootstrap.is_none() {
            count(metrics, "nothing");
        }
        Ok(bootstrap.map(|kept| (Source::Bootstrap, kept)))
    }
}

fn put_in_force(node: &Node, source: &Source, kept: Kept) {
    let Kept {
        snapshot,
        generation: _,
        confirmed_unix_ms,
    } = kept;
    let (version, keys, providers) = (snapshot.version, snapshot.keys.len(), snapshot.providers.len());
    let now = Instant::now();
    node.clock.is_at_least(now, confirmed_unix_ms);
    let age_ms = node.clock.at_unix_ms(now).saturating_sub(confirmed_unix_ms);
    let age = Duration::from_millis(age_ms.unsigned_abs());
    if !node.live.restore(snapshot, now, age) {
        return;
    }
    count(&node.metrics, source.label());
    node.metrics.config.revision.set(version.revision);
    info!(
        snapshot.version = version.revision,
        epoch = version.epoch,
        keys,
        providers,
        age_s = age.as_secs(),
        source = source.label(),
        "kept configuration is in force"
    );
}

fn count(metrics: &Metrics, result: &'static str) {
    metrics
        .config
        .cache_loads
        .get_or_create(&ResultLabel { result })
        .inc();
}
