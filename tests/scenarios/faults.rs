//! The table of failures, black box: every row that a scripted upstream can bring about.
//!
//! One or more functions for each row, `rNN_…`; `faults/README.md` names them, and those of other
//! places that hold a row, and `table` holds that none is missing. A row is asked twice: of a provider
//! that is alone, for what a client is told, and of one with another behind it, for who answers
//! instead. Breakers are off, so that each request stands alone.

mod bed;
mod broken_streams;
mod connections;
mod departures;
mod http2;
mod injection;
mod names;
mod nonsense;
mod refusals;
mod silence;
mod table;
mod trust;
