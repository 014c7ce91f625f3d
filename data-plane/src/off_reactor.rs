//! Long work on a body, where it does not hold up other requests.

/// Bodies above this are parsed off the reactor.
const OFF_REACTOR_BYTES: usize = 256 << 10;

/// Runs work on a body of this size.
pub(crate) fn off_reactor<T>(body_bytes: usize, work: impl FnOnce() -> T) -> T {
    if body_bytes > OFF_REACTOR_BYTES {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}
