//! A running server, asked by its own client.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};

pub(crate) const USER: &str = "bridge";
/// There in every server; databases are made and dropped from it.
const FIRST: &str = "postgres";

pub(crate) struct Psql {
    program: PathBuf,
    /// The folder with the server's socket.
    sockets: PathBuf,
}

impl Psql {
    pub(crate) fn new(programs: &Path, sockets: PathBuf) -> Self {
        Self {
            program: programs.join("psql"),
            sockets,
        }
    }

    pub(crate) fn url(&self, database: &str) -> String {
        format!(
            "postgres:///{database}?host={}&user={USER}",
            self.sockets.display()
        )
    }

    pub(crate) fn create(&self, database: &str) -> Result<()> {
        self.run(FIRST, &format!("create database {database}")).map(drop)
    }

    /// Whoever is still connected is cut off.
    pub(crate) fn drop_database(&self, database: &str) -> Result<()> {
        self.run(FIRST, &format!("drop database {database} with (force)"))
            .map(drop)
    }

    pub(crate) fn run(&self, database: &str, statement: &str) -> Result<String> {
        let mut child = Command::new(&self.program)
            .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
            .args(["--set", "ON_ERROR_STOP=1", "--username", USER, "--host"])
            .arg(&self.sockets)
            .args(["--dbname", database])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut input) = child.stdin.take() {
            // A server that is not there has been noticed by then.
            input.write_all(statement.as_bytes()).ok();
        }
        let output = child.wait_with_output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}
