//! The credentials of API clients: what is decided about a key, and what takes rights away
//! from its holder.

mod bounds;
mod form;

use std::time::{Duration, SystemTime};

use super::{
    DisplayName, Email, FieldViolation, LossPolicy, Times, Violations, can_be_written,
    limits::{self, Limits},
    model::ModelPattern,
    provider::ProviderName,
    to_the_millisecond,
    user::UserId,
};

pub use bounds::wider;
pub use form::{KeyHash, KeyId, Minted, mint};

/// Longest list of models or providers of a key.
const SCOPE_ITEMS_MAX: usize = 64;
/// Keys that somebody of role `user` may own, those included that have expired.
pub const OWNED_KEYS_MAX: usize = 20_000;

/// What somebody writes about a key, not yet checked.
#[derive(Debug, Clone)]
pub struct Draft {
    pub name: String,
    /// Empty: none.
    pub email: String,
    pub owner: UserId,
    pub enabled: bool,
    pub expires_at: Option<SystemTime>,
    pub allowed_models: Vec<String>,
    pub allowed_providers: Vec<String>,
    /// `None`: as the settings say.
    pub loss_policy: Option<LossPolicy>,
    pub limits: limits::Draft,
}

impl Draft {
    pub fn check(&self) -> Result<Spec, Vec<FieldViolation>> {
        let Self {
            name,
            email,
            owner,
            enabled,
            expires_at,
            allowed_models,
            allowed_providers,
            loss_policy,
            limits,
        } = self;
        let mut violations = Violations::default();
        let name = violations.check("name", DisplayName::parse(name));
        let email = if email.trim().is_empty() {
            None
        } else {
            violations.check("email", Email::parse(email))
        };
        if expires_at.is_some_and(|at| !can_be_written(at)) {
            violations.add("expires_at", "must be in the years 1970 to 9999");
        }
        for (field, list) in [
            ("allowed_models", allowed_models),
            ("allowed_providers", allowed_providers),
        ] {
            if list.len() > SCOPE_ITEMS_MAX {
                violations.add(field, format!("must have at most {SCOPE_ITEMS_MAX} entries"));
            }
        }
        let allowed_models =
            violations.check_all("allowed_models", allowed_models, |text| ModelPattern::parse(text));
        let allowed_providers = violations.check_all("allowed_providers", allowed_providers, |text| {
            ProviderName::parse(text)
        });
        let scope = Scope {
            allowed_models,
            allowed_providers,
        };
        let limits = match limits.check() {
            Ok(limits) => Some(limits),
            Err(part) => {
                violations.nest("limits", part);
                None
            }
        };
        let spec = name.zip(limits).map(|(name, limits)| Spec {
            name,
            email,
            owner: *owner,
            enabled: *enabled,
            expires_at: expires_at.map(to_the_millisecond),
            scope,
            loss_policy: *loss_policy,
            limits,
        });
        violations.finish(spec)
    }
}

/// What a key may reach. Empty lists: everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    pub allowed_models: Vec<ModelPattern>,
    pub allowed_providers: Vec<ProviderName>,
}

/// What somebody decides about a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub name: DisplayName,
    pub email: Option<Email>,
    pub owner: UserId,
    pub enabled: bool,
    pub expires_at: Option<SystemTime>,
    pub scope: Scope,
    pub loss_policy: Option<LossPolicy>,
    pub limits: Limits,
}

impl Spec {
    #[must_use]
    pub fn to_draft(&self) -> Draft {
        let Self {
            name,
            email,
            owner,
            enabled,
            expires_at,
            scope,
            loss_policy,
            limits,
        } = self;
        Draft {
            name: name.as_str().to_owned(),
            email: email
                .as_ref()
                .map(|email| email.as_str().to_owned())
                .unwrap_or_default(),
            owner: *owner,
            enabled: *enabled,
            expires_at: *expires_at,
            allowed_models: scope
                .allowed_models
                .iter()
                .map(|model| model.as_str().to_owned())
                .collect(),
            allowed_providers: scope
                .allowed_providers
                .iter()
                .map(|name| name.as_str().to_owned())
                .collect(),
            loss_policy: *loss_policy,
            limits: limits.to_draft(),
        }
    }

    #[must_use]
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// The same for a key whose successor is there: it goes on for the overlap at most. One
    /// that ends at once has expired too, so that enabling it brings nothing back.
    fn ending(self, overlap: Duration, now: SystemTime) -> Self {
        let end = now + overlap;
        Self {
            enabled: self.enabled && !overlap.is_zero(),
            expires_at: Some(self.expires_at.map_or(end, |at| at.min(end))),
            ..self
        }
    }
}

/// On whose word a key is disabled, and so who may enable it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisabledBy {
    /// Somebody of role `user`.
    Owner,
    /// An admin or operator, which binds the owner.
    Admin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    pub id: KeyId,
    pub hash: KeyHash,
    pub spec: Spec,
    /// `None` while it is enabled.
    pub disabled_by: Option<DisabledBy>,
    /// The key that was made to take its place.
    pub successor: Option<KeyId>,
    pub times: Times,
}

impl ApiKey {
    #[must_use]
    pub fn new(minted: &Minted, spec: Spec, now: SystemTime) -> Self {
        Self {
            id: minted.id.clone(),
            hash: minted.hash,
            spec,
            disabled_by: None,
            successor: None,
            times: Times::new(now),
        }
    }

    /// The same key with another one in its place, beside which it goes on for the overlap
    /// at most.
    #[must_use]
    pub fn succeeded_by(self, successor: &KeyId, overlap: Duration, by: DisabledBy, now: SystemTime) -> Self {
        let ending = self.spec.clone().ending(overlap, now);
        Self {
            successor: Some(successor.clone()),
            ..self.with_spec(ending, by, now)
        }
    }

    /// The same key after somebody's change. What was disabled before is so on the same word.
    #[must_use]
    pub fn with_spec(self, spec: Spec, by: DisabledBy, now: SystemTime) -> Self {
        let disabled_by = (!spec.enabled).then(|| self.disabled_by.unwrap_or(by));
        Self {
            spec,
            disabled_by,
            times: self.times.touched(now),
            ..self
        }
    }

    /// The same key, disabled. An admin's word goes before that of its owner.
    #[must_use]
    pub fn revoked(self, by: DisabledBy, now: SystemTime) -> Self {
        let disabled_by = match (self.disabled_by, by) {
            (Some(DisabledBy::Admin), _) | (_, DisabledBy::Admin) => DisabledBy::Admin,
            (Some(DisabledBy::Owner) | None, DisabledBy::Owner) => DisabledBy::Owner,
        };
        let spec = Spec {
            enabled: false,
            ..self.spec.clone()
        };
        Self {
            disabled_by: Some(disabled_by),
            ..self.with_spec(spec, by, now)
        }
    }
}

/// Whether a change may take something away from the holder of the key. Such a
/// change is not delayed on its way to the data planes.
#[must_use]
pub fn is_revocation(before: &ApiKey, after: Option<&ApiKey>) -> bool {
    let Some(after) = after else {
        return before.spec.enabled;
    };
    let ends_earlier = match (before.spec.expires_at, after.spec.expires_at) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(old), Some(new)) => new < old,
    };
    let is_disabled = before.spec.enabled && !after.spec.enabled;
    let is_limited = before.spec.limits != after.spec.limits && !after.spec.limits.is_unlimited();
    is_disabled
        || ends_earlier
        || is_limited
        || before.spec.scope != after.spec.scope
        || before.hash != after.hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_takes_rights_away_is_a_revocation() {
        let draft = Draft {
            name: "ci".into(),
            email: String::new(),
            owner: UserId::mint([1; 16]),
            enabled: true,
            expires_at: None,
            allowed_models: vec![],
            allowed_providers: vec![],
            loss_policy: None,
            limits: limits::Draft::default(),
        };
        let key = |draft: &Draft| ApiKey {
            id: KeyId::parse("abcdefghijkl").unwrap(),
            hash: KeyHash::from_bytes([0; 32]),
            spec: draft.check().unwrap(),
            disabled_by: None,
            successor: None,
            times: Times::new(SystemTime::UNIX_EPOCH),
        };
        let before = key(&draft);
        let check =
            |after: &Draft, expected: bool| assert_eq!(is_revocation(&before, Some(&key(after))), expected);
        check(&draft, false);
        check(
            &Draft {
                name: "other".into(),
                ..draft.clone()
            },
            false,
        );
        check(
            &Draft {
                enabled: false,
                ..draft.clone()
            },
            true,
        );
        check(
            &Draft {
                expires_at: Some(SystemTime::UNIX_EPOCH),
                ..draft.clone()
            },
            true,
        );
        check(
            &Draft {
                allowed_models: vec!["claude-*".into()],
                ..draft.clone()
            },
            true,
        );
        assert!(is_revocation(&before, None));
        assert!(!is_revocation(
            &key(&Draft {
                enabled: false,
                ..draft
            }),
            None
        ));
    }
}
