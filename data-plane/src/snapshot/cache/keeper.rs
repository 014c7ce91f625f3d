//! Writes what came into force to disk, beside everything that serves.
//!
//! The first change after a quiet time is written at once, so that a revocation is not
//! forgotten by a crash; those that follow it closely are written together. The last one
//! is written before the process ends.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Cache, Next, WriteError, confirm, next, write};
use crate::{
    metrics::ResultLabel,
    node::Node,
    snapshot::{Snapshot, Version, decode::Received},
};

/// Between two writes: many changes per second cost one write.
const WRITE_PAUSE: Duration = Duration::from_secs(2);
/// How much older than it is a snapshot may look after a crash.
const CONFIRM_INTERVAL: Duration = Duration::from_secs(30);
/// Not worth a write.
const CONFIRM_STEP_MS: i64 = 1_000;

/// What waits to be written: one snapshot, the newest.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Option<Arc<Snapshot>>>,
    arrived: Notify,
}

impl Inbox {
    pub(crate) fn put(&self, snapshot: Arc<Snapshot>) {
        self.put_back(snapshot, true);
        self.arrived.notify_one();
    }

    fn put_back(&self, snapshot: Arc<Snapshot>, is_newer: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if is_newer || waiting.is_none() {
            *waiting = Some(snapshot);
        }
    }

    fn take(&self) -> Option<Arc<Snapshot>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The task that writes.
pub(crate) struct Keeper {
    cache: Cache,
    node: Arc<Node>,
    inbox: Arc<Inbox>,
    progress: Progress,
    /// Nothing more comes.
    over: CancellationToken,
}

#[derive(Debug, Default)]
struct Progress {
    next: Option<Next>,
    /// The version on disk and when it was last confirmed there.
    kept: Option<(Version, i64)>,
    is_failing: bool,
}

impl Keeper {
    pub(crate) fn new(cache: Cache, node: Arc<Node>, inbox: Arc<Inbox>, over: CancellationToken) -> Self {
        Self {
            cache,
            node,
            inbox,
            progress: Progress::default(),
            over,
        }
    }

    /// Runs until nothing more can come, and writes the last of it.
    pub(crate) async fn run(mut self) {
        let over = self.over.clone();
        let mut confirmations = interval(CONFIRM_INTERVAL);
        confirmations.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The end goes first: what it leaves undone is done below.
                biased;
                () = over.cancelled() => break,
                () = self.inbox.arrived.notified() => {}
                _ = confirmations.tick() => {
                    self.write().await;
                    self.confirm().await;
                    continue;
                }
            }
            self.write().await;
            tokio::select! {
                biased;
                () = over.cancelled() => break,
                () = sleep(WRITE_PAUSE) => {}
            }
        }
        self.write().await;
        self.confirm().await;
    }

    /// What cannot be written waits for the next time.
    async fn write(&mut self) {
        let Some(waiting) = self.inbox.take() else { return };
        // Without a place the snapshot was only to be let go of.
        let Some(files) = self.cache.files().cloned() else {
            return;
        };
        let (cache, known) = (self.cache.clone(), self.progress.next);
        let confirmed = self.confirmed_unix_ms();
        let snapshot = Arc::clone(&waiting);
        let written = spawn_blocking(move || {
            let sealer = cache.sealer()?;
            let place = known.unwrap_or_else(|| next(&files, &sealer));
            write(&files, &sealer, place, &Received::of(&snapshot), confirmed).map(|()| place)
        });
        // A panic there would be a bug; the file is judged again before it is used.
        let Ok(written) = written.await else { return };
        match written {
            Ok(place) => {
                self.progress.next = Some(place.follow());
                self.progress.kept = Some((waiting.version, confirmed));
                self.note(Ok(()));
            }
            Err(error) => {
                self.inbox.put_back(waiting, false);
                self.note(Err(error));
            }
        }
    }

    /// Writes when the snapshot on disk was last known to be the newest.
    async fn confirm(&mut self) {
        let Some(files) = self.cache.files().cloned() else {
            return;
        };
        let Some(held) = self.node.live.held().map(|held| held.version) else {
            return;
        };
        let confirmed = self.confirmed_unix_ms();
        let is_told = |(version, at): (Version, i64)| version == held && confirmed - at < CONFIRM_STEP_MS;
        if self.progress.kept.is_some_and(is_told) {
            return;
        }
        let cache = self.cache.clone();
        let written = spawn_blocking(move || confirm(&files, &cache.sealer()?, held, confirmed));
        let Ok(written) = written.await else { return };
        if written.is_ok() {
            self.progress.kept = Some((held, confirmed));
        }
        self.note(written);
    }

    fn confirmed_unix_ms(&self) -> i64 {
        let now = Instant::now();
        let age = self.node.live.age(now).as_millis();
        let age = i64::try_from(age).unwrap_or(i64::MAX);
        self.node.clock.at_unix_ms(now).saturating_sub(age)
    }

    /// Counts every failure and tells the first.
    fn note(&mut self, written: Result<(), WriteError>) {
        let result = if written.is_ok() { "written" } else { "failed" };
        self.node
            .metrics
            .config
            .cache_writes
            .get_or_create(&ResultLabel { result })
            .inc();
        let folder = self
            .cache
            .files()
            .map(|files| files.folder().display().to_string());
        let folder = folder.unwrap_or_default();
        match written {
            Err(error) if !self.progress.is_failing => warn!(
                "the configuration cannot be kept in {folder}: {error}; this node serves, but does not start without the control plane"
            ),
            Ok(()) if self.progress.is_failing => info!("the configuration is kept in {folder} again"),
            Err(_) | Ok(()) => {}
        }
        self.progress.is_failing = result == "failed";
    }
}
