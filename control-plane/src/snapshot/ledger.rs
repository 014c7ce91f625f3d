//! What data planes should hold, and how to get them there from what they hold.
//!
//! Pure: it is told what changed and what may go to everybody.

use std::sync::Arc;

use bridge_proto::fleet::v1 as fleet;

use super::index::{Index, Key, Reach, Track};
use super::journal::Journal;
use super::point::Point;
use super::whole::{Whole, encoded_len};
use crate::store::StoreVersion;

/// Larger changes are sent as a snapshot, which comes in pieces.
const DELTA_BYTES_MAX: usize = 1024 * 1024;

/// What changed by one publication.
#[derive(Debug)]
pub(crate) struct Edit {
    pub(crate) key: Key,
    /// `None`: it is gone.
    pub(crate) resource: Option<fleet::Resource>,
    pub(crate) reach: Reach,
}

/// What a node should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) point: Point,
    /// Up to this revision nothing is held back from it.
    pub(crate) complete_to: u64,
}

pub(crate) struct Ledger {
    index: Index,
    journal: Journal,
    newest: StoreVersion,
    released: StoreVersion,
    /// Before the oldest change that is held back.
    complete_to: u64,
    /// Where everybody was to be when something was let go last.
    settled: Option<Point>,
    /// Nothing had to be left out, so that an empty set is what the admin wants.
    is_complete: bool,
    /// What was encoded last.
    whole: Option<Arc<Whole>>,
}

impl Ledger {
    pub(crate) fn new(version: StoreVersion, index: Index, is_complete: bool) -> Self {
        Self {
            index,
            journal: Journal::new(version.revision),
            newest: version,
            released: version,
            complete_to: version.revision,
            settled: None,
            is_complete,
            whole: None,
        }
    }

    pub(crate) fn newest(&self) -> StoreVersion {
        self.newest
    }

    pub(crate) fn holds_back(&self) -> bool {
        self.index.holds_back()
    }

    pub(crate) fn target(&self, track: Track) -> Target {
        let (store, complete_to) = match track {
            Track::Newest => (self.newest, self.newest.revision),
            Track::Released => (self.released, self.complete_to),
        };
        let hash = self.index.hash(track);
        Target {
            point: Point { store, hash },
            complete_to,
        }
    }

    /// Takes in what was read up to a version.
    pub(crate) fn advance(&mut self, version: StoreVersion, edits: Vec<Edit>, is_complete: bool) {
        let before = self.newest.revision;
        self.newest = version;
        self.is_complete = is_complete;
        let passes = edits.is_empty() || edits.iter().any(|edit| edit.reach == Reach::Everybody);
        for Edit { key, resource, reach } in edits {
            self.index.put(key.clone(), resource.as_ref(), reach);
            self.journal.changed(version.revision, key);
        }
        if !self.index.holds_back() {
            (self.released, self.complete_to) = (version, version.revision);
        } else {
            self.complete_to = self.complete_to.min(before);
            if passes {
                self.released = version;
            }
        }
        self.whole = None;
    }

    /// Lets everybody have what was held back.
    pub(crate) fn release(&mut self) {
        for key in self.index.release() {
            self.journal.released(self.newest.revision, key);
        }
        (self.released, self.complete_to) = (self.newest, self.newest.revision);
        self.settled = Some(self.target(Track::Released).point);
        self.whole = None;
    }

    /// What is held back stays so, and holds up nothing else.
    pub(crate) fn overtake(&mut self) {
        for key in self.index.overtake() {
            self.journal.released(self.newest.revision, key);
            self.released = self.newest;
        }
        self.whole = None;
    }

    /// All of it; encoded once for all who ask.
    pub(crate) fn whole(&mut self, track: Track) -> Arc<Whole> {
        let point = self.target(track).point;
        if let Some(whole) = self.whole.as_ref().filter(|whole| whole.point == point) {
            return Arc::clone(whole);
        }
        let whole = Arc::new(Whole::new(point, self.allow_empty(track), self.index.all(track)));
        self.whole = Some(Arc::clone(&whole));
        whole
    }

    /// The changes since what a node holds; `None` if they are not known or too many.
    pub(crate) fn delta(&self, held: &Point, track: Track) -> Option<fleet::Delta> {
        let target = self.target(track).point;
        if !held.is_of(&target.store) || held.revision() > target.revision() {
            return None;
        }
        let (mut upserts, mut removed, mut bytes) = (Vec::new(), Vec::new(), 0);
        let changed = if self.settled.as_ref() == Some(held) {
            self.journal.since(held.revision())
        } else {
            self.journal.since_part(held.revision())
        };
        let mut changed = changed?;
        if track == Track::Newest {
            // Revisions of others may have passed them.
            changed.extend(self.index.withheld());
        }
        for key in changed {
            match self.index.get(key, track) {
                Some(resource) => {
                    bytes += encoded_len(resource);
                    upserts.push(resource.clone());
                }
                None => {
                    bytes += key.id.len();
                    removed.push(key.to_proto());
                }
            }
            if bytes > DELTA_BYTES_MAX {
                return None;
            }
        }
        Some(fleet::Delta {
            from: Some(held.version()),
            to: Some(target.version()),
            upserts,
            removed,
            state_hash: target.hash.to_vec(),
            allow_empty: self.allow_empty(track),
        })
    }

    /// Whether [`Ledger::delta`] knows enough for who holds this revision.
    pub(crate) fn reaches(&self, revision: u64) -> bool {
        self.journal.reaches(revision)
    }

    pub(crate) fn reach_back(&mut self, revision: u64, keys: impl IntoIterator<Item = Key>) {
        self.journal.reach_back(revision, keys);
    }

    fn allow_empty(&self, track: Track) -> bool {
        self.is_complete && self.index.is_empty(track)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::build;

    fn version(revision: u64) -> StoreVersion {
        Point::test(revision).store
    }

    fn key(id: &str, is_there: bool) -> Edit {
        let key = fleet::ApiKey {
            id: id.to_owned(),
            ..Default::default()
        };
        Edit {
            key: build::api_key_key(id),
            resource: is_there.then_some(fleet::Resource {
                kind: Some(fleet::resource::Kind::ApiKey(key)),
            }),
            reach: Reach::Everybody,
        }
    }

    fn provider(name: &str, priority: i32) -> Edit {
        let provider = fleet::Provider {
            name: name.to_owned(),
            priority,
            ..Default::default()
        };
        Edit {
            key: build::provider_key(name),
            resource: Some(fleet::Resource {
                kind: Some(fleet::resource::Kind::Provider(provider)),
            }),
            reach: Reach::OneFirst,
        }
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::new(version(1), Index::default(), true);
        ledger.advance(version(2), vec![key("a", true), provider("qwen", 1)], true);
        ledger.release();
        ledger
    }

    fn sizes(delta: Option<fleet::Delta>) -> Option<(usize, usize)> {
        delta.map(|delta| (delta.upserts.len(), delta.removed.len()))
    }

    #[test]
    fn a_delta_says_what_changed_since_what_is_held() {
        let mut ledger = ledger();
        let held = ledger.target(Track::Released).point;
        ledger.advance(version(3), vec![key("a", false), key("b", true)], true);
        let delta = ledger.delta(&held, Track::Released).unwrap();
        assert_eq!(
            (&delta.from, &delta.to),
            (&Some(held.version()), &Some(version_of(&ledger)))
        );
        assert_eq!(
            (delta.upserts.len(), delta.removed),
            (1, vec![build::api_key_key("a").to_proto()])
        );
        let newer = Point::test(9);
        assert_eq!(ledger.delta(&newer, Track::Released), None);
        assert_eq!(
            ledger.delta(&Point::test(0), Track::Released),
            None,
            "too long ago"
        );
        let other = Point {
            store: StoreVersion {
                epoch: 7,
                ..held.store
            },
            ..held
        };
        assert_eq!(ledger.delta(&other, Track::Released), None);
    }

    fn version_of(ledger: &Ledger) -> fleet::StoreVersion {
        ledger.target(Track::Released).point.version()
    }

    #[test]
    fn what_is_held_back_moves_nobody_but_the_first() {
        let mut ledger = ledger();
        let held = ledger.target(Track::Released);
        ledger.advance(version(3), vec![provider("qwen", 2)], true);
        assert_eq!(ledger.target(Track::Released), held);
        assert_eq!(ledger.target(Track::Newest).point.revision(), 3);
        ledger.release();
        assert_eq!(ledger.target(Track::Released), ledger.target(Track::Newest));
        assert_eq!(sizes(ledger.delta(&held.point, Track::Released)), Some((1, 0)));
    }

    #[test]
    fn a_revocation_passes_what_is_held_back() {
        let mut ledger = ledger();
        let held = ledger.target(Track::Released).point;
        ledger.advance(version(3), vec![provider("qwen", 2), provider("new", 1)], true);
        ledger.advance(version(4), vec![key("a", false)], true);
        let passed = ledger.target(Track::Released);
        assert_eq!((passed.point.revision(), passed.complete_to), (4, 2));
        assert_ne!(passed.point, ledger.target(Track::Newest).point);
        let delta = ledger.delta(&held, Track::Released).unwrap();
        assert_eq!(
            delta.removed.len(),
            2,
            "the key, and a provider that is not there yet"
        );
        // Under the same number there is another version later.
        ledger.release();
        let rest = ledger.delta(&passed.point, Track::Released).unwrap();
        assert_eq!(
            (&rest.from, rest.upserts.len(), rest.removed.len()),
            (&rest.to, 2, 0)
        );
    }

    #[test]
    fn what_waited_behind_a_change_goes_on_when_it_is_stopped() {
        let mut ledger = ledger();
        let held = ledger.target(Track::Released).point;
        let behind = Edit {
            reach: Reach::Behind,
            ..key("b", true)
        };
        ledger.advance(version(3), vec![provider("qwen", 2), behind], true);
        assert_eq!(ledger.target(Track::Released).point, held);
        ledger.overtake();
        let stopped = ledger.target(Track::Released);
        assert_eq!((stopped.point.revision(), stopped.complete_to), (3, 2));
        let delta = ledger.delta(&held, Track::Released).unwrap();
        assert_eq!(delta.state_hash, stopped.point.hash.to_vec());
        assert_eq!(delta.upserts.len(), 2, "the key, and the provider as it was");
    }

    #[test]
    fn what_was_stopped_goes_out_with_the_next_change_to_one_first() {
        let mut ledger = ledger();
        ledger.advance(version(3), vec![provider("bad", 1)], true);
        ledger.overtake();
        ledger.advance(version(4), vec![key("a", false)], true);
        let held = ledger.target(Track::Released).point;
        ledger.advance(version(5), vec![provider("good", 1)], true);
        assert_eq!(sizes(ledger.delta(&held, Track::Newest)), Some((2, 0)));
        ledger.release();
        assert_eq!(sizes(ledger.delta(&held, Track::Released)), Some((2, 0)));
    }

    #[test]
    fn what_is_too_much_for_a_delta_is_sent_whole() {
        let mut ledger = ledger();
        let held = ledger.target(Track::Released).point;
        let many = (0..60_000)
            .map(|n| key(&format!("{n:012}-------------------"), true))
            .collect();
        ledger.advance(version(3), many, true);
        assert_eq!(ledger.delta(&held, Track::Released), None);
    }

    #[test]
    fn the_whole_is_encoded_once() {
        let mut ledger = ledger();
        let first = ledger.whole(Track::Released);
        assert!(Arc::ptr_eq(&first, &ledger.whole(Track::Released)));
        ledger.advance(version(3), vec![], true);
        assert!(!Arc::ptr_eq(&first, &ledger.whole(Track::Released)));
    }

    #[test]
    fn an_empty_set_is_allowed_only_if_nothing_was_left_out() {
        let allows = |is_complete| {
            let mut ledger = Ledger::new(version(1), Index::default(), true);
            ledger.advance(version(2), vec![], is_complete);
            ledger
                .delta(&Point::test(1), Track::Released)
                .unwrap()
                .allow_empty
        };
        assert!(allows(true) && !allows(false));
    }
}
