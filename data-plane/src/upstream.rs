//! Everything that has to do with calling providers: one client, one table of what a
//! failure means, the guards in front of each candidate, and the walk over a plan.
//!
//! `failover` stands on top: it hands its result to `relay`, which knows the rest of
//! this folder and not the walk.

pub(crate) mod address;
pub(crate) mod admission;
pub(crate) mod breaker;
mod by_model;
pub(crate) mod change;
pub(crate) mod client;
mod cooldown;
pub(crate) mod failover;
pub(crate) mod guards;
mod held;
pub(crate) mod learnt;
mod mask;
pub(crate) mod native_count;
mod native_head;
pub(crate) mod outcome;
pub(crate) mod pass;
pub(crate) mod probe;
pub(crate) mod quarantine;
pub(crate) mod refusal;
mod retry_after;
mod retry_budget;
pub(crate) mod tables;
pub(crate) mod tokenize;
pub(crate) mod way_back;
mod window;

#[cfg(test)]
mod fuzz;
