//! Divides one limit among nodes, so that no sixty seconds see more than the limit.
//!
//! Each node gets a fifth of the limit divided equally, and of the rest what it was asked
//! for in the last minute. What is taken from one node is not given to another before the
//! former can no longer have used it: a node counts with its highest share of late, or with
//! what it was asked for, if that is known and less.

use std::collections::VecDeque;

/// Milliseconds since some beginning.
pub(super) type Ms = u64;

/// Of a limit, what is divided equally: one part in so many.
const EQUAL_PART: u64 = 5;
/// What a node has used is over after this: the minute that limits look at, and the time that a
/// smaller share may take to arrive.
const USED_FOR: Ms = 65_000;
/// From then on a status tells what was asked for while a share was larger.
const SETTLED_AFTER: Ms = 11_000;
/// A status that is older says nothing.
const STATUS_FRESH: Ms = 7_000;

/// What one node was granted of one limit, and when.
#[derive(Debug, Clone, Default)]
pub(super) struct Track {
    told: VecDeque<(Ms, u64)>,
    /// What may be in use at most, as of the last look: it grows with shares alone.
    held: u64,
}

/// What a node was asked for, and when it said so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) count: u64,
    pub(super) at: Ms,
}

/// One node at the table.
pub(super) struct Place<'a> {
    pub(super) track: &'a mut Track,
    /// `None`: it did not say.
    pub(super) asked: Option<Asked>,
    /// It is connected and gets a share.
    pub(super) is_live: bool,
}

/// How long what was granted may be in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    PerMinute,
    /// As long as a request runs.
    AtOnce,
}

impl Track {
    pub(super) fn current(&self) -> Option<u64> {
        self.told.back().map(|(_, share)| *share)
    }

    /// The node goes by this share from now on.
    pub(super) fn tell(&mut self, now: Ms, share: u64) {
        self.told.push_back((now, share));
        self.held = self.held.max(share);
    }

    fn forget(&mut self, now: Ms) {
        // The last one that is old enough was in force until the next.
        while self
            .told
            .get(1)
            .is_some_and(|(at, _)| now.saturating_sub(*at) > USED_FOR)
        {
            self.told.pop_front();
        }
    }

    /// The highest share that was in force within this time.
    fn highest(&self, now: Ms, within: Ms) -> u64 {
        let newest = self.told.len().saturating_sub(1);
        let was_in_force = |place: &usize| {
            *place == newest
                || self
                    .told
                    .get(place + 1)
                    .is_some_and(|(ended, _)| now.saturating_sub(*ended) <= within)
        };
        let shares = self
            .told
            .iter()
            .enumerate()
            .filter(|(place, _)| was_in_force(place));
        shares.map(|(_, (_, share))| *share).max().unwrap_or(0)
    }

    /// What may be in use at most.
    fn committed(&mut self, kind: Kind, asked: Option<Asked>, now: Ms) -> u64 {
        self.forget(now);
        let bound = match kind {
            Kind::PerMinute => self.held.min(self.highest(now, USED_FOR)),
            Kind::AtOnce => self.held,
        };
        let fresh = asked.filter(|asked| now.saturating_sub(asked.at) <= STATUS_FRESH);
        let used = fresh.map_or(bound, |asked| asked.count.min(bound));
        self.held = used.max(self.highest(now, SETTLED_AFTER));
        self.held
    }
}

/// The share of each place, by the rule; places that are not live get nothing and count with
/// what they may have used.
pub(super) fn split(kind: Kind, limit: u64, places: &mut [Place<'_>], now: Ms) -> Vec<u64> {
    let committed: Vec<u64> = places
        .iter_mut()
        .map(|place| place.track.committed(kind, place.asked, now))
        .collect();
    let targets = targets(limit, places);
    let in_use = committed
        .iter()
        .fold(0, |sum: u64, used| sum.saturating_add(*used));
    let free = u128::from(limit.saturating_sub(in_use));
    let raises = || {
        committed
            .iter()
            .zip(&targets)
            .map(|(used, target)| target.saturating_sub(*used))
    };
    let wanted: u128 = raises().map(u128::from).sum();
    let shares =
        raises()
            .zip(&committed)
            .zip(&targets)
            .zip(places)
            .map(|(((raise, used), target), place)| {
                if !place.is_live {
                    return 0;
                }
                let granted = if wanted <= free {
                    raise
                } else {
                    part(raise.into(), free, wanted)
                };
                (*used).min(*target).saturating_add(granted).max(1)
            });
    shares.collect()
}

/// What each should have.
fn targets(limit: u64, places: &[Place<'_>]) -> Vec<u64> {
    let live = places.iter().filter(|place| place.is_live).count().max(1) as u64;
    let each = limit / EQUAL_PART / live;
    let rest = limit - each * live;
    let weight = |place: &Place<'_>| place.asked.map_or(0, |asked| u128::from(asked.count));
    let all: u128 = places.iter().filter(|place| place.is_live).map(weight).sum();
    let target = |place: &Place<'_>| {
        let by_demand = if all == 0 {
            rest / live
        } else {
            part(rest.into(), weight(place), all)
        };
        if place.is_live { each + by_demand } else { 0 }
    };
    places.iter().map(target).collect()
}

/// `whole × of ÷ all`, rounded down.
fn part(whole: u128, of: u128, all: u128) -> u64 {
    let part = whole.saturating_mul(of).checked_div(all).unwrap_or(0);
    u64::try_from(part).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
