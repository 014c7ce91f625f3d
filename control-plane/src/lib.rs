//! The control plane: it owns the truth and publishes it to the data planes.

pub mod domain;
pub mod store;
pub mod auth;
pub mod secrets;
