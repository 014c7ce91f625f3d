//! Tells the revision as other control planes raise it, and that they have said something.
//!
//! Notices come at once, and need not come at all: a connection can fall silent, and
//! between us and the server may stand something that knows no `LISTEN`. So the same
//! connection is asked each second for what there is. Whoever does not answer is left,
//! and what was missed is known less than two seconds after it was written.

use std::{io, mem, sync::Arc, time::Duration};

use sqlx::{
    Executor, Row,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions, PgRow},
};
use tokio::{
    sync::watch,
    time::{Instant, error::Elapsed, sleep, timeout, timeout_at},
};

use crate::store::{
    family::Family,
    head::{HEAD_KEY, Head},
};

use super::{lines::Lines, tell};

/// Where revisions are told.
pub(super) const CHANNEL: &str = "bridge_revision";
/// Where control planes tell that they have said something.
pub(super) const PRESENCE_CHANNEL: &str = "bridge_presence";
/// How often is looked what there is, in case that nobody told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After what time without an answer the connection counts as lost.
const SILENT_AFTER: Duration = Duration::from_millis(600);
/// How long it may take to connect and to look for the first time.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// How long a database that cannot be reached, or that drops connections, is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// The head, and what tells whether a row that control planes write for each other is
/// another one than before.
const LOOK: &str = "select
    (select value from bridge_rows where family = $1 and key = $2) as head,
    (select md5(string_agg(family || encode(key, 'hex') || xmin::text, ',' order by family, key))
        from bridge_rows where family = any($3)) as beside";
/// What they write for each other.
const BESIDE: [Family; 3] = [Family::Presence, Family::ShownNodes, Family::Letters];

/// Where news goes.
pub(super) struct News {
    pub(super) revision: Arc<watch::Sender<u64>>,
    pub(super) presence: watch::Sender<()>,
}

/// Why the listening has ended.
enum Ended {
    NobodyAsks,
    Silent,
    Lost(sqlx::Error),
}

/// Runs until nobody asks for the revision any more.
pub(super) async fn follow(options: PgConnectOptions, lines: Lines, news: News) {
    let mut follower = Follower {
        options,
        news,
        beside: None,
    };
    let (mut is_away, mut was_silent) = (false, false);
    while !follower.news.revision.is_closed() {
        let asked = Instant::now();
        let (mut listener, seen) = match follower.connect().await {
            Ok(connected) => connected,
            Err(error) => {
                if !mem::replace(&mut is_away, true) {
                    tracing::warn!(%error, "the database does not tell of changes; trying again");
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        if mem::take(&mut is_away) {
            tracing::info!("the database tells of changes again");
        }
        // A database that answers at once was not slow a moment ago: it was the connection.
        if mem::take(&mut was_silent) && asked.elapsed() <= SILENT_AFTER {
            tracing::warn!("connections to the database have fallen silent; they are made anew");
            lines.doubt_all_before(asked.into_std());
        }
        follower.tell(seen);
        match follower.listen(&mut listener).await {
            Ended::NobodyAsks => return,
            Ended::Silent => was_silent = true,
            Ended::Lost(error) => {
                tracing::debug!(%error, "the connection on which the database tells of changes is lost");
                if asked.elapsed() < PAUSE {
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

struct Follower {
    options: PgConnectOptions,
    news: News,
    beside: Option<String>,
}

/// What there is at a moment.
struct Seen {
    revision: Option<u64>,
    beside: Option<String>,
}

impl Follower {
    /// A connection that listens, and what there was after it began to.
    async fn connect(&self) -> Result<(PgListener, Seen), sqlx::Error> {
        let connecting = async {
            // A pool of its own: a silent connection keeps its place until it is known to be dead.
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .connect_lazy_with(self.options.clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen_all([CHANNEL, PRESENCE_CHANNEL]).await?;
            let seen = look(&mut listener).await?;
            Ok((listener, seen))
        };
        let connected = timeout(CONNECT_MAX, connecting).await;
        connected.unwrap_or_else(|Elapsed { .. }| Err(sqlx::Error::PoolTimedOut))
    }

    async fn listen(&mut self, listener: &mut PgListener) -> Ended {
        let mut look_at = Instant::now() + LOOK_EVERY;
        while !self.news.revision.is_closed() {
            match timeout_at(look_at, listener.try_recv()).await {
                Ok(Ok(Some(notice))) if notice.channel() == PRESENCE_CHANNEL => {
                    self.news.presence.send_replace(());
                }
                Ok(Ok(Some(notice))) => {
                    if let Ok(revision) = notice.payload().parse() {
                        tell(&self.news.revision, revision);
                    }
                }
                Ok(Ok(None)) => return Ended::Lost(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(Err(error)) => return Ended::Lost(error),
                Err(Elapsed { .. }) => {
                    match timeout(SILENT_AFTER, look(listener)).await {
                        Ok(Ok(seen)) => self.tell(seen),
                        Ok(Err(error)) => return Ended::Lost(error),
                        Err(Elapsed { .. }) => return Ended::Silent,
                    }
                    look_at = Instant::now() + LOOK_EVERY;
                }
            }
        }
        Ended::NobodyAsks
    }

    fn tell(&mut self, seen: Seen) {
        let Seen { revision, beside } = seen;
        if let Some(revision) = revision {
            tell(&self.news.revision, revision);
        }
        if self.beside != beside {
            self.beside = beside;
            self.news.presence.send_replace(());
        }
    }
}

async fn look(listener: &mut PgListener) -> Result<Seen, sqlx::Error> {
    let looking = sqlx::query(LOOK)
        .bind(Family::Meta.name())
        .bind(HEAD_KEY)
        .bind(BESIDE.map(Family::name));
    seen(&listener.fetch_one(looking).await?)
}

fn seen(row: &PgRow) -> Result<Seen, sqlx::Error> {
    let head: Option<Vec<u8>> = row.try_get("head")?;
    let revision = match head.as_deref().map(Head::decode) {
        Some(Ok(head)) => Some(head.revision),
        Some(Err(error)) => {
            tracing::error!(%error, "the head of the store cannot be read");
            None
        }
        None => {
            tracing::error!("the head of the store is gone");
            None
        }
    };
    Ok(Seen {
        revision,
        beside: row.try_get("beside")?,
    })
}
