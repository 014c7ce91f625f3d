//! Breakers that an admin holds.

use super::{Document, chosen, seconds};
use crate::domain::breaker_override::{BreakerOverride, Spec};

pub(crate) fn breaker_override(held: &BreakerOverride) -> Document {
    let BreakerOverride {
        id: _,
        maker,
        spec:
            Spec {
                provider,
                model,
                held,
                expires_at,
                reason,
            },
        created_at: _,
    } = held;
    chosen([
        ("provider", provider.as_str().into()),
        ("model", model.as_ref().map(|model| model.as_str()).into()),
        ("state", held.as_str().into()),
        ("expires_at", seconds(*expires_at)),
        ("reason", reason.as_str().into()),
        ("maker_user_id", maker.to_string().into()),
    ])
}
