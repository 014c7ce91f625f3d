//! Sends requests at a fixed rate, whatever becomes of them, or as fast as answers come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::client::{End, Sample};

/// How often an open loop looks at what is due.
const TICK: Duration = Duration::from_millis(1);
/// More requests at once than this are not sent, and count as failed.
const IN_FLIGHT_MAX: usize = 12_000;

/// Sends `rate` requests each second for so long, the `n`th by `send(n, due)`; a late one is
/// timed from when it was due, so that a stalled target cannot hide behind a stalled client.
pub async fn open_loop<F>(
    rate: f64,
    time: Duration,
    send: impl Fn(u64, Instant) -> F + Send + Sync,
) -> Vec<Sample>
where
    F: Future<Output = Sample> + Send + 'static,
{
    let started = Instant::now();
    let count = (rate * time.as_secs_f64()) as u64;
    let due = |number: u64| started + Duration::from_secs_f64(number as f64 / rate);
    let mut flying = JoinSet::new();
    let mut samples = Vec::new();
    let mut number = 0;
    while number < count {
        let now = Instant::now();
        while number < count && due(number) <= now {
            let is_full = flying.len() >= IN_FLIGHT_MAX;
            match is_full {
                true => samples.push(unsent(due(number))),
                false => drop(flying.spawn(send(number, due(number)))),
            }
            number += 1;
        }
        while let Some(done) = flying.try_join_next() {
            samples.push(done.unwrap_or_else(|error| lost(&error)));
        }
        tokio::time::sleep(TICK).await;
    }
    while let Some(done) = flying.join_next().await {
        samples.push(done.unwrap_or_else(|error| lost(&error)));
    }
    samples
}

/// `workers` clients that each send their next request once the last one is answered.
pub async fn closed_loop<F>(
    workers: usize,
    time: Duration,
    send: impl Fn(u64) -> F + Clone + Send + 'static,
) -> Vec<Sample>
where
    F: Future<Output = Sample> + Send,
{
    let end = Instant::now() + time;
    let next = Arc::new(AtomicU64::new(0));
    let mut running = JoinSet::new();
    for _ in 0..workers {
        let (send, next) = (send.clone(), Arc::clone(&next));
        running.spawn(async move {
            let mut samples = Vec::new();
            while Instant::now() < end {
                samples.push(send(next.fetch_add(1, Ordering::Relaxed)).await);
            }
            samples
        });
    }
    let mut samples = Vec::new();
    while let Some(done) = running.join_next().await {
        samples.extend(done.unwrap_or_else(|error| vec![lost(&error)]));
    }
    samples
}

fn unsent(due: Instant) -> Sample {
    Sample {
        is_stream: false,
        sent_at: due,
        took: Duration::ZERO,
        head_took: None,
        retries: 0,
        end: End::Failed(format!("not sent: {IN_FLIGHT_MAX} requests are waiting already")),
    }
}

fn lost(error: &tokio::task::JoinError) -> Sample {
    Sample {
        is_stream: false,
        sent_at: Instant::now(),
        took: Duration::ZERO,
        head_took: None,
        retries: 0,
        end: End::Failed(format!("the client broke: {error}")),
    }
}
