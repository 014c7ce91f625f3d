//! Gathers what ended until somebody reports it.
//!
//! Whoever ends a request adds to sums in memory and goes on: nothing here waits, and what
//! is kept is bounded. While nobody takes it the sums go on growing in place, one for each
//! minute, key, provider and model; what finds no room is dropped, counted and told.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    served::{Served, Shows},
    sums::{SumKey, Sums},
};

/// Distinct sums that wait: about 12 MiB.
const ROLLUPS_MAX: usize = 20_000;
/// Entries of the request log that wait.
const ENTRIES_MAX: usize = 10_000;
const ENTRY_BYTES_MAX: usize = 8 << 20;
/// Of these, requests without a valid key: who knows none must not push out the others.
const ANONYMOUS_MAX: usize = 100;
/// What one report carries at most.
pub(crate) const TAKEN_ROLLUPS_MAX: usize = 500;
pub(crate) const TAKEN_ENTRIES_MAX: usize = 500;
/// What clients see of an overload.
const OVERLOADED: &str = "overloaded_error";

/// Shared by all requests.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    waiting: Mutex<Waiting>,
    /// Turned away before anything was known of them: as cheap as can be.
    turned_away: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    sums: HashMap<SumKey, Sums>,
    entries: Vec<Served>,
    entry_bytes: usize,
    anonymous: usize,
    dropped: Dropped,
}

/// What found no room.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) rollups: u64,
    pub(crate) entries: u64,
}

/// A part of what waits, for one report.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) sums: Vec<(SumKey, Sums)>,
    pub(crate) entries: Vec<Served>,
    pub(crate) dropped: Dropped,
}

impl Taken {
    pub(crate) fn is_empty(&self) -> bool {
        self.sums.is_empty() && self.entries.is_empty() && self.dropped == Dropped::default()
    }
}

impl Recorder {
    pub(crate) fn record(&self, served: Served) {
        let key = SumKey::of(&served);
        let mut waiting = self.lock();
        let (here, elsewhere): (Vec<_>, Vec<_>) = served
            .attempts
            .iter()
            .filter(|attempt| attempt.shows != Shows::Nothing)
            .partition(|attempt| key.place.as_ref() == Some(&attempt.place));
        for attempt in elsewhere {
            waiting.add(key.of_call(attempt), |sums| sums.add_call(attempt));
        }
        waiting.add(key, |sums| {
            sums.add(&served);
            here.into_iter().for_each(|attempt| sums.add_call(attempt));
        });
        waiting.log(served);
    }

    /// A request was turned away unread.
    pub(crate) fn turned_away(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes as much as one report may carry.
    pub(crate) fn take(&self, unix_ms: i64) -> Taken {
        let turned_away = self.turned_away.swap(0, Ordering::Relaxed);
        let mut waiting = self.lock();
        if turned_away > 0 {
            waiting.add(SumKey::of_nobody(unix_ms), |sums| {
                sums.add_refused(turned_away, OVERLOADED);
            });
        }
        waiting.take()
    }

    /// What a report took that nobody will ever count.
    pub(crate) fn lost(&self, rollups: usize, entries: usize) {
        let dropped = &mut self.lock().dropped;
        dropped.rollups += rollups as u64;
        dropped.entries += entries as u64;
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn add(&mut self, key: SumKey, add: impl FnOnce(&mut Sums)) {
        if self.sums.len() < ROLLUPS_MAX || self.sums.contains_key(&key) {
            add(self.sums.entry(key).or_default());
        } else {
            self.dropped.rollups += 1;
        }
    }

    fn log(&mut self, served: Served) {
        let bytes = served.bytes();
        let is_anonymous = served.asked.key.is_none();
        if self.entries.len() >= ENTRIES_MAX
            || self.entry_bytes + bytes > ENTRY_BYTES_MAX
            || (is_anonymous && self.anonymous >= ANONYMOUS_MAX)
        {
            self.dropped.entries += 1;
            return;
        }
        self.anonymous += usize::from(is_anonymous);
        self.entry_bytes += bytes;
        self.entries.push(served);
    }

    fn take(&mut self) -> Taken {
        let keys: Vec<SumKey> = self.sums.keys().take(TAKEN_ROLLUPS_MAX).cloned().collect();
        let sums = keys
            .into_iter()
            .filter_map(|key| self.sums.remove(&key).map(|sums| (key, sums)))
            .collect();
        let count = self.entries.len().min(TAKEN_ENTRIES_MAX);
        let entries: Vec<Served> = self.entries.drain(..count).collect();
        let bytes: usize = entries.iter().map(Served::bytes).sum();
        self.entry_bytes = self.entry_bytes.saturating_sub(bytes);
        let anonymous = entries.iter().filter(|served| served.asked.key.is_none()).count();
        self.anonymous = self.anonymous.saturating_sub(anonymous);
        Taken {
            sums,
            entries,
            dropped: std::mem::take(&mut self.dropped),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, Instant};

    use bridge_translate::{LossList, usage::Usage};

    use super::*;
    use crate::{
        request_id::RequestId,
        snapshot::KeyId,
        usage::served::{Asked, Attempt, Seen},
    };

    pub(crate) fn key(n: usize) -> KeyId {
        KeyId::parse(format!("key{n:09}").as_bytes()).unwrap()
    }

    pub(crate) fn served(key: Option<KeyId>, minute: i64, output: u64) -> Served {
        let mut attempt = Attempt::start((&"p".into(), &"m".into()), Instant::now());
        attempt.end("ok", Shows::Answer, attempt.started + Duration::from_millis(3));
        Served {
            id: RequestId::new(),
            asked: Asked {
                key,
                model: "haiku".into(),
                is_stream: true,
            },
            revision: 7,
            seen: Seen {
                ended_unix_ms: minute * 60_000 + 59_999,
                latency: Duration::from_millis(9),
                first_token: Some(Duration::from_millis(5)),
                status: 200,
                error: None,
                stop_reason: None,
            },
            attempts: vec![attempt],
            losses: LossList::default(),
            usage: Usage {
                input_tokens: 2,
                output_tokens: output,
                ..Usage::default()
            },
        }
    }

    #[test]
    fn requests_of_one_minute_key_and_place_are_one_sum() {
        let recorder = Recorder::default();
        for output in [3, 4] {
            recorder.record(served(Some(key(1)), 5, output));
        }
        recorder.record(served(Some(key(2)), 5, 1));
        recorder.record(served(Some(key(1)), 6, 1));
        recorder.turned_away();
        let mut taken = recorder.take(7 * 60_000);
        assert_eq!((taken.sums.len(), taken.entries.len()), (4, 4));
        taken
            .sums
            .retain(|(sum, _)| sum.minute == 5 && sum.key == Some(key(1)));
        let (_, sums) = &taken.sums[0];
        assert_eq!((sums.requests, sums.tokens.input, sums.tokens.output), (2, 4, 7));
        assert_eq!((sums.latency.buckets[4], sums.first_token.buckets[3]), (2, 2));
        assert!(recorder.take(0).is_empty());
    }

    #[test]
    fn a_call_counts_where_it_was_made_whoever_answered() {
        let recorder = Recorder::default();
        let mut request = served(Some(key(1)), 5, 3);
        let mut failed = Attempt::start((&"down".into(), &"m".into()), Instant::now());
        failed.end("reset", Shows::Failure, Instant::now());
        failed.end("ok", Shows::Answer, Instant::now());
        let left = Attempt::start((&"slow".into(), &"m".into()), Instant::now());
        request.attempts.splice(0..0, [failed.clone(), failed, left]);
        recorder.record(request);
        let taken = recorder.take(0);
        let mut told: Vec<_> = taken
            .sums
            .iter()
            .map(|(sum, sums)| {
                let (provider, _) = sum.place.as_ref().unwrap();
                (&**provider, sums.requests, sums.answered_calls, sums.failed_calls)
            })
            .collect();
        told.sort();
        assert_eq!(told, [("down", 0, 0, 2), ("p", 1, 1, 0)]);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_nothing_else_is_lost() {
        let recorder = Recorder::default();
        let (sums_over, entries_over) = (30, ROLLUPS_MAX - ENTRIES_MAX + 30);
        for n in 0..ROLLUPS_MAX + sums_over {
            recorder.record(served(Some(key(n)), 5, 1));
        }
        let (mut sums, mut entries, mut dropped) = (0, 0, Dropped::default());
        loop {
            let taken = recorder.take(0);
            if taken.is_empty() {
                break;
            }
            assert!(taken.sums.len() <= TAKEN_ROLLUPS_MAX && taken.entries.len() <= TAKEN_ENTRIES_MAX);
            sums += taken.sums.len();
            entries += taken.entries.len();
            dropped.rollups += taken.dropped.rollups;
            dropped.entries += taken.dropped.entries;
        }
        assert_eq!(sums, ROLLUPS_MAX);
        assert_eq!(dropped.rollups, sums_over as u64);
        assert_eq!(
            entries as u64 + dropped.entries,
            (ENTRIES_MAX + entries_over) as u64
        );
        recorder.record(served(Some(key(1)), 5, 1));
        assert_eq!(recorder.take(0).entries.len(), 1, "room is given back");
    }

    #[test]
    fn who_has_no_key_pushes_nobody_out_of_the_log() {
        let recorder = Recorder::default();
        for _ in 0..ENTRIES_MAX + 1 {
            recorder.record(served(None, 5, 0));
        }
        recorder.record(served(Some(key(1)), 5, 0));
        let taken = recorder.take(0);
        assert_eq!(taken.entries.len(), ANONYMOUS_MAX + 1);
        assert_eq!(
            taken.sums.iter().map(|(_, sums)| sums.requests).sum::<u64>(),
            10_002
        );
    }
}
