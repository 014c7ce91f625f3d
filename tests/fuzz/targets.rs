//! What is fuzzed: each target hands any bytes to one verb of translation and checks what
//! must hold for all of them. It fails by an error or by a panic.

mod error;
mod judge;
mod native;
mod request;
mod response;
mod sse;
mod stream;

use std::hash::{DefaultHasher, Hasher as _};

use anyhow::Result;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::fixtures::Fixtures;

pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) seeds: fn(&Fixtures) -> &[Vec<u8>],
    pub(crate) run: fn(&Fixtures, &[u8]) -> Result<()>,
}

pub(crate) const TARGETS: &[Target] = &[
    Target {
        name: "request",
        seeds: |fixtures| &fixtures.requests,
        run: request::run,
    },
    Target {
        name: "response",
        seeds: |fixtures| &fixtures.responses,
        run: response::run,
    },
    Target {
        name: "stream",
        seeds: |fixtures| &fixtures.streams,
        run: stream::run,
    },
    Target {
        name: "sse",
        seeds: |fixtures| &fixtures.streams,
        run: sse::run,
    },
    Target {
        name: "native",
        seeds: |fixtures| &fixtures.passed,
        run: native::run,
    },
    Target {
        name: "error",
        seeds: |fixtures| &fixtures.errors,
        run: error::run,
    },
];

/// For choices beside the input (a dialect, where to cut): the same for the same input.
fn dice(input: &[u8]) -> SmallRng {
    let mut hasher = DefaultHasher::new();
    hasher.write(input);
    SmallRng::seed_from_u64(hasher.finish())
}
