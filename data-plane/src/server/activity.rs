//! What one connection is doing, and how long it may go on like that.
//!
//! The HTTP library has one timer for the head of a request and for the pause before it; here
//! a head has seconds from its first byte and a pause more than a minute. Time is an
//! argument; the socket, the service and the task of the connection tell what happens.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// How an HTTP/2 client begins.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// What may arrive on a connection that serves nothing: a head of the longest kind, and a
/// window of a body that was refused. Floods of empty frames are longer.
const BYTES_BETWEEN_REQUESTS_MAX: usize = 2 << 20;
/// How long the last connection of a client may take to say its first word when the
/// listener is about to close.
const FIRST_WORD_MAX: Duration = Duration::from_secs(1);
/// How long a client may take nothing of what is there for it.
pub(super) const STALL_MAX: Duration = Duration::from_secs(60);
/// How long a connection that is to end is kept for the next request of its client, which is
/// told with the answer that it was the last one. Who has not asked for so long is unlikely to
/// ask in the moment in which the connection ends.
const LAST_REQUEST_MAX: Duration = Duration::from_secs(2);
/// How long a connection that was asked to end may linger without work.
const FAREWELL_MAX: Duration = Duration::from_secs(2);

/// How long a connection may go without a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From its first byte to the end of a head; also from the connection to its first byte.
    pub(super) head: Duration,
    /// Between requests.
    pub(super) idle: Duration,
}

impl Patience {
    fn shortest(self) -> Duration {
        self.head.min(self.idle)
    }
}

/// Whether more is wanted of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Stay,
    /// It should end once it is without work.
    Leave,
    /// It was asked to end at this instant.
    Left(Instant),
}

/// What is to be done with a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing before this instant.
    Wait(Instant),
    /// Ask it to end in its protocol's way.
    Finish,
    /// Drop it.
    Drop(&'static str),
}

// === impl Verdict ===

impl Verdict {
    pub(super) fn is_end(self) -> bool {
        match self {
            Self::Wait(_) => false,
            Self::Finish | Self::Drop(_) => true,
        }
    }
}

/// More came than any request has.
#[derive(Debug, thiserror::Error)]
#[error("the client sends much and asks nothing")]
pub(super) struct Flood;

/// Shared by the socket, the service and the task of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    is_questioned: AtomicBool,
}

#[derive(Debug)]
struct State {
    opening: Opening,
    /// Bodies of requests and of answers that somebody has.
    bodies: usize,
    has_served: bool,
    /// When the last request ended, or the connection began.
    idle_since: Instant,
    /// First byte since then.
    spoke_at: Option<Instant>,
    bytes_since: usize,
    /// Since when the client takes nothing.
    stalled_since: Option<Instant>,
}

/// What the first bytes tell of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    /// So many bytes of HTTP/2's preface.
    Preface(usize),
    Http2,
    Http1,
}

// === impl Activity ===

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: Mutex::new(State {
                opening: Opening::Preface(0),
                bodies: 0,
                has_served: false,
                idle_since: now,
                spoke_at: None,
                bytes_since: 0,
                stalled_since: None,
            }),
            is_questioned: AtomicBool::new(false),
        }
    }

    /// Whether its end is being considered, so that it matters what has just arrived.
    pub(super) fn is_questioned(&self) -> bool {
        self.is_questioned.load(Ordering::Relaxed)
    }

    pub(super) fn set_questioned(&self, is_questioned: bool) {
        self.is_questioned.store(is_questioned, Ordering::Relaxed);
    }

    /// Bytes came in.
    pub(super) fn heard(&self, bytes: &[u8], now: Instant) -> Result<(), Flood> {
        let mut state = self.state();
        state.opening = state.opening.after(bytes);
        if state.bodies > 0 || bytes.is_empty() {
            return Ok(());
        }
        state.spoke_at.get_or_insert(now);
        state.bytes_since += bytes.len();
        if state.bytes_since > BYTES_BETWEEN_REQUESTS_MAX {
            return Err(Flood);
        }
        Ok(())
    }

    /// Bytes went out.
    pub(super) fn took(&self) {
        self.state().stalled_since = None;
    }

    /// Bytes are there, and the client does not take them.
    pub(super) fn stalls(&self, now: Instant) {
        self.state().stalled_since.get_or_insert(now);
    }

    /// Whether bytes are there that the client does not take.
    pub(super) fn is_stalled(&self) -> bool {
        self.state().stalled_since.is_some()
    }

    /// Somebody has one more body, of a request or of its answer.
    pub(super) fn began(&self) {
        let mut state = self.state();
        state.bodies += 1;
        state.has_served = true;
    }

    /// It was handed over or read, or nobody wants it.
    pub(super) fn ended(&self, now: Instant) {
        let mut state = self.state();
        state.bodies = state.bodies.saturating_sub(1);
        if state.bodies == 0 {
            state.idle_since = now;
            state.spoke_at = None;
            state.bytes_since = 0;
        }
    }

    /// What to do, and when to ask again. Whatever happens before that instant cannot make
    /// an earlier one right: a new request has a head's time, too.
    pub(super) fn verdict(&self, now: Instant, patience: Patience, wish: Wish) -> Verdict {
        let state = self.state();
        let is_at_work = state.bodies > 0;
        let (until, why) = state.limit(patience);
        if let Some(since) = state.stalled_since {
            return if now < since + STALL_MAX {
                Verdict::Wait((since + STALL_MAX).min(now + patience.shortest()))
            } else {
                Verdict::Drop("takes nothing")
            };
        }
        match wish {
            Wish::Stay if is_at_work => Verdict::Wait(now + patience.shortest()),
            Wish::Stay if now < until => Verdict::Wait(until.min(now + patience.shortest())),
            Wish::Stay if state.ends_politely() => Verdict::Finish,
            Wish::Stay => Verdict::Drop(why),
            Wish::Leave if state.opening == Opening::Http2 => Verdict::Finish,
            Wish::Leave if is_at_work => Verdict::Wait(now + LAST_REQUEST_MAX),
            Wish::Leave if state.spoke_at.is_some() && now >= until => Verdict::Drop(why),
            Wish::Leave if state.spoke_at.is_some() => Verdict::Wait(until.min(now + LAST_REQUEST_MAX)),
            Wish::Leave if now < state.last_request_until() => Verdict::Wait(state.last_request_until()),
            Wish::Leave => Verdict::Finish,
            Wish::Left(at) if is_at_work || now < at.max(state.idle_since) + FAREWELL_MAX => {
                Verdict::Wait(now + FAREWELL_MAX)
            }
            Wish::Left(_) => Verdict::Drop("does not end"),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A number that was being changed is still a number.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Until when it may be without a request.
    fn limit(&self, patience: Patience) -> (Instant, &'static str) {
        let Patience { head, idle } = patience;
        match (self.opening, self.spoke_at) {
            (Opening::Http2, _) => (self.idle_since + idle, "is idle"),
            (Opening::Preface(_) | Opening::Http1, Some(spoke_at)) => {
                (spoke_at + head, "takes too long for a head")
            }
            (Opening::Preface(_) | Opening::Http1, None) if self.has_served => {
                (self.idle_since + idle, "is idle")
            }
            (Opening::Preface(_) | Opening::Http1, None) => (self.idle_since + head, "says nothing"),
        }
    }

    /// Whether its protocol has a way to end here.
    fn ends_politely(&self) -> bool {
        match self.opening {
            Opening::Http2 => true,
            Opening::Preface(_) | Opening::Http1 => self.has_served && self.spoke_at.is_none(),
        }
    }

    /// Until when an HTTP/1.1 connection without work is kept for one more request.
    fn last_request_until(&self) -> Instant {
        let kept = if self.has_served {
            LAST_REQUEST_MAX
        } else {
            FIRST_WORD_MAX
        };
        self.idle_since + kept
    }
}

impl Opening {
    fn after(self, bytes: &[u8]) -> Self {
        let Self::Preface(matched) = self else {
            return self;
        };
        let expected = &H2_PREFACE[matched..];
        let length = expected.len().min(bytes.len());
        match (expected[..length] == bytes[..length], length == expected.len()) {
            (false, _) => Self::Http1,
            (true, true) => Self::Http2,
            (true, false) => Self::Preface(matched + length),
        }
    }
}

#[cfg(test)]
mod tests;
