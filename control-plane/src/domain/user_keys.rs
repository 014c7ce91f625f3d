//! What people of role `user` may do with API keys of their own.

use super::{FieldViolation, Violations, limits};

/// How many keys a user may own, unless the settings say otherwise.
pub const MAX_KEYS_DEFAULT: u32 = 100;
const MAX_KEYS_MAX: u32 = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserKeys {
    /// 0: users make none.
    pub max_keys: u32,
    /// Of the keys that users make.
    pub limits: limits::Draft,
}

impl Default for UserKeys {
    fn default() -> Self {
        Self {
            max_keys: MAX_KEYS_DEFAULT,
            limits: limits::Draft::default(),
        }
    }
}

impl UserKeys {
    pub fn check(&self) -> Result<(), Vec<FieldViolation>> {
        let Self { max_keys, limits } = self;
        let mut violations = Violations::default();
        if *max_keys > MAX_KEYS_MAX {
            violations.add("max_keys", format!("must be 0 to {MAX_KEYS_MAX}"));
        }
        if let Err(part) = limits.check() {
            violations.nest("limits", part);
        }
        violations.finish(Some(()))
    }
}
