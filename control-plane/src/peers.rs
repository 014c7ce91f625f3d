//! The control planes of one store, as far as one needs another: a data plane is connected
//! to one of them, and only that one can ask it for anything.
//!
//! They write letters, which lie in the store until they are read. A letter is sealed for
//! the one that it is for, since it may hold what an admin wants explained. Each question
//! is answered, and who does not answer in time is named: nothing is done in part without
//! a word. A question that was given up is taken back; it may have been read by then.

mod commands;
mod letter;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::Message;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

pub(crate) use self::commands::CannotTell;
pub(crate) use self::letter::{Answer, Done, ExplainAsked, Explained, NoNode, ProbeAsked, Probed, Question};
use self::letter::{Answered, Asked, Content, Letter};
use crate::secrets::Keyring;
use crate::snapshot::nodes::Nodes;
use crate::store::{self, ControlPlaneId, Store};

/// Why another control plane has not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("another control plane did not answer in time")]
    Silent,
    #[error("a letter cannot be sealed")]
    Unsealed,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Clones share it.
#[derive(Clone)]
pub(crate) struct Peers {
    pub(crate) nodes: Nodes,
    /// `None`: there can be no others.
    post: Option<Post>,
}

#[derive(Clone)]
struct Post {
    store: Store,
    keyring: Keyring,
    awaited: Arc<Mutex<HashMap<Uuid, oneshot::Sender<Answer>>>>,
}

impl Peers {
    pub(crate) fn new(store: &Store, keyring: &Keyring, nodes: Nodes) -> Self {
        let post = store.presence_told().map(|_| Post {
            store: store.clone(),
            keyring: keyring.clone(),
            awaited: Arc::default(),
        });
        Self { nodes, post }
    }

    /// For whoever asks no others.
    #[cfg(test)]
    pub(crate) fn alone(nodes: Nodes) -> Self {
        Self { nodes, post: None }
    }

    /// Asks one of the others.
    pub(crate) async fn ask(
        &self,
        whom: ControlPlaneId,
        question: Question,
        deadline: Instant,
    ) -> Result<Answer, Unanswered> {
        let post = self.post.as_ref().ok_or(Unanswered::Silent)?;
        let (sender, answer) = oneshot::channel();
        let awaited = Awaited {
            post,
            id: Uuid::new_v4(),
        };
        post.awaited().insert(awaited.id, sender);
        let content = Content::Question(Asked {
            question: Some(question),
        });
        let asked = async {
            post.send(whom, awaited.id, content).await?;
            answer.await.map_err(|_| Unanswered::Silent)
        };
        match timeout_at(deadline, asked).await {
            Ok(answered) => answered,
            Err(_) => {
                post.store.withdraw_letter(whom, awaited.id.into_bytes()).await?;
                Err(Unanswered::Silent)
            }
        }
    }

    /// The letters for this control plane; `None` where there can be no others.
    pub(crate) fn letters(&self) -> Option<Letters> {
        let post = self.post.clone()?;
        Some(Letters {
            told: post.store.presence_told()?,
            post,
            questions: VecDeque::new(),
        })
    }
}

impl Post {
    async fn send(&self, whom: ControlPlaneId, id: Uuid, content: Content) -> Result<(), Unanswered> {
        let letter = Letter {
            id: id.into_bytes().to_vec(),
            from: self.store.control_plane().as_bytes().to_vec(),
            content: Some(content),
        };
        let sealed = self
            .keyring
            .seal_own(&purpose(whom), &letter.encode_to_vec())
            .map_err(|_| Unanswered::Unsealed)?;
        Ok(self.store.send_letter(whom, id.into_bytes(), sealed).await?)
    }

    /// `None`: it is not for us, or in words that this build does not know.
    fn read(&self, sealed: &[u8]) -> Option<(ControlPlaneId, Uuid, Content)> {
        let opened = self
            .keyring
            .open_own(&purpose(self.store.control_plane()), sealed);
        let letter = Letter::decode(opened.ok()?.as_slice()).ok()?;
        let from = ControlPlaneId::from_bytes(letter.from.try_into().ok()?);
        Some((from, Uuid::from_slice(&letter.id).ok()?, letter.content?))
    }

    fn awaited(&self) -> MutexGuard<'_, HashMap<Uuid, oneshot::Sender<Answer>>> {
        self.awaited.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a letter is sealed for: who else finds it cannot read it as theirs.
fn purpose(whom: ControlPlaneId) -> String {
    format!("letter/{whom}")
}

/// Forgets a question when nobody waits for its answer any more.
struct Awaited<'a> {
    post: &'a Post,
    id: Uuid,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.post.awaited().remove(&self.id);
    }
}

/// What others have written: answers find who waits for them, questions are handed out.
pub(crate) struct Letters {
    post: Post,
    told: watch::Receiver<()>,
    questions: VecDeque<Asking>,
}

/// A question of another control plane, to be answered.
pub(crate) struct Asking {
    post: Post,
    from: ControlPlaneId,
    id: Uuid,
    pub(crate) question: Question,
}

impl Letters {
    /// Waits for the next question. `None`: the store is closed.
    pub(crate) async fn next(&mut self) -> Option<Asking> {
        loop {
            if let Some(asking) = self.questions.pop_front() {
                return Some(asking);
            }
            self.told.changed().await.ok()?;
            match self.post.store.take_letters().await {
                Ok(letters) => {
                    if !letters.is_empty() {
                        // There may be more than are taken at a time.
                        self.told.mark_changed();
                    }
                    letters.iter().for_each(|sealed| self.sort(sealed));
                }
                // Notices come every few seconds, whatever happens.
                Err(error) => tracing::debug!(%error, "letters of other control planes cannot be read"),
            }
        }
    }

    fn sort(&mut self, sealed: &[u8]) {
        match self.post.read(sealed) {
            Some((_, id, Content::Answer(Answered { answer: Some(answer) }))) => {
                if let Some(waiting) = self.post.awaited().remove(&id) {
                    // Whoever asked may have gone.
                    let _ = waiting.send(answer);
                }
            }
            Some((
                from,
                id,
                Content::Question(Asked {
                    question: Some(question),
                }),
            )) => {
                self.questions.push_back(Asking {
                    post: self.post.clone(),
                    from,
                    id,
                    question,
                });
            }
            Some((
                _,
                _,
                Content::Answer(Answered { answer: None }) | Content::Question(Asked { question: None }),
            ))
            | None => tracing::warn!("a letter of another control plane says nothing that this build knows"),
        }
    }
}

impl Asking {
    pub(crate) async fn answer(self, answer: Answer) {
        let content = Content::Answer(Answered { answer: Some(answer) });
        if let Err(error) = self.post.send(self.from, self.id, content).await {
            tracing::warn!(%error, "another control plane is left without an answer");
        }
    }
}
