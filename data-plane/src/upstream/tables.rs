//! The tables of our own tokenizer: tens of mebibytes that a node without requests does not
//! hold, and that no request should have to wait for.

use std::sync::atomic::{AtomicBool, Ordering};

use bridge_translate::tokens;
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Tables {
    are_wanted: AtomicBool,
    wanted: Notify,
    are_loaded: AtomicBool,
}

impl Tables {
    /// A request has come; it or a later one will be counted.
    pub(crate) fn want(&self) {
        if !self.are_wanted.load(Ordering::Relaxed) {
            self.are_wanted.store(true, Ordering::Relaxed);
            self.wanted.notify_one();
        }
    }

    /// Whether counting can begin at once.
    pub(crate) fn are_loaded(&self) -> bool {
        self.are_loaded.load(Ordering::Relaxed)
    }

    /// Waits until they are wanted, then loads them beside the requests.
    pub(crate) async fn load_when_wanted(&self) {
        self.wanted.notified().await;
        let loaded = tokio::task::spawn_blocking(tokens::load).await;
        self.are_loaded.store(loaded.is_ok(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn nothing_is_loaded_before_somebody_wants_it() {
        let tables = Tables::default();
        let mut loading = pin!(tables.load_when_wanted());
        assert_eq!(loading.as_mut().now_or_never(), None);
        tables.want();
        tables.want();
        loading.await;
        assert!(tables.are_loaded());
    }
}
