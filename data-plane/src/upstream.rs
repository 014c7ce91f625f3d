//! Everything that has to do with calling providers: one client, one table of what a
//! failure means, one breaker per candidate, and the walk over a plan.
//!
//! `failover` stands on top: it hands its result to `relay`, which knows the rest of
//! this folder and not the walk.

pub(crate) mod address;
pub(crate) mod admission;
pub(crate) mod breaker;
pub(crate) mod change;
pub(crate) mod client;
pub(crate) mod failover;
pub(crate) mod learnt;
pub(crate) mod mask;
pub(crate) mod native_count;
mod native_head;
pub(crate) mod outcome;
pub(crate) mod pass;
pub(crate) mod probe;
mod refusal;
mod retry_after;
pub(crate) mod tables;
pub(crate) mod tokenize;
pub(crate) mod way_back;

#[cfg(test)]
mod fuzz;
