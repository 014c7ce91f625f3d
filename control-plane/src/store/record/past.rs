//! What a thing was before a change, as the history keeps it.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Persist, decode_row, encode_row, to_json};
use crate::{
    domain::{api_key::ApiKey, model::ModelRule, provider::Provider, settings::Settings},
    store::{Error, Kind, family::Family, thing::Thing},
};

#[derive(Serialize, Deserialize)]
struct PastRecord {
    kind: String,
    id: String,
    /// `null`: the thing was not there.
    before: Option<Value>,
}

/// How far back the history goes, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::store) struct ReachRecord {
    pub(in crate::store) from_revision: u64,
    pub(in crate::store) bytes: u64,
}

/// Who changed, and what it was before; not yet made a thing of the domain.
pub(in crate::store) struct Past {
    pub(in crate::store) revision: u64,
    pub(in crate::store) kind: Kind,
    pub(in crate::store) id: String,
    before: Option<Value>,
}

pub(in crate::store) fn encode_past(
    kind: Kind,
    id: &str,
    before: Option<Thing>,
    revision: u64,
) -> Result<Vec<u8>, Error> {
    let before = before.map(Thing::without_secrets);
    let before = before.map(|thing| match &thing {
        Thing::Provider(provider) => to_json(provider),
        Thing::ApiKey(key) => to_json(key),
        Thing::ModelRule(rule) => to_json(rule),
        Thing::Settings(settings) => to_json(settings),
    });
    let record = PastRecord {
        kind: kind.as_str().to_owned(),
        id: id.to_owned(),
        before: before.transpose()?,
    };
    encode_row(Family::History, record, revision)
}

pub(in crate::store) fn decode_past(row: &[u8]) -> Result<Past, Error> {
    let (PastRecord { kind, id, before }, revision) = decode_row(Family::History, row)?;
    let kind = Kind::parse(&kind)
        .ok_or_else(|| Error::damaged(Family::History, format!("there is no kind {kind}")))?;
    Ok(Past {
        revision,
        kind,
        id,
        before,
    })
}

impl Past {
    pub(in crate::store) fn into_thing(self) -> Result<Option<Thing>, Error> {
        let Some(before) = self.before else {
            return Ok(None);
        };
        Ok(match self.kind {
            Kind::User | Kind::ServiceToken | Kind::JoinToken | Kind::Node | Kind::BreakerOverride => None,
            Kind::Provider => Some(Thing::Provider(thing::<Provider>(before)?)),
            Kind::ApiKey => Some(Thing::ApiKey(thing::<ApiKey>(before)?)),
            Kind::ModelRule => Some(Thing::ModelRule(thing::<ModelRule>(before)?)),
            Kind::Settings => Some(Thing::Settings(thing::<Settings>(before)?)),
        })
    }
}

fn thing<T: Persist>(before: Value) -> Result<T, Error>
where
    T::Record: DeserializeOwned,
{
    let damaged = |reason: String| Error::damaged(Family::History, reason);
    let record = serde_json::from_value(before).map_err(|error| damaged(error.to_string()))?;
    T::from_record(record).map_err(damaged)
}
