//! The services, one file each and thin: read the request, ask the domain, commit,
//! answer. `status` is the only way from an error to a status.

pub(crate) mod api_key;
pub(crate) mod auth;
pub(crate) mod call;
pub(crate) mod commits;
mod convert;
mod duration;
mod mask;
mod page;
pub(crate) mod provider;
pub(crate) mod settings;
pub(crate) mod status;
mod summary;
pub(crate) mod user;
pub(crate) mod watch;
