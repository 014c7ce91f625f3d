//! A node in a model: one thread with a queue of work, requests of one kind, and somebody else
//! who has the processor at times.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use super::super::{Controller, Look, Seen};

const TICK_MS: u64 = 10;
/// What a thread has not room for stands in a queue for all threads, and the probe before it.
const QUEUE_OF_WORKER: usize = 256;
/// Pieces that wait together are cheaper: one is read, and the others with it.
const TOGETHER: f64 = 0.2;

/// What a request costs, in milliseconds of a processor, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    start_ms: f64,
    piece_ms: f64,
    pieces: u32,
    every_ms: u64,
}

impl Kind {
    pub(super) const fn whole(cost_ms: f64, upstream_ms: u64) -> Self {
        Self {
            start_ms: cost_ms / 2.0,
            piece_ms: cost_ms / 2.0,
            pieces: 1,
            every_ms: upstream_ms,
        }
    }

    pub(super) const fn stream(start_ms: f64, piece_ms: f64, pieces: u32, every_ms: u64) -> Self {
        Self {
            start_ms,
            piece_ms,
            pieces,
            every_ms,
        }
    }

    pub(super) fn cost(self) -> f64 {
        self.start_ms + self.piece_ms * f64::from(self.pieces)
    }

    pub(super) fn length_ms(self) -> u64 {
        u64::from(self.pieces) * self.every_ms
    }

    /// Requests in a second.
    pub(super) fn capacity(self) -> f64 {
        1000.0 / self.cost()
    }
}

enum Job {
    Request,
    /// The `number`th piece of a request, or several.
    Piece(usize),
    Probe {
        due_ms: u64,
    },
}

struct Request {
    /// Pieces that have not come yet, that wait, and whether they are in the queue.
    left: u32,
    waiting: u32,
}

pub(super) struct Plant {
    kind: Kind,
    refusal_ms: f64,
    processors: f64,
    pause: Duration,
    controller: Controller,
    limit: Option<u64>,
    queue: VecDeque<Job>,
    requests: Vec<Request>,
    free: Vec<usize>,
    /// Whose pieces come when.
    timers: BTreeMap<u64, Vec<usize>>,
    begun: u64,
    in_flight: u64,
    served: u64,
    refused: u64,
    longest_wait: Duration,
    now_ms: u64,
    /// Fractions of a request that is to come.
    coming: f64,
    /// Work of the job at the head of the queue that is done.
    done_ms: f64,
    /// Whether there was more to do when somebody else got the processor.
    is_interrupted: bool,
    seen: Since,
}

/// What happened since the last measurement.
#[derive(Default)]
struct Since {
    at_ms: u64,
    used_ms: f64,
    busy_ms: f64,
    refused: u32,
    probe_due_ms: Option<u64>,
}

impl Plant {
    pub(super) fn new(kind: Kind, refusal_ms: f64) -> Self {
        Self {
            kind,
            refusal_ms,
            processors: 1.0,
            pause: Duration::ZERO,
            controller: Controller::default(),
            limit: None,
            queue: VecDeque::new(),
            requests: Vec::new(),
            free: Vec::new(),
            timers: BTreeMap::new(),
            begun: 0,
            in_flight: 0,
            served: 0,
            refused: 0,
            longest_wait: Duration::ZERO,
            now_ms: 0,
            coming: 0.0,
            done_ms: 0.0,
            is_interrupted: false,
            seen: Since {
                probe_due_ms: Some(TICK_MS),
                ..Since::default()
            },
        }
    }

    /// So many processors, and a wait that is only the quota's.
    pub(super) fn with_quota(self, processors: f64, pause: Duration) -> Self {
        Self {
            processors,
            pause,
            ..self
        }
    }

    pub(super) fn served(&self) -> f64 {
        self.served as f64
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight
    }

    pub(super) fn limit(&self) -> Option<u64> {
        self.limit
    }

    pub(super) fn longest_wait(&self) -> Duration {
        self.longest_wait
    }

    pub(super) fn forget(&mut self) {
        (self.served, self.refused, self.longest_wait) = (0, 0, Duration::ZERO);
    }

    pub(super) fn run(&mut self, per_second: f64, time_ms: u64, is_ours: impl Fn(u64) -> bool) {
        for _ in 0..time_ms {
            self.coming += per_second / 1000.0;
            let arrivals = self.coming as u32;
            self.coming -= f64::from(arrivals);
            self.arrive(arrivals);
            self.step(is_ours(self.now_ms));
        }
    }

    pub(super) fn arrive(&mut self, requests: u32) {
        self.queue.extend((0..requests).map(|_| Job::Request));
    }

    /// A millisecond.
    fn step(&mut self, is_ours: bool) {
        for number in self.timers.remove(&self.now_ms).unwrap_or_default() {
            self.piece_comes(number);
        }
        if let Some(due_ms) = self.seen.probe_due_ms
            && due_ms <= self.now_ms
        {
            self.seen.probe_due_ms = None;
            let place = self.queue.len().min(QUEUE_OF_WORKER);
            self.queue.insert(place, Job::Probe { due_ms });
        }
        self.now_ms += 1;
        if !is_ours {
            // Who sleeps is not at work until it is woken.
            self.seen.busy_ms += f64::from(u8::from(self.is_interrupted));
            return;
        }
        let mut left_ms = 1.0;
        while left_ms > 0.0 {
            let Some(job) = self.queue.front() else { break };
            let cost = (self.cost_of(job) - self.done_ms).max(0.0);
            let step = cost.min(left_ms);
            left_ms -= step;
            self.seen.used_ms += step;
            self.seen.busy_ms += step;
            if step < cost {
                self.done_ms += step;
                break;
            }
            self.done_ms = 0.0;
            if let Some(job) = self.queue.pop_front() {
                self.finish(job);
            }
        }
        self.is_interrupted = !self.queue.is_empty();
    }

    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.in_flight + 1 > limit)
    }

    fn cost_of(&self, job: &Job) -> f64 {
        match job {
            Job::Request if self.is_full() => self.refusal_ms,
            Job::Request => self.kind.start_ms,
            Job::Piece(number) => {
                let together = self.requests[*number].waiting;
                self.kind.piece_ms * (1.0 + TOGETHER * (f64::from(together) - 1.0))
            }
            Job::Probe { .. } => 0.0,
        }
    }

    fn finish(&mut self, job: Job) {
        match job {
            Job::Request if self.is_full() => {
                self.refused += 1;
                self.seen.refused += 1;
            }
            Job::Request => self.begin(),
            Job::Piece(number) => {
                let request = &mut self.requests[number];
                request.waiting = 0;
                if request.left == 0 {
                    self.free.push(number);
                    self.in_flight -= 1;
                    self.served += 1;
                }
            }
            Job::Probe { due_ms } => self.measure(due_ms),
        }
    }

    fn begin(&mut self) {
        let request = Request {
            left: self.kind.pieces,
            waiting: 0,
        };
        let number = self.free.pop().unwrap_or_else(|| {
            self.requests.push(Request { left: 0, waiting: 0 });
            self.requests.len() - 1
        });
        self.requests[number] = request;
        self.in_flight += 1;
        self.begun += 1;
        self.timers
            .entry(self.now_ms + self.first_piece_ms())
            .or_default()
            .push(number);
    }

    /// Between half of the usual time and half as much again: upstreams do not keep step.
    fn first_piece_ms(&self) -> u64 {
        let part = self.begun.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.kind.every_ms / 2 + ((self.kind.every_ms * part) >> 32) + 1
    }

    fn piece_comes(&mut self, number: usize) {
        let request = &mut self.requests[number];
        request.left -= 1;
        request.waiting += 1;
        if request.left > 0 {
            self.timers
                .entry(self.now_ms + self.kind.every_ms)
                .or_default()
                .push(number);
        }
        if request.waiting == 1 {
            self.queue.push_back(Job::Piece(number));
        }
    }

    fn measure(&mut self, due_ms: u64) {
        let passed_ms = (self.now_ms - self.seen.at_ms).max(1);
        let waited = Duration::from_millis(self.now_ms.saturating_sub(due_ms + 1));
        self.longest_wait = self.longest_wait.max(waited);
        self.limit = self.controller.measured(Seen {
            look: Look {
                passed: Duration::from_millis(passed_ms),
                waited: waited.saturating_sub(self.pause),
                used: self.seen.used_ms / passed_ms as f64 / self.processors,
                busy: self.seen.busy_ms / passed_ms as f64,
            },
            in_flight: self.in_flight,
            refused: self.seen.refused,
        });
        self.seen = Since {
            at_ms: self.now_ms,
            probe_due_ms: Some(self.now_ms + TICK_MS),
            ..Since::default()
        };
    }
}
