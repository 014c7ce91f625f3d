//! Where the control planes of a bridge keep what they know: the one place that knows of
//! both stores, so that any scenario runs on either.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use bridge_throwaway_postgres::Database;

/// Bytes that can be read as they are, and all of them in hex.
const ROWS: &str =
    "select family, encode(key, 'escape'), encode(value, 'escape'), encode(key, 'hex'), encode(value, 'hex')
    from bridge_rows";
const SHOWN: &str = "rows.shown";
/// `postgres`: bridges keep what they know in PostgreSQL.
const STORE_VARIABLE: &str = "BRIDGE_STORE";
const FOLDER: &str = "data/control-plane";
const ASIDE: &str = "data/set-aside";
const TABLES: &str = "select count(*) from pg_tables where schemaname = 'public'";

#[derive(Clone)]
pub(super) enum Store {
    /// In the folder of the bridge.
    Folder,
    Postgres(Arc<Database>),
}

impl Store {
    /// What the environment asks for, if it can be had.
    pub(super) fn chosen() -> Result<Self> {
        match std::env::var(STORE_VARIABLE).as_deref() {
            Ok("postgres") => Ok(Self::postgres()?.unwrap_or(Self::Folder)),
            Ok(_) | Err(_) => Ok(Self::Folder),
        }
    }

    /// `None` where there is no PostgreSQL.
    pub(super) fn postgres() -> Result<Option<Self>> {
        Ok(Database::make()?.map(|database| Self::Postgres(Arc::new(database))))
    }

    pub(super) fn database(&self) -> Option<&Database> {
        match self {
            Self::Folder => None,
            Self::Postgres(database) => Some(database),
        }
    }

    /// What tells a control plane of it.
    pub(super) fn variable(&self, bridge: &Path) -> (&'static str, String) {
        match self {
            Self::Folder => ("DATABASE_PATH", folder(bridge).display().to_string()),
            Self::Postgres(database) => ("DATABASE_URL", database.url()),
        }
    }

    /// An empty place of the same kind. What was in the old one is not deleted before its time.
    pub(super) fn set_aside(&self, bridge: &Path) -> Result<Self> {
        match self {
            Self::Folder => {
                fs::rename(folder(bridge), bridge.join(ASIDE))?;
                Ok(Self::Folder)
            }
            Self::Postgres(_) => Self::postgres()?.context("PostgreSQL was there before"),
        }
    }

    /// Whether a control plane has made something of it.
    pub(super) fn is_made(&self, bridge: &Path) -> Result<bool> {
        match self {
            Self::Folder => Ok(folder(bridge).exists()),
            Self::Postgres(database) => Ok(database.sql(TABLES)? != "0"),
        }
    }

    /// A folder shows itself.
    pub(super) fn show(&self, bridge: &Path) -> Result<()> {
        if let Self::Postgres(database) = self {
            fs::write(bridge.join(SHOWN), database.sql(ROWS)?)?;
        }
        Ok(())
    }
}

fn folder(bridge: &Path) -> PathBuf {
    bridge.join(FOLDER)
}
