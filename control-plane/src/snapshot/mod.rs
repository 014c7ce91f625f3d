//! What data planes are sent: built from the store, published to every stream, and
//! followed until each node has acknowledged it.

pub(crate) mod build;
pub(crate) mod delivery;
pub(crate) mod dialect;
pub(crate) mod elsewhere;
pub(crate) mod feed;
mod gather;
pub(crate) mod hub;
pub(crate) mod index;
mod journal;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod nodes;
pub(crate) mod point;
pub(crate) mod reader;
pub(crate) mod rollout;
mod whole;
