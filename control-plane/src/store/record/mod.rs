//! What is on disk: JSON with a version of its own, converted to and from the
//! domain by naming every field. Secrets are in it only sealed or hashed.

mod api_key;
mod audit;
mod breaker_override;
mod dialect;
mod health;
mod join_token;
mod limits;
mod log;
mod node;
mod past;
mod provider;
mod rule_and_settings;
mod service_token;
mod user;

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

pub(super) use audit::AuditRecord;
pub(super) use health::checks_of;
use limits::LimitsRecord;
pub(super) use log::{ChangeRecord, IdempotencyRecord};
pub(super) use past::{ReachRecord, decode_past, encode_past};
pub(super) use rule_and_settings::SETTINGS_KEY;
pub(super) use user::session_key;

use super::{
    CommitError, Error,
    family::Family,
    rows::{Order, Rows, Span},
};
use crate::domain::{
    FieldViolation, api_key::ApiKey, health::Check, join_token::JoinToken, model::ModelRule, node::FleetNode,
    provider::Provider, session::Session, settings::Settings, user::User,
};

/// The newest version of records that this build reads and writes.
pub(super) const RECORD_VERSION: u32 = 1;

/// A thing as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<T> {
    pub value: T,
    /// The revision that last changed it.
    pub revision: u64,
}

/// A thing of the domain that is kept as one record.
pub(super) trait Persist: Sized {
    type Record: Serialize + DeserializeOwned;
    const FAMILY: Family;

    fn key(&self) -> Vec<u8>;
    fn to_record(&self) -> Self::Record;
    /// `Err` says why the record makes no sense.
    fn from_record(record: Self::Record) -> Result<Self, String>;
}

#[derive(Serialize, Deserialize)]
struct Row<T> {
    v: u32,
    revision: u64,
    value: T,
}

#[derive(Deserialize)]
struct RowVersion {
    v: u32,
}

pub(super) fn encode<T: Persist>(thing: &T, revision: u64) -> Result<Vec<u8>, CommitError> {
    Ok(encode_row(T::FAMILY, thing.to_record(), revision)?)
}

/// The same in place of what was there before. What another build has put in there, and this one does
/// not know, stays: that build may come back.
pub(super) fn encode_over<T: Persist>(
    thing: &T,
    revision: u64,
    before: &[u8],
) -> Result<Vec<u8>, CommitError> {
    let mut value = to_json(thing)?;
    let known = to_json(&decode::<T>(before)?.value)?;
    let (before, _) = decode_row(T::FAMILY, before)?;
    keep_unknown(&mut value, before, &known);
    Ok(encode_row(T::FAMILY, value, revision)?)
}

#[expect(clippy::disallowed_methods, reason = "what nobody here knows has no type")]
fn to_json<T: Persist>(thing: &T) -> Result<Value, Error> {
    serde_json::to_value(thing.to_record()).map_err(|error| Error::damaged(T::FAMILY, error.to_string()))
}

/// Members of `before` that were lost on the way to `known`.
fn keep_unknown(value: &mut Value, before: Value, known: &Value) {
    let (Value::Object(members), Value::Object(before), Value::Object(known)) = (value, before, known) else {
        return;
    };
    for (name, old) in before {
        match (known.get(&name), members.get_mut(&name)) {
            (Some(known), Some(member)) => keep_unknown(member, old, known),
            (None, None) => drop(members.insert(name, old)),
            (Some(_), None) | (None, Some(_)) => {}
        }
    }
}

pub(super) fn decode<T: Persist>(bytes: &[u8]) -> Result<Stored<T>, Error> {
    let (record, revision) = decode_row(T::FAMILY, bytes)?;
    let value = T::from_record(record).map_err(|reason| Error::damaged(T::FAMILY, reason))?;
    Ok(Stored { value, revision })
}

pub(super) fn encode_row<R: Serialize>(family: Family, value: R, revision: u64) -> Result<Vec<u8>, Error> {
    let row = Row {
        v: RECORD_VERSION,
        revision,
        value,
    };
    serde_json::to_vec(&row).map_err(|error| Error::damaged(family, error.to_string()))
}

pub(super) fn decode_row<R: DeserializeOwned>(family: Family, bytes: &[u8]) -> Result<(R, u64), Error> {
    let damaged = |error: serde_json::Error| Error::damaged(family, error.to_string());
    let RowVersion { v: found } = serde_json::from_slice(bytes).map_err(damaged)?;
    if found > RECORD_VERSION {
        return Err(Error::NewerRecord {
            family: family.name(),
            found,
            known: RECORD_VERSION,
        });
    }
    let Row {
        v: _,
        revision,
        value,
    } = serde_json::from_slice(bytes).map_err(damaged)?;
    Ok((value, revision))
}

pub(super) fn encode_time(family: Family, at: SystemTime, revision: u64) -> Result<Vec<u8>, Error> {
    encode_row(family, to_ms(at), revision)
}

pub(super) fn decode_time(family: Family, bytes: &[u8]) -> Result<SystemTime, Error> {
    let (ms, _) = decode_row(family, bytes)?;
    from_ms(ms).map_err(|reason| Error::damaged(family, reason))
}

/// Reads every record of configuration, and says which cannot be.
pub(super) fn read_all(rows: &dyn Rows) -> Result<(), Error> {
    read_family::<User>(rows)?;
    read_family::<Session>(rows)?;
    read_family::<Provider>(rows)?;
    read_family::<ApiKey>(rows)?;
    read_family::<ModelRule>(rows)?;
    read_family::<Settings>(rows)?;
    read_family::<JoinToken>(rows)?;
    read_family::<FleetNode>(rows)?;
    read_family::<Check>(rows)
}

fn read_family<T: Persist>(rows: &dyn Rows) -> Result<(), Error> {
    rows.scan(T::FAMILY, Span::all(), Order::Ascending)
        .try_for_each(|row| decode::<T>(&row?.value).map(drop))
}

/// Milliseconds since 1970: what is finer is not kept.
fn to_ms(at: SystemTime) -> u64 {
    let since = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn from_ms(ms: u64) -> Result<SystemTime, String> {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_millis(ms))
        .ok_or_else(|| "a time is out of range".to_owned())
}

fn to_base64(bytes: &[u8]) -> String {
    STANDARD_NO_PAD.encode(bytes)
}

fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    STANDARD_NO_PAD.decode(text).map_err(|error| error.to_string())
}

fn hash_from_base64(text: &str) -> Result<[u8; 32], String> {
    from_base64(text)?
        .try_into()
        .map_err(|_| "a hash does not have 32 bytes".to_owned())
}

/// Times of a thing, on disk.
#[derive(Serialize, Deserialize)]
struct TimesRecord {
    created_ms: u64,
    updated_ms: u64,
}

impl TimesRecord {
    fn of(times: crate::domain::Times) -> Self {
        let crate::domain::Times {
            created_at,
            updated_at,
        } = times;
        Self {
            created_ms: to_ms(created_at),
            updated_ms: to_ms(updated_at),
        }
    }

    fn to_times(&self) -> Result<crate::domain::Times, String> {
        Ok(crate::domain::Times {
            created_at: from_ms(self.created_ms)?,
            updated_at: from_ms(self.updated_ms)?,
        })
    }
}

fn reason(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn reasons(violations: Vec<FieldViolation>) -> String {
    violations
        .iter()
        .map(FieldViolation::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_stays_and_what_was_taken_out_does_not_come_back() {
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let before = json(r#"{"a":1,"taken":{"x":1},"in":{"b":2,"new":[3]},"new":{"c":4},"both":5}"#);
        let known = json(r#"{"a":1,"taken":{"x":1},"in":{"b":2}}"#);
        let mut value = json(r#"{"a":7,"taken":{},"in":{"b":null},"both":6}"#);
        keep_unknown(&mut value, before, &known);
        assert_eq!(
            value,
            json(r#"{"a":7,"taken":{},"in":{"b":null,"new":[3]},"new":{"c":4},"both":6}"#)
        );
    }
}
