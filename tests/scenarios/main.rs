//! What a client, an admin or an operator sees, proven on the real binaries.
//!
//! One target for all scenarios, so that linking stays cheap; a module for each subject.

mod accepted;
mod admin_listener;
mod auth;
mod bad_input;
mod clocks;
mod conformance;
mod counting;
mod damage;
mod dialects;
mod durability;
mod encoded_bodies;
mod endpoints;
mod enrolment;
mod examples;
mod explain;
mod failover;
mod faultd;
mod faults;
mod fleet;
mod holds;
mod limits;
mod listeners;
mod losses;
mod mapping;
mod messages;
mod models;
mod native;
mod notices;
mod operations;
mod outage;
mod pains;
mod proxies;
mod replicas;
mod resilience;
mod restart;
mod rollout;
mod second_try;
mod secrets;
mod streaming;
mod tools;
mod translate;
mod usage;
mod watch;
