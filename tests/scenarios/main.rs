//! What a client, an admin or an operator sees, proven on the real binaries.
//!
//! One target for all scenarios, so that linking stays cheap; a module for each subject.

mod failover;
mod fake_upstream;
mod messages;
mod streaming;
mod tools;
