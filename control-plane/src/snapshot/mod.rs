//! What data planes are sent: built from the store, published to every stream, and
//! followed until each node has acknowledged it.

pub(crate) mod build;
pub(crate) mod delivery;
pub(crate) mod dialect;
pub(crate) mod elsewhere;
mod gather;
pub(crate) mod hub;
pub(crate) mod index;
pub(crate) mod limits;
pub(crate) mod nodes;
