//! What may be used at once: what the operator says, else what follows from the
//! descriptors and the memory that the system gives.

use crate::{
    body,
    config::Limits,
    overload,
    server::{connections_max, lift_limit},
};

/// What a machine has that does not tell.
const MEMORY_BYTES: u64 = 1 << 30;
/// Of the memory: a half for bodies, a quarter for everything else of requests.
const BODIES_PART: u64 = 2;
const REQUESTS_PART: u64 = 4;
/// What a request holds besides its body, at most.
const REQUEST_BYTES_MAX: u64 = 256 << 10;

pub(crate) struct Capacity {
    pub(crate) connections: usize,
    pub(crate) overload: overload::Limits,
}

impl Capacity {
    /// Also lifts the limit of descriptors as far as it goes.
    pub(crate) fn of_system(said: Limits) -> Self {
        let by_descriptors = connections_max(lift_limit());
        let memory_bytes = overload::memory_bytes().unwrap_or(MEMORY_BYTES);
        let by_memory = (memory_bytes / REQUESTS_PART / REQUEST_BYTES_MAX).max(1);
        let requests = || by_memory.min(u64::try_from(by_descriptors).unwrap_or(u64::MAX));
        let bodies = || (memory_bytes / BODIES_PART).max(body::BUDGET_MIN);
        Self {
            connections: said.connections.unwrap_or(by_descriptors),
            overload: overload::Limits {
                requests_max: said.requests.unwrap_or_else(requests),
                body_bytes_max: said.body_memory_bytes.unwrap_or_else(bodies),
            },
        }
    }
}
