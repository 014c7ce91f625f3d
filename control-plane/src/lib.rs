//! The control plane: it owns the truth and publishes it to the data planes.

pub mod auth;
mod config;
pub mod domain;
mod grpc;
mod probe;
pub mod secrets;
mod server;
mod snapshot;
pub mod store;
mod telemetry;
