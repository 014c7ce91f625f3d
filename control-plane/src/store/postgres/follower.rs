//! Tells the revision as other control planes raise it.

use std::{sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgListener};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::store::{
    family::Family,
    head::{HEAD_KEY, Head},
};

use super::{rows::GET, tell};

/// Where revisions are told.
pub(super) const CHANNEL: &str = "bridge_revision";
/// Where control planes tell that they have said something.
pub(super) const PRESENCE_CHANNEL: &str = "bridge_presence";
/// How often the revision is read, in case that nobody told.
const POLL_EVERY: Duration = Duration::from_secs(5);
/// How long a database that does not answer is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// Where news goes.
pub(super) struct News {
    pub(super) revision: Arc<watch::Sender<u64>>,
    pub(super) presence: watch::Sender<()>,
}

/// Runs until nobody asks for the revision any more.
pub(super) async fn follow(pool: PgPool, news: News) {
    let mut is_away = false;
    while !news.revision.is_closed() {
        let Err(error) = listen(&pool, &news, &mut is_away).await else {
            return;
        };
        if !std::mem::replace(&mut is_away, true) {
            tracing::warn!(%error, "the database does not tell of changes; trying again");
        }
        sleep(PAUSE).await;
    }
}

async fn listen(pool: &PgPool, news: &News, is_away: &mut bool) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all([CHANNEL, PRESENCE_CHANNEL]).await?;
    if std::mem::take(is_away) {
        tracing::info!("the database tells of changes again");
    }
    let told = &news.revision;
    while !told.is_closed() {
        // Also whenever the listener was lost: what was told meanwhile, it has not heard.
        read(pool, told).await?;
        news.presence.send_replace(());
        while let Ok(heard) = timeout(POLL_EVERY, listener.try_recv()).await {
            let Some(notification) = heard? else { break };
            if notification.channel() == PRESENCE_CHANNEL {
                news.presence.send_replace(());
            } else if let Ok(revision) = notification.payload().parse() {
                tell(told, revision);
            }
        }
    }
    Ok(())
}

async fn read(pool: &PgPool, told: &watch::Sender<u64>) -> Result<(), sqlx::Error> {
    let head: Option<Vec<u8>> = sqlx::query_scalar(GET)
        .bind(Family::Meta.name())
        .bind(HEAD_KEY)
        .fetch_optional(pool)
        .await?;
    match head.as_deref().map(Head::decode) {
        Some(Ok(head)) => tell(told, head.revision),
        Some(Err(error)) => tracing::error!(%error, "the head of the store cannot be read"),
        None => tracing::error!("the head of the store is gone"),
    }
    Ok(())
}
