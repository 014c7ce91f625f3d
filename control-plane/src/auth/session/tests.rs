//! Sessions against a real store.

use secrecy::ExposeSecret;

use super::*;
use crate::{
    domain::user::{Draft, PasswordHash, Role},
    secrets::{Keyring, MasterKey, MasterKeySource},
};

const NOW: SystemTime = SystemTime::UNIX_EPOCH;
const EMAIL: &str = "ann@example.com";
const PASSWORD: &str = "correct horse battery";

struct Office {
    sessions: Sessions,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Office {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        let key = MasterKey::load(&MasterKeySource::MadeFile(dir.path().join("key")), false).unwrap();
        let keys = SigningKeys::load_or_make(&store, &Keyring::new(key), None, NOW)
            .await
            .unwrap();
        let hasher = Hasher::default();
        let hash = hasher.hash(&PASSWORD.into()).await.unwrap();
        let office = Self {
            sessions: Sessions::new(store.clone(), hasher, keys),
            store,
            _dir: dir,
        };
        office.put(user(hash), Expect::Absent).await;
        office
    }

    async fn put(&self, user: User, expect: Expect) {
        let audit = AuditEntry::new(Actor::System, "Test", "user", Origin::default(), NOW);
        let changes = vec![Change::PutUser(user, expect)];
        self.store
            .commit(Commit {
                changes,
                audit,
                idempotency: None,
            })
            .await
            .unwrap();
    }

    async fn user(&self) -> User {
        self.store.user(&user_id()).await.unwrap().unwrap().value
    }

    async fn login(&self, password: &str, now: SystemTime) -> Result<SignedIn, Error> {
        self.sessions
            .login(EMAIL, &password.into(), Origin::default(), now)
            .await
    }

    async fn refresh(&self, token: &SecretString, now: SystemTime) -> Result<TokenPair, Error> {
        self.sessions.refresh(token, Origin::default(), now).await
    }

    async fn is_in(&self, tokens: &TokenPair, now: SystemTime) -> bool {
        self.sessions.verify(&tokens.access_token, now).await.is_ok()
    }
}

fn user_id() -> UserId {
    UserId::from_bytes([1; 16])
}

fn user(password_hash: PasswordHash) -> User {
    let draft = Draft {
        email: EMAIL.into(),
        name: "Ann".into(),
        role: Role::Admin,
        enabled: true,
    };
    let credentials = crate::domain::user::Credentials {
        password_hash,
        must_change_password: true,
        session_epoch: 0,
    };
    User {
        id: user_id(),
        spec: draft.check().unwrap(),
        credentials,
        times: crate::domain::Times::new(NOW),
    }
}

fn must_change_password(caller: &Caller) -> bool {
    matches!(
        caller.credential,
        Credential::Session {
            must_change_password: true,
            ..
        }
    )
}

fn later(minutes: u64) -> SystemTime {
    NOW + Duration::from_secs(minutes * 60)
}

#[tokio::test]
async fn who_knows_the_password_is_in_for_a_quarter_of_an_hour() {
    let office = Office::open().await;
    let SignedIn { user, tokens } = office.login(PASSWORD, NOW).await.unwrap();
    assert_eq!((user.value.id, tokens.expires_at), (user_id(), later(15)));
    let caller = office
        .sessions
        .verify(&tokens.access_token, later(14))
        .await
        .unwrap();
    assert_eq!(
        (caller.user_id, caller.role, must_change_password(&caller)),
        (user_id(), Role::Admin, true)
    );
    assert!(!office.is_in(&tokens, later(16)).await);
    assert!(
        office.sessions.verify(&tokens.refresh_token, NOW).await.is_err(),
        "it opens nothing"
    );
    assert_eq!(office.store.last_logins().await.unwrap()[&user_id()], NOW);
    assert_eq!(office.store.version().revision, 1, "a login is not configuration");
}

#[tokio::test]
async fn unknown_wrong_and_disabled_are_answered_alike() {
    let office = Office::open().await;
    let origin = Origin::default;
    let unknown = office
        .sessions
        .login("bob@example.com", &PASSWORD.into(), origin(), NOW)
        .await;
    let nonsense = office
        .sessions
        .login("no e-mail", &PASSWORD.into(), origin(), NOW)
        .await;
    let wrong = office.login("wrong horse battery", NOW).await;
    let mut disabled = office.user().await;
    disabled.spec.enabled = false;
    let admin = User {
        id: UserId::from_bytes([2; 16]),
        ..user(disabled.credentials.password_hash.clone())
    };
    let admin = User {
        spec: Draft {
            email: "x@example.com".into(),
            ..admin.spec.to_draft()
        }
        .check()
        .unwrap(),
        ..admin
    };
    office.put(admin, Expect::Absent).await;
    office.put(disabled, Expect::Present).await;
    let disabled = office.login(PASSWORD, NOW).await;
    for refused in [unknown, nonsense, wrong, disabled] {
        assert!(matches!(refused, Err(Error::WrongCredentials)));
    }
}

#[tokio::test]
async fn the_sixth_wrong_password_has_to_wait() {
    let office = Office::open().await;
    for _ in 0..5 {
        assert!(matches!(
            office.login("wrong", NOW).await,
            Err(Error::WrongCredentials)
        ));
    }
    assert!(matches!(
        office.login(PASSWORD, NOW).await,
        Err(Error::Throttled(_))
    ));
}

#[tokio::test]
async fn a_refresh_token_is_exchanged_once_and_a_copy_ends_the_session() {
    let office = Office::open().await;
    let first = office.login(PASSWORD, NOW).await.unwrap().tokens;
    let second = office.refresh(&first.refresh_token, later(10)).await.unwrap();
    assert!(office.is_in(&second, later(20)).await);
    let third = office.refresh(&second.refresh_token, later(20)).await.unwrap();
    assert!(matches!(
        office.refresh(&first.refresh_token, later(21)).await,
        Err(Error::InvalidToken)
    ));
    assert!(
        !office.is_in(&third, later(21)).await,
        "the session is over for everybody"
    );
    assert!(office.refresh(&third.refresh_token, later(21)).await.is_err());
    let rows = office.store.audit(0, 100).await.unwrap();
    assert!(rows.iter().any(|row| row.entry.method == "AuthService.Refresh"));
}

#[tokio::test]
async fn of_two_refreshes_at_once_one_at_most_goes_on() {
    let office = Office::open().await;
    let first = office.login(PASSWORD, NOW).await.unwrap().tokens;
    let (a, b) = tokio::join!(
        office.refresh(&first.refresh_token, NOW),
        office.refresh(&first.refresh_token, NOW)
    );
    assert!(a.is_err() || b.is_err());
    assert!(!office.is_in(&first, NOW).await);
}

#[tokio::test]
async fn a_session_ends_by_logout_by_idling_and_by_age() {
    let office = Office::open().await;
    let tokens = office.login(PASSWORD, NOW).await.unwrap().tokens;
    let caller = office.sessions.verify(&tokens.access_token, NOW).await.unwrap();
    let audit = AuditEntry::new(
        actor(&user(PasswordHash::from_phc(String::new()))),
        "AuthService.Logout",
        "session",
        Origin::default(),
        NOW,
    );
    office.sessions.logout(&caller, audit).await.unwrap();
    assert!(!office.is_in(&tokens, NOW).await);
    let idle = office.login(PASSWORD, NOW).await.unwrap().tokens;
    assert!(
        office
            .refresh(&idle.refresh_token, NOW + SESSION_IDLE)
            .await
            .is_err()
    );
    let mut tokens = office.login(PASSWORD, NOW).await.unwrap().tokens;
    let mut now = NOW;
    while now + SESSION_IDLE / 2 < NOW + SESSION_LIFETIME {
        now += SESSION_IDLE / 2;
        tokens = office.refresh(&tokens.refresh_token, now).await.unwrap();
    }
    assert!(
        office
            .refresh(&tokens.refresh_token, NOW + SESSION_LIFETIME)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_raised_epoch_or_a_disabled_user_ends_every_session_at_once() {
    let office = Office::open().await;
    let tokens = office.login(PASSWORD, NOW).await.unwrap().tokens;
    let before = office.user().await;
    let operator = Draft {
        role: Role::Operator,
        ..before.spec.to_draft()
    }
    .check()
    .unwrap();
    let successor = User {
        id: UserId::from_bytes([2; 16]),
        ..before.clone()
    };
    let successor = User {
        spec: Draft {
            email: "x@example.com".into(),
            ..before.spec.to_draft()
        }
        .check()
        .unwrap(),
        ..successor
    };
    office.put(successor, Expect::Absent).await;
    office.put(before.with_spec(operator, NOW), Expect::Present).await;
    assert!(!office.is_in(&tokens, NOW).await);
    assert!(office.refresh(&tokens.refresh_token, NOW).await.is_err());
}

#[tokio::test]
async fn a_changed_password_ends_all_other_sessions() {
    let office = Office::open().await;
    let other = office.login(PASSWORD, NOW).await.unwrap().tokens;
    let mine = office.login(PASSWORD, NOW).await.unwrap().tokens;
    let caller = office.sessions.verify(&mine.access_token, NOW).await.unwrap();
    let change = |current: &str, new: &str| {
        let audit = AuditEntry::new(
            actor(&user(PasswordHash::from_phc(String::new()))),
            "AuthService.ChangePassword",
            "user",
            Origin::default(),
            NOW,
        );
        let (sessions, current, new) = (
            office.sessions.clone(),
            SecretString::from(current),
            SecretString::from(new),
        );
        let caller = caller.clone();
        async move { sessions.change_password(&caller, &current, new, audit).await }
    };
    assert!(matches!(change(PASSWORD, "short").await, Err(Error::Invalid(_))));
    assert!(matches!(
        change("wrong", "another long password").await,
        Err(Error::WrongCredentials)
    ));
    let fresh = change(PASSWORD, "another long password").await.unwrap();
    assert!(!office.is_in(&other, NOW).await && !office.is_in(&mine, NOW).await);
    let caller = office.sessions.verify(&fresh.access_token, NOW).await.unwrap();
    assert!(!must_change_password(&caller));
    assert_eq!(office.store.sessions_of(&user_id()).await.unwrap().len(), 1);
    assert!(office.login(PASSWORD, NOW).await.is_err());
    office.login("another long password", NOW).await.unwrap();
}

#[tokio::test]
async fn a_user_has_a_bounded_number_of_sessions() {
    let office = Office::open().await;
    let first = office.login(PASSWORD, NOW).await.unwrap().tokens;
    for n in 1..=SESSIONS_PER_USER_MAX as u64 {
        office.login(PASSWORD, later(n)).await.unwrap();
    }
    assert_eq!(
        office.store.sessions_of(&user_id()).await.unwrap().len(),
        SESSIONS_PER_USER_MAX
    );
    assert!(!office.is_in(&first, later(1)).await, "the oldest ended");
}

#[tokio::test]
async fn signing_keys_survive_a_restart_and_a_configured_one_signs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let source = MasterKeySource::MadeFile(dir.path().join("key"));
    let keyring = Keyring::new(MasterKey::load(&source, false).unwrap());
    let load = |configured: Option<SecretString>| {
        let (store, keyring) = (store.clone(), keyring.clone());
        async move {
            SigningKeys::load_or_make(&store, &keyring, configured.as_ref(), NOW)
                .await
                .unwrap()
        }
    };
    let session_id = SessionId::mint([2; 16]);
    let grant = Grant {
        kind: TokenKind::Access,
        user_id: user_id(),
        session_id,
        generation: 0,
        session_epoch: 0,
    };
    let kept = load(None).await.sign(&grant, NOW, later(1)).unwrap();
    let given = SecretString::from("0123456789abcdef0123456789abcdef");
    let with_given = load(Some(given)).await;
    assert!(
        with_given
            .verify(kept.expose_secret(), TokenKind::Access, NOW)
            .is_some()
    );
    let by_given = with_given.sign(&grant, NOW, later(1)).unwrap();
    let without = load(None).await;
    assert!(
        without
            .verify(kept.expose_secret(), TokenKind::Access, NOW)
            .is_some()
    );
    assert!(
        without
            .verify(by_given.expose_secret(), TokenKind::Access, NOW)
            .is_none()
    );
}

#[tokio::test]
async fn nobodys_password_is_checked_against_whoever_is_there() {
    let office = Office::open().await;
    let nobody = async || {
        let login = office
            .sessions
            .login("bob@example.com", &PASSWORD.into(), Origin::default(), NOW)
            .await;
        assert!(matches!(login, Err(Error::WrongCredentials)));
    };
    nobody().await;
    let ann = office.user().await;
    let other = Draft {
        email: "x@example.com".into(),
        ..ann.spec.to_draft()
    };
    let other = User {
        id: UserId::from_bytes([2; 16]),
        spec: other.check().unwrap(),
        ..ann.clone()
    };
    office.put(other, Expect::Absent).await;
    let audit = AuditEntry::new(Actor::System, "Test", "user", Origin::default(), NOW);
    let changes = vec![Change::DeleteUser(ann.id, Expect::Present)];
    office.sessions.commit(changes, audit).await.unwrap();
    nobody().await;
    assert!(matches!(
        office.login(PASSWORD, NOW).await,
        Err(Error::WrongCredentials)
    ));
}
