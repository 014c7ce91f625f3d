//! `rotate-master-key`: the keys of all records are wrapped by another master key, in one
//! change. The secrets themselves stay as they are sealed.
//!
//! At every moment the store opens with a key that is on disk: the new key is written
//! beside the old one before anything is wrapped by it, and takes the old one's place
//! after. Whoever starts in between finds it there and takes that step. Whoever runs
//! would not: so it is refused while a control plane does, also one that shares a database.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::{Environment, Error, open, say, secret};
use crate::config::Config;
use crate::domain::audit::{Actor, AuditEntry, Origin, Summary};
use crate::domain::to_the_millisecond;
use crate::secrets::{Keyring, MasterKey, MasterKeySource};
use crate::store::{Change, Commit, Expect, SealedName, Store};
use crate::{bootstrap, master_key_source};

/// The key to change to, where it is not made in a file.
const NEW_KEY: &str = "NEW_MASTER_KEY";
/// How long is looked whether control planes that were there are still there: they say so every 5 s.
const LISTEN_FOR: Duration = Duration::from_secs(7);
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) async fn rotate(config: &Config, environment: Environment<'_>) -> Result<(), Error> {
    let source = master_key_source(&config.store);
    let store = open(config).await?;
    let key_check = store.sealed(SealedName::KeyCheck).await?;
    let Some(key_check) = key_check else {
        return Err(Error::Refused(
            "nothing is sealed yet; start the control plane once".to_owned(),
        ));
    };
    let old = bootstrap::open_keyring(&source, Some(&key_check))?;
    refuse_beside_others(&store).await?;
    let given = secret(environment, NEW_KEY)
        .map(|text| MasterKey::parse(&text, NEW_KEY))
        .transpose()?;
    let told = match (&source, given) {
        (MasterKeySource::Given(_), Some(key)) => {
            rewrap(&store, &old, &Keyring::new(key)).await?;
            format!("set MASTER_KEY to what {NEW_KEY} is")
        }
        (MasterKeySource::Given(_), None) => {
            return Err(Error::Refused(format!(
                "set {NEW_KEY} to the key to change to; make one with: openssl rand -hex 32"
            )));
        }
        (MasterKeySource::File(path) | MasterKeySource::MadeFile(path), given) => {
            let next = MasterKey::put_next(path, given)?;
            rewrap(&store, &old, &Keyring::new(next)).await?;
            let kept = MasterKey::take_next(path)?;
            format!("{} is the new key; {}", path.display(), old_key(&kept))
        }
    };
    store.close().await;
    say(&format!("done: {told}"))
}

/// What a control plane says of itself stays for a while when it is gone without a word:
/// only who says something new is there.
async fn refuse_beside_others(store: &Store) -> Result<(), Error> {
    let before = store.presences().await?;
    let give_up = Instant::now() + LISTEN_FOR;
    while !before.is_empty() && Instant::now() < give_up {
        sleep(LOOK_EVERY).await;
        let others = store.presences().await?;
        if others.iter().any(|other| !before.contains(other)) {
            return Err(Error::Refused(
                "the store is in use: end every control plane that runs on it, and start them with the new key".to_owned(),
            ));
        }
    }
    Ok(())
}

fn old_key(kept: &Path) -> String {
    format!(
        "the old one is {}, for backups that were made before",
        kept.display()
    )
}

/// One change: a crash leaves all of it to the old key, or all of it to the new one.
async fn rewrap(store: &Store, old: &Keyring, new: &Keyring) -> Result<(), Error> {
    let now = to_the_millisecond(SystemTime::now());
    let mut changes = Vec::new();
    for stored in store.providers().await? {
        let mut provider = stored.value;
        if provider.credentials.sealed.is_some() {
            provider.credentials = old.rewrap(&provider, new)?;
            changes.push(Change::PutProvider(provider, Expect::Revision(stored.revision)));
        }
    }
    for name in SealedName::ALL {
        if let Some(sealed) = store.sealed(name).await? {
            let plain = old.open_own(name.as_str(), &sealed)?;
            changes.push(Change::PutSealed(name, new.seal_own(name.as_str(), &plain)?));
        }
    }
    let summary = format!("{} sealed things", changes.len());
    let audit = AuditEntry::new(
        Actor::System,
        "RotateMasterKey",
        "installation",
        Origin::default(),
        now,
    )
    .with_summaries(None, Some(Summary::new(summary)));
    let commit = Commit {
        changes,
        audit,
        idempotency: None,
    };
    store.commit(commit).await?;
    Ok(())
}
