//! What a `user` may make of keys that they own: as many as the settings say, and none that
//! does more than somebody else has granted.

use crate::domain::api_key::{ApiKey, DisabledBy, Draft, Spec, wider as wider_key};
use crate::domain::limits::wider as wider_limits;
use crate::domain::user::{Role, UserId};
use crate::domain::user_keys::UserKeys;
use crate::domain::{FieldViolation, Violations};
use crate::grpc::api_key::ApiKeys;
use crate::grpc::call::Call;
use crate::grpc::status::Error;
use crate::store::{Change, KeyRoom};

/// A new key as its maker may have it.
pub(super) struct Grant {
    pub(super) spec: Spec,
    /// What else has to hold.
    pub(super) room: Option<Change>,
}

impl ApiKeys {
    /// Limits that a `user` does not ask for are those of the settings.
    pub(super) async fn granted(&self, call: &Call, asked: Draft) -> Result<Grant, Error> {
        if !is_bound(call) {
            let spec = asked.check()?;
            return Ok(Grant { spec, room: None });
        }
        let UserKeys {
            max_keys,
            limits: most,
        } = self.user_keys().await?;
        let asked = Draft {
            limits: asked.limits.or(&most),
            ..asked
        };
        let room = room(asked.owner, Some(max_keys as usize), call);
        let mut violations = Violations::default();
        if let (Ok(asked), Ok(most)) = (asked.limits.check(), most.check()) {
            violations.nest("limits", wider_limits(&asked, &most));
        }
        let spec = match asked.check() {
            Ok(spec) => Some(spec),
            Err(found) => {
                for FieldViolation { field, description } in found {
                    violations.add(field, description);
                }
                None
            }
        };
        Ok(Grant {
            spec: violations.finish(spec)?,
            room: Some(room),
        })
    }

    /// What has to hold once a key has a successor beside it, or in its place.
    pub(super) async fn room_for_successor(
        &self,
        call: &Call,
        owner: UserId,
        is_in_place: bool,
    ) -> Result<Option<Change>, Error> {
        if !is_bound(call) {
            return Ok(None);
        }
        let live_max = if is_in_place {
            None
        } else {
            Some(self.user_keys().await?.max_keys as usize)
        };
        Ok(Some(room(owner, live_max, call)))
    }

    /// As they are before the first start is complete: the usual.
    async fn user_keys(&self) -> Result<UserKeys, Error> {
        let settings = self.store.settings().await?;
        Ok(settings.map_or_else(UserKeys::default, |stored| stored.value.to_draft().user_keys))
    }
}

/// A `user` makes nothing wider of a key, whoever has set its bounds.
pub(super) fn check_no_wider(call: &Call, asked: &Spec, stands: &ApiKey) -> Result<(), Error> {
    if !is_bound(call) {
        return Ok(());
    }
    let mut violations = wider_key(asked, &stands.spec);
    if asked.enabled && stands.disabled_by == Some(DisabledBy::Admin) {
        violations.push(FieldViolation {
            field: "enabled".to_owned(),
            description: "was disabled by an admin or operator: only they can enable it".to_owned(),
        });
    }
    if violations.is_empty() {
        return Ok(());
    }
    Err(Error::nested("api_key", violations))
}

/// On whose word a key is disabled by this call.
pub(super) fn disabled_by(call: &Call) -> DisabledBy {
    if is_bound(call) {
        DisabledBy::Owner
    } else {
        DisabledBy::Admin
    }
}

fn room(owner: UserId, live_max: Option<usize>, call: &Call) -> Change {
    let at = call.now;
    Change::OwnerHasRoom(owner, KeyRoom { live_max, at })
}

fn is_bound(call: &Call) -> bool {
    match call.caller.role {
        Role::User => true,
        Role::Admin | Role::Operator | Role::Auditor => false,
    }
}
