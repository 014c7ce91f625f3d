//! The one writer of this process: a thread that carries out requests in the order
//! they come.
//!
//! Each request is whole or not at all; many share one atomic write. A request is
//! answered only after it. When what keeps the rows fails that promise, nothing more
//! is written until the control plane restarts; reads go on.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

use super::{
    CommitError, Committed, Error,
    backend::{Ledger, WriteError},
    head::Head,
    idempotency::Sweep,
    plan::{Request, plan},
    rows::Rows,
    write_set::WriteSet,
};

/// Requests that share one write, at most.
const GROUP_MAX: usize = 64;
/// How long a write that did not happen is tried again, and how often.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
const RETRY_PAUSE: Duration = Duration::from_millis(100);

pub(super) type Answer = Result<Committed, CommitError>;

pub(super) enum Message {
    Write(Request, oneshot::Sender<Answer>),
    /// Carries out what came before and ends.
    Close(oneshot::Sender<()>),
}

pub(super) struct Writer {
    pub(super) ledger: Box<dyn Ledger>,
    pub(super) sweep: Sweep,
    pub(super) is_writable: Arc<AtomicBool>,
    /// What is left of [`PATIENCE`].
    pub(super) patience: Duration,
}

impl Writer {
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
        let requests: Vec<&Request> = group.iter().map(|(request, _)| request).collect();
        let answers = self.write(&requests);
        for ((_, waiting), answer) in group.into_iter().zip(answers) {
            // Whoever asked may have gone; what is written stays written.
            let _ = waiting.send(answer);
        }
    }

    fn write(&mut self, group: &[&Request]) -> Vec<Answer> {
        let failure = match self.write_patiently(group) {
            Ok(answers) => return answers,
            Err(error) => self.judge(error),
        };
        group.iter().map(|_| Err(failure.again())).collect()
    }

    /// Tries again what was not written, for as long as whoever asked may wait. Once
    /// that was in vain it is not waited for again until it has worked.
    fn write_patiently(&mut self, group: &[&Request]) -> Result<Vec<Answer>, WriteError> {
        let give_up = Instant::now() + self.patience;
        let mut is_told = false;
        loop {
            match self.write_together(group) {
                Err(WriteError::NotNow { reason }) if Instant::now() < give_up => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(%reason, "nothing was written; trying again");
                    }
                    thread::sleep(RETRY_PAUSE);
                }
                settled => {
                    let is_away = matches!(settled, Err(WriteError::NotNow { .. }));
                    self.patience = if is_away { Duration::ZERO } else { PATIENCE };
                    return settled;
                }
            }
        }
    }

    fn write_together(&mut self, group: &[&Request]) -> Result<Vec<Answer>, WriteError> {
        if !self.is_writable.load(Ordering::Acquire) {
            return Err(WriteError::Closed);
        }
        let batch = self.ledger.begin()?;
        let mut head = head(batch.rows())?;
        let mut sweep = self.sweep;
        let mut together = WriteSet::on(batch.rows());
        let mut answers = Vec::with_capacity(group.len());
        for request in group {
            let answer = plan(&together, &head, sweep, request).map(|plan| {
                together.merge(plan.writes);
                (head, sweep) = (plan.head, plan.sweep);
                Committed {
                    revision: head.revision,
                }
            });
            if let Err(CommitError::Read(Error::Unavailable { reason })) = answer {
                return Err(WriteError::NotNow { reason });
            }
            answers.push(answer);
        }
        let writes = together.into_writes();
        batch.write(writes, head.revision)?;
        self.sweep = sweep;
        Ok(answers)
    }

    /// What everybody in the group is told.
    fn judge(&self, error: WriteError) -> Failure {
        match error {
            WriteError::Full => Failure::Full,
            WriteError::Closed => Failure::Broken,
            WriteError::Unread { reason } => Failure::Unread(reason),
            WriteError::NotNow { reason } => {
                tracing::error!(%reason, "nothing was written, and whoever asked has to try again");
                Failure::Unavailable
            }
            WriteError::Unknown { reason } => {
                tracing::error!(%reason, "nobody knows whether it was written; whoever asked has to look");
                Failure::Unknown
            }
            WriteError::Broken { reason, is_full } => {
                // From here on nothing is written: what is in memory may not be on disk.
                self.is_writable.store(false, Ordering::Release);
                tracing::error!(%reason, "the store failed to write and takes no more changes until a restart");
                if is_full { Failure::Full } else { Failure::Broken }
            }
        }
    }
}

fn head(rows: &dyn Rows) -> Result<Head, WriteError> {
    match Head::load(rows) {
        Ok(Some(head)) => Ok(head),
        Ok(None) => Err(WriteError::Unread {
            reason: "its head is missing".to_owned(),
        }),
        Err(Error::Unavailable { reason }) => Err(WriteError::NotNow { reason }),
        Err(error) => Err(WriteError::Unread {
            reason: error.to_string(),
        }),
    }
}

enum Failure {
    Full,
    Broken,
    Unavailable,
    Unknown,
    Unread(String),
}

impl Failure {
    fn again(&self) -> CommitError {
        match self {
            Self::Full => CommitError::Full,
            Self::Broken => CommitError::Broken,
            Self::Unavailable => CommitError::Unavailable,
            Self::Unknown => CommitError::Unknown,
            Self::Unread(reason) => CommitError::Read(Error::Unreadable(reason.clone().into())),
        }
    }
}
