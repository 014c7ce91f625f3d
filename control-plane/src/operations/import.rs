//! `import`: another installation as a whole, or what a `provider.json` says into the one that
//! is there. Which of them a file is, its beginning tells.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use super::{Environment, Error, keyring, open, restore, say};
use crate::config::Config;
use crate::configuration::{self, Shown, plan};
use crate::document;
use crate::domain::FieldViolation;
use crate::domain::audit::{Actor, AuditEntry, Origin};
use crate::import::{self, Imported};
use crate::store::{self, Commit, SealedName, Sessions, Store};

/// Largest `provider.json`, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a file is, by its first bytes.
#[derive(Debug, PartialEq, Eq)]
enum Shape {
    Installation,
    ProviderJson(String),
}

pub(super) async fn import(config: &Config, file: &Path, environment: Environment<'_>) -> Result<(), Error> {
    let failed = |source| Error::File {
        path: file.to_owned(),
        source,
    };
    let opened = File::open(file).map_err(failed)?;
    let shape = match shape(opened).map_err(failed)? {
        Ok(shape) => shape,
        Err(reason) => return Err(neither(file, reason)),
    };
    match shape {
        // Whoever moves stays signed in.
        Shape::Installation => restore::restore(config, file, Sessions::Keep).await,
        Shape::ProviderJson(text) => {
            let imported =
                import::operators_file(&text, environment).map_err(|violations| refused(file, violations))?;
            if imported.is_empty() {
                let reason = "it has no providers, no model_rules and no settings; ";
                let found = imported.warnings.join(", ");
                return Err(neither(file, format!("{reason}{found}")));
            }
            let store = open(config).await?;
            let done = take_over(config, &store, file, imported).await;
            store.close().await;
            done
        }
    }
}

/// Which of the two it may be, or why it is none.
fn shape(mut file: impl Read) -> io::Result<Result<Shape, String>> {
    let mut bytes = Vec::new();
    let beginning = store::BACKUP_MAGIC.len() as u64;
    file.by_ref().take(beginning).read_to_end(&mut bytes)?;
    if bytes == store::BACKUP_MAGIC {
        return Ok(Ok(Shape::Installation));
    }
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Ok(Err(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let Ok(text) = String::from_utf8(bytes) else {
        return Ok(Err("it is no text".to_owned()));
    };
    let is_object = text.trim_start_matches('\u{feff}').trim_start().starts_with('{');
    Ok(match is_object {
        true => Ok(Shape::ProviderJson(text)),
        false => Err("it does not begin with '{'".to_owned()),
    })
}

/// Makes the configuration what the file says, in one change, as `Apply` would: secrets that it
/// leaves out or masks stay, and so does everything that it does not name.
async fn take_over(config: &Config, store: &Store, file: &Path, imported: Imported) -> Result<(), Error> {
    let now = SystemTime::now();
    let configuration = store.configuration().await?;
    if configuration.settings.is_none() {
        return Err(Error::Refused("there is no installation yet; start the control plane once, or name the file in PROVIDER_CONFIG_PATH".to_owned()));
    }
    let key_check = store.sealed(SealedName::KeyCheck).await?;
    let keyring = keyring(config, key_check.as_deref())?;
    let plan = plan::plan(imported, false, &configuration, &keyring, now).map_err(|error| match error {
        plan::Error::Invalid(violations) => refused(file, violations),
        plan::Error::Seal(error) => error.into(),
    })?;
    for warning in &plan.warnings {
        tracing::warn!(warning, "the imported file is not taken over as it is");
    }
    let shown = plan.edits.iter().filter_map(|edit| edit.shown(&plan.places));
    let lines: Vec<String> = shown.map(|shown: Shown| shown.to_string()).collect();
    if plan.edits.is_empty() {
        return say("everything is as the file says; nothing was changed");
    }
    let summary = document::summary(document::note(&lines.join("; ")));
    let audit = AuditEntry::new(Actor::System, "Import", "configuration", Origin::default(), now)
        .with_summaries(None, Some(summary));
    let commit = Commit {
        changes: configuration::changes(plan.edits, configuration.version.revision),
        audit,
        idempotency: None,
    };
    let revision = store.commit(commit).await?.revision;
    lines.iter().try_for_each(|line| say(line))?;
    say(&format!("imported: revision {revision}"))
}

fn refused(file: &Path, violations: Vec<FieldViolation>) -> Error {
    Error::Import {
        path: file.to_owned(),
        violations,
    }
}

fn neither(file: &Path, reason: impl Into<String>) -> Error {
    Error::Neither {
        path: file.to_owned(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<Shape, &str>) {
        let found = shape(bytes).unwrap();
        assert_eq!(
            found.as_ref().map_err(String::as_str),
            expected.as_ref().map_err(|reason| *reason)
        );
    }

    #[test]
    fn a_file_is_told_by_its_beginning() {
        check(store::BACKUP_MAGIC, Ok(Shape::Installation));
        check(
            &[store::BACKUP_MAGIC.as_slice(), b"and more".as_slice()].concat(),
            Ok(Shape::Installation),
        );
        for text in ["{}", " \n{\"providers\": []}", "\u{feff}{", "{ broken"] {
            check(text.as_bytes(), Ok(Shape::ProviderJson(text.to_owned())));
        }
        for text in ["", "[]", "providers:", "null"] {
            check(text.as_bytes(), Err("it does not begin with '{'"));
        }
        check(&store::BACKUP_MAGIC[..3], Err("it does not begin with '{'"));
        check(b"{\xff", Err("it is no text"));
        let huge = " ".repeat(FILE_BYTES_MAX as usize + 1);
        check(huge.as_bytes(), Err("it has more than 4194304 bytes"));
    }
}
