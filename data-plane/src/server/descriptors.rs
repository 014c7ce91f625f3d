//! File descriptors: how many there are, how many connections they carry, and one kept
//! back for the moment when there are none.

use std::fs::File;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Listeners, the control plane, log, signals, files that are being read.
const OTHERS_MAX: u64 = 32;
/// No process has use for more connections; where there is no limit, this is one.
const CONNECTIONS_MAX: u64 = 100_000;
/// What can be opened everywhere.
const NOTHING: &str = "/dev/null";

/// Lifts the soft limit to the hard one: the soft one protects programs that use `select`.
/// Returns what holds from then on.
pub(crate) fn lift_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let lifted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // Refused, the old limit holds, and what follows from it is smaller.
    let _ = setrlimit(Resource::Nofile, lifted);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many clients may be connected: every one of them may want a connection to an
/// upstream, too.
pub(crate) fn connections_max(descriptors_max: u64) -> usize {
    let half = descriptors_max.saturating_sub(OTHERS_MAX) / 2;
    usize::try_from(half.clamp(1, CONNECTIONS_MAX)).unwrap_or(usize::MAX)
}

/// A descriptor to give up when the system has no other for a connection, so that it can
/// at least be closed instead of waiting for nothing.
#[derive(Debug, Default)]
pub(super) struct Spare(Option<File>);

impl Spare {
    pub(super) fn take_back(&mut self) {
        if self.0.is_none() {
            self.0 = File::open(NOTHING).ok();
        }
    }

    /// Returns whether there was one.
    pub(super) fn give_up(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_may_have_one_to_an_upstream() {
        for (descriptors, connections) in [
            (0, 1),
            (32, 1),
            (256, 112),
            (1024, 496),
            (1 << 20, 100_000),
            (u64::MAX, 100_000),
        ] {
            assert_eq!(connections_max(descriptors), connections, "{descriptors}");
        }
    }
}
