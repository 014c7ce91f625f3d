//! A PostgreSQL server for one test: in a folder of its own, on a socket in it, with
//! `fsync` on, and gone with its handle. Or one for many, each with a database of its
//! own: then the program `throwaway-postgres` has it.
//!
//! A crate of its own, so that the tests of the control plane's store and those of
//! whole fleets use the same one. The server refuses to run as root; then it runs as
//! `postgres` or `nobody`, and ends with the process that started it.

mod database;
mod psql;

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use tempfile::TempDir;

pub use database::{Database, SERVER_VARIABLE};
use psql::Psql;

/// Where Debian keeps the programs of each version.
const DEBIAN_FOLDER: &str = "/usr/lib/postgresql";
const START_MAX: Duration = Duration::from_secs(60);
const END_MAX: Duration = Duration::from_secs(10);
/// Enough for a dozen control planes at once.
const CONNECTIONS_MAX: u32 = 300;
const POLL_EVERY: Duration = Duration::from_millis(20);

pub struct Server {
    folder: TempDir,
    programs: PathBuf,
    runner: Runner,
    child: Option<Child>,
    databases: AtomicU32,
}

/// Who the server runs as.
#[derive(Debug, Clone, Copy)]
enum Runner {
    Ourselves,
    /// User and group of somebody with fewer rights.
    Other(u32, u32),
}

impl Server {
    /// `None`, and one line that says why, where there is no PostgreSQL.
    pub fn start() -> Result<Option<Self>> {
        let Some(programs) = programs() else {
            eprintln!("SKIPPED: PostgreSQL is not installed (Debian: postgresql)");
            return Ok(None);
        };
        let runner = Runner::find()?;
        let folder = tempfile::tempdir()?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755))?;
        let mut server = Self {
            folder,
            programs,
            runner,
            child: None,
            databases: AtomicU32::new(0),
        };
        server.initialise()?;
        server.run()?;
        Ok(Some(server))
    }

    /// A new, empty database, as a URL.
    pub fn new_database(&self) -> Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.psql().create(&name)?;
        Ok(self.psql().url(&name))
    }

    /// What `psql` answers, in the database of a URL.
    pub fn sql_at(&self, url: &str, statement: &str) -> Result<String> {
        let path = url.strip_prefix("postgres:///").context("a URL of this server")?;
        let name = path.split('?').next().context("a URL with a database")?;
        self.psql().run(name, statement)
    }

    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        database::socket_in(&self.sockets())
    }

    /// Ends it as a crash would: nothing is written out, and the next start recovers.
    pub fn crash(&mut self) -> Result<()> {
        self.end("QUIT")
    }

    fn end(&mut self, signal: &str) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        // Killed outright it would leave its children behind.
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        let give_up = Instant::now() + END_MAX;
        while sent.is_ok() && Instant::now() < give_up {
            if child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(POLL_EVERY);
        }
        child.kill()?;
        child.wait()?;
        bail!("PostgreSQL did not end by itself");
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) -> Result<()> {
        self.crash()?;
        self.run()
    }

    fn psql(&self) -> Psql {
        Psql::new(&self.programs, self.sockets())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The folder with its socket.
    pub fn sockets(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn initialise(&self) -> Result<()> {
        for folder in [self.data(), self.sockets()] {
            fs::create_dir(&folder)?;
            if let Runner::Other(user, group) = self.runner {
                chown(&folder, Some(user), Some(group))?;
            }
        }
        let data = self.data();
        let output = self
            .command("initdb")
            .args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=trust"])
            .args(["--username", psql::USER, "--pgdata"])
            .arg(&data)
            .output()?;
        ensure!(
            output.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.sockets())
            .args(["-c", "listen_addresses="])
            .args(["-c", "fsync=on"])
            .args(["-c", "shared_buffers=16MB"])
            .args(["-c", &format!("max_connections={CONNECTIONS_MAX}")])
            .args(["-c", "recovery_init_sync_method=syncfs"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        self.child = Some(spawn_for_good(command)?);
        let give_up = Instant::now() + START_MAX;
        while self.psql().run("postgres", "select 1").is_err() {
            if Instant::now() > give_up {
                let log = fs::read_to_string(self.log()).unwrap_or_default();
                bail!("PostgreSQL did not start:\n{log}");
            }
            thread::sleep(POLL_EVERY);
        }
        Ok(())
    }

    /// A program of the server, run as whoever may.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match self.runner {
            Runner::Ourselves => Command::new(program),
            Runner::Other(user, group) => {
                let mut command = Command::new("setpriv");
                command
                    .arg(format!("--reuid={user}"))
                    .arg(format!("--regid={group}"))
                    .args(["--clear-groups", "--pdeathsig", "INT"])
                    .arg(program);
                command
            }
        };
        command.current_dir(self.folder.path());
        command
    }
}

/// The server is told to end when the thread that started it does: so that has to be
/// one that lives as long as the process.
fn spawn_for_good(mut command: Command) -> Result<Child> {
    let (sender, spawned) = mpsc::channel();
    thread::spawn(move || {
        // Whoever waits for it does so until it is there.
        sender.send(command.spawn()).ok();
        loop {
            thread::park();
        }
    });
    Ok(spawned.recv()??)
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is there to be told, and the folder goes next.
        self.end("INT").ok();
    }
}

impl Runner {
    fn find() -> Result<Self> {
        if fs::metadata("/proc/self")?.uid() != 0 {
            return Ok(Self::Ourselves);
        }
        let users = fs::read_to_string("/etc/passwd")?;
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| ids_of(&users, name))
            .map(|(user, group)| Self::Other(user, group))
            .context("neither postgres nor nobody is a user of this machine")
    }
}

fn ids_of(users: &str, name: &str) -> Option<(u32, u32)> {
    let mut fields = users
        .lines()
        .map(|line| line.split(':'))
        .find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))?
        .skip(1);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The folder of the newest version, or wherever `initdb` is found.
fn programs() -> Option<PathBuf> {
    let has_all = |folder: &Path| {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|program| folder.join(program).is_file())
    };
    let mut versions: Vec<PathBuf> = fs::read_dir(DEBIAN_FOLDER)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .filter(|folder| has_all(folder))
        .collect();
    versions.sort();
    let on_path = || env::split_paths(&env::var_os("PATH")?).find(|folder| has_all(folder));
    versions.pop().or_else(on_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_is_there_after_the_power_was_gone() {
        let Some(mut server) = Server::start().unwrap() else {
            return;
        };
        let url = server.new_database().unwrap();
        server
            .sql_at(&url, "create table t (n int); insert into t values (7)")
            .unwrap();
        server.restart().unwrap();
        assert_eq!(server.sql_at(&url, "select n from t").unwrap(), "7");
        let folder = server.folder.path().to_owned();
        drop(server);
        assert!(!folder.exists());
    }
}
