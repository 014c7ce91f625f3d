//! What this node may do of the limits of keys comes down, what it was asked for goes up.

use std::time::{Instant, SystemTime};

use bridge_proto::fleet::v1 as proto;

use crate::{
    limits::{BudgetTold, Limits, Share, Spent, Use},
    snapshot::{KeyId, limits::Period},
};

/// The contract's limit.
const KEY_USES_MAX: usize = 1_000;

/// Takes what is told; keys that are none are left out.
pub(super) fn take(told: proto::KeyShares, limits: &Limits, now: Instant) {
    let proto::KeyShares {
        shares,
        counted_sequence,
    } = told;
    for share in shares {
        let proto::KeyShare {
            key_id,
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
            budgets,
        } = share;
        let Some(key) = KeyId::parse(key_id.as_bytes()) else {
            continue;
        };
        let share = Share {
            requests_per_minute,
            tokens_per_minute,
            concurrent_requests,
        };
        let spent: Vec<Spent> = budgets.iter().filter_map(spent).collect();
        limits.shared(key, share, &spent, counted_sequence, now);
    }
}

fn spent(message: &proto::BudgetUse) -> Option<Spent> {
    let period = match message.period() {
        proto::BudgetPeriod::Day => Period::Day,
        proto::BudgetPeriod::Week => Period::Week,
        proto::BudgetPeriod::Month => Period::Month,
        proto::BudgetPeriod::Unspecified => return None,
    };
    let resets_at = SystemTime::try_from(message.resets_at?).ok()?;
    Some(Spent {
        period,
        told: BudgetTold {
            used: message.used,
            resets_at,
        },
    })
}

pub(super) fn uses(limits: &Limits, now: Instant) -> Vec<proto::KeyUse> {
    let uses = limits.uses(now, KEY_USES_MAX).into_iter();
    uses.map(|(key, used)| {
        let Use {
            requests,
            tokens,
            concurrent,
        } = used;
        proto::KeyUse {
            key_id: key.to_string(),
            requests,
            tokens,
            concurrent_requests: u32::try_from(concurrent).unwrap_or(u32::MAX),
        }
    })
    .collect()
}
