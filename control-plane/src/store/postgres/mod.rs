//! The store in a PostgreSQL database, for any number of control planes. The only
//! module that knows SQL.
//!
//! One table holds the rows. The row of the head is locked by whoever writes, so that
//! a batch is planned against a state that nobody changes, and revisions are total
//! over all control planes; nobody leads. A write and its `pg_notify` are in one
//! transaction. Notifications can be lost, so the revision is also read each second.

mod address;
mod client;
mod failure;
mod follower;
mod ledger;
mod lines;
mod rows;
mod schema;

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};
use secrecy::SecretString;
use sqlx::{Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::sync::watch;

use super::{
    Error, OpenError,
    backend::{Alone, Backend, Beside, Parts, View},
    family::Family,
    head::{HEAD_KEY, Head, Installation},
    verify,
};

use client::Client;
use failure::Failure;
use follower::PRESENCE_CHANNEL;
use ledger::DatabaseLedger;
use rows::{GET, TransactionRows};

/// A moment that no later write changes.
const BEGIN_MOMENT: &str = "begin isolation level repeatable read, read only";

/// Held while a control plane looks for what has to be there, and makes it.
const LOCK_ALONE: &str = "select pg_advisory_lock(4848262852)";
const NO_LOCK_TIMEOUT: &str = "set lock_timeout = 0";

/// A database that is open for reading.
struct Database {
    client: Arc<Client>,
    presence: watch::Receiver<()>,
}

/// Opens the database, and makes its table if there is none. Blocks, while the
/// database starts for at most half a minute.
pub(super) fn open(url: &SecretString) -> Result<Parts, OpenError> {
    open_as(url, None)
}

/// Fills a database without rows with an installation that exists already.
pub(super) fn create(url: &SecretString, installation: Installation) -> Result<Parts, OpenError> {
    open_as(url, Some(installation))
}

fn open_as(url: &SecretString, new: Option<Installation>) -> Result<Parts, OpenError> {
    let address = address::parse(url)?;
    let unusable = |failure: Failure| OpenError::Database {
        database: address.name.clone(),
        reason: failure.to_string(),
    };
    let client = Arc::new(Client::start(address.options.clone()).map_err(unusable)?);
    let installation = schema::set_up(&client, &address.name, new)?;
    let damaged = |reason: String| OpenError::Damaged {
        place: address.name.clone(),
        reason,
    };
    let view = client
        .wait(moment(Arc::clone(&client)))
        .map_err(unusable)?
        .map_err(|error| damaged(error.to_string()))?;
    let head = verify::head(view.rows.as_ref()).map_err(damaged)?;
    verify::all(view.rows.as_ref(), &head).map_err(damaged)?;
    drop(view);
    let (told, revision) = watch::channel(head.revision);
    let told = Arc::new(told);
    let (heard, presence) = watch::channel(());
    let news = follower::News {
        revision: Arc::clone(&told),
        presence: heard,
    };
    let (options, lines) = (client.options().clone(), client.lines().clone());
    client.spawn(follower::follow(options, lines, news));
    Ok(Parts {
        backend: Arc::new(Database {
            client: Arc::clone(&client),
            presence,
        }),
        ledger: Box::new(DatabaseLedger::new(client, told)),
        installation,
        revision,
    })
}

/// The revision as it grows, whoever tells first.
fn tell(told: &watch::Sender<u64>, revision: u64) {
    told.send_if_modified(|told| {
        let is_news = revision > *told;
        *told = revision.max(*told);
        is_news
    });
}

async fn moment(client: Arc<Client>) -> Result<Result<View, Error>, sqlx::Error> {
    let mut transaction = client.pool().begin_with(BEGIN_MOMENT).await?;
    let head: Option<Vec<u8>> = sqlx::query_scalar(GET)
        .bind(Family::Meta.name())
        .bind(HEAD_KEY)
        .fetch_optional(&mut *transaction)
        .await?;
    let head = head.ok_or_else(|| Error::damaged(Family::Meta, "its head is missing"));
    Ok(head.and_then(|head| {
        Ok(View {
            revision: Head::decode(&head)?.revision,
            rows: Box::new(TransactionRows::new(client.handle(), transaction)),
        })
    }))
}

/// The lock is the connection's, and goes with it.
async fn locked_setup(options: PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let mut connection = PgConnection::connect_with(&options).await?;
    connection.execute(NO_LOCK_TIMEOUT).await?;
    connection.execute(LOCK_ALONE).await?;
    Ok(connection)
}

impl Backend for Database {
    fn get<'a>(&'a self, family: Family, key: &'a [u8]) -> BoxFuture<'a, Result<Option<Vec<u8>>, Error>> {
        let (pool, key) = (self.client.pool().clone(), key.to_vec());
        async move {
            let reading = async move {
                sqlx::query_scalar(GET)
                    .bind(family.name())
                    .bind(key)
                    .fetch_optional(&pool)
                    .await
            };
            Ok(self.client.run(reading).await?)
        }
        .boxed()
    }

    fn alone(&self) -> BoxFuture<'_, Result<Alone, Error>> {
        async move {
            let locking = locked_setup(self.client.options().clone());
            let connection = self.client.run(locking).await?;
            Ok(Alone {
                _held: Some(Box::new(connection)),
            })
        }
        .boxed()
    }

    fn beside(&self) -> Option<&dyn Beside> {
        Some(self)
    }

    fn view(&self) -> BoxFuture<'_, Result<View, Error>> {
        async move { self.client.run(moment(Arc::clone(&self.client))).await? }.boxed()
    }
}

const PUT_BESIDE: &str = "with put as (
    insert into bridge_rows (family, key, value) values ($1, $2, $3)
    on conflict (family, key) do update set value = excluded.value
)
select pg_notify($4, '')";
const DELETE_BESIDE: &str = "with gone as (delete from bridge_rows where family = $1 and key = $2)
select pg_notify($3, '')";

impl Beside for Database {
    fn put(&self, family: Family, key: Vec<u8>, value: Vec<u8>) -> BoxFuture<'_, Result<(), Error>> {
        let pool = self.client.pool().clone();
        let writing = async move {
            let statement = sqlx::query(PUT_BESIDE).bind(family.name()).bind(key).bind(value);
            statement.bind(PRESENCE_CHANNEL).execute(&pool).await.map(drop)
        };
        async move { Ok(self.client.run(writing).await?) }.boxed()
    }

    fn delete(&self, family: Family, key: Vec<u8>) -> BoxFuture<'_, Result<(), Error>> {
        let pool = self.client.pool().clone();
        let writing = async move {
            let statement = sqlx::query(DELETE_BESIDE).bind(family.name()).bind(key);
            statement.bind(PRESENCE_CHANNEL).execute(&pool).await.map(drop)
        };
        async move { Ok(self.client.run(writing).await?) }.boxed()
    }

    fn told(&self) -> watch::Receiver<()> {
        self.presence.clone()
    }
}
