//! How many may be in at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

#[derive(Debug)]
pub(super) struct Seats {
    taken: AtomicUsize,
    max: usize,
}

/// One seat; free again when dropped.
#[derive(Debug)]
pub(super) struct Seat(Arc<Seats>);

impl Seats {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: AtomicUsize::new(0),
            max,
        })
    }

    pub(super) fn take(self: &Arc<Self>) -> Option<Seat> {
        let free = |taken| (taken < self.max).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, free)
            .ok()
            .map(|_| Seat(Arc::clone(self)))
    }

    /// Three of four are taken.
    pub(super) fn are_scarce(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > self.max / 4 * 3
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_in_than_there_are_seats() {
        let seats = Seats::new(4);
        let taken: Vec<_> = (0..3).map(|_| seats.take().unwrap()).collect();
        assert!(!seats.are_scarce());
        let last = seats.take().unwrap();
        assert!(seats.are_scarce());
        assert!(seats.take().is_none());
        drop(last);
        assert!(seats.take().is_some());
        drop(taken);
        assert!(!seats.are_scarce());
    }
}
