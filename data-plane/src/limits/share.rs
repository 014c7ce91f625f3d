//! This node's part of a limit.

use crate::snapshot::limits::KeyLimits;

/// As the control plane told it; what it did not tell is divided by the nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) tokens_per_minute: Option<u64>,
    pub(crate) concurrent_requests: Option<u32>,
}

/// What this node grants. `None`: there is no such limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Granted {
    pub(super) requests: Option<u64>,
    pub(super) tokens: Option<u64>,
    pub(super) concurrent: Option<u64>,
}

impl Share {
    pub(super) fn of(&self, limits: &KeyLimits, live_nodes: u32) -> Granted {
        let part = |limit: Option<u64>, told: Option<u64>| {
            let limit = limit?;
            let part = told.unwrap_or_else(|| limit.div_ceil(u64::from(live_nodes.max(1))));
            Some(part.min(limit).max(1))
        };
        Granted {
            requests: part(
                limits.requests_per_minute.map(u64::from),
                self.requests_per_minute.map(u64::from),
            ),
            tokens: part(limits.tokens_per_minute, self.tokens_per_minute),
            concurrent: part(
                limits.concurrent_requests.map(u64::from),
                self.concurrent_requests.map(u64::from),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_word_of_the_control_plane_a_limit_is_divided() {
        let limits = KeyLimits {
            requests_per_minute: Some(10),
            tokens_per_minute: Some(2),
            ..KeyLimits::default()
        };
        let granted = |told: Option<u32>, live_nodes| {
            let share = Share {
                requests_per_minute: told,
                ..Share::default()
            };
            share.of(&limits, live_nodes)
        };
        assert_eq!(granted(None, 0).requests, Some(10));
        assert_eq!(
            (granted(None, 3).requests, granted(None, 3).tokens),
            (Some(4), Some(1))
        );
        assert_eq!(
            (granted(Some(7), 3).requests, granted(Some(0), 3).requests),
            (Some(7), Some(1))
        );
        assert_eq!(
            granted(Some(70), 1).requests,
            Some(10),
            "a limit that was lowered holds at once"
        );
        assert_eq!(granted(None, 3).concurrent, None);
    }
}
