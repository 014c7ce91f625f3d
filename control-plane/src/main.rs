//! Hardens itself, reads the configuration, serves, and says why if it cannot.

mod hardening;

use std::process::ExitCode;

use bridge_control_plane::{Cli, run};
use clap::Parser;

#[tokio::main]
async fn main() -> ExitCode {
    if let Err(error) = hardening::harden() {
        return fail(&error);
    }
    let config = match Cli::parse().check(|variable| std::env::var(variable).ok()) {
        Ok(config) => config,
        Err(mistakes) => return fail(&mistakes),
    };
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
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
