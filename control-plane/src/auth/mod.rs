//! Who may do what in the admin.
//!
//! Passwords open sessions, sessions are carried by signed tokens, and one table
//! says which role a method needs. Role and state of a user are read from the store
//! at every call: a token only says who it is. Scripts have service tokens instead of a
//! session.

pub mod caller;
pub mod default_admin;
pub mod password;
pub(crate) mod policy;
mod service_token;
pub mod session;
mod throttle;
mod token;

pub use throttle::Throttled;
pub use token::{SigningKeyError, SigningKeys};
