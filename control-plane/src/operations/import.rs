//! `import`: another installation as a whole, or the providers of a `provider.json`.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::time::SystemTime;

use super::{Environment, Error, keyring, open, restore, say};
use crate::config::Config;
use crate::domain::audit::{Actor, AuditEntry, Origin, Summary};
use crate::import;
use crate::store::{self, Change, Commit, Expect, SealedName, Sessions};

/// Largest `provider.json`, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

pub(super) async fn import(config: &Config, file: &Path, environment: Environment<'_>) -> Result<(), Error> {
    let failed = |source| Error::File {
        path: file.to_owned(),
        source,
    };
    let mut beginning = Vec::new();
    let opened = File::open(file).map_err(failed)?;
    opened
        .take(store::BACKUP_MAGIC.len() as u64)
        .read_to_end(&mut beginning)
        .map_err(failed)?;
    if beginning == store::BACKUP_MAGIC {
        // Whoever moves stays signed in.
        return restore::restore(config, file, Sessions::Keep).await;
    }
    if fs::metadata(file).map_err(failed)?.len() > FILE_BYTES_MAX {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    let text = fs::read_to_string(file).map_err(failed)?;
    providers(config, file, &text, environment).await
}

/// Takes providers, rules and settings over into an installation that is there. What it
/// has already of the same names is replaced, everything else stays.
async fn providers(
    config: &Config,
    file: &Path,
    text: &str,
    environment: Environment<'_>,
) -> Result<(), Error> {
    let refused = |violations| Error::Import {
        path: file.to_owned(),
        violations,
    };
    let imported = import::provider_json(text, environment).map_err(refused)?;
    let store = open(config).await?;
    let now = SystemTime::now();
    let key_check = store.sealed(SealedName::KeyCheck).await?;
    let keyring = keyring(config, key_check.as_deref())?;
    let before = store.settings().await?.ok_or_else(|| {
        Error::Refused("there is no installation yet; start the control plane once, or name the file in PROVIDER_CONFIG_PATH".to_owned())
    })?;
    let mut changes = imported.to_changes(&keyring, Expect::Any, now)?;
    let settings = imported.settings.on(&before.value).map_err(refused)?;
    changes.push(Change::PutSettings(settings, Expect::Any));
    let summary = format!(
        "settings, {} providers, {} model rules",
        imported.providers.len(),
        imported.rules.len()
    );
    let audit = AuditEntry::new(Actor::System, "Import", "provider.json", Origin::default(), now)
        .with_summaries(None, Some(Summary::new(summary.as_str())));
    let commit = Commit {
        changes,
        audit,
        idempotency: None,
    };
    let revision = store.commit(commit).await?.revision;
    store.close().await;
    for warning in imported.warnings {
        tracing::warn!(warning, "the imported file is not taken over as it is");
    }
    say(&format!("imported {summary}: revision {revision}"))
}
