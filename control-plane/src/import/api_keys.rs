//! API keys as exported files have them: all but the key itself.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Reader, limits, object::Object};
use crate::domain::{
    Invalid, LossPolicy,
    api_key::{Draft, KeyId, Spec},
    to_the_millisecond,
    user::UserId,
};

const NO_TIME: &str = "must be a time such as 2030-01-31T00:00:00Z";

/// What a file says of a key that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedKey {
    pub path: String,
    pub id: KeyId,
    /// If the file names one; that of `spec` means nothing.
    pub owner: Option<UserId>,
    pub spec: Spec,
}

pub(super) fn read(reader: &mut Reader<'_>, values: Vec<Value>) -> Vec<ImportedKey> {
    let mut keys: Vec<ImportedKey> = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        let path = format!("api_keys[{index}]");
        let Some(object) = Object::of(path.clone(), value, &mut reader.violations) else {
            continue;
        };
        keys.extend(key(reader, path, object));
    }
    let mut ids: Vec<&KeyId> = keys.iter().map(|key| &key.id).collect();
    ids.sort();
    for twice in ids.windows(2).filter(|pair| pair[0] == pair[1]) {
        let reason = format!("{} is there twice", twice[0]);
        reader.violations.add("api_keys", reason);
    }
    keys
}

fn key(reader: &mut Reader<'_>, path: String, mut object: Object) -> Option<ImportedKey> {
    let id = reader.text(&mut object, "id").unwrap_or_default();
    let id = reader.violations.check(format!("{path}.id"), KeyId::parse(&id));
    let owner = reader.text(&mut object, "owner").and_then(|owner| {
        reader
            .violations
            .check(format!("{path}.owner"), UserId::parse(&owner))
    });
    let loss_policy = reader.text(&mut object, "loss_policy").and_then(|policy| {
        reader
            .violations
            .check(format!("{path}.loss_policy"), LossPolicy::parse(&policy))
    });
    let expires_at = reader
        .text(&mut object, "expires_at")
        .and_then(|text| reader.violations.check(format!("{path}.expires_at"), time(&text)));
    let mut unknown = Vec::new();
    let limits = limits::read(&mut object, &mut reader.violations, &mut unknown);
    reader.warn(unknown);
    let draft = Draft {
        name: reader.text(&mut object, "name").unwrap_or_default(),
        email: reader.text(&mut object, "email").unwrap_or_default(),
        owner: owner.unwrap_or_else(|| UserId::from_bytes([0; 16])),
        enabled: object.boolean("enabled", &mut reader.violations).unwrap_or(true),
        expires_at,
        allowed_models: reader.texts(&mut object, "allowed_models"),
        allowed_providers: reader.texts(&mut object, "allowed_providers"),
        loss_policy,
        limits: limits.unwrap_or_default(),
    };
    reader.warn_unknown(object);
    let spec = draft.check();
    let spec = spec
        .map_err(|violations| reader.violations.nest(&path, violations))
        .ok()?;
    Some(ImportedKey {
        path,
        id: id?,
        owner,
        spec,
    })
}

fn time(text: &str) -> Result<SystemTime, Invalid> {
    let at = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| Invalid::new(NO_TIME))?;
    let seconds = u64::try_from(at.unix_timestamp()).map_err(|_| Invalid::new("must not be before 1970"))?;
    let at = SystemTime::UNIX_EPOCH
        .checked_add(Duration::new(seconds, at.nanosecond()))
        .ok_or_else(|| Invalid::new(NO_TIME))?;
    Ok(to_the_millisecond(at))
}
