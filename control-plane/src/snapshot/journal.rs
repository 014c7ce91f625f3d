//! Which resources changed when, so that a node can catch up by changes.
//!
//! Only names: what a resource is now says the index. Earlier changes than those of
//! this process are read from the store's change log once somebody asks for them.

use std::collections::{BTreeSet, VecDeque};

use super::index::Key;

/// Changes that are remembered, about 100 bytes each.
const ENTRIES_MAX: usize = 20_000;

#[derive(Debug)]
struct Entry {
    revision: u64,
    /// It was held back and let go at this revision: a node may hold it without.
    is_late: bool,
    key: Key,
}

/// In the order of revisions.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Everything that changed after this revision is here.
    floor: u64,
    entries: VecDeque<Entry>,
}

impl Journal {
    pub(crate) fn new(floor: u64) -> Self {
        Self {
            floor,
            entries: VecDeque::new(),
        }
    }

    pub(crate) fn changed(&mut self, revision: u64, key: Key) {
        self.push(revision, false, key);
    }

    pub(crate) fn released(&mut self, revision: u64, key: Key) {
        self.push(revision, true, key);
    }

    fn push(&mut self, revision: u64, is_late: bool, key: Key) {
        self.entries.push_back(Entry {
            revision,
            is_late,
            key,
        });
        if self.entries.len() > ENTRIES_MAX
            && let Some(oldest) = self.entries.pop_front()
        {
            self.floor = oldest.revision;
        }
    }

    pub(crate) fn reaches(&self, revision: u64) -> bool {
        revision >= self.floor
    }

    /// Adds what changed between a revision and the oldest that is known. When exactly
    /// does not matter: who asks from in between is told a little more.
    pub(crate) fn reach_back(&mut self, revision: u64, keys: impl IntoIterator<Item = Key>) {
        if self.reaches(revision) {
            return;
        }
        let room = ENTRIES_MAX.saturating_sub(self.entries.len());
        let keys: Vec<Key> = keys.into_iter().take(room + 1).collect();
        if keys.len() > room {
            return;
        }
        for key in keys {
            self.entries.push_front(Entry {
                revision: self.floor,
                is_late: false,
                key,
            });
        }
        self.floor = revision;
    }

    /// What changed after a revision, for who holds all of it; `None` if that is no
    /// longer known.
    pub(crate) fn since(&self, revision: u64) -> Option<BTreeSet<&Key>> {
        self.keys(revision, |entry| entry.revision > revision)
    }

    /// The same for who may hold it without what was let go late.
    pub(crate) fn since_part(&self, revision: u64) -> Option<BTreeSet<&Key>> {
        self.keys(revision, |entry| entry.is_late || entry.revision > revision)
    }

    fn keys(&self, revision: u64, is_meant: impl Fn(&Entry) -> bool) -> Option<BTreeSet<&Key>> {
        if !self.reaches(revision) {
            return None;
        }
        let latest = self.entries.iter().rev();
        let latest = latest.take_while(|entry| entry.revision >= revision);
        let meant = latest.filter(|entry| is_meant(entry));
        Some(meant.map(|entry| &entry.key).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build::api_key_key;

    fn since(journal: &Journal, revision: u64) -> Option<Vec<&str>> {
        let keys = journal.since(revision)?;
        Some(keys.into_iter().map(|key| key.id.as_str()).collect())
    }

    #[test]
    fn each_thing_once_since_a_revision() {
        let mut journal = Journal::new(4);
        for (revision, id) in [(5, "a"), (6, "b"), (7, "a")] {
            journal.changed(revision, api_key_key(id));
        }
        assert_eq!(since(&journal, 7), Some(vec![]));
        assert_eq!(since(&journal, 6), Some(vec!["a"]));
        assert_eq!(since(&journal, 4), Some(vec!["a", "b"]));
        assert_eq!(since(&journal, 3), None);
    }

    #[test]
    fn what_was_let_go_late_is_told_to_those_who_hold_the_same_revision() {
        let mut journal = Journal::new(4);
        journal.changed(5, api_key_key("a"));
        journal.released(5, api_key_key("b"));
        assert_eq!(since(&journal, 5), Some(vec![]));
        let part = journal.since_part(5).unwrap();
        assert_eq!(
            part.into_iter().map(|key| key.id.as_str()).collect::<Vec<_>>(),
            ["b"]
        );
    }

    #[test]
    fn it_reaches_back_as_far_as_the_change_log() {
        let mut journal = Journal::new(10);
        journal.changed(11, api_key_key("new"));
        journal.reach_back(7, [api_key_key("old")]);
        assert_eq!(since(&journal, 7), Some(vec!["new", "old"]));
        assert_eq!(since(&journal, 9), Some(vec!["new", "old"]), "more than needed");
        assert_eq!(since(&journal, 10), Some(vec!["new"]));
        assert_eq!(since(&journal, 6), None);
        let many = (0..=ENTRIES_MAX).map(|n| api_key_key(&n.to_string()));
        journal.reach_back(1, many);
        assert_eq!(since(&journal, 1), None, "not half of it");
    }

    #[test]
    fn it_forgets_the_oldest() {
        let mut journal = Journal::new(0);
        for revision in 1..=ENTRIES_MAX as u64 + 5 {
            journal.changed(revision, api_key_key("a"));
        }
        assert_eq!(journal.entries.len(), ENTRIES_MAX);
        assert_eq!(since(&journal, 4), None);
        assert_eq!(since(&journal, 5), Some(vec!["a"]));
    }
}
