//! Memory in small pages.
//!
//! The allocator asks for huge ones. A node touches a little of much memory, and the system
//! clears all of a huge page before the first byte of it is used: under load that was most of
//! the node's time.

/// From here on memory comes in small pages. Where the system does not know how, it may work
/// all the same.
pub(crate) fn keep_small() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn pages_are_small() {
        super::keep_small();
        assert_eq!(rustix::thread::transparent_huge_pages_are_disabled(), Ok(true));
    }
}
