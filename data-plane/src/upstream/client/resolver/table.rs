//! What is known of names: pure, with the time as an argument.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// How long an answer is used without asking again.
pub(super) const FRESH: Duration = Duration::from_secs(10);
/// How long it is used while asking again is in vain.
pub(super) const STALE_MAX: Duration = Duration::from_secs(300);
/// How long nobody asks or waits after that was in vain, if there is an answer to use.
pub(super) const PAUSE: Duration = Duration::from_secs(5);
/// Names come from providers' URLs; an installation has a handful.
const NAMES_MAX: usize = 1024;

/// Resolves, one way or the other, when a question has been answered.
pub(super) type Answered = watch::Receiver<()>;

#[derive(Default)]
pub(super) struct Table {
    names: HashMap<Box<str>, Entry>,
    changes: u64,
}

#[derive(Default)]
struct Entry {
    known: Option<Known>,
    /// Held while a question is on its way; dropping it wakes those who wait.
    asking: Option<watch::Sender<()>>,
    failed_at: Option<Instant>,
}

struct Known {
    addresses: Arc<[IpAddr]>,
    at: Instant,
}

/// What to do for addresses of a name.
#[derive(Debug)]
pub(super) enum Step {
    Use(Arc<[IpAddr]>),
    /// There was nothing better lately.
    UseStale(Arc<[IpAddr]>),
    /// Somebody has asked.
    Wait(Answered),
    /// Nobody has: it is the caller's turn, and others wait for its answer.
    Ask(Answered),
}

impl Table {
    pub(super) fn consult(&mut self, name: &str, now: Instant) -> Step {
        let entry = self.entry(name);
        let best = entry.best(now);
        if let Some((addresses, true)) = best {
            return Step::Use(addresses);
        }
        if let Some((addresses, _)) = best
            && entry.was_in_vain(now)
        {
            return Step::UseStale(addresses);
        }
        if let Some(asking) = &entry.asking {
            return Step::Wait(asking.subscribe());
        }
        Step::Ask(entry.ask())
    }

    /// Whether it is the caller's turn to ask for a name that is known, and not freshly.
    pub(super) fn refresh(&mut self, name: &str, now: Instant) -> bool {
        let Some(entry) = self.names.get_mut(name) else {
            return false;
        };
        let is_fresh = entry
            .known
            .as_ref()
            .is_none_or(|known| now.saturating_duration_since(known.at) <= FRESH);
        if is_fresh || entry.asking.is_some() || entry.was_in_vain(now) {
            return false;
        }
        entry.ask();
        true
    }

    /// How often a name's addresses have become other ones.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The newest addresses that may still be used, and whether they are fresh.
    pub(super) fn best(&self, name: &str, now: Instant) -> Option<(Arc<[IpAddr]>, bool)> {
        self.names.get(name)?.best(now)
    }

    pub(super) fn found(&mut self, name: &str, addresses: Arc<[IpAddr]>, now: Instant) {
        let entry = self.entry(name);
        let is_changed = entry
            .known
            .as_ref()
            .is_some_and(|known| !is_same(&known.addresses, &addresses));
        *entry = Entry {
            known: Some(Known { addresses, at: now }),
            ..Entry::default()
        };
        self.changes += u64::from(is_changed);
    }

    pub(super) fn failed(&mut self, name: &str, now: Instant) {
        let entry = self.entry(name);
        entry.asking = None;
        entry.failed_at = Some(now);
    }

    /// The question stays on its way; nobody else need wait so long for it.
    pub(super) fn is_late(&mut self, name: &str, now: Instant) {
        let entry = self.entry(name);
        if entry.asking.is_some() {
            entry.failed_at = Some(now);
        }
    }

    fn entry(&mut self, name: &str) -> &mut Entry {
        if self.names.len() >= NAMES_MAX && !self.names.contains_key(name) {
            self.forget_one();
        }
        self.names.entry(name.into()).or_default()
    }

    /// The one that was answered longest ago; one that is being asked for only if all are.
    fn forget_one(&mut self) {
        let oldest = self
            .names
            .iter()
            .min_by_key(|(_, entry)| (entry.asking.is_some(), entry.known.as_ref().map(|known| known.at)))
            .map(|(name, _)| name.clone());
        if let Some(name) = oldest {
            self.names.remove(&name);
        }
    }
}

/// In whatever order: name servers turn it round.
fn is_same(some: &[IpAddr], others: &[IpAddr]) -> bool {
    some.iter().all(|address| others.contains(address)) && others.iter().all(|address| some.contains(address))
}

impl Entry {
    fn ask(&mut self) -> Answered {
        let (tell, answered) = watch::channel(());
        self.asking = Some(tell);
        answered
    }

    fn was_in_vain(&self, now: Instant) -> bool {
        self.failed_at
            .is_some_and(|at| now.saturating_duration_since(at) < PAUSE)
    }

    fn best(&self, now: Instant) -> Option<(Arc<[IpAddr]>, bool)> {
        let known = self.known.as_ref()?;
        let age = now.saturating_duration_since(known.at);
        (age <= STALE_MAX).then(|| (Arc::clone(&known.addresses), age <= FRESH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "model.example";

    fn addresses(text: &str) -> Arc<[IpAddr]> {
        text.split(' ').map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn one_asks_and_the_others_wait_for_the_answer() {
        let (mut table, now) = (Table::default(), Instant::now());
        let Step::Ask(first) = table.consult(NAME, now) else {
            panic!("nobody has asked")
        };
        let Step::Wait(second) = table.consult(NAME, now) else {
            panic!("somebody has asked")
        };
        assert!(second.has_changed().is_ok());
        table.found(NAME, addresses("192.0.2.1"), now);
        assert!(first.has_changed().is_err() && second.has_changed().is_err());
        assert!(matches!(table.consult(NAME, now), Step::Use(found) if found == addresses("192.0.2.1")));
    }

    #[test]
    fn a_change_is_seen_when_the_answer_is_no_longer_fresh() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.found(NAME, addresses("192.0.2.1"), now);
        assert!(matches!(table.consult(NAME, now + FRESH), Step::Use(_)));
        let later = now + FRESH + Duration::from_secs(1);
        assert!(matches!(table.consult(NAME, later), Step::Ask(_)));
        table.found(NAME, addresses("192.0.2.2"), later);
        assert!(matches!(table.consult(NAME, later), Step::Use(found) if found == addresses("192.0.2.2")));
    }

    #[test]
    fn in_vain_is_not_tried_again_at_once_and_stale_addresses_serve_for_a_while() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.found(NAME, addresses("192.0.2.1"), now);
        let later = now + Duration::from_secs(60);
        assert!(matches!(table.consult(NAME, later), Step::Ask(_)));
        table.failed(NAME, later);
        assert!(matches!(table.consult(NAME, later), Step::UseStale(_)));
        assert!(matches!(table.consult(NAME, later + PAUSE), Step::Ask(_)));
        assert_eq!(
            table.best(NAME, now + STALE_MAX).unwrap().0,
            addresses("192.0.2.1")
        );
        assert!(
            table
                .best(NAME, now + STALE_MAX + Duration::from_secs(1))
                .is_none()
        );
    }

    #[test]
    fn who_comes_while_an_answer_is_late_takes_the_stale_one() {
        let (mut table, now) = (Table::default(), Instant::now());
        table.found(NAME, addresses("192.0.2.1"), now);
        let later = now + Duration::from_secs(60);
        assert!(matches!(table.consult(NAME, later), Step::Ask(_)));
        table.is_late(NAME, later);
        assert!(matches!(table.consult(NAME, later), Step::UseStale(_)));
        // After the pause it is still on its way: nobody asks a second time.
        assert!(matches!(table.consult(NAME, later + PAUSE), Step::Wait(_)));
        // Without an answer of before there is nothing to take.
        assert!(matches!(table.consult("new", now), Step::Ask(_)));
        table.is_late("new", now);
        assert!(matches!(table.consult("new", now), Step::Wait(_)));
    }

    #[test]
    fn a_name_in_use_is_asked_for_again_by_one_and_changes_are_counted() {
        let (mut table, now) = (Table::default(), Instant::now());
        let later = now + FRESH + Duration::from_secs(1);
        assert!(!table.refresh(NAME, now), "nobody uses it");
        table.found(NAME, addresses("192.0.2.1 192.0.2.2"), now);
        assert!(!table.refresh(NAME, now + FRESH));
        assert!(table.refresh(NAME, later) && !table.refresh(NAME, later));
        table.failed(NAME, later);
        assert!(!table.refresh(NAME, later) && table.refresh(NAME, later + PAUSE));
        table.found(NAME, addresses("192.0.2.2 192.0.2.1"), later);
        assert_eq!(table.changes(), 0);
        table.found(NAME, addresses("192.0.2.2"), later);
        assert_eq!(table.changes(), 1);
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_oldest() {
        let (mut table, now) = (Table::default(), Instant::now());
        for number in 0..NAMES_MAX {
            let at = now + Duration::from_millis(number as u64);
            table.found(&format!("name-{number}"), addresses("192.0.2.1"), at);
        }
        table.found("one-more", addresses("192.0.2.1"), now);
        assert_eq!(table.names.len(), NAMES_MAX);
        assert!(table.best("name-0", now).is_none());
        assert!(table.best("name-1", now).is_some() && table.best("one-more", now).is_some());
    }
}
