//! Looks at this process: how long work waits in it, and what it uses of the processors.

use std::{future::poll_fn, task::Poll, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use tokio::{
    runtime::{Handle, RuntimeMetrics},
    time::{Instant, sleep_until},
};

use super::{processor::Look, processors::Allowed};

/// How often the system is asked what may be used: a quota can change.
const ALLOWED_INTERVAL: Duration = Duration::from_secs(2);

pub(super) struct Gauge {
    runtime: RuntimeMetrics,
    allowed: Allowed,
    asked_at: Instant,
    latest: Reading,
}

struct Reading {
    at: Instant,
    /// Of all threads together.
    used: Duration,
    /// Of an average one.
    worked: Duration,
}

// === impl Gauge ===

impl Gauge {
    pub(super) fn new() -> Self {
        let runtime = Handle::current().metrics();
        Self {
            allowed: Allowed::now(runtime.num_workers()),
            asked_at: Instant::now(),
            latest: Reading::now(&runtime),
            runtime,
        }
    }

    /// The next look, so much later.
    pub(super) async fn look(&mut self, after: Duration) -> Look {
        let due = Instant::now() + after;
        sleep_until(due).await;
        behind_all_others().await;
        let reading = Reading::now(&self.runtime);
        let look = self.between(&self.latest, &reading, due);
        if reading.at >= self.asked_at + ALLOWED_INTERVAL {
            self.allowed = Allowed::now(self.runtime.num_workers());
            self.asked_at = reading.at;
        }
        self.latest = reading;
        look
    }

    fn between(&self, before: &Reading, reading: &Reading, due: Instant) -> Look {
        let passed = reading.at.saturating_duration_since(before.at);
        let part = |time: Duration| time.as_secs_f64() / passed.as_secs_f64().max(f64::MIN_POSITIVE);
        Look {
            passed,
            waited: reading
                .at
                .saturating_duration_since(due)
                .saturating_sub(self.allowed.pause),
            used: part(reading.used.saturating_sub(before.used)) / self.allowed.processors,
            busy: part(reading.worked.saturating_sub(before.worked)),
        }
    }
}

impl Reading {
    fn now(runtime: &RuntimeMetrics) -> Self {
        let used = clock_gettime(ClockId::ProcessCPUTime);
        let threads = runtime.num_workers();
        let worked: Duration = (0..threads)
            .map(|thread| runtime.worker_total_busy_duration(thread))
            .sum();
        Self {
            at: Instant::now(),
            used: used.try_into().unwrap_or_default(),
            worked: worked / u32::try_from(threads).unwrap_or(u32::MAX).max(1),
        }
    }
}

/// Waits for its turn behind everything that waits for this thread: a timer is looked after
/// before that, and whoever was woken last goes first, so that neither tells of a queue.
async fn behind_all_others() {
    let mut has_waited = false;
    poll_fn(|context| {
        if std::mem::replace(&mut has_waited, true) {
            return Poll::Ready(());
        }
        // Who wakes itself while it runs goes to the end.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio_util::task::TaskTracker;

    use super::*;

    const TASKS: u32 = 20;

    /// On the one worker of a runtime.
    fn on_worker<T: Send + 'static>(test: impl Future<Output = T> + Send + 'static) -> T {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_time().build().unwrap();
        runtime
            .block_on(TaskTracker::new().spawn_on(test, runtime.handle()))
            .unwrap()
    }

    #[test]
    fn a_look_comes_after_what_waits() {
        on_worker(async {
            let (done, tasks) = (Arc::new(AtomicU32::new(0)), TaskTracker::new());
            for _ in 0..TASKS {
                let done = Arc::clone(&done);
                tasks.spawn(async move { done.fetch_add(1, Ordering::Relaxed) });
            }
            behind_all_others().await;
            // Whoever was spawned last goes first, and all the others before us.
            assert_eq!(done.load(Ordering::Relaxed), TASKS);
        });
    }

    #[test]
    fn work_and_waiting_are_told() {
        let look = on_worker(async {
            let mut gauge = Gauge::new();
            let hog = async {
                let end = std::time::Instant::now() + Duration::from_millis(200);
                while std::time::Instant::now() < end {
                    std::hint::spin_loop();
                }
            };
            TaskTracker::new().spawn(hog);
            gauge.look(Duration::from_millis(1)).await
        });
        assert!(look.passed >= Duration::from_millis(199), "{look:?}");
        assert!(look.waited >= Duration::from_millis(100), "{look:?}");
        assert!(look.used > 0.0 && look.used <= 1.1, "{look:?}");
    }
}
