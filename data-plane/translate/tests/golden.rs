//! Goldens: one case per file under `fixtures/`, and properties over all of them.
//!
//! A case holds its input and what must come of it. `ACCEPT_GOLDENS=1 cargo test -p
//! bridge-translate` writes what came instead of comparing; read the diff before you commit it.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail loudly wherever it is, and json! (which is to_value) makes its data readable"
)]

#[path = "golden/case.rs"]
mod case;
#[path = "golden/error.rs"]
mod error;
#[path = "golden/grammar.rs"]
mod grammar;
#[path = "golden/native.rs"]
mod native;
#[path = "golden/pains.rs"]
mod pains;
#[path = "golden/pretty.rs"]
mod pretty;
#[path = "golden/property.rs"]
mod property;
#[path = "golden/request.rs"]
mod request;
#[path = "golden/response.rs"]
mod response;
#[path = "golden/round_trip.rs"]
mod round_trip;
#[path = "golden/stream.rs"]
mod stream;
#[path = "golden/tokens.rs"]
mod tokens;
