//! Who is connected, what was asked of whom, and what each was told of the limits of keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bridge_proto::fleet::v1 as fleet;
use tokio::sync::Notify;

use super::split::{Asked, Kind, Ms, Place, Track, split};
use crate::domain::limits::Limits;
use crate::domain::usage::Boot;

/// As many uses as a node may report: with so many, it may not have told all.
const USES_MAX: usize = 1_000;
/// Keys that are shared out at a time: the rest goes by the number of nodes.
const KEYS_MAX: usize = 20_000;
/// A key that nobody was asked for in this time is not shared out any more.
const IDLE_AFTER: Ms = 180_000;
/// What a node that has left may have used is over by then.
const GONE_AFTER: Ms = 70_000;
/// A share is told anew if it changes by more than one part in so many.
const TOLD_PART: u64 = 10;

#[derive(Default)]
pub(super) struct Board {
    nodes: BTreeMap<String, Node>,
    keys: BTreeMap<String, Key>,
}

struct Node {
    /// Tells the present stream of a node from an earlier one.
    seat: u64,
    boot: Boot,
    left_at: Option<Ms>,
    status_at: Option<Ms>,
    uses: BTreeMap<String, fleet::KeyUse>,
    pending: BTreeMap<String, fleet::KeyShare>,
    counted_sequence: u64,
    news: Arc<Notify>,
}

#[derive(Default)]
struct Key {
    used_at: Ms,
    /// By node.
    tracks: BTreeMap<String, Tracks>,
}

/// What one node was told of one key.
#[derive(Default)]
struct Tracks {
    requests: Track,
    tokens: Track,
    concurrent: Track,
    told: Option<fleet::KeyShare>,
}

/// One of the three limits that are shared out, and where it is found.
struct Line {
    kind: Kind,
    limit: Option<u64>,
    asked: fn(&fleet::KeyUse) -> u64,
    track: fn(&mut Tracks) -> &mut Track,
}

/// What is known of a key beside its use.
pub(super) struct Known {
    pub(super) limits: Limits,
    /// What was spent of its budgets.
    pub(super) budgets: Vec<fleet::BudgetUse>,
}

impl Board {
    pub(super) fn join(&mut self, seat: u64, boot: Boot, news: Arc<Notify>) {
        let node = Node {
            seat,
            left_at: None,
            status_at: None,
            uses: BTreeMap::new(),
            pending: BTreeMap::new(),
            counted_sequence: 0,
            news,
            boot: boot.clone(),
        };
        let is_restarted = self
            .nodes
            .insert(boot.node_id.clone(), node)
            .is_none_or(|before| before.boot != boot);
        // It was told nothing yet, or may have forgotten it.
        for key in self.keys.values_mut() {
            if let Some(tracks) = key.tracks.get_mut(&boot.node_id) {
                tracks.told = tracks.told.take().filter(|_| !is_restarted);
            }
        }
        // One more among whom limits are divided: who has no share goes by their number.
        self.nodes.values().for_each(|node| node.news.notify_one());
    }

    pub(super) fn leave(&mut self, node_id: &str, seat: u64, now: Ms) {
        if let Some(node) = self.nodes.get_mut(node_id).filter(|node| node.seat == seat) {
            node.left_at = Some(now);
            node.pending.clear();
        }
    }

    pub(super) fn live_nodes(&self) -> usize {
        self.nodes.values().filter(|node| node.left_at.is_none()).count()
    }

    pub(super) fn status(&mut self, node_id: &str, seat: u64, uses: Vec<fleet::KeyUse>, now: Ms) {
        let Some(node) = self.nodes.get_mut(node_id).filter(|node| node.seat == seat) else {
            return;
        };
        node.status_at = Some(now);
        node.uses = uses
            .into_iter()
            .take(USES_MAX)
            .map(|used| (used.key_id.clone(), used))
            .collect();
        for key_id in node.uses.keys() {
            if self.keys.len() < KEYS_MAX || self.keys.contains_key(key_id) {
                self.keys.entry(key_id.clone()).or_default().used_at = now;
            }
        }
    }

    /// Keys in use.
    pub(super) fn keys(&self) -> Vec<String> {
        self.keys.keys().cloned().collect()
    }

    /// The boots of the nodes that are there.
    pub(super) fn boots(&self) -> Vec<Boot> {
        let live = self.nodes.values().filter(|node| node.left_at.is_none());
        live.map(|node| node.boot.clone()).collect()
    }

    pub(super) fn counted(&mut self, boot: &Boot, sequence: u64) {
        if let Some(node) = self
            .nodes
            .get_mut(&boot.node_id)
            .filter(|node| node.boot == *boot)
        {
            node.counted_sequence = sequence;
        }
    }

    /// Works out what everybody gets, and leaves it with those whose share has changed.
    pub(super) fn turn(&mut self, known: &BTreeMap<String, Known>, now: Ms) {
        self.nodes.retain(|_, node| {
            node.left_at
                .is_none_or(|left| now.saturating_sub(left) <= GONE_AFTER)
        });
        self.keys
            .retain(|id, key| known.contains_key(id) && now.saturating_sub(key.used_at) <= IDLE_AFTER);
        let mut told = BTreeSet::new();
        for (id, key) in &mut self.keys {
            if let Some(known) = known.get(id) {
                key.turn(id, known, &mut self.nodes, now, &mut told);
            }
        }
        for node in self
            .nodes
            .values()
            .filter(|node| told.contains(&node.boot.node_id))
        {
            node.news.notify_one();
        }
    }

    pub(super) fn take(&mut self, node_id: &str, seat: u64) -> Option<fleet::KeyShares> {
        let node = self.nodes.get_mut(node_id).filter(|node| node.seat == seat)?;
        let shares: Vec<fleet::KeyShare> = std::mem::take(&mut node.pending).into_values().collect();
        (!shares.is_empty()).then_some(fleet::KeyShares {
            shares,
            counted_sequence: node.counted_sequence,
        })
    }
}

impl Node {
    fn asked(&self, key_id: &str, of: fn(&fleet::KeyUse) -> u64) -> Option<Asked> {
        let (used, at) = (self.uses.get(key_id), self.status_at?);
        let count = match used {
            Some(used) => of(used),
            None if self.uses.len() < USES_MAX => 0,
            None => return None,
        };
        Some(Asked { count, at })
    }
}

impl Key {
    fn turn(
        &mut self,
        id: &str,
        known: &Known,
        nodes: &mut BTreeMap<String, Node>,
        now: Ms,
        told: &mut BTreeSet<String>,
    ) {
        self.tracks.retain(|node_id, _| nodes.contains_key(node_id));
        for node_id in nodes.keys() {
            if !self.tracks.contains_key(node_id) {
                self.tracks.insert(node_id.clone(), Tracks::default());
            }
        }
        let lines = Line::of(&known.limits);
        let [requests, tokens, concurrent] = lines.map(|line| self.divide(&line, id, nodes, now));
        for (place, (node_id, tracks)) in self.tracks.iter_mut().enumerate() {
            let Some(node) = nodes.get_mut(node_id).filter(|node| node.left_at.is_none()) else {
                continue;
            };
            let share = |shares: &Option<Vec<u64>>| shares.as_ref()?.get(place).copied();
            let narrow = |share: Option<u64>| share.map(|share| u32::try_from(share).unwrap_or(u32::MAX));
            let share = fleet::KeyShare {
                key_id: id.to_owned(),
                requests_per_minute: narrow(share(&requests)),
                tokens_per_minute: share(&tokens),
                concurrent_requests: narrow(share(&concurrent)),
                budgets: known.budgets.clone(),
            };
            if tracks.tell(&share, now) {
                node.pending.insert(id.to_owned(), share);
                told.insert(node_id.clone());
            }
        }
    }

    /// The share of each node of one limit, in the order of the nodes.
    fn divide(&mut self, line: &Line, id: &str, nodes: &BTreeMap<String, Node>, now: Ms) -> Option<Vec<u64>> {
        let limit = line.limit?;
        let live = nodes.values().filter(|node| node.left_at.is_none()).count() as u64;
        let mut places: Vec<Place<'_>> = Vec::with_capacity(self.tracks.len());
        for (node_id, tracks) in &mut self.tracks {
            let Some(node) = nodes.get(node_id) else { continue };
            let is_live = node.left_at.is_none();
            let is_new = is_live && tracks.told.is_none();
            let track = (line.track)(tracks);
            if is_new && track.current().is_none() {
                // Until it is told it goes by the number of nodes.
                track.tell(now, limit.div_ceil(live.max(1)));
            }
            places.push(Place {
                asked: node.asked(id, line.asked).filter(|_| is_live),
                is_live,
                track,
            });
        }
        Some(split(line.kind, limit, &mut places, now))
    }
}

impl Line {
    fn of(limits: &Limits) -> [Self; 3] {
        let Limits {
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
            budgets: _,
        } = limits;
        [
            Self {
                kind: Kind::PerMinute,
                limit: requests_per_minute.map(u64::from),
                asked: |used| used.requests,
                track: |tracks| &mut tracks.requests,
            },
            Self {
                kind: Kind::PerMinute,
                limit: *tokens_per_minute,
                asked: |used| used.tokens,
                track: |tracks| &mut tracks.tokens,
            },
            Self {
                kind: Kind::AtOnce,
                limit: concurrent_requests.map(u64::from),
                asked: |used| used.concurrent_requests.into(),
                track: |tracks| &mut tracks.concurrent,
            },
        ]
    }
}

impl Tracks {
    /// Whether the node has to be told. What it is told, it goes by.
    fn tell(&mut self, share: &fleet::KeyShare, now: Ms) -> bool {
        let is_told = self.told.as_ref().is_some_and(|told| {
            let narrow = |share: Option<u32>| share.map(u64::from);
            is_near(
                narrow(told.requests_per_minute),
                narrow(share.requests_per_minute),
            ) && is_near(told.tokens_per_minute, share.tokens_per_minute)
                && is_near(
                    narrow(told.concurrent_requests),
                    narrow(share.concurrent_requests),
                )
                && told.budgets == share.budgets
        });
        if is_told {
            return false;
        }
        for (track, share) in [
            (&mut self.requests, share.requests_per_minute.map(u64::from)),
            (&mut self.tokens, share.tokens_per_minute),
            (&mut self.concurrent, share.concurrent_requests.map(u64::from)),
        ] {
            if let Some(share) = share {
                track.tell(now, share);
            }
        }
        self.told = Some(share.clone());
        true
    }
}

fn is_near(told: Option<u64>, share: Option<u64>) -> bool {
    match (told, share) {
        (Some(told), Some(share)) => told.abs_diff(share).saturating_mul(TOLD_PART) <= told,
        (told, share) => told == share,
    }
}

#[cfg(test)]
mod tests;
