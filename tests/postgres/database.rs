//! An empty database for one test, gone with its handle.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::psql::{Psql, USER};
use crate::{Server, programs};

/// The folder with the socket of a server that runs for many tests.
pub const SERVER_VARIABLE: &str = "THROWAWAY_POSTGRES";

pub struct Database {
    name: String,
    psql: Psql,
    socket: PathBuf,
    /// `None`: it is one of many on its server, which outlives it.
    server: Option<Arc<Server>>,
}

/// One server for all databases that are there at the same time in a process.
static OURS: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Database {
    /// On the server that runs for many, or else on one of this process. `None`, and one line
    /// that says why, where there is no PostgreSQL.
    pub fn make() -> Result<Option<Self>> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let Some(programs) = programs() else {
            return Server::start().map(|_| None);
        };
        let (server, sockets) = match env::var_os(SERVER_VARIABLE) {
            Some(sockets) => (None, PathBuf::from(sockets)),
            None => {
                let server = our_server()?;
                let sockets = server.sockets();
                (Some(server), sockets)
            }
        };
        let psql = Psql::new(&programs, sockets.clone());
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{since}_{number}", std::process::id());
        psql.create(&name)?;
        Ok(Some(Self {
            name,
            psql,
            socket: socket_in(&sockets),
            server,
        }))
    }

    pub fn url(&self) -> String {
        self.psql.url(&self.name)
    }

    /// The same, reached by a port of loopback that leads to its socket.
    pub fn url_by(&self, port: u16) -> String {
        format!("postgres://{USER}@127.0.0.1:{port}/{}?sslmode=disable", self.name)
    }

    /// Where its server listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `psql` answers.
    pub fn sql(&self, statement: &str) -> Result<String> {
        self.psql.run(&self.name, statement)
    }
}

fn our_server() -> Result<Arc<Server>> {
    let mut ours = OURS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = ours.upgrade() {
        return Ok(running);
    }
    let server = Arc::new(Server::start()?.context("its programs are there")?);
    *ours = Arc::downgrade(&server);
    Ok(server)
}

pub(crate) fn socket_in(sockets: &Path) -> PathBuf {
    sockets.join(".s.PGSQL.5432")
}

impl Drop for Database {
    fn drop(&mut self) {
        if self.server.is_none() {
            // What is left goes with the server.
            self.psql.drop_database(&self.name).ok();
        }
    }
}
