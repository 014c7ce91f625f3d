//! Where this process is on its way to its end.

use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Default)]
pub(crate) struct Life {
    is_draining: AtomicBool,
    is_cutting: AtomicBool,
}

impl Life {
    /// No new work is wanted.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// What still runs has run long enough.
    pub(crate) fn cut(&self) {
        self.is_cutting.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cutting(&self) -> bool {
        self.is_cutting.load(Ordering::Relaxed)
    }
}
