//! What has to be there before anything can be served: the master key, and at the
//! very first start an admin, the settings and the providers of `provider.json`.
//!
//! The first start is one commit: a crash leaves either nothing or all of it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use secrecy::{ExposeSecret, SecretString};

use crate::{
    auth::password::{self, Hasher},
    document,
    domain::{
        DisplayName, Email, FieldViolation, Invalid, Times,
        audit::{Actor, AuditEntry, Origin},
        settings::Settings,
        user::{Credentials, NewPassword, PASSWORD_BYTES_MAX, Role, Spec, User, UserId},
    },
    import::{self, Imported, Lookup},
    secrets::{Keyring, MasterKey, MasterKeyError, MasterKeySource, SealError},
    store::{self, Change, Commit, CommitError, Expect, SealedName, Store},
};

/// What is sealed to tell the right master key from a wrong one.
const KEY_CHECK: &[u8] = b"bridge-key-check-v1";
/// Largest `provider.json`, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
const METHOD: &str = "Bootstrap";

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    MasterKey(#[from] MasterKeyError),
    #[error(
        "the master key is not the one that the store was sealed with: \
         give the old one with MASTER_KEY or MASTER_KEY_FILE"
    )]
    WrongMasterKey,
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Password(#[from] password::Error),
    #[error("the first admin cannot be made: {0}")]
    Admin(#[from] Invalid),
    #[error("{} cannot be read: {source}", .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} cannot be imported:{}", .path.display(), listed(.violations))]
    Import {
        path: PathBuf,
        violations: Vec<FieldViolation>,
    },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Commit(#[from] CommitError),
}

fn listed(violations: &[FieldViolation]) -> String {
    violations
        .iter()
        .map(|violation| format!("\n  - {violation}"))
        .collect()
}

/// What a new installation begins with.
pub struct FirstStart<'a> {
    pub admin_email: Email,
    pub admin_password: SecretString,
    pub settings: Settings,
    /// Imported if it is there.
    pub provider_config_path: &'a Path,
    pub lookup: Lookup<'a>,
}

/// What the first start has made.
#[derive(Debug)]
pub struct Report {
    pub admin_email: Email,
    pub must_change_password: bool,
    pub providers: usize,
    pub model_rules: usize,
    /// Sentences about the imported file.
    pub warnings: Vec<String>,
}

/// Loads the master key and proves that it is the one of this store.
pub async fn unlock(store: &Store, source: &MasterKeySource, now: SystemTime) -> Result<Keyring, Error> {
    let name = SealedName::KeyCheck;
    let check = store.sealed(name).await?;
    let keyring = open_keyring(source, check.as_deref())?;
    if check.is_none() {
        let change = Change::PutSealed(name, keyring.seal_own(name.as_str(), KEY_CHECK)?);
        let audit = AuditEntry::new(Actor::System, METHOD, "key_check", Origin::default(), now);
        store
            .commit(Commit {
                changes: vec![change],
                audit,
                idempotency: None,
            })
            .await?;
    }
    Ok(keyring)
}

/// Loads the master key and proves that it is the one of what was sealed, if anything was. A
/// change of the key that was broken off after it had happened is brought to its end.
pub fn open_keyring(source: &MasterKeySource, check: Option<&[u8]>) -> Result<Keyring, Error> {
    let keyring = Keyring::new(MasterKey::load(source, check.is_some())?);
    let Some(sealed) = check else {
        return Ok(keyring);
    };
    let opens = |keyring: &Keyring| keyring.open_own(SealedName::KeyCheck.as_str(), sealed).is_ok();
    if opens(&keyring) {
        return Ok(keyring);
    }
    let (MasterKeySource::File(path) | MasterKeySource::MadeFile(path)) = source else {
        return Err(Error::WrongMasterKey);
    };
    let next = MasterKey::next(path)?.map(Keyring::new).filter(opens);
    let next = next.ok_or(Error::WrongMasterKey)?;
    MasterKey::take_next(path)?;
    tracing::warn!(path = %path.display(), "the new master key has taken its place");
    Ok(next)
}

/// Fills a new store. `None`: it is not new, and nothing is touched.
pub async fn first_start(
    store: &Store,
    keyring: &Keyring,
    hasher: &Hasher,
    first: FirstStart<'_>,
    now: SystemTime,
) -> Result<Option<Report>, Error> {
    if store.version().revision > 0 {
        return Ok(None);
    }
    let FirstStart {
        admin_email,
        admin_password,
        settings,
        provider_config_path,
        lookup,
    } = first;
    let imported = read_file(provider_config_path, lookup)?;
    let settings = imported
        .settings
        .clone()
        .on(&settings)
        .map_err(|violations| Error::Import {
            path: provider_config_path.to_owned(),
            violations,
        })?;
    let admin = first_admin(hasher, admin_email.clone(), admin_password, now).await?;
    let report = Report {
        admin_email,
        must_change_password: admin.credentials.must_change_password,
        providers: imported.providers.len(),
        model_rules: imported.rules.len(),
        warnings: imported.warnings.clone(),
    };
    let mut changes = vec![
        Change::PutUser(admin, Expect::Absent),
        Change::PutSettings(settings, Expect::Absent),
    ];
    changes.extend(imported.to_changes(keyring, now)?);
    let summary = format!(
        "first admin, settings, {} providers, {} model rules",
        report.providers, report.model_rules
    );
    let audit = AuditEntry::new(Actor::System, METHOD, "installation", Origin::default(), now)
        .with_summaries(None, Some(document::summary(document::note(&summary))));
    store
        .commit(Commit {
            changes,
            audit,
            idempotency: None,
        })
        .await?;
    Ok(Some(report))
}

/// A password that could not be set in the admin opens nothing but its own change.
async fn first_admin(
    hasher: &Hasher,
    email: Email,
    password: SecretString,
    now: SystemTime,
) -> Result<User, Error> {
    let bytes = password.expose_secret().len();
    if bytes == 0 || bytes > PASSWORD_BYTES_MAX {
        return Err(Invalid::new(format!(
            "ADMIN_PASSWORD must have 1 to {PASSWORD_BYTES_MAX} bytes"
        ))
        .into());
    }
    let must_change_password = NewPassword::parse(password.clone()).is_err();
    let credentials = Credentials {
        password_hash: hasher.hash(&password).await?,
        must_change_password,
        session_epoch: 0,
    };
    let spec = Spec {
        email,
        name: DisplayName::parse("Admin")?,
        role: Role::Admin,
        enabled: true,
    };
    Ok(User {
        id: UserId::mint(rand::random()),
        spec,
        credentials,
        times: Times::new(now),
    })
}

/// Nothing, if there is no such file.
fn read_file(path: &Path, lookup: Lookup<'_>) -> Result<Imported, Error> {
    let file_error = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    let text = match fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            return Err(file_error(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(_) => fs::read_to_string(path).map_err(file_error)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => "{}".to_owned(),
        Err(source) => return Err(file_error(source)),
    };
    import::provider_json(&text, lookup).map_err(|violations| Error::Import {
        path: path.to_owned(),
        violations,
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;
    use crate::auth::default_admin::DefaultAdmin;
    use crate::domain::settings::Draft;
    use crate::domain::user::DEFAULT_ADMIN_PASSWORD;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;
    const FILE: &str = r#"{"providers": [{"name": "a", "base_url": "http://a.example", "api_key": "canary-of-the-provider",
        "models": {"big": ["m"]}}], "model_rules": [{"match": "x", "tier": "big"}], "fallback_strategy": "random"}"#;

    struct Home {
        dir: tempfile::TempDir,
        store: Store,
    }

    impl Home {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::open(&dir.path().join("store")).unwrap();
            Self { dir, store }
        }

        fn key(&self) -> MasterKeySource {
            MasterKeySource::MadeFile(self.dir.path().join("master-key"))
        }

        async fn start(&self, password: &str, file: Option<&str>) -> Result<Option<Report>, Error> {
            let path = self.dir.path().join("provider.json");
            if let Some(text) = file {
                fs::write(&path, text).unwrap();
            }
            let keyring = unlock(&self.store, &self.key(), NOW).await?;
            let first = FirstStart {
                admin_email: Email::parse("admin@example.com").unwrap(),
                admin_password: password.into(),
                settings: Draft::default().check().unwrap(),
                provider_config_path: &path,
                lookup: &|_| None,
            };
            first_start(&self.store, &keyring, &Hasher::default(), first, NOW).await
        }
    }

    #[tokio::test]
    async fn a_new_store_is_filled_once() {
        let home = Home::new();
        let report = home.start("admin123", Some(FILE)).await.unwrap().unwrap();
        assert!(report.must_change_password);
        assert_eq!((report.providers, report.model_rules), (1, 1));
        assert!(home.start("other", Some(FILE)).await.unwrap().is_none());
        assert_eq!(home.store.users().await.unwrap().len(), 1);
        let configuration = home.store.configuration().await.unwrap();
        assert_eq!(configuration.version.revision, 1);
        assert_eq!(
            (configuration.providers.len(), configuration.model_rules.len()),
            (1, 1)
        );
        assert_eq!(
            configuration
                .settings
                .unwrap()
                .value
                .to_draft()
                .fallback_strategy
                .as_str(),
            "random"
        );
        let keyring = unlock(&home.store, &home.key(), NOW).await.unwrap();
        let secrets = keyring.open_provider(&configuration.providers[0].value).unwrap();
        assert_eq!(secrets.api_key.unwrap().expose_secret(), "canary-of-the-provider");
    }

    #[tokio::test]
    async fn the_first_account_is_told_of_while_it_has_the_documented_password() {
        for (password, expected) in [
            (DEFAULT_ADMIN_PASSWORD, true),
            ("changeme", false),
            ("correct horse battery", false),
        ] {
            let home = Home::new();
            home.start(password, None).await.unwrap();
            let default_admin = DefaultAdmin::new(home.store.clone(), Hasher::default());
            for again in 0..2 {
                assert_eq!(
                    default_admin.is_active().await.unwrap(),
                    expected,
                    "{password}, asked {again}"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_good_password_opens_everything_at_once() {
        let report = Home::new()
            .start("correct horse battery", None)
            .await
            .unwrap()
            .unwrap();
        assert!(!report.must_change_password);
        assert_eq!(report.providers, 0);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_imported_leaves_the_store_new() {
        let home = Home::new();
        let bad = FILE.replace("http://a.example", "nowhere");
        let error = home.start("admin123", Some(&bad)).await.unwrap_err();
        assert!(error.to_string().contains("providers[0].base_url"), "{error}");
        assert_eq!(home.store.version().revision, 0);
        assert!(home.start("admin123", Some(FILE)).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_wrong_or_missing_master_key_is_refused() {
        let home = Home::new();
        home.start("admin123", None).await.unwrap();
        let other = rand::random::<[u8; 32]>()
            .iter()
            .fold(String::new(), |mut text, byte| {
                write!(text, "{byte:02x}").unwrap();
                text
            });
        let wrong = unlock(&home.store, &MasterKeySource::Given(other.into()), NOW).await;
        assert!(matches!(wrong, Err(Error::WrongMasterKey)));
        fs::remove_file(home.dir.path().join("master-key")).unwrap();
        let missing = unlock(&home.store, &home.key(), NOW).await;
        assert!(matches!(
            missing,
            Err(Error::MasterKey(MasterKeyError::Missing { .. }))
        ));
    }

    #[tokio::test]
    async fn no_file_of_the_store_holds_a_secret_in_the_clear() {
        let home = Home::new();
        home.start("canary-of-the-admin", Some(FILE)).await.unwrap();
        home.store.close().await;
        for entry in fs::read_dir(home.dir.path().join("store")).unwrap() {
            let path = entry.unwrap().path();
            let bytes = if path.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            assert!(
                !bytes.windows(6).any(|window| window == b"canary"),
                "{}",
                path.display()
            );
        }
    }
}
