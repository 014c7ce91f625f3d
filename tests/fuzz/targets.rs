//! What is fuzzed: each target hands any bytes to one verb of translation and checks what
//! must hold for all of them. It fails by an error or by a panic.

mod error;
mod judge;
mod native;
mod request;
mod response;
mod sse;
mod stream;

use std::sync::Arc;

use anyhow::Result;
use bridge_campaign::{Material, Target};

use crate::fixtures::Fixtures;

/// A target by its name, and what it starts from.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    seeds: fn(&Fixtures) -> &[Vec<u8>],
    run: fn(&Fixtures, &[u8]) -> Result<()>,
}

impl Verb {
    pub(crate) fn target(&self, fixtures: &Arc<Fixtures>) -> Target {
        let (run, fixtures) = (self.run, Arc::clone(fixtures));
        Target {
            name: self.name,
            material: Material::Json,
            seeds: (self.seeds)(&fixtures).to_vec(),
            run: Box::new(move |input| run(&fixtures, input)),
        }
    }
}

pub(crate) const VERBS: &[Verb] = &[
    Verb {
        name: "request",
        seeds: |fixtures| &fixtures.requests,
        run: request::run,
    },
    Verb {
        name: "response",
        seeds: |fixtures| &fixtures.responses,
        run: response::run,
    },
    Verb {
        name: "stream",
        seeds: |fixtures| &fixtures.streams,
        run: stream::run,
    },
    Verb {
        name: "sse",
        seeds: |fixtures| &fixtures.streams,
        run: sse::run,
    },
    Verb {
        name: "native",
        seeds: |fixtures| &fixtures.passed,
        run: native::run,
    },
    Verb {
        name: "error",
        seeds: |fixtures| &fixtures.errors,
        run: error::run,
    },
];
