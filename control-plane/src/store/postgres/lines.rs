//! Which connections to the database are not to be trusted any more.
//!
//! A connection that a firewall or a machine in between has forgotten looks like any
//! other until something is asked on it. The follower finds out within moments, since
//! it asks all the time; what it knows then spares everybody else the wait.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future::BoxFuture};
use sqlx::{Connection, PgConnection, pool::PoolConnectionMetadata};
use tokio::time::timeout;

/// How long a connection that was idle may take to show that it is still there.
const PING_MAX: Duration = Duration::from_secs(1);

/// Clones share it.
#[derive(Clone, Default)]
pub(super) struct Lines {
    /// Connections that were made before are left alone.
    doubted_before: Arc<Mutex<Option<Instant>>>,
}

impl Lines {
    pub(super) fn doubt_all_before(&self, moment: Instant) {
        let mut before = self.doubted_before.lock().unwrap_or_else(PoisonError::into_inner);
        *before = Some(moment);
    }

    pub(super) fn is_doubted(&self, made: Instant) -> bool {
        let before = self.doubted_before.lock().unwrap_or_else(PoisonError::into_inner);
        before.is_some_and(|before| made < before)
    }

    /// Whether an idle connection is good for one more question.
    pub(super) fn is_good<'c>(
        &self,
        connection: &'c mut PgConnection,
        metadata: PoolConnectionMetadata,
    ) -> BoxFuture<'c, Result<bool, sqlx::Error>> {
        let made = Instant::now().checked_sub(metadata.age);
        let is_doubted = made.is_some_and(|made| self.is_doubted(made));
        async move { Ok(!is_doubted && matches!(timeout(PING_MAX, connection.ping()).await, Ok(Ok(())))) }
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_before_is_doubted() {
        let lines = Lines::default();
        let (earlier, moment) = (Instant::now(), Instant::now() + Duration::from_millis(1));
        assert!(!lines.is_doubted(earlier));
        lines.doubt_all_before(moment);
        assert!(lines.is_doubted(earlier) && !lines.is_doubted(moment));
    }
}
