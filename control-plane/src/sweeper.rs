//! Drops what is known of traffic once it is kept long enough, a little at a time.

use std::time::{Duration, SystemTime};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::retention::Retention;
use crate::store::{CommitError, Cursor, Store, Swept};
use crate::telemetry::Metrics;

const EVERY: Duration = Duration::from_secs(60);
/// Between two turns, while there is more to drop.
const BREATH: Duration = Duration::from_millis(500);

pub(crate) struct Sweeper {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
}

impl Sweeper {
    pub(crate) async fn run(self, stopping: CancellationToken) {
        let mut cursor = Cursor::default();
        loop {
            let pause = match self.turn(cursor.clone()).await {
                Ok(swept) => {
                    self.metrics.usage_swept.inc_by(swept.rows as u64);
                    cursor = swept.cursor;
                    if swept.has_more { BREATH } else { EVERY }
                }
                Err(error) => {
                    tracing::warn!(%error, "outdated usage could not be dropped");
                    EVERY
                }
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = sleep(pause) => {}
            }
        }
    }

    async fn turn(&self, cursor: Cursor) -> Result<Swept, CommitError> {
        let settings = self.store.settings().await?;
        let retention = settings.map_or_else(Retention::default, |stored| stored.value.to_draft().retention);
        let now_s = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        self.store.sweep_usage(now_s, retention, cursor).await
    }
}
