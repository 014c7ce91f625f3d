//! The table, made at the first start, and whose rows are in it.

use std::{
    thread,
    time::{Duration, Instant},
};

use sqlx::{Executor, PgConnection};

use crate::store::{
    Error, OpenError,
    family::Family,
    head::{self, Installation, SCHEMA},
    rows::{Order, Rows, Span},
    write_set::Writes,
};

use super::{client::Client, failure::Failure, ledger, rows::TransactionRows};

/// Only one control plane at a time looks for the table and makes it.
const LOCK_SETUP: &str = "select pg_advisory_xact_lock(4848262851)";
const HAS_TABLE: &str = "select to_regclass('bridge_rows') is not null";
const MAKE_TABLE: &str = "create table bridge_rows (
    family text collate \"C\" not null,
    key bytea not null,
    value bytea not null,
    primary key (family, key)
)";
const ABOUT_SERVER: &str = "select current_setting('server_version_num')::int4, pg_is_in_recovery()";
/// The oldest server that this is tested for.
const SERVER_VERSION_MIN: i32 = 140_000;
/// How long a database that is not there yet is waited for, and how often it is looked for.
const START_PATIENCE: Duration = Duration::from_secs(30);
const START_PAUSE: Duration = Duration::from_millis(500);

/// Which installation this is. Only a database without rows becomes a new one.
///
/// `new`: it must have none, and becomes this installation.
pub(super) fn set_up(
    client: &Client,
    name: &str,
    new: Option<Installation>,
) -> Result<Installation, OpenError> {
    let unusable = |reason: String| OpenError::Database {
        database: name.to_owned(),
        reason,
    };
    let mut connection = connect(client).map_err(|failure| unusable(failure.to_string()))?;
    let (version, is_standby) = client
        .wait(prepare(&mut connection))
        .map_err(|failure| unusable(failure.to_string()))?;
    if is_standby {
        return Err(unusable("it is a standby, which takes no changes".to_owned()));
    }
    if version < SERVER_VERSION_MIN {
        return Err(unusable(format!(
            "it is of version {}, and at least {} is needed",
            version / 10_000,
            SERVER_VERSION_MIN / 10_000
        )));
    }
    let installation = identify(client, &mut connection, name, new)?;
    client
        .wait(async { connection.execute("commit").await })
        .map_err(|failure| unusable(failure.to_string()))?;
    Ok(installation)
}

fn connect(client: &Client) -> Result<PgConnection, Failure> {
    let give_up = Instant::now() + START_PATIENCE;
    loop {
        match client.connect() {
            Err(Failure::Passing(reason)) if Instant::now() < give_up => {
                tracing::warn!(%reason, "the database is not there yet");
                thread::sleep(START_PAUSE);
            }
            settled => return settled,
        }
    }
}

/// Begins the transaction that the rest happens in.
async fn prepare(connection: &mut PgConnection) -> Result<(i32, bool), sqlx::Error> {
    let about = sqlx::query_as(ABOUT_SERVER).fetch_one(&mut *connection).await?;
    connection.execute("begin").await?;
    connection.execute(LOCK_SETUP).await?;
    let has_table: bool = sqlx::query_scalar(HAS_TABLE).fetch_one(&mut *connection).await?;
    if !has_table {
        connection.execute(MAKE_TABLE).await?;
    }
    Ok(about)
}

fn identify(
    client: &Client,
    connection: &mut PgConnection,
    name: &str,
    new: Option<Installation>,
) -> Result<Installation, OpenError> {
    let damaged = |reason: String| OpenError::Damaged {
        place: name.to_owned(),
        reason,
    };
    let rows = TransactionRows::new(client.handle(), &mut *connection);
    let looked = look(&rows).map_err(|error| damaged(error.to_string()))?;
    match looked {
        Found::Newer(found) => Err(OpenError::NewerSchema {
            place: name.to_owned(),
            found,
            known: SCHEMA,
        }),
        Found::Installation(_) | Found::Strangers if new.is_some() => Err(OpenError::NotEmpty {
            place: name.to_owned(),
        }),
        Found::Installation(installation) => {
            let outdated = ledger::outdated_writers(&rows).map_err(|error| damaged(error.to_string()))?;
            drop(rows);
            write(client, connection, &outdated).map_err(damaged)?;
            Ok(installation)
        }
        Found::Strangers => Err(damaged("there are records, but nothing says whose".to_owned())),
        Found::Nothing => {
            let installation = new.unwrap_or_else(Installation::mint);
            let first = head::first_rows(&rows, installation).map_err(|error| damaged(error.to_string()))?;
            drop(rows);
            write(client, connection, &first).map_err(damaged)?;
            Ok(installation)
        }
    }
}

fn write(client: &Client, connection: &mut PgConnection, writes: &Writes) -> Result<(), String> {
    client
        .wait(ledger::write(connection, writes, None))
        .map_err(|failure| failure.to_string())
}

enum Found {
    Newer(u32),
    Installation(Installation),
    Strangers,
    Nothing,
}

fn look(rows: &dyn Rows) -> Result<Found, Error> {
    if let Some(found) = head::load_schema(rows)?
        && found > SCHEMA
    {
        return Ok(Found::Newer(found));
    }
    if let Some(installation) = head::load_installation(rows)? {
        return Ok(Found::Installation(installation));
    }
    for family in Family::ALL {
        if rows.scan(*family, Span::all(), Order::Ascending).next().is_some() {
            return Ok(Found::Strangers);
        }
    }
    Ok(Found::Nothing)
}
