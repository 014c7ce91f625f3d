//! The calls of a host over several clients, so that none waits for another.
//!
//! Over HTTP/2 a client has one connection to a host, however many calls there are, and the
//! server says how many streams it takes on it: a hundred, as a rule. What is more would wait,
//! unseen, until a stream ends, and a stream takes minutes. So a client has only so many calls to
//! a host at once as any server takes, and those after them go over the next client.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use url::{Position, Url};

/// Servers are asked by the protocol not to take fewer than 100. It is also how many
/// connections of HTTP/1.1 a client keeps to a host.
pub(super) const CALLS_PER_CLIENT: usize = 64;
/// From then on calls may wait for one another.
const CLIENTS_MAX: usize = 64;

/// Clients of one kind, made as they are needed.
#[derive(Debug)]
pub(super) struct Spread<C> {
    first: C,
    state: Mutex<State<C>>,
}

#[derive(Debug)]
struct State<C> {
    others: Vec<C>,
    /// By host and port, and then by client. Who has no call has no entry.
    calls: HashMap<Arc<str>, Vec<usize>>,
}

/// A call's place among those of its host; free again when dropped.
#[derive(Debug)]
pub(super) struct Place<C> {
    spread: Arc<Spread<C>>,
    host: Arc<str>,
    client: usize,
}

// === impl Spread ===

impl<C: Clone> Spread<C> {
    pub(super) fn new(first: C) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                others: Vec::new(),
                calls: HashMap::new(),
            }),
            first,
        })
    }

    /// The client for one more call. If another one is needed and cannot be made, the first.
    pub(super) fn take(self: &Arc<Self>, to: &Url, make: impl FnOnce() -> Option<C>) -> (C, Place<C>) {
        let host = &to[Position::BeforeHost..Position::AfterPort];
        let mut state = self.state();
        let host = match state.calls.get_key_value(host) {
            Some((host, _)) => Arc::clone(host),
            None => Arc::from(host),
        };
        let calls = state.calls.entry(Arc::clone(&host)).or_default();
        let index = with_room(calls);
        match calls.get_mut(index) {
            Some(count) => *count += 1,
            None => calls.push(1),
        }
        // Another host may have needed it before.
        let client = match index.checked_sub(1) {
            None => self.first.clone(),
            Some(other) => {
                let known = state.others.get(other).cloned();
                let client = known.or_else(|| {
                    let client = make()?;
                    state.others.push(client.clone());
                    Some(client)
                });
                client.unwrap_or_else(|| self.first.clone())
            }
        };
        let place = Place {
            spread: Arc::clone(self),
            host,
            client: index,
        };
        (client, place)
    }
}

impl<C> Spread<C> {
    fn state(&self) -> MutexGuard<'_, State<C>> {
        // A count that is off makes a call wait at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The first client that has room, a new one, or else the least busy.
fn with_room(calls: &[usize]) -> usize {
    let has_room = calls.iter().position(|count| *count < CALLS_PER_CLIENT);
    let least_busy = || (0..calls.len()).min_by_key(|index| calls.get(*index));
    match has_room {
        Some(index) => index,
        None if calls.len() < CLIENTS_MAX => calls.len(),
        None => least_busy().unwrap_or_default(),
    }
}

// === impl Place ===

impl<C> Drop for Place<C> {
    fn drop(&mut self) {
        let mut state = self.spread.state();
        let Some(calls) = state.calls.get_mut(&self.host) else {
            return;
        };
        if let Some(count) = calls.get_mut(self.client) {
            *count = count.saturating_sub(1);
        }
        if calls.iter().all(|count| *count == 0) {
            state.calls.remove(&self.host);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bed {
        spread: Arc<Spread<usize>>,
        made: usize,
    }

    impl Bed {
        /// Clients are numbered as they are made.
        fn take(&mut self, to: &str) -> (usize, Place<usize>) {
            let made = &mut self.made;
            let make = || {
                *made += 1;
                Some(*made)
            };
            self.spread.take(&Url::parse(to).unwrap(), make)
        }
    }

    #[test]
    fn no_client_has_more_calls_to_a_host_than_its_connection_may_take() {
        const TO: &str = "https://model.example/v1/chat";
        let mut bed = Bed {
            spread: Spread::new(0),
            made: 0,
        };
        let mut first: Vec<_> = (0..CALLS_PER_CLIENT).map(|_| bed.take(TO)).collect();
        assert!(first.iter().all(|(client, _)| *client == 0));
        let (second, held) = bed.take(TO);
        assert_eq!(second, 1);
        // Other hosts, and other ports, have connections of their own.
        for other in ["https://other.example/v1", "https://model.example:8443/v1"] {
            assert_eq!(bed.take(other).0, 0, "{other}");
        }
        // Whoever has room again is first.
        first.pop();
        assert_eq!(bed.take(TO).0, 0);
        drop((first, held));
        assert!(bed.spread.state().calls.is_empty());
        assert_eq!(bed.made, 1);
    }

    #[test]
    fn beyond_all_clients_the_least_busy_is_taken() {
        let mut calls = vec![CALLS_PER_CLIENT; CLIENTS_MAX];
        assert_eq!(with_room(&calls[1..]), CLIENTS_MAX - 1);
        calls[0] += 1;
        assert_eq!(with_room(&calls), 1);
        calls[5] = CALLS_PER_CLIENT - 1;
        assert_eq!(with_room(&calls), 5);
    }
}
