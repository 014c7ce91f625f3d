//! Failures in both directions: what is wrong with a client's request, and what an
//! upstream said when it refused or broke.
//!
//! Says what a failure *is*; which status, retry and header follow from it is the
//! caller's one table.

mod bad_request;
mod body;
mod fault;
mod overflow;
mod read;
mod remedy;

pub use bad_request::BadRequest;
pub(crate) use bad_request::Path;
pub use body::duration;
pub use fault::{FaultKind, Overflow, Remedy, UpstreamFault};
pub use read::read;
pub(crate) use read::{from_body, from_body_estimated, from_finish, nonsense, read_estimated};
