//! What requests cost: followed while they run, summed up when they end, and handed to
//! whoever reports it.

pub(crate) mod meter;
pub(crate) mod recorder;
pub(crate) mod served;
pub(crate) mod sums;
pub(crate) mod trace;
