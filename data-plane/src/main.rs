//! The program: hardens itself, reads the command line, translates or starts the runtime,
//! reports how it ended.

mod hardening;
mod pages;

use std::process::ExitCode;

use bridge_data_plane::config::{Cli, Task};
use clap::Parser;

/// Tasks that run before somebody looks again for what has arrived. The runtime's own 61 are
/// milliseconds under load, for which a request that is to be refused is not even seen.
const EVENT_INTERVAL: u32 = 15;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pages::keep_small();
    if let Err(error) = hardening::harden() {
        eprintln!("bridge-data-plane: {error}");
        return ExitCode::FAILURE;
    }
    let (serve, is_check) = match Cli::parse().into_task() {
        Task::Serve(serve) => (serve, false),
        Task::Check(serve) => (serve, true),
        Task::Translate(args) => return bridge_data_plane::translation::run(&args),
    };
    let config = match serve.check(|variable| std::env::var(variable).ok()) {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("bridge-data-plane: {mistakes}");
            return ExitCode::from(2);
        }
    };
    if is_check {
        return bridge_data_plane::check::run(config);
    }
    bridge_data_plane::telemetry::start(config.log);
    let ended = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let ended = runtime.block_on(bridge_data_plane::run(config));
            // Whatever still computes has nobody to tell.
            runtime.shutdown_background();
            ended.map_err(anyhow::Error::from)
        });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}
