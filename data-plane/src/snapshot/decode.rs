//! Turns what the control plane sent into a snapshot, or says why not.
//!
//! Nothing here touches the live configuration. Whatever this build does not know is
//! read in the most restrictive way; whatever is plainly wrong refuses the whole, with
//! a reason per resource that never shows a secret.

mod delta;
mod limits;
mod provider;
mod rules;
mod value;
mod version;

use std::{collections::HashMap, sync::Arc};

use bridge_proto::fleet::v1 as proto;
use bytes::Bytes;
use prost::Message;

use self::value::{instant, loss_policy};
use super::{
    ApiKey, KeyHash, KeyId, Settings, Snapshot, StateHash, Version,
    resources::{Name, Resources, toggle},
    shards::Shards,
};

pub(crate) use delta::{Changed, Misfit, apply};
pub(crate) use version::version;

/// Reasons that one refusal lists; more would only repeat themselves.
const REFUSALS_MAX: usize = 20;

/// A whole snapshot as it came in, or as it is kept.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) version: Version,
    pub(crate) resources: Vec<Bytes>,
    pub(crate) state_hash: Vec<u8>,
    pub(crate) allow_empty: bool,
}

impl Received {
    /// What is in force, to be kept.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self {
            version: snapshot.version,
            resources: snapshot.resources.all().cloned().collect(),
            state_hash: snapshot.state_hash.to_vec(),
            // It is in force, so somebody meant it.
            allow_empty: true,
        }
    }
}

/// What a refusal says: the resource, if it is about one, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) resource: Option<ResourceName>,
    pub(crate) reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceName {
    pub(crate) kind: proto::ResourceKind,
    pub(crate) id: String,
}

impl Refusal {
    pub(crate) fn whole(reason: impl Into<String>) -> Self {
        Self {
            resource: None,
            reason: reason.into(),
        }
    }
}

/// Decodes and validates beside the live configuration `held`.
pub(crate) fn decode(
    received: &Received,
    held: Option<&Snapshot>,
    accept_new_cluster: bool,
) -> Result<Snapshot, Vec<Refusal>> {
    let Received {
        version,
        resources,
        state_hash,
        allow_empty,
    } = received;
    let hash = hash(resources);
    version::check(*version, held, accept_new_cluster)
        .and_then(|()| check_hash(&hash, state_hash))
        .map_err(|reason| vec![Refusal::whole(reason)])?;
    let mut draft = Draft::default();
    for encoded in resources {
        draft.add(encoded);
    }
    draft.finish(*version, hash, held, *allow_empty)
}

/// XOR over all resources, so that their order does not matter.
fn hash(resources: &[Bytes]) -> StateHash {
    resources.iter().fold([0; 32], |mut sum, resource| {
        toggle(&mut sum, resource);
        sum
    })
}

fn check_hash(actual: &StateHash, told: &[u8]) -> Result<(), String> {
    if actual.as_slice() == told {
        Ok(())
    } else {
        Err("the state hash does not fit the resources".into())
    }
}

/// Collects resources and what is wrong with them.
#[derive(Default)]
struct Draft {
    keys: Shards<KeyId, Arc<ApiKey>>,
    providers: HashMap<String, super::Provider>,
    rules: HashMap<String, super::ModelRule>,
    overrides: HashMap<String, super::BreakerOverride>,
    settings: Option<Settings>,
    resources: Resources,
    refusals: Vec<Refusal>,
}

impl Draft {
    fn add(&mut self, encoded: &Bytes) {
        use proto::{ResourceKind as Kind, resource::Kind as Content};
        let kind = match proto::Resource::decode(encoded.clone()) {
            Ok(resource) => resource.kind,
            Err(_) => return self.refuse(None, "a resource is not a valid message"),
        };
        match kind {
            // Of a newer schema: it counts for the hash and means nothing here.
            None => self.resources.put_nameless(encoded.clone()),
            Some(Content::Provider(message)) => {
                let id = message.name.clone();
                let read = provider::read(message);
                self.put(Kind::Provider, encoded, id, read, |draft, id, value| {
                    draft.providers.insert(id, value).is_some()
                });
            }
            Some(Content::ApiKey(message)) => {
                let id = message.id.clone();
                match api_key(message) {
                    Ok(key) => self.put_key(key, encoded),
                    Err(reason) => self.refuse(
                        Some(ResourceName {
                            kind: Kind::ApiKey,
                            id,
                        }),
                        reason,
                    ),
                }
            }
            Some(Content::ModelRule(message)) => {
                let id = message.id.clone();
                let read = rules::model_rule(message);
                self.put(Kind::ModelRule, encoded, id, read, |draft, id, value| {
                    draft.rules.insert(id, value).is_some()
                });
            }
            Some(Content::Settings(message)) => {
                self.put(
                    Kind::Settings,
                    encoded,
                    String::new(),
                    rules::settings(message),
                    |draft, _, value| draft.settings.replace(value).is_some(),
                );
            }
            Some(Content::BreakerOverride(message)) => {
                let id = message.id.clone();
                let read = rules::breaker_override(message);
                self.put(Kind::BreakerOverride, encoded, id, read, |draft, id, value| {
                    draft.overrides.insert(id, value).is_some()
                });
            }
        }
    }

    /// `insert` says whether the id was there already.
    fn put<T>(
        &mut self,
        kind: proto::ResourceKind,
        encoded: &Bytes,
        id: String,
        read: Result<T, String>,
        insert: impl FnOnce(&mut Self, String, T) -> bool,
    ) {
        let name = ResourceName { kind, id: id.clone() };
        match read {
            Ok(value) => {
                let (kind, id) = (kind.into(), id);
                self.resources.put(Name { kind, id: id.clone() }, encoded.clone());
                if insert(self, id, value) {
                    self.refuse(Some(name), "the id occurs twice");
                }
            }
            Err(reason) => self.refuse(Some(name), reason),
        }
    }

    fn put_key(&mut self, key: ApiKey, encoded: &Bytes) {
        let id = key.id;
        self.resources.put_key(id, encoded.clone());
        if self.keys.insert(id, Arc::new(key)).is_some() {
            let (kind, id) = (proto::ResourceKind::ApiKey, id.to_string());
            self.refuse(Some(ResourceName { kind, id }), "the id occurs twice");
        }
    }

    fn refuse(&mut self, resource: Option<ResourceName>, reason: impl Into<String>) {
        if self.refusals.len() < REFUSALS_MAX {
            self.refusals.push(Refusal {
                resource,
                reason: reason.into(),
            });
        }
    }

    /// Nothing is emptied by mistake.
    fn check_emptied(&mut self, held: &Snapshot, is_meant: bool, has_no_providers: bool) {
        if !is_meant && self.keys.is_empty() && !held.keys.is_empty() {
            self.refuse(
                None,
                "it would remove every API key and does not say that this is meant",
            );
        }
        if !is_meant && has_no_providers && !held.providers.is_empty() {
            self.refuse(
                None,
                "it would remove every provider and does not say that this is meant",
            );
        }
    }

    fn finish(
        mut self,
        version: Version,
        state_hash: StateHash,
        held: Option<&Snapshot>,
        allow_empty: bool,
    ) -> Result<Snapshot, Vec<Refusal>> {
        if let Some(held) = held {
            self.check_emptied(held, allow_empty, self.providers.is_empty());
        }
        if self.settings.is_none() && self.refusals.is_empty() {
            self.refuse(None, "the settings are missing");
        }
        let Some(settings) = self.settings.filter(|_| self.refusals.is_empty()) else {
            return Err(self.refusals);
        };
        let mut providers: Vec<_> = self.providers.into_values().map(Arc::new).collect();
        providers.sort_by(|one, other| (one.priority, &one.name).cmp(&(other.priority, &other.name)));
        let mut rules: Vec<_> = self.rules.into_iter().collect();
        rules.sort_by(|(one_id, one), (other_id, other)| {
            (one.position, one_id).cmp(&(other.position, other_id))
        });
        Ok(Snapshot {
            version,
            state_hash,
            keys: self.keys,
            providers,
            rules: rules.into_iter().map(|(_, rule)| rule).collect(),
            overrides: self.overrides.into_values().collect(),
            settings,
            resources: self.resources,
        })
    }
}

fn api_key(message: proto::ApiKey) -> Result<ApiKey, String> {
    let hash = match message.hash_algorithm() {
        proto::KeyHashAlgorithm::Sha256V1 => {
            let hash = message.hash.as_slice().try_into();
            Some(KeyHash(hash.map_err(|_| "the hash is not 32 bytes long")?))
        }
        proto::KeyHashAlgorithm::Unspecified => None,
    };
    let loss_policy = loss_policy(message.loss_policy);
    let proto::ApiKey {
        id,
        hash_algorithm: _,
        hash: _,
        // For people; the data plane names keys by id.
        name: _,
        owner_user_id: _,
        expires_at,
        allowed_models,
        allowed_providers,
        loss_policy: _,
        limits,
    } = message;
    Ok(ApiKey {
        id: KeyId::parse(id.as_bytes()).ok_or("the id is not 12 letters and digits")?,
        hash,
        expires_at: expires_at.map(instant).transpose()?,
        allowed_models,
        allowed_providers,
        loss_policy,
        limits: limits::key_limits(limits),
    })
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(crate) mod recorded;
#[cfg(test)]
pub(crate) mod tests;
