//! The harness of all tests that cross a process edge.
//!
//! It starts the real binaries on loopback with a temporary store, puts a scripted upstream
//! behind them and a raw client before them. Nothing here knows the insides of a plane: what
//! a test can see is what a client, an admin or an operator can see.

pub mod admin;
pub mod anthropic;
pub mod balancer;
pub mod bridge;
pub mod canary;
pub mod cgroup;
pub mod collector;
pub mod durability;
pub mod fake_control_plane;
pub mod faultd;
pub mod fleet_proxy;
pub mod forward_proxy;
pub mod hush;
pub mod load;
pub mod name_server;
pub mod namespace;
pub mod plain_http;
pub mod ports;
pub mod process;
pub mod sse;
pub mod stage;
pub mod strace;
pub mod vitals;
pub mod wait;
pub mod watcher;
