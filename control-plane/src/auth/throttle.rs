//! How often somebody may try to sign in. Pure: time is an argument.
//!
//! A try counts as a failure until it has succeeded, so that many at once gain
//! nothing. Nobody is locked out for good, and nobody can lock out somebody at
//! another address.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Tries for one account from one address within a window before it has to wait.
const FAILURES_MAX: u32 = 5;
/// Tries from one address within a window.
const TRIES_MAX: u32 = 20;
const WINDOW: Duration = Duration::from_secs(60);
/// The wait doubles with each further failure, up to this.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Entries of each table; beyond it the oldest go.
const ENTRIES_MAX: usize = 10_000;
/// Longest name of an account that is told apart, in bytes.
const ACCOUNT_BYTES_MAX: usize = 254;

/// How long to wait before the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many tries; wait {} s", .retry_after.as_secs().max(1))]
pub struct Throttled {
    pub retry_after: Duration,
}

/// An account as somebody named it, whether or not it exists, at an address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Applicant {
    account: String,
    ip: IpAddr,
}

impl Applicant {
    pub(super) fn new(account: &str, ip: IpAddr) -> Self {
        let mut account = account.trim().to_lowercase();
        account.truncate(account.floor_char_boundary(ACCOUNT_BYTES_MAX));
        Self { account, ip }
    }
}

#[derive(Debug, Clone, Copy)]
struct Count {
    count: u32,
    since: Instant,
    /// Not before this.
    blocked_until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Throttle {
    failures: HashMap<Applicant, Count>,
    tries: HashMap<IpAddr, Count>,
}

impl Throttle {
    /// Counts a try, unless it comes too early.
    pub(super) fn admit(&mut self, applicant: &Applicant, now: Instant) -> Result<(), Throttled> {
        let blocked_until = self
            .failures
            .get(applicant)
            .map_or(now, |count| count.blocked_until);
        if blocked_until > now {
            return Err(Throttled {
                retry_after: blocked_until - now,
            });
        }
        let tries = entry(&mut self.tries, applicant.ip, now);
        if tries.count >= TRIES_MAX {
            return Err(Throttled {
                retry_after: (tries.since + WINDOW).saturating_duration_since(now),
            });
        }
        tries.count += 1;
        let failures = entry(&mut self.failures, applicant.clone(), now);
        failures.count += 1;
        if let Some(further) = failures.count.checked_sub(FAILURES_MAX) {
            let wait = WINDOW.saturating_mul(2_u32.saturating_pow(further)).min(WAIT_MAX);
            failures.blocked_until = now + wait;
        }
        Ok(())
    }

    pub(super) fn succeeded(&mut self, applicant: &Applicant) {
        self.failures.remove(applicant);
    }
}

/// The count of a key, begun anew when its window is over and its wait was served
/// for as long again.
fn entry<K: Hash + Eq + Clone>(table: &mut HashMap<K, Count>, key: K, now: Instant) -> &mut Count {
    if table.len() >= ENTRIES_MAX && !table.contains_key(&key) {
        make_room(table, now);
    }
    let fresh = Count {
        count: 0,
        since: now,
        blocked_until: now,
    };
    let count = table.entry(key).or_insert(fresh);
    if is_over(count, now) {
        *count = fresh;
    }
    count
}

fn is_over(count: &Count, now: Instant) -> bool {
    let waited = count.blocked_until.saturating_duration_since(count.since);
    now >= count.since + WINDOW && now >= count.blocked_until + waited
}

fn make_room<K: Hash + Eq + Clone>(table: &mut HashMap<K, Count>, now: Instant) {
    table.retain(|_, count| !is_over(count, now));
    if table.len() >= ENTRIES_MAX
        && let Some(oldest) = table
            .iter()
            .min_by_key(|(_, count)| count.since)
            .map(|(key, _)| key.clone())
    {
        table.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applicant(account: &str, ip: [u8; 4]) -> Applicant {
        Applicant::new(account, ip.into())
    }

    #[test]
    fn five_failures_make_one_wait_longer_each_time() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let ann = applicant("Ann@example.com", [10, 0, 0, 1]);
        for _ in 0..FAILURES_MAX {
            assert_eq!(throttle.admit(&ann, start), Ok(()));
        }
        let same = applicant("ann@example.com ", [10, 0, 0, 1]);
        assert_eq!(
            throttle.admit(&same, start),
            Err(Throttled { retry_after: WINDOW })
        );
        let elsewhere = applicant("ann@example.com", [10, 0, 0, 2]);
        assert_eq!(
            throttle.admit(&elsewhere, start),
            Ok(()),
            "another address is not blocked"
        );
        let later = start + WINDOW;
        assert_eq!(throttle.admit(&ann, later), Ok(()));
        assert_eq!(
            throttle.admit(&ann, later),
            Err(Throttled {
                retry_after: WINDOW * 2
            })
        );
        let much_later = later + WINDOW * 10;
        for _ in 0..FAILURES_MAX {
            assert_eq!(
                throttle.admit(&ann, much_later),
                Ok(()),
                "old failures are forgotten"
            );
        }
    }

    #[test]
    fn a_success_clears_the_failures() {
        let (mut throttle, now, ann) = (
            Throttle::default(),
            Instant::now(),
            applicant("ann", [10, 0, 0, 1]),
        );
        for _ in 0..FAILURES_MAX {
            assert_eq!(throttle.admit(&ann, now), Ok(()));
        }
        throttle.succeeded(&ann);
        assert_eq!(throttle.admit(&ann, now), Ok(()));
    }

    #[test]
    fn an_address_has_twenty_tries_a_minute() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..TRIES_MAX {
            assert_eq!(
                throttle.admit(&applicant(&format!("u{n}"), [10, 0, 0, 1]), now),
                Ok(())
            );
        }
        let one_more = applicant("one-more", [10, 0, 0, 1]);
        assert!(throttle.admit(&one_more, now).is_err());
        assert_eq!(throttle.admit(&one_more, now + WINDOW), Ok(()));
    }

    #[test]
    fn the_tables_stay_bounded() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..ENTRIES_MAX as u32 + 10 {
            let _ = throttle.admit(&applicant("ann", n.to_be_bytes()), now);
        }
        assert_eq!(throttle.failures.len(), ENTRIES_MAX);
        assert_eq!(throttle.tries.len(), ENTRIES_MAX);
    }
}
