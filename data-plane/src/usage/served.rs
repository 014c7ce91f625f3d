//! A request that is over, without a word of what was said.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_translate::{LossList, StopReason, usage::Usage};

use crate::{request_id::RequestId, snapshot::KeyId};

/// Provider and upstream model.
pub(crate) type Place = (Arc<str>, Arc<str>);

#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) id: RequestId,
    pub(crate) asked: Asked,
    /// Revision of the configuration that judged it.
    pub(crate) revision: u64,
    pub(crate) seen: Seen,
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) losses: LossList,
    pub(crate) usage: Usage,
}

/// Who asked for what.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) key: Option<KeyId>,
    pub(crate) model: String,
    pub(crate) is_stream: bool,
}

/// What the client saw of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// Milliseconds since 1970.
    pub(crate) ended_unix_ms: i64,
    pub(crate) latency: Duration,
    pub(crate) first_token: Option<Duration>,
    pub(crate) status: u16,
    /// `None` for a success.
    pub(crate) error: Option<&'static str>,
    pub(crate) stop_reason: Option<StopReason>,
}

/// One call to an upstream.
#[derive(Debug, Clone)]
pub(crate) struct Attempt {
    pub(crate) place: Place,
    pub(crate) started: Instant,
    /// Zero as long as the upstream has not answered.
    pub(crate) status: u16,
    /// How it ended, and after what time; `None` while it runs.
    pub(crate) ended: Option<(&'static str, Duration)>,
    pub(crate) shows: Shows,
}

/// What a call says of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    Answer,
    /// It failed by the provider's fault.
    Failure,
    /// It runs, the client left, or the fault was the request's own.
    Nothing,
}

impl Attempt {
    pub(crate) fn start((provider, model): (&Arc<str>, &Arc<str>), now: Instant) -> Self {
        Self {
            place: (Arc::clone(provider), Arc::clone(model)),
            started: now,
            status: 0,
            ended: None,
            shows: Shows::Nothing,
        }
    }

    /// What was said of its end first stays.
    pub(crate) fn end(&mut self, outcome: &'static str, shows: Shows, now: Instant) {
        let latency = now.saturating_duration_since(self.started);
        if self.ended.is_none() {
            self.ended = Some((outcome, latency));
            self.shows = shows;
        }
    }
}

impl Served {
    /// Where its answer came from, or where it was asked for last.
    pub(crate) fn place(&self) -> Option<&Place> {
        self.attempts.last().map(|attempt| &attempt.place)
    }

    /// About what it takes in memory.
    pub(crate) fn bytes(&self) -> usize {
        let losses: usize = self.losses.iter().map(|loss| loss.path.len()).sum();
        let attempts = self.attempts.len() * size_of::<Attempt>();
        size_of::<Self>() + self.id.as_str().len() + self.asked.model.len() + attempts + losses
    }
}
