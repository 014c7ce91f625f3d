//! Long work on a body, where it does not hold up other requests.
//!
//! Whoever leaves the reactor's threads gets one of its own. There are as many at once as there
//! are processors: with a thread for each body of a burst, the reactor would get a small share of the
//! processors, and in the end no thread that goes on with everybody else.

use std::{num::NonZero, sync::LazyLock, thread::available_parallelism, time::Duration};

use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::overload::Shortage;

/// Work on bodies above this is long.
const OFF_REACTOR_BYTES: usize = 256 << 10;
/// How long a request waits for its turn. The memory for bodies bounds how many wait.
const WAIT_MAX: Duration = Duration::from_secs(10);

static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(places()));

fn places() -> usize {
    available_parallelism().map_or(1, NonZero::get)
}

/// Where work may be done.
#[must_use]
pub(crate) enum Room {
    OnReactor,
    /// None only if nobody gives places any more.
    Beside(Option<SemaphorePermit<'static>>),
}

impl Room {
    /// For work on a body of this size, within [`WAIT_MAX`].
    pub(crate) async fn soon(body_bytes: usize) -> Result<Self, Shortage> {
        if body_bytes <= OFF_REACTOR_BYTES {
            return Ok(Self::OnReactor);
        }
        // Boxed, so that the many small requests do not carry it along.
        Box::pin(timeout(WAIT_MAX, Self::of(body_bytes)))
            .await
            .map_err(|_| Shortage::Processor)
    }

    /// The same, for those who limit their time themselves.
    pub(crate) async fn of(body_bytes: usize) -> Self {
        if body_bytes > OFF_REACTOR_BYTES {
            Self::Beside(Box::pin(PLACES.acquire()).await.ok())
        } else {
            Self::OnReactor
        }
    }

    /// For work that is long whatever the size.
    pub(crate) async fn for_long() -> Result<Self, Shortage> {
        Self::soon(usize::MAX).await
    }

    /// The same, if nobody has to be waited for.
    pub(crate) fn for_long_now() -> Option<Self> {
        Some(Self::Beside(Some(PLACES.try_acquire().ok()?)))
    }

    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> T {
        match self {
            Self::OnReactor => work(),
            // The place is free again when the work is done.
            Self::Beside(_place) => tokio::task::block_in_place(work),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use tokio::task::JoinSet;

    use super::*;

    /// What is running at once, and how much of it at most.
    #[derive(Default)]
    struct Running {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn there_are_no_more_threads_at_work_than_processors_and_the_reactor_goes_on() {
        const BODIES: usize = 100;
        let running = Arc::new(Running::default());
        let mut works = JoinSet::new();
        let mut ends = Vec::new();
        for _ in 0..BODIES {
            let (end, ended) = mpsc::channel::<()>();
            ends.push(end);
            let running = Arc::clone(&running);
            works.spawn(async move {
                Room::of(OFF_REACTOR_BYTES + 1).await.run(|| {
                    let now = running.now.fetch_add(1, Ordering::SeqCst) + 1;
                    running.most.fetch_max(now, Ordering::SeqCst);
                    // Until the test lets go of it.
                    ended.recv().unwrap_err();
                    running.now.fetch_sub(1, Ordering::SeqCst);
                });
            });
        }
        timeout(Duration::from_secs(10), async {
            while running.now.load(Ordering::SeqCst) < places() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
        assert!(Room::for_long_now().is_none());
        let mut small = JoinSet::new();
        small.spawn(async { Room::of(OFF_REACTOR_BYTES).await.run(|| 7) });
        assert_eq!(small.join_all().await, [7], "nothing holds up what is short");
        drop(ends);
        works.join_all().await;
        assert_eq!(running.most.load(Ordering::SeqCst), places());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let _all = PLACES.acquire_many(places().try_into().unwrap()).await.unwrap();
        let refused = Room::soon(OFF_REACTOR_BYTES + 1).await.err();
        assert_eq!(refused, Some(Shortage::Processor));
        assert!(Room::soon(OFF_REACTOR_BYTES).await.is_ok());
    }
}
