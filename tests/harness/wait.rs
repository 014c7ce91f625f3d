//! Waiting for a condition with a deadline: the only way a test passes time here.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Long enough for a loaded machine; a passing test never waits this long.
pub const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Polls `probe` until it yields a value; fails with `what` when the deadline passes.
pub async fn until<T, F>(what: &str, probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Option<T>>,
{
    until_within(DEADLINE, what, probe).await
}

/// The same with another deadline.
pub async fn until_within<T, F>(deadline: Duration, what: &str, mut probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Option<T>>,
{
    let started = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return Ok(value);
        }
        if started.elapsed() > deadline {
            bail!("waited {deadline:?} in vain: {what}");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
