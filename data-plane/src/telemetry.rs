//! Starts the log. What is logged is decided where it happens: never a prompt, an
//! answer, a credential or a query string.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{Format, Level, Log};

/// Libraries below us say at `debug` and `trace` what is in headers and frames; they
/// stay at warnings so that no level of ours can print a credential.
const LIBRARIES: [&str; 7] = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "tonic", "tower"];

/// Installs the subscriber. A second call, as in tests, changes nothing.
pub fn start(log: Log) {
    let level = match log.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warning => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let filter = LIBRARIES.iter().fold(
        EnvFilter::default().add_directive(level.into()),
        |filter, library| match format!("{library}={}", level.min(LevelFilter::WARN)).parse() {
            Ok(directive) => filter.add_directive(directive),
            Err(_) => filter,
        },
    );
    let subscriber = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error only says that a subscriber is there already.
    let _ = match log.format {
        Format::Text => subscriber.with_ansi(false).try_init(),
        Format::Json => subscriber.json().flatten_event(true).try_init(),
    };
}
