//! Applies the changes between two versions beside the live configuration.
//!
//! What did not change is shared with what is held, so that one key costs the same among
//! ten and among a hundred thousand. All that is no key is read again as soon as any of it
//! changed: there is little of it, and rules, providers and settings are judged together.

use std::sync::Arc;

use bridge_proto::fleet::v1 as proto;
use bytes::Bytes;
use prost::Message;
use proto::resource::Kind as Content;

use super::{Draft, Refusal, api_key, version};
use crate::snapshot::{
    KeyId, Snapshot, Version,
    resources::{Name, Resources, toggle},
};

/// The changes as they came in, with versions that are some.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) from: Version,
    pub(crate) to: Version,
    pub(crate) upserts: Vec<Bytes>,
    pub(crate) removed: Vec<proto::ResourceKey>,
    pub(crate) state_hash: Vec<u8>,
    pub(crate) allow_empty: bool,
}

/// Why changes do not come into force.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// They do not lead on from what is held: only the whole will do.
    Gap(&'static str),
    /// They lead to something that is wrong.
    Refused(Vec<Refusal>),
}

impl Changed {
    /// `None` if it names no versions.
    pub(crate) fn of(delta: proto::Delta) -> Option<Self> {
        let proto::Delta {
            from,
            to,
            upserts,
            removed,
            state_hash,
            allow_empty,
        } = delta;
        Some(Self {
            from: version(from.as_ref())?,
            to: version(to.as_ref())?,
            upserts,
            removed,
            state_hash,
            allow_empty,
        })
    }
}

/// Decodes and validates beside the live configuration `held`.
pub(crate) fn apply(changed: &Changed, held: &Snapshot) -> Result<Snapshot, Misfit> {
    if changed.from != held.version {
        return Err(Misfit::Gap("a change does not begin where this node is"));
    }
    version::check(changed.to, Some(held), false)
        .map_err(|reason| Misfit::Refused(vec![Refusal::whole(reason)]))?;
    let mut edit = Edit::of(held);
    for key in &changed.removed {
        edit.remove(key)?;
    }
    for resource in &changed.upserts {
        edit.put(resource);
    }
    if edit.hash.as_slice() != changed.state_hash {
        return Err(Misfit::Gap("the state hash differs after a change"));
    }
    edit.finish(changed, held).map_err(Misfit::Refused)
}

/// What is held, being changed.
struct Edit {
    draft: Draft,
    resources: Resources,
    hash: super::StateHash,
    /// Something that is no key has changed.
    is_reread: bool,
}

impl Edit {
    fn of(held: &Snapshot) -> Self {
        Self {
            draft: Draft {
                keys: held.keys.clone(),
                ..Draft::default()
            },
            resources: held.resources.clone(),
            hash: held.state_hash,
            is_reread: false,
        }
    }

    fn remove(&mut self, key: &proto::ResourceKey) -> Result<(), Misfit> {
        let older = match key.kind() {
            proto::ResourceKind::ApiKey => KeyId::parse(key.id.as_bytes()).and_then(|id| {
                self.draft.keys.remove(&id);
                self.resources.take_key(&id)
            }),
            proto::ResourceKind::Provider
            | proto::ResourceKind::ModelRule
            | proto::ResourceKind::Settings
            | proto::ResourceKind::BreakerOverride => {
                self.is_reread = true;
                self.resources.take(&Name {
                    kind: key.kind,
                    id: key.id.clone(),
                })
            }
            proto::ResourceKind::Unspecified => {
                return Err(Misfit::Gap(
                    "something of a kind is gone that this node does not know",
                ));
            }
        };
        // What is not there may be removed: several changes may have been merged.
        if let Some(older) = older {
            toggle(&mut self.hash, &older);
        }
        Ok(())
    }

    fn put(&mut self, resource: &Bytes) {
        // A slice of the message would keep the whole of it in memory.
        let resource = Bytes::copy_from_slice(resource);
        toggle(&mut self.hash, &resource);
        let content = match proto::Resource::decode(resource.clone()) {
            Ok(decoded) => decoded.kind,
            Err(_) => {
                self.resources.put_nameless(resource);
                return self.draft.refuse(None, "a resource is not a valid message");
            }
        };
        let (kind, id) = match content {
            Some(Content::ApiKey(message)) => return self.put_key(message, resource),
            Some(Content::Provider(message)) => (proto::ResourceKind::Provider, message.name),
            Some(Content::ModelRule(message)) => (proto::ResourceKind::ModelRule, message.id),
            Some(Content::Settings(_)) => (proto::ResourceKind::Settings, String::new()),
            Some(Content::BreakerOverride(message)) => (proto::ResourceKind::BreakerOverride, message.id),
            None => return self.resources.put_nameless(resource),
        };
        self.is_reread = true;
        let kind = kind.into();
        if let Some(older) = self.resources.put(Name { kind, id }, resource) {
            toggle(&mut self.hash, &older);
        }
    }

    fn put_key(&mut self, message: proto::ApiKey, resource: Bytes) {
        let id = message.id.clone();
        let older = match KeyId::parse(id.as_bytes()) {
            Some(id) => self.resources.put_key(id, resource),
            None => {
                self.resources.put_nameless(resource);
                None
            }
        };
        if let Some(older) = older {
            toggle(&mut self.hash, &older);
        }
        match api_key(message) {
            Ok(key) => {
                self.draft.keys.insert(key.id, Arc::new(key));
            }
            Err(reason) => {
                let kind = proto::ResourceKind::ApiKey;
                self.draft.refuse(Some(super::ResourceName { kind, id }), reason);
            }
        }
    }

    fn finish(self, changed: &Changed, held: &Snapshot) -> Result<Snapshot, Vec<Refusal>> {
        let Self {
            mut draft,
            resources,
            hash,
            is_reread,
        } = self;
        let allow_empty = changed.allow_empty;
        if is_reread {
            resources.others().for_each(|resource| draft.add(resource));
            let next = draft.finish(changed.to, hash, Some(held), allow_empty)?;
            return Ok(Snapshot { resources, ..next });
        }
        draft.check_emptied(held, allow_empty, held.providers.is_empty());
        if !draft.refusals.is_empty() {
            return Err(draft.refusals);
        }
        Ok(Snapshot {
            version: changed.to,
            state_hash: hash,
            keys: draft.keys,
            providers: held.providers.clone(),
            rules: held.rules.clone(),
            overrides: held.overrides.clone(),
            settings: held.settings.clone(),
            resources,
        })
    }
}

#[cfg(test)]
mod tests;
