//! Runs a command beside a PostgreSQL server that its tests share:
//! `throwaway-postgres cargo nextest run …`. Each takes a database of its own.

use std::env;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use bridge_throwaway_postgres::{SERVER_VARIABLE, Server};

fn main() -> Result<ExitCode> {
    let mut arguments = env::args_os().skip(1);
    let program = arguments
        .next()
        .context("usage: throwaway-postgres COMMAND ARGUMENT…")?;
    let server = Server::start()?.context("there is no PostgreSQL")?;
    let status = Command::new(program)
        .args(arguments)
        .env(SERVER_VARIABLE, server.sockets())
        .status()?;
    drop(server);
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
