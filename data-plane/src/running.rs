//! What runs with which key, so that it can be ended with the key.
//!
//! A request that began before this node learnt that its key is gone would go on: so
//! what is to be ended stays noted until the key is gone from the configuration too.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use crate::{
    error::Error,
    life::Life,
    snapshot::{KeyId, Snapshot},
};

/// Keys that are to be ended and still in the configuration.
const NOTED_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(crate) struct Running {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Only keys that something runs with.
    by_key: HashMap<KeyId, Key>,
    noted: HashSet<KeyId>,
}

#[derive(Debug, Default)]
struct Key {
    end: CancellationToken,
    requests: u64,
}

impl Running {
    /// A request begins.
    pub(crate) fn begin(self: &Arc<Self>, key: KeyId) -> Run {
        let mut state = self.lock();
        let entry = state.by_key.entry(key).or_default();
        entry.requests += 1;
        Run {
            running: Arc::clone(self),
            key,
            end: entry.end.clone(),
        }
    }

    /// Ends what runs with these keys, and what still begins with them. Answers how many
    /// requests that were.
    pub(crate) fn end(&self, keys: impl IntoIterator<Item = KeyId>, held: Option<&Snapshot>) -> u64 {
        let mut state = self.lock();
        let mut ended = 0;
        for key in keys {
            ended += state.end(&key);
            if held.is_some_and(|held| held.keys.get(&key).is_some()) && state.noted.len() < NOTED_MAX {
                state.noted.insert(key);
            }
        }
        ended
    }

    /// A configuration came into force: what waited for it is ended.
    pub(crate) fn follow(&self, snapshot: &Snapshot) -> u64 {
        let mut state = self.lock();
        let gone = |key: &KeyId| snapshot.keys.get(key).is_none();
        let keys: Vec<_> = state.noted.extract_if(gone).collect();
        keys.iter().map(|key| state.end(key)).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Those that begin later have an end of their own.
    fn end(&mut self, key: &KeyId) -> u64 {
        let Some(entry) = self.by_key.remove(key) else {
            return 0;
        };
        entry.end.cancel();
        entry.requests
    }
}

/// One request with a key, until it is dropped.
#[derive(Debug)]
pub(crate) struct Run {
    running: Arc<Running>,
    key: KeyId,
    end: CancellationToken,
}

impl Drop for Run {
    fn drop(&mut self) {
        let mut state = self.running.lock();
        // Asked only then: as soon as this one is ended, the entry may be of those that begin later.
        if self.end.is_cancelled() {
            return;
        }
        let is_last = state.by_key.get_mut(&self.key).is_some_and(|entry| {
            entry.requests -= 1;
            entry.requests == 0
        });
        if is_last {
            state.by_key.remove(&self.key);
        }
    }
}

/// What ends a request from outside: the end of the process, or of its key.
#[derive(Debug, Clone)]
pub(crate) struct Leash {
    pub(crate) life: Arc<Life>,
    pub(crate) run: Arc<Run>,
}

impl Leash {
    /// Why it has to end, if it has to.
    pub(crate) fn pulled(&self) -> Option<Error> {
        if self.run.end.is_cancelled() {
            Some(Error::KeyRevoked)
        } else if self.life.is_cutting() {
            Some(Error::Draining)
        } else {
            None
        }
    }

    /// Does this, unless it has to end before.
    pub(crate) async fn hold<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            // An answer that is there may go out.
            biased;
            done = work => Ok(done),
            error = self.wait() => Err(error),
        }
    }

    /// Waits until it has to end.
    async fn wait(&self) -> Error {
        tokio::select! {
            // Whichever is true is as good as the other.
            biased;
            () = self.run.end.cancelled() => Error::KeyRevoked,
            () = self.life.cutting() => Error::Draining,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::{auth, snapshot::decode::tests as fixture};

    /// A leash that nobody pulls but the test.
    pub(crate) fn leash(life: &Arc<Life>) -> Leash {
        let running = Arc::new(Running::default());
        let key = KeyId::parse(b"zzzzzzzzzzzz").unwrap();
        Leash {
            life: Arc::clone(life),
            run: Arc::new(running.begin(key)),
        }
    }

    impl Leash {
        pub(crate) fn end(&self) {
            self.run.end.cancel();
        }
    }

    fn key(id: &str) -> KeyId {
        KeyId::parse(id.as_bytes()).unwrap()
    }

    #[test]
    fn what_runs_with_the_key_ends_and_nothing_else_does() {
        let running = Arc::new(Running::default());
        let ours = [
            running.begin(key("aaaaaaaaaaaa")),
            running.begin(key("aaaaaaaaaaaa")),
        ];
        let other = running.begin(key("bbbbbbbbbbbb"));
        assert_eq!(running.end([key("aaaaaaaaaaaa"), key("cccccccccccc")], None), 2);
        assert!(ours.iter().all(|run| run.end.is_cancelled()) && !other.end.is_cancelled());
        let later = running.begin(key("aaaaaaaaaaaa"));
        assert!(!later.end.is_cancelled(), "it may have been enabled again");
        drop(ours);
        assert_eq!(running.lock().by_key.len(), 2);
        drop((later, other));
        assert!(running.lock().by_key.is_empty());
    }

    #[test]
    fn what_begins_before_the_key_is_gone_ends_with_it() {
        let running = Arc::new(Running::default());
        let (held, id) = (fixture::snapshot(), key(auth::tests::ID));
        assert_eq!(running.end([id], Some(&held)), 0);
        let late = running.begin(id);
        assert_eq!(running.follow(&held), 0);
        assert!(!late.end.is_cancelled());
        let without = fixture::resources()[1..].to_vec();
        let without = crate::snapshot::decode::decode(&fixture::received(2, without), None, false).unwrap();
        assert_eq!(running.follow(&without), 1);
        assert!(late.end.is_cancelled());
        assert_eq!(running.follow(&without), 0);
    }
}
