//! Follows the store and publishes what data planes should hold.
//!
//! Only what survives a crash is published: the store announces a revision after it
//! is durable. Streams take what is newest when they are ready for it; nothing
//! queues here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bridge_proto::fleet::v1 as fleet;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::domain::provider::Provider;
use crate::secrets::Keyring;
use crate::snapshot::build;
use crate::snapshot::gather::Gather;
use crate::snapshot::index::{Index, Key, Published};
use crate::store::{self, Configuration, Kind, Resource, ResourceChange, Store, StoreVersion, Stored};
use crate::telemetry::Metrics;

/// Wait before a failed read of the store is tried again.
const READ_RETRY: Duration = Duration::from_secs(1);

pub(crate) struct Hub {
    store: Store,
    keyring: Keyring,
    metrics: Metrics,
    state: State,
    published: watch::Sender<Arc<Published>>,
}

/// What the store says, as far as it was read.
struct State {
    version: StoreVersion,
    index: Index,
    /// Providers whose secrets do not open.
    left_out: BTreeSet<Key>,
}

impl Hub {
    /// Reads the whole store: a crash between a commit and its publication loses nothing.
    pub(crate) async fn open(store: Store, keyring: Keyring, metrics: Metrics) -> Result<Self, store::Error> {
        let state = State::of(store.configuration().await?, &keyring);
        let (published, _) = watch::channel(Arc::new(state.publish()));
        metrics.published_revision.set(state.version.revision);
        Ok(Self {
            store,
            keyring,
            metrics,
            state,
            published,
        })
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Published>> {
        self.published.subscribe()
    }

    /// Runs until the shutdown.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut revisions = self.store.revisions();
        revisions.mark_changed();
        let mut gather = Gather::default();
        loop {
            tokio::select! {
                // News go first: what is due a moment later may as well carry them.
                biased;
                () = shutdown.cancelled() => return,
                changed = revisions.changed() => match changed {
                    Err(_) => return,
                    Ok(()) => match self.read().await {
                        Ok(news) => gather = news.add_to(gather),
                        Err(error) => {
                            tracing::error!(error = %error, "changes cannot be read from the store");
                            sleep(READ_RETRY).await;
                            revisions.mark_changed();
                        }
                    },
                },
                () = wait_for(gather.due()) => {
                    gather = Gather::Nothing;
                    self.publish();
                }
            }
        }
    }

    async fn read(&mut self) -> Result<News, store::Error> {
        let Some(changes) = self.store.changes_since(self.state.version.revision).await? else {
            tracing::warn!(
                revision = self.state.version.revision,
                "the change log does not reach back this far"
            );
            self.state = State::of(self.store.configuration().await?, &self.keyring);
            return Ok(News::Urgent);
        };
        self.state.version = changes.version;
        let news = News::of(&changes.resources);
        for change in changes.resources {
            self.state.apply(change, &self.keyring);
        }
        Ok(news)
    }

    fn publish(&self) {
        let published = self.state.publish();
        let revision = published.version.revision;
        self.published.send_replace(Arc::new(published));
        self.metrics.published_revision.set(revision);
        tracing::info!(snapshot.version = revision, "snapshot published");
    }
}

async fn wait_for(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// How soon data planes have to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Nothing that they know of has changed.
    None,
    Plain,
    Urgent,
}

impl News {
    fn of(changes: &[ResourceChange]) -> Self {
        if changes.iter().any(|change| change.urgent) {
            Self::Urgent
        } else if changes.is_empty() {
            Self::None
        } else {
            Self::Plain
        }
    }

    fn add_to(self, gather: Gather) -> Gather {
        match self {
            Self::None => gather,
            Self::Plain => gather.changed(Instant::now()),
            Self::Urgent => gather.urgent(Instant::now()),
        }
    }
}

// === impl State ===

impl State {
    fn of(configuration: Configuration, keyring: &Keyring) -> Self {
        let Configuration {
            version,
            providers,
            api_keys,
            model_rules,
            settings,
        } = configuration;
        let mut state = Self {
            version,
            index: Index::default(),
            left_out: BTreeSet::new(),
        };
        for provider in &providers {
            state.put_provider(provider, keyring);
        }
        for key in api_keys {
            state.put(
                build::api_key_key(key.value.id.as_str()),
                build::api_key(&key.value),
            );
        }
        for rule in model_rules {
            let key = build::model_rule_key(rule.value.id.as_str());
            state.put(key, Some(build::model_rule(&rule.value)));
        }
        if let Some(settings) = settings {
            state.put(build::settings_key(), Some(build::settings(&settings.value)));
        }
        state
    }

    fn apply(&mut self, change: ResourceChange, keyring: &Keyring) {
        let ResourceChange {
            kind,
            id,
            urgent: _,
            now,
        } = change;
        match now {
            Some(Resource::Provider(provider)) => self.put_provider(&provider, keyring),
            Some(Resource::ApiKey(key)) => self.put(build::api_key_key(&id), build::api_key(&key.value)),
            Some(Resource::ModelRule(rule)) => {
                self.put(build::model_rule_key(&id), Some(build::model_rule(&rule.value)));
            }
            Some(Resource::Settings(settings)) => {
                self.put(build::settings_key(), Some(build::settings(&settings.value)));
            }
            None => match kind {
                Kind::Provider => self.put(build::provider_key(&id), None),
                Kind::ApiKey => self.put(build::api_key_key(&id), None),
                Kind::ModelRule => self.put(build::model_rule_key(&id), None),
                Kind::Settings => self.put(build::settings_key(), None),
                Kind::User | Kind::ServiceToken => {}
            },
        }
    }

    /// A provider whose secrets do not open is left out: without them every call to
    /// it would fail, and its key is what an admin has to enter again.
    fn put_provider(&mut self, provider: &Stored<Provider>, keyring: &Keyring) {
        let name = &provider.value.spec.name;
        let key = build::provider_key(name.as_str());
        match keyring.open_provider(&provider.value) {
            Ok(secrets) => self.put(key, build::provider(provider, &secrets)),
            Err(error) => {
                tracing::error!(provider = %name, error = %error, "provider left out: enter its secrets again");
                self.index.remove(&key);
                self.left_out.insert(key);
            }
        }
    }

    fn put(&mut self, key: Key, resource: Option<fleet::Resource>) {
        self.left_out.remove(&key);
        match resource {
            Some(resource) => self.index.put(key, &resource),
            None => self.index.remove(&key),
        }
    }

    fn publish(&self) -> Published {
        let StoreVersion {
            cluster_id,
            epoch,
            revision,
        } = self.version;
        let version = fleet::StoreVersion {
            cluster_id: cluster_id.to_vec(),
            epoch,
            revision,
        };
        self.index.publish(version, self.left_out.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::domain::Times;
    use crate::domain::provider::{Draft, PlainSecrets};
    use crate::secrets::{MasterKey, MasterKeySource};

    fn keyring() -> Keyring {
        let key: String = rand::random::<[u8; 32]>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Keyring::new(MasterKey::load(&MasterKeySource::Given(key.into()), false).unwrap())
    }

    fn sealed_provider(keyring: &Keyring) -> Stored<Provider> {
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

    fn state(providers: Vec<Stored<Provider>>, keyring: &Keyring) -> State {
        let version = StoreVersion {
            cluster_id: [1; 16],
            epoch: 0,
            revision: 1,
        };
        let configuration = Configuration {
            version,
            providers,
            api_keys: vec![],
            model_rules: vec![],
            settings: None,
        };
        State::of(configuration, keyring)
    }

    fn begin(state: &State) -> fleet::SnapshotBegin {
        match state.publish().message(0) {
            Some(fleet::watch_response::Message::SnapshotBegin(begin)) => begin,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_provider_whose_secrets_do_not_open_is_left_out_until_they_do() {
        let (theirs, ours) = (keyring(), keyring());
        let mut state = state(vec![sealed_provider(&theirs)], &ours);
        let left_out = begin(&state);
        assert_eq!(
            (left_out.resource_count, left_out.allow_empty),
            (0, false),
            "not what the admin wants"
        );
        let now = Some(Resource::Provider(sealed_provider(&ours)));
        state.apply(
            ResourceChange {
                kind: Kind::Provider,
                id: "qwen".into(),
                urgent: false,
                now,
            },
            &ours,
        );
        assert_eq!(begin(&state).resource_count, 1);
        state.apply(
            ResourceChange {
                kind: Kind::Provider,
                id: "qwen".into(),
                urgent: false,
                now: None,
            },
            &ours,
        );
        assert_eq!(
            (begin(&state).resource_count, begin(&state).allow_empty),
            (0, true)
        );
    }

    #[test]
    fn changes_that_no_data_plane_knows_of_are_no_news() {
        assert_eq!(News::of(&[]), News::None);
        let change = |urgent| ResourceChange {
            kind: Kind::ApiKey,
            id: "a".into(),
            urgent,
            now: None,
        };
        assert_eq!(News::of(&[change(false)]), News::Plain);
        assert_eq!(News::of(&[change(false), change(true)]), News::Urgent);
    }
}
