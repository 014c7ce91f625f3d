//! The people who may sign in to the admin.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{DisplayName, Email, FieldViolation, Invalid, Times, Violations};

/// Shortest password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 12;
/// Longest password, in bytes: hashing must not become a way to keep us busy.
pub const PASSWORD_BYTES_MAX: usize = 1024;

/// The first account, if nothing else is said. It opens nothing but a change of the password.
pub const DEFAULT_ADMIN_EMAIL: &str = "admin@example.com";
pub const DEFAULT_ADMIN_PASSWORD: &str = "admin123";
/// What everybody tries first. Compared without case; the short ones matter for
/// passwords that come from the environment.
const WELL_KNOWN_PASSWORDS: &[&str] = &[
    "admin",
    DEFAULT_ADMIN_PASSWORD,
    "admin1234",
    "admin12345",
    "admin123456",
    "administrator",
    "administrator1",
    "changeme",
    "changeme123",
    "changemenow1",
    "123456",
    "12345678",
    "123456789",
    "1234567890",
    "123456789012",
    "1234567890123",
    "password",
    "password1",
    "password123",
    "password1234",
    "password12345",
    "passwordpassword",
    "passw0rd",
    "p@ssw0rd",
    "qwerty",
    "qwerty123",
    "qwertyuiop",
    "qwertyuiop123",
    "qwerty123456",
    "letmein",
    "letmeinplease",
    "welcome",
    "welcome12345",
    "iloveyou1234",
    "secret",
    "root",
    "toor",
    "test",
    "default",
    "your-secure-password",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(Uuid);

impl UserId {
    /// A new id out of random bytes.
    #[must_use]
    pub fn mint(random: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(random).into_uuid())
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Uuid::try_parse(text)
            .map(Self)
            .map_err(|_| Invalid::new("must be the id of a user"))
    }

    /// Takes the bytes of an id that was made before.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a user may do. The permissions themselves are in one table, by method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything but users and settings of security.
    Operator,
    /// Reads everything, changes nothing.
    Auditor,
    /// Sees and manages only what is theirs.
    User,
}

impl Role {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Auditor => "auditor",
            Self::User => "user",
        }
    }

    /// Whether whoever has this role may do all that the other one may.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Operator => matches!(other, Self::Operator | Self::User),
            // It changes nothing, not even what is its own.
            Self::Auditor => other == Self::Auditor,
            Self::User => other == Self::User,
        }
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "admin" => Ok(Self::Admin),
            "operator" => Ok(Self::Operator),
            "auditor" => Ok(Self::Auditor),
            "user" => Ok(Self::User),
            _ => Err(Invalid::new("must be admin, operator, auditor or user")),
        }
    }
}

/// A password that may be set: long enough and not one of the well-known.
#[derive(Debug, Clone)]
pub struct NewPassword(SecretString);

impl NewPassword {
    pub fn parse(text: SecretString) -> Result<Self, Invalid> {
        let chars = text.expose_secret().chars().count();
        if chars < PASSWORD_CHARS_MIN {
            return Err(Invalid::new(format!(
                "must have at least {PASSWORD_CHARS_MIN} characters"
            )));
        }
        if text.expose_secret().len() > PASSWORD_BYTES_MAX {
            return Err(Invalid::new(format!(
                "must have at most {PASSWORD_BYTES_MAX} bytes"
            )));
        }
        if is_well_known_password(&text) {
            return Err(Invalid::new("is one of the passwords that everybody tries first"));
        }
        Ok(Self(text))
    }

    #[must_use]
    pub fn as_secret(&self) -> &SecretString {
        &self.0
    }
}

/// Whether a password is on the deny list, whatever its case.
#[must_use]
pub fn is_well_known_password(password: &SecretString) -> bool {
    let lower = password.expose_secret().trim().to_lowercase();
    let is_one_character = lower.chars().all(|c| lower.starts_with(c));
    is_one_character || WELL_KNOWN_PASSWORDS.contains(&lower.as_str())
}

/// The hash of a password, in the PHC string format.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Takes what a hasher made.
    #[must_use]
    pub fn from_phc(text: String) -> Self {
        Self(text)
    }

    #[must_use]
    pub fn as_phc(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(<redacted>)")
    }
}

/// What an admin writes about a user, not yet checked.
#[derive(Debug, Clone)]
pub struct Draft {
    pub email: String,
    pub name: String,
    pub role: Role,
    pub enabled: bool,
}

impl Draft {
    pub fn check(&self) -> Result<Spec, Vec<FieldViolation>> {
        let Self {
            email,
            name,
            role,
            enabled,
        } = self;
        let mut violations = Violations::default();
        let email = violations.check("email", Email::parse(email));
        let name = violations.check("name", DisplayName::parse(name));
        let spec = email.zip(name).map(|(email, name)| Spec {
            email,
            name,
            role: *role,
            enabled: *enabled,
        });
        violations.finish(spec)
    }
}

/// What an admin decides about a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    pub email: Email,
    pub name: DisplayName,
    pub role: Role,
    pub enabled: bool,
}

impl Spec {
    #[must_use]
    pub fn to_draft(&self) -> Draft {
        let Self {
            email,
            name,
            role,
            enabled,
        } = self;
        Draft {
            email: email.as_str().to_owned(),
            name: name.as_str().to_owned(),
            role: *role,
            enabled: *enabled,
        }
    }

    #[must_use]
    pub fn is_enabled_admin(&self) -> bool {
        self.enabled && self.role == Role::Admin
    }
}

/// What lets a user in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    pub password_hash: PasswordHash,
    /// Only the password can be changed until it has been.
    pub must_change_password: bool,
    /// Tokens of an earlier epoch are void: raising it ends every session.
    pub session_epoch: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub id: UserId,
    pub spec: Spec,
    pub credentials: Credentials,
    pub times: Times,
}

impl User {
    /// The same user after an admin's change. Sessions end when the user is
    /// disabled or gets another role.
    #[must_use]
    pub fn with_spec(self, spec: Spec, now: std::time::SystemTime) -> Self {
        let ends_sessions = spec.role != self.spec.role || (self.spec.enabled && !spec.enabled);
        let epoch = self.credentials.session_epoch + u64::from(ends_sessions);
        let credentials = Credentials {
            session_epoch: epoch,
            ..self.credentials
        };
        Self {
            spec,
            credentials,
            times: self.times.touched(now),
            ..self
        }
    }

    /// The same user with another password, which ends every session.
    #[must_use]
    pub fn with_password(
        self,
        password_hash: PasswordHash,
        must_change_password: bool,
        now: std::time::SystemTime,
    ) -> Self {
        let session_epoch = self.credentials.session_epoch + 1;
        let credentials = Credentials {
            password_hash,
            must_change_password,
            session_epoch,
        };
        Self {
            credentials,
            times: self.times.touched(now),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Result<NewPassword, Invalid> {
        NewPassword::parse(text.into())
    }

    #[test]
    fn a_new_password_is_long_and_not_well_known() {
        assert!(password("correct horse battery").is_ok());
        assert!(password("admin123").is_err());
        assert!(password("elevenchars").is_err());
        assert!(password("PASSWORD1234").is_err());
        assert!(password("aaaaaaaaaaaaaaaa").is_err());
        assert!(password(&"x1".repeat(PASSWORD_BYTES_MAX)).is_err());
    }

    #[test]
    fn every_role_is_read_back_from_its_name() {
        for role in [Role::Admin, Role::Operator, Role::Auditor, Role::User] {
            assert_eq!(Role::parse(role.as_str()), Ok(role));
        }
        assert!(Role::parse("root").is_err());
    }

    #[test]
    fn a_draft_reports_all_its_violations() {
        let draft = Draft {
            email: "nobody".into(),
            name: String::new(),
            role: Role::User,
            enabled: true,
        };
        let fields: Vec<_> = draft.check().unwrap_err().into_iter().map(|v| v.field).collect();
        assert_eq!(fields, ["email", "name"]);
    }
}
