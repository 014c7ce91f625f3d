//! Makes resources of what the store says.
//!
//! It alone opens the secrets of providers on their way to data planes, and remembers whose
//! do not open: as long as there are some, what is published is not all that is wanted.

use std::collections::BTreeSet;

use bridge_proto::fleet::v1 as fleet;

use crate::domain::provider::Provider;
use crate::secrets::Keyring;
use crate::snapshot::build;
use crate::snapshot::index::{Index, Key, Reach};
use crate::snapshot::ledger::Ledger;
use crate::store::{Configuration, Kind, Resource, ResourceChange, Stored};

pub(super) struct Reader {
    keyring: Keyring,
    /// Providers whose secrets do not open.
    left_out: BTreeSet<Key>,
}

/// The resource that something is called in the contract, if data planes know of it.
pub(crate) fn key_of(kind: Kind, id: &str) -> Option<Key> {
    match kind {
        Kind::Provider => Some(build::provider_key(id)),
        Kind::ApiKey => Some(build::api_key_key(id)),
        Kind::ModelRule => Some(build::model_rule_key(id)),
        Kind::Settings => Some(build::settings_key()),
        Kind::BreakerOverride => Some(build::breaker_override_key(id)),
        Kind::User | Kind::ServiceToken | Kind::JoinToken | Kind::Node => None,
    }
}

impl Reader {
    pub(super) fn new(keyring: Keyring) -> Self {
        Self {
            keyring,
            left_out: BTreeSet::new(),
        }
    }

    /// Whether nothing is left out.
    pub(super) fn is_complete(&self) -> bool {
        self.left_out.is_empty()
    }

    pub(super) fn whole(&mut self, configuration: Configuration) -> Ledger {
        let Configuration {
            version,
            providers,
            api_keys,
            model_rules,
            settings,
            breaker_overrides,
        } = configuration;
        self.left_out.clear();
        let mut index = Index::default();
        let mut put = |key, resource: Option<fleet::Resource>| {
            index.put(key, resource.as_ref(), Reach::Everybody);
        };
        for provider in &providers {
            let (key, resource) = self.provider(provider);
            put(key, resource);
        }
        for key in api_keys {
            let resource = build::api_key(&key.value);
            put(build::api_key_key(key.value.id.as_str()), resource);
        }
        for rule in model_rules {
            let key = build::model_rule_key(rule.value.id.as_str());
            put(key, Some(build::model_rule(&rule.value)));
        }
        if let Some(settings) = settings {
            put(build::settings_key(), Some(build::settings(&settings.value)));
        }
        for held in breaker_overrides {
            let key = build::breaker_override_key(held.value.id.as_str());
            put(key, Some(build::breaker_override(&held.value)));
        }
        Ledger::new(version, index, self.is_complete())
    }

    /// `None`: data planes know nothing of it.
    pub(super) fn resource(&mut self, change: ResourceChange) -> Option<(Key, Option<fleet::Resource>)> {
        let key = key_of(change.kind, &change.id)?;
        self.left_out.remove(&key);
        let resource = match change.now {
            Some(Resource::Provider(provider)) => self.provider(&provider).1,
            Some(Resource::ApiKey(key)) => build::api_key(&key.value),
            Some(Resource::ModelRule(rule)) => Some(build::model_rule(&rule.value)),
            Some(Resource::Settings(settings)) => Some(build::settings(&settings.value)),
            Some(Resource::BreakerOverride(held)) => Some(build::breaker_override(&held.value)),
            None => None,
        };
        Some((key, resource))
    }

    /// A provider whose secrets do not open is left out: without them every call to
    /// it would fail, and its key is what an admin has to enter again.
    fn provider(&mut self, provider: &Stored<Provider>) -> (Key, Option<fleet::Resource>) {
        let name = &provider.value.spec.name;
        let key = build::provider_key(name.as_str());
        let resource = match self.keyring.open_provider(&provider.value) {
            Ok(secrets) => build::provider(provider, &secrets),
            Err(error) => {
                tracing::error!(provider = %name, error = %error, "provider left out: enter its secrets again");
                self.left_out.insert(key.clone());
                None
            }
        };
        (key, resource)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::domain::Times;
    use crate::domain::provider::{Draft, PlainSecrets};
    use crate::secrets::{MasterKey, MasterKeySource};
    use crate::snapshot::index::Track;
    use crate::store::StoreVersion;

    pub(in crate::snapshot) fn keyring() -> Keyring {
        let key: String = rand::random::<[u8; 32]>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Keyring::new(MasterKey::load(&MasterKeySource::Given(key.into()), false).unwrap())
    }

    pub(in crate::snapshot) fn sealed_provider(keyring: &Keyring) -> Stored<Provider> {
        let draft = Draft::plain("qwen", "https://upstream.example/v1");
        let spec = draft.check().unwrap();
        let secrets = PlainSecrets {
            api_key: Some("upstream-key".into()),
            custom_headers: vec![],
        };
        let credentials = keyring
            .seal_provider(&spec.name, &spec.endpoint.base_url, &secrets)
            .unwrap();
        let times = Times::new(SystemTime::UNIX_EPOCH);
        Stored {
            value: Provider {
                spec,
                credentials,
                times,
            },
            revision: 1,
        }
    }

    fn configuration(providers: Vec<Stored<Provider>>) -> Configuration {
        let version = StoreVersion {
            cluster_id: [1; 16],
            epoch: 0,
            revision: 1,
        };
        Configuration {
            version,
            providers,
            api_keys: vec![],
            model_rules: vec![],
            settings: None,
            breaker_overrides: vec![],
        }
    }

    pub(in crate::snapshot) fn change(kind: Kind, now: Option<Resource>, urgent: bool) -> ResourceChange {
        ResourceChange {
            kind,
            id: "qwen".into(),
            urgent,
            now,
        }
    }

    #[test]
    fn a_provider_whose_secrets_do_not_open_is_left_out_until_they_do() {
        let (theirs, ours) = (keyring(), keyring());
        let mut reader = Reader::new(ours.clone());
        let mut ledger = reader.whole(configuration(vec![sealed_provider(&theirs)]));
        let begin = ledger.whole(Track::Released).message(0);
        let Some(fleet::watch_response::Message::SnapshotBegin(begin)) = begin else {
            panic!("{begin:?}")
        };
        assert_eq!(
            (begin.resource_count, begin.allow_empty),
            (0, false),
            "not what the admin wants"
        );
        let now = Some(Resource::Provider(sealed_provider(&ours)));
        let (_, resource) = reader.resource(change(Kind::Provider, now, false)).unwrap();
        assert!(resource.is_some() && reader.is_complete());
        let now = Some(Resource::Provider(sealed_provider(&theirs)));
        let (_, resource) = reader.resource(change(Kind::Provider, now, false)).unwrap();
        assert!(resource.is_none() && !reader.is_complete());
        reader.resource(change(Kind::Provider, None, false)).unwrap();
        assert!(reader.is_complete(), "it is gone");
    }
}
