//! Where this process is on its way to its end.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio_util::sync::CancellationToken;

#[derive(Debug, Default)]
pub(crate) struct Life {
    is_draining: AtomicBool,
    cut: CancellationToken,
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
        self.cut.cancel();
    }

    pub(crate) fn is_cutting(&self) -> bool {
        self.cut.is_cancelled()
    }

    /// Resolves when it is.
    pub(crate) async fn cutting(&self) {
        self.cut.cancelled().await;
    }
}
