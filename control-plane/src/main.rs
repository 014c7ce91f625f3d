//! Hardens itself, reads the configuration, serves, and says why if it cannot.

mod hardening;

use std::process::ExitCode;

use bridge_control_plane::{Cli, Command, operations, run};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(error) = hardening::harden() {
        return fail(&error);
    }
    let environment = |variable: &str| std::env::var(variable).ok();
    let cli = Cli::parse();
    let command = cli.command();
    let config = match cli.check(environment) {
        Ok(config) => config,
        Err(mistakes) => return fail(&mistakes),
    };
    let done = match command {
        Command::Serve => run(config).await.map_err(|error| fail(&error)),
        command => operations::run(command, config, environment)
            .await
            .map_err(|error| fail(&error)),
    };
    done.err().unwrap_or(ExitCode::SUCCESS)
}

/// Tells the causes too, where the error itself does not.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    eprintln!("bridge-control-plane: {text}");
    ExitCode::FAILURE
}
