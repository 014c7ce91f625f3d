//! The numbered cases of the translation, black box: real planes before the scripted upstream.
//!
//! One function for each number, `cNNN_KNN_…`; the table in `data-plane/translate/README.md`
//! names them all, and `table` holds that none is missing. A case says what a client sends
//! and sees and what an upstream gets; how translation comes to it is tested beside its code.

mod answers;
mod bed;
mod chunks;
mod endpoints;
mod errors;
mod failures;
mod fields;
mod messages;
mod pains;
mod presets;
mod remedies;
mod requests;
mod silence;
mod stream_ends;
mod streaming;
mod table;
mod turns;
mod usage;
