//! The contract: everything that the two planes, the admin's clients and
//! automation say to each other.
//!
//! The `.proto` files in this folder are the source; this crate only compiles and
//! exports them. Messages that carry secrets print themselves without them.

mod redacted;

/// The admin API, `bridge.admin.v1`.
pub mod admin {
    #[allow(clippy::all, clippy::pedantic)]
    pub mod v1 {
        tonic::include_proto!("bridge.admin.v1");
    }
}

/// The protocol between the planes, `bridge.fleet.v1`.
pub mod fleet {
    #[allow(clippy::all, clippy::pedantic)]
    pub mod v1 {
        tonic::include_proto!("bridge.fleet.v1");
    }
}

/// The encoded `FileDescriptorSet` of every package, with comments, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bridge.fds"));
