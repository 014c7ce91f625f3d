//! How often a stream may write while the processor is behind.
//!
//! A write costs more than all else that a small piece of an answer costs, for the system and
//! for its client. While work waits here, pieces that follow one another closely leave
//! together; one that comes alone leaves at once, as ever.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::overload::Pressure;

/// The least between two writes of a stream under pressure: fluent still to the eye.
const INTERVAL: Duration = Duration::from_millis(40);

pub(crate) struct Gather {
    pressure: Pressure,
    wrote_at: Option<Instant>,
    /// Made when it is first needed: most streams never do.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Gather {
    pub(crate) fn new(pressure: Pressure) -> Self {
        Self {
            pressure,
            wrote_at: None,
            timer: None,
        }
    }

    /// Ready when a write may go out.
    pub(super) fn poll_due(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(wrote_at) = self.wrote_at.filter(|_| self.pressure.is_high()) else {
            return Poll::Ready(());
        };
        let due = wrote_at + INTERVAL;
        if Instant::now() >= due {
            return Poll::Ready(());
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() != due {
            timer.as_mut().reset(due);
        }
        timer.as_mut().poll(context)
    }

    /// Something goes out.
    pub(super) fn wrote(&mut self) {
        let now = Instant::now();
        // One that had to wait for its turn keeps its place in time: streams that are late
        // together would else be due together from then on.
        let due = self.wrote_at.map(|wrote_at| wrote_at + INTERVAL);
        let is_late = |due: &Instant| *due <= now && now < *due + INTERVAL;
        self.wrote_at = Some(due.filter(is_late).unwrap_or(now));
    }
}
