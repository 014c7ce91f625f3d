//! The next certificate, in time: asked for beside the subscription, again and again until
//! it is there.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use rand::RngExt;
use tokio::time::sleep_until;
use tonic::transport::Channel;

use super::{credential, ended::Ended};
use crate::{clock::Clock, snapshot::identity::Identity};

/// Between two tries; in between, a part of what is left of the certificate's time.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(3600);
const PAUSE_PART: u32 = 20;

/// What one stream owes its certificate; nothing, if there is none.
pub(super) struct Renewal(Option<Due>);

struct Due {
    at: tokio::time::Instant,
    asking: Option<BoxFuture<'static, Result<Identity, Ended>>>,
    identity: Arc<Identity>,
    path: PathBuf,
    channel: Channel,
    clock: Arc<Clock>,
}

impl Renewal {
    pub(super) fn none() -> Self {
        Self(None)
    }

    pub(super) fn new(identity: Arc<Identity>, path: PathBuf, channel: Channel, clock: Arc<Clock>) -> Self {
        let wait = identity.renews_in(clock.at(Instant::now()));
        Self(Some(Due {
            at: tokio::time::Instant::now() + wait,
            asking: None,
            identity,
            path,
            channel,
            clock,
        }))
    }

    /// Waits for the next certificate, or for a try that failed: then there will be another.
    /// Whoever gives up waiting loses nothing.
    pub(super) async fn done(&mut self) -> Result<Identity, Ended> {
        let Some(due) = &mut self.0 else {
            return std::future::pending().await;
        };
        if due.asking.is_none() {
            sleep_until(due.at).await;
        }
        let asking = due.asking.get_or_insert_with(|| {
            let (identity, path) = (Arc::clone(&due.identity), due.path.clone());
            let (channel, clock) = (due.channel.clone(), Arc::clone(&due.clock));
            Box::pin(credential::renew(identity, path, channel, clock))
        });
        let done = asking.await;
        due.asking = None;
        let now = due.clock.at(Instant::now());
        let left = due.identity.expires_at.duration_since(now).unwrap_or_default();
        due.at = tokio::time::Instant::now() + pause(left);
        done
    }
}

fn pause(left: Duration) -> Duration {
    let most = (left / PAUSE_PART).clamp(PAUSE_MIN, PAUSE_MAX);
    rand::rng().random_range(most / 2..=most)
}
