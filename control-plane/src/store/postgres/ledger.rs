//! Writes, on a connection of the writer's own.
//!
//! Who has the lock on the head's row may write. A connection that is lost before
//! `commit` was sent has written nothing; one that is lost while it commits is
//! settled by looking: every batch signs in the row of its writer.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde::{Deserialize, Serialize};
use sqlx::{Executor, PgConnection};
use tokio::sync::watch;

use crate::store::{
    Error,
    backend::{Batch, Ledger, WriteError},
    family::Family,
    head::HEAD_KEY,
    record,
    rows::{Order, Row, RowIter, Rows, Span},
    write_set::Writes,
};

use super::{
    client::Client,
    failure::Failure,
    follower::CHANNEL,
    rows::{GET, TransactionRows},
    tell,
};

const LOCK_HEAD: &str = "select true from bridge_rows where family = $1 and key = $2 for update";
const WRITE: &str = "with put as (
    insert into bridge_rows (family, key, value)
    select * from unnest($1::text[], $2::bytea[], $3::bytea[])
    on conflict (family, key) do update set value = excluded.value
), gone as (
    delete from bridge_rows using unnest($4::text[], $5::bytea[]) as old (family, key)
    where bridge_rows.family = old.family and bridge_rows.key = old.key
)
select pg_notify($6, $7) where $7 is not null";
/// How long the outcome of a commit is looked for, and how often.
const SETTLE_MAX: Duration = Duration::from_secs(20);
const SETTLE_PAUSE: Duration = Duration::from_millis(200);
/// How long a writer's row is kept after its last batch: far longer than anybody looks for its outcome.
const WRITER_KEPT: Duration = Duration::from_secs(24 * 3600);

pub(super) struct DatabaseLedger {
    client: Arc<Client>,
    told: Arc<watch::Sender<u64>>,
    /// `None`: there is none, or nobody knows what state it is in.
    connection: Option<Kept>,
    /// Names the row in which the batches of this writer sign.
    writer: [u8; 16],
    batches: u64,
}

/// A connection between two batches.
struct Kept {
    connection: PgConnection,
    made: Instant,
}

impl DatabaseLedger {
    pub(super) fn new(client: Arc<Client>, told: Arc<watch::Sender<u64>>) -> Self {
        Self {
            client,
            told,
            connection: None,
            writer: rand::random(),
            batches: 0,
        }
    }
}

impl Ledger for DatabaseLedger {
    fn begin(&mut self) -> Result<Box<dyn Batch + '_>, WriteError> {
        let lines = self.client.lines();
        let kept = self.connection.take().filter(|kept| !lines.is_doubted(kept.made));
        let Kept { mut connection, made } = match kept {
            Some(kept) => kept,
            None => Kept {
                made: Instant::now(),
                connection: self.client.connect()?,
            },
        };
        self.client.wait(lock_head(&mut connection))?;
        self.batches += 1;
        Ok(Box::new(DatabaseBatch {
            rows: Remembering {
                rows: TransactionRows::new(self.client.handle(), Box::new(connection)),
                read: RefCell::default(),
            },
            made,
            ledger: self,
        }))
    }
}

async fn lock_head(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    connection.execute("begin").await?;
    let _: bool = sqlx::query_scalar(LOCK_HEAD)
        .bind(Family::Meta.name())
        .bind(HEAD_KEY)
        .fetch_one(connection)
        .await?;
    Ok(())
}

/// Puts and deletes rows in the open transaction, and tells the revision with it.
pub(super) async fn write(
    connection: &mut PgConnection,
    writes: &Writes,
    revision: Option<u64>,
) -> Result<(), sqlx::Error> {
    let (mut families, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
    let (mut old_families, mut old_keys) = (Vec::new(), Vec::new());
    for ((family, key), value) in writes {
        match value {
            Some(value) => {
                families.push(family.name());
                keys.push(key.as_slice());
                values.push(value.as_slice());
            }
            None => {
                old_families.push(family.name());
                old_keys.push(key.as_slice());
            }
        }
    }
    let writing = sqlx::query(WRITE)
        .bind(families)
        .bind(keys)
        .bind(values)
        .bind(old_families)
        .bind(old_keys)
        .bind(CHANNEL)
        .bind(revision.map(|revision| revision.to_string()));
    writing.execute(connection).await.map(drop)
}

struct DatabaseBatch<'a> {
    rows: Remembering,
    /// When its connection was made.
    made: Instant,
    ledger: &'a mut DatabaseLedger,
}

impl Batch for DatabaseBatch<'_> {
    fn rows(&self) -> &dyn Rows {
        &self.rows
    }

    fn write(self: Box<Self>, mut writes: Writes, revision: u64) -> Result<(), WriteError> {
        let Self { rows, made, ledger } = *self;
        let DatabaseLedger {
            client,
            told,
            connection: kept,
            writer,
            batches,
        } = ledger;
        let Some(mut connection) = rows.rows.into_connection() else {
            return Err(WriteError::Closed);
        };
        if writes.is_empty() {
            client.wait(async { connection.execute("rollback").await })?;
            *kept = Some(Kept {
                connection: *connection,
                made,
            });
            return Ok(());
        }
        let signature = Signature {
            batch: *batches,
            at_ms: now_ms(),
        };
        writes.insert(
            (Family::Writers, writer.to_vec()),
            Some(signature.encode(revision)?),
        );
        client.wait(write(&mut connection, &writes, Some(revision)))?;
        match client.wait(async { connection.execute("commit").await }) {
            Ok(_) => {
                *kept = Some(Kept {
                    connection: *connection,
                    made,
                });
            }
            Err(failure) => {
                drop(connection);
                *kept = Some(Kept {
                    made: Instant::now(),
                    connection: settle(client, writer, signature.batch, &failure)?,
                });
            }
        }
        tell(told, revision);
        Ok(())
    }
}

/// Finds out whether a batch was committed. Nobody can tell before the lock is free.
fn settle(client: &Client, writer: &[u8], batch: u64, failure: &Failure) -> Result<PgConnection, WriteError> {
    let reason = failure.to_string();
    tracing::warn!(%reason, "the database was lost while it committed; looking what became of it");
    let give_up = Instant::now() + SETTLE_MAX;
    loop {
        match last_batch(client, writer) {
            Ok((connection, last)) if last == Some(batch) => return Ok(connection),
            Ok(_) => return Err(WriteError::NotNow { reason }),
            Err(Failure::Passing(_)) if Instant::now() < give_up => thread::sleep(SETTLE_PAUSE),
            Err(Failure::Passing(_) | Failure::Full | Failure::Lasting(_)) => {
                return Err(WriteError::Unknown { reason });
            }
        }
    }
}

fn last_batch(client: &Client, writer: &[u8]) -> Result<(PgConnection, Option<u64>), Failure> {
    let mut connection = client.connect()?;
    client.wait(lock_head(&mut connection))?;
    let asking = async {
        let last: Option<Vec<u8>> = sqlx::query_scalar(GET)
            .bind(Family::Writers.name())
            .bind(writer)
            .fetch_optional(&mut connection)
            .await?;
        connection.execute("rollback").await?;
        Ok(last)
    };
    let last = client.wait(asking)?;
    let last = last.map(|row| Signature::decode(&row).map(|signature| signature.batch));
    let last = last
        .transpose()
        .map_err(|error| Failure::Lasting(error.to_string()))?;
    Ok((connection, last))
}

/// What a batch leaves in the row of its writer.
#[derive(Serialize, Deserialize)]
struct Signature {
    batch: u64,
    at_ms: u64,
}

impl Signature {
    fn encode(&self, revision: u64) -> Result<Vec<u8>, WriteError> {
        record::encode_row(Family::Writers, self, revision).map_err(|error| WriteError::Unread {
            reason: error.to_string(),
        })
    }

    fn decode(row: &[u8]) -> Result<Self, Error> {
        Ok(record::decode_row(Family::Writers, row)?.0)
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Rows of writers that are long gone.
pub(super) fn outdated_writers(rows: &dyn Rows) -> Result<Writes, Error> {
    let mut outdated = Writes::new();
    for row in rows.scan(Family::Writers, Span::all(), Order::Ascending) {
        let Row { key, value } = row?;
        let age_ms = now_ms().saturating_sub(Signature::decode(&value)?.at_ms);
        if Duration::from_millis(age_ms) > WRITER_KEPT {
            outdated.insert((Family::Writers, key), None);
        }
    }
    Ok(outdated)
}

/// Rows by where they are; `None`: there is none.
type Known = BTreeMap<(Family, Vec<u8>), Option<Vec<u8>>>;

/// Nobody else writes while the head is locked, so a row is read but once.
struct Remembering {
    rows: TransactionRows<Box<PgConnection>>,
    read: RefCell<Known>,
}

impl Rows for Remembering {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        let place = (family, key.to_vec());
        if let Some(known) = self.read.borrow().get(&place) {
            return Ok(known.clone());
        }
        let value = self.rows.get(family, key)?;
        self.read.borrow_mut().insert(place, value.clone());
        Ok(value)
    }

    fn scan(&self, family: Family, span: Span, order: Order) -> RowIter<'_> {
        self.rows.scan(family, span, order)
    }
}
