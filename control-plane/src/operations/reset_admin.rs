//! `reset-admin`: a way in for whoever has the machine but no password.

use std::time::SystemTime;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{Environment, Error, open, say, secret};
use crate::auth::password::Hasher;
use crate::config::Config;
use crate::domain::audit::{Actor, AuditEntry, Origin, Summary};
use crate::domain::user::{Credentials, NewPassword, Role, Spec, User, UserId};
use crate::domain::{DisplayName, Times, to_the_millisecond};
use crate::store::{Change, Commit, Expect, Kind};

/// Random bytes of a password that is made here.
const PASSWORD_BYTES: usize = 18;

/// Makes ADMIN_EMAIL an enabled admin with ADMIN_PASSWORD, or else with one that is told
/// once and has to be changed. Every session of theirs ends.
pub(super) async fn reset_admin(config: &Config, environment: Environment<'_>) -> Result<(), Error> {
    let given = secret(environment, "ADMIN_PASSWORD");
    let is_made = given.is_none();
    let password = NewPassword::parse(given.unwrap_or_else(make)).map_err(Error::WeakPassword)?;
    let password_hash = Hasher::default().hash(password.as_secret()).await?;
    let email = config.first_start.admin_email.clone();
    let store = open(config).await?;
    let now = to_the_millisecond(SystemTime::now());
    let (user, expect) = match store.user_by_email(&email).await? {
        Some(stored) => {
            let spec = Spec {
                role: Role::Admin,
                enabled: true,
                ..stored.value.spec.clone()
            };
            let user = stored.value.with_spec(spec, now);
            let user = user.with_password(password_hash, is_made, now);
            (user, Expect::Revision(stored.revision))
        }
        None => {
            let spec = Spec {
                email: email.clone(),
                name: DisplayName::parse("Admin")?,
                role: Role::Admin,
                enabled: true,
            };
            let credentials = Credentials {
                password_hash,
                must_change_password: is_made,
                session_epoch: 0,
            };
            let user = User {
                id: UserId::mint(rand::random()),
                spec,
                credentials,
                times: Times::new(now),
            };
            (user, Expect::Absent)
        }
    };
    let target = format!("{}/{}", Kind::User, user.id);
    let audit = AuditEntry::new(Actor::System, "ResetAdmin", &target, Origin::default(), now)
        .with_summaries(None, Some(Summary::new("enabled admin with a new password")));
    let commit = Commit {
        changes: vec![Change::PutUser(user, expect)],
        audit,
        idempotency: None,
    };
    store.commit(commit).await?;
    store.close().await;
    if is_made {
        let password = secrecy::ExposeSecret::expose_secret(password.as_secret());
        say(&format!(
            "{} signs in with {password} and has to change it",
            email.as_str()
        ))
    } else {
        say(&format!("{} signs in with ADMIN_PASSWORD", email.as_str()))
    }
}

fn make() -> SecretString {
    let random = Zeroizing::new(rand::random::<[u8; PASSWORD_BYTES]>());
    URL_SAFE_NO_PAD.encode(random.as_slice()).into()
}
