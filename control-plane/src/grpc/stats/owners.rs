//! Whose keys are whose: read only as far as a question needs it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bridge_proto::admin::v1 as admin;

use super::group::Group;
use crate::domain::api_key::KeyId;
use crate::domain::user::{Role, UserId};
use crate::grpc::call::Call;
use crate::grpc::status::Error;
use crate::store::Store;

/// What is known of keys, those that are gone included.
#[derive(Debug, Clone, Default)]
pub(super) struct Owners(Arc<BTreeMap<String, Known>>);

#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Empty if the key is gone.
    pub(super) name: String,
    pub(super) owner: Option<UserId>,
}

impl Owners {
    pub(super) async fn read(
        store: &Store,
        call: &Call,
        filter: &admin::StatsFilter,
        group: Group,
    ) -> Result<Self, Error> {
        let is_needed = call.caller.role == Role::User
            || !filter.owner_user_id.is_empty()
            || matches!(group, Group::Key | Group::User);
        if !is_needed {
            return Ok(Self::default());
        }
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        for (id, usage) in store.key_usages().await? {
            let gone = Known {
                name: String::new(),
                owner: usage.owner,
            };
            known.insert(id, gone);
        }
        for key in store.api_keys().await? {
            let (id, there) = known_of(key.value);
            known.insert(id, there);
        }
        Ok(Self(Arc::new(known)))
    }

    pub(super) fn by_key(&self) -> Arc<BTreeMap<String, Known>> {
        Arc::clone(&self.0)
    }

    /// The keys whose traffic is asked for and may be seen; `None`: all.
    pub(super) fn wanted(&self, call: &Call, filter: &admin::StatsFilter) -> Option<BTreeSet<String>> {
        let asks_of = |known: &Known| {
            filter.owner_user_id.is_empty()
                || known
                    .owner
                    .is_some_and(|owner| owner.to_string() == filter.owner_user_id)
        };
        let is_everybodys = call.caller.role != Role::User && filter.owner_user_id.is_empty();
        if is_everybodys {
            return (!filter.key_id.is_empty()).then(|| [filter.key_id.clone()].into());
        }
        let keys = self.0.iter().filter(|(id, known)| {
            (filter.key_id.is_empty() || **id == filter.key_id)
                && asks_of(known)
                && known.owner.is_some_and(|owner| call.reaches(owner))
        });
        Some(keys.map(|(id, _)| id.clone()).collect())
    }

    /// Whether the caller may see what was done with a key.
    pub(super) fn reaches(&self, call: &Call, key_id: &str) -> bool {
        let owner = self.0.get(key_id).and_then(|known| known.owner);
        call.caller.role != Role::User || owner.is_some_and(|owner| call.reaches(owner))
    }

    pub(super) fn of(&self, key_id: &str) -> Option<&Known> {
        self.0.get(key_id)
    }

    /// What to show for the groups of an answer.
    pub(super) async fn display_names(
        &self,
        store: &Store,
        group: Group,
    ) -> Result<BTreeMap<String, String>, Error> {
        match group {
            Group::Key => Ok(self
                .0
                .iter()
                .filter(|(_, known)| !known.name.is_empty())
                .map(|(id, known)| (id.clone(), known.name.clone()))
                .collect()),
            Group::User => {
                let users = store.users().await?;
                Ok(users
                    .into_iter()
                    .map(|user| {
                        (
                            user.value.id.to_string(),
                            user.value.spec.name.as_str().to_owned(),
                        )
                    })
                    .collect())
            }
            Group::All | Group::Provider | Group::Model => Ok(BTreeMap::new()),
        }
    }
}

/// The same for some keys only.
pub(super) async fn of_keys(store: &Store, ids: impl Iterator<Item = &str>) -> Result<Owners, Error> {
    let ids: BTreeSet<&str> = ids.collect();
    let ids: Vec<KeyId> = ids.into_iter().filter_map(|id| KeyId::parse(id).ok()).collect();
    let mut known = BTreeMap::new();
    for (id, usage) in store.key_usage(ids.clone()).await? {
        let gone = Known {
            name: String::new(),
            owner: usage.owner,
        };
        known.insert(id, gone);
    }
    for id in ids {
        if let Some(key) = store.api_key(&id).await? {
            let (id, there) = known_of(key.value);
            known.insert(id, there);
        }
    }
    Ok(Owners(Arc::new(known)))
}

fn known_of(key: crate::domain::api_key::ApiKey) -> (String, Known) {
    let known = Known {
        name: key.spec.name.as_str().to_owned(),
        owner: Some(key.spec.owner),
    };
    (key.id.to_string(), known)
}
