//! The one writer: a thread that carries out requests in the order they come.
//!
//! Each request is a transaction of its own; many share one flush and one sync.
//! A request is answered only after both. When the disk fails that promise, nothing
//! more is written until the control plane restarts; reads go on.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::{RwLock, mpsc, oneshot, watch};

use super::{
    CommitError, Committed, disk,
    head::Head,
    idempotency::Sweep,
    plan::{Request, plan},
    trees::Trees,
};

/// Requests that share one sync, at most.
const GROUP_MAX: usize = 64;

pub(super) type Answer = Result<Committed, CommitError>;

pub(super) enum Message {
    Write(Request, oneshot::Sender<Answer>),
    /// Carries out what came before and ends.
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer<D> {
    pub(super) trees: Trees,
    pub(super) head: Head,
    pub(super) sweep: Sweep,
    pub(super) disk: D,
    pub(super) shared: Shared,
}

/// What the writer tells everybody else.
pub(super) struct Shared {
    /// Held while there are changes that would not survive a crash: readers wait.
    pub(super) durable: Arc<RwLock<()>>,
    pub(super) revision: watch::Sender<u64>,
    pub(super) is_writable: Arc<AtomicBool>,
    /// Lets nobody else in until the last handle and the writer are gone.
    pub(super) _lock: Arc<File>,
}

impl<D: disk::Durability> Writer<D> {
    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(first) = messages.blocking_recv() {
            let mut group = vec![first];
            while group.len() < GROUP_MAX
                && let Ok(next) = messages.try_recv()
            {
                group.push(next);
            }
            let mut writes = Vec::with_capacity(group.len());
            let mut closed = None;
            for message in group {
                match message {
                    Message::Write(request, answer) => writes.push((request, answer)),
                    Message::Close(done) => closed = Some(done),
                }
            }
            self.carry_out(writes);
            if let Some(done) = closed {
                drop(self);
                // Nobody may be waiting any more.
                let _ = done.send(());
                return;
            }
        }
    }

    fn carry_out(&mut self, group: Vec<(Request, oneshot::Sender<Answer>)>) {
        let answers = self.write_and_sync(&group.iter().map(|(request, _)| request).collect::<Vec<_>>());
        for ((_, waiting), answer) in group.into_iter().zip(answers) {
            // Whoever asked may have gone; what is written stays written.
            let _ = waiting.send(answer);
        }
    }

    fn write_and_sync(&mut self, group: &[&Request]) -> Vec<Answer> {
        let durable = Arc::clone(&self.shared.durable);
        let not_yet_durable = durable.blocking_write();
        let mut answers: Vec<Answer> = group.iter().map(|request| self.write(request)).collect();
        if answers.iter().any(Result::is_ok)
            && let Err(error) = self.disk.make_durable(self.head.revision)
        {
            let failure = self.fail(&error);
            for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
                *answer = Err(failure.again());
            }
        }
        drop(not_yet_durable);
        if self.is_writable() {
            let revision = self.head.revision;
            self.shared
                .revision
                .send_if_modified(|current| std::mem::replace(current, revision) != revision);
        }
        answers
    }

    fn write(&mut self, request: &Request) -> Answer {
        if !self.is_writable() {
            return Err(CommitError::Broken);
        }
        if !self.disk.has_space() {
            return Err(CommitError::Full);
        }
        let plan = plan(&self.trees, &self.head, self.sweep, request)?;
        if let Err(error) = plan.writes.apply() {
            return Err(self.fail(&error).again());
        }
        self.head = plan.head;
        self.sweep = plan.sweep;
        Ok(Committed {
            revision: self.head.revision,
        })
    }

    fn is_writable(&self) -> bool {
        self.shared.is_writable.load(Ordering::Acquire)
    }

    /// From here on nothing is written: what is in memory may not be on disk.
    fn fail(&self, error: &sled::Error) -> Failure {
        self.shared.is_writable.store(false, Ordering::Release);
        tracing::error!(%error, "the store failed to write and takes no more changes until a restart");
        if disk::is_full(error) {
            Failure::Full
        } else {
            Failure::Broken
        }
    }
}

enum Failure {
    Full,
    Broken,
}

impl Failure {
    fn again(&self) -> CommitError {
        match self {
            Self::Full => CommitError::Full,
            Self::Broken => CommitError::Broken,
        }
    }
}
