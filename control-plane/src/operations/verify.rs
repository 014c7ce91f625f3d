//! `verify`: whether a store, or a backup, is whole, and whether its secrets open.

use std::path::Path;

use super::{Error, keyring, open, restore, say};
use crate::config::Config;
use crate::store::SealedName;

pub(super) async fn verify(config: &Config, file: Option<&Path>) -> Result<(), Error> {
    if let Some(file) = file {
        let inspected = restore::inspect(file)?;
        keyring(config, inspected.key_check())?;
        return say(&format!(
            "good: revision {}, {} rows, made by build {}",
            inspected.header.revision, inspected.rows, inspected.header.build
        ));
    }
    let store = open(config).await?;
    let (rows, audit) = store.verify().await?;
    let key_check = store.sealed(SealedName::KeyCheck).await?;
    let keyring = keyring(config, key_check.as_deref())?;
    for provider in store.providers().await? {
        keyring.open_provider(&provider.value)?;
    }
    let revision = store.version().revision;
    store.close().await;
    say(&format!(
        "good: revision {revision}, {rows} rows, {audit} entries of the audit log in one chain, all secrets open"
    ))
}
