//! Where the database is, from its URL. The password in it is said nowhere else.

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions,
    postgres::{PgConnectOptions, PgSslMode},
};
use url::Url;

use crate::store::OpenError;

/// What the server gives up a statement after, in milliseconds.
const STATEMENT_TIMEOUT_MS: u32 = 10_000;
/// How long a write waits for those of other control planes, in milliseconds.
const LOCK_TIMEOUT_MS: u32 = 5_000;
/// What the server ends a silent transaction after, in milliseconds: a control plane
/// that is gone without a word must not keep the others from writing.
const IDLE_TRANSACTION_TIMEOUT_MS: u32 = 10_000;
const APPLICATION_NAME: &str = "bridge-control-plane";

pub(super) struct Address {
    pub(super) options: PgConnectOptions,
    /// For people: neither user nor password.
    pub(super) name: String,
}

pub(super) fn parse(url: &SecretString) -> Result<Address, OpenError> {
    let refused = |reason: &str| OpenError::DatabaseUrl {
        reason: reason.to_owned(),
    };
    let url = Url::parse(url.expose_secret())
        .map_err(|_| refused("it is not a URL like postgres://user:password@host:5432/database"))?;
    if !matches!(url.scheme(), "postgres" | "postgresql") {
        return Err(refused("it must begin with postgres://"));
    }
    let says_tls = url
        .query_pairs()
        .any(|(name, _)| matches!(&*name, "sslmode" | "ssl-mode"));
    let mut options = PgConnectOptions::from_url(&url).map_err(|_| {
        refused("a part of it makes no sense; check its port and the parameters after the `?`")
    })?;
    if !says_tls && !is_on_this_machine(&options) {
        options = options.ssl_mode(PgSslMode::VerifyFull);
    }
    let options = options
        .application_name(APPLICATION_NAME)
        .options([
            ("statement_timeout", STATEMENT_TIMEOUT_MS),
            ("lock_timeout", LOCK_TIMEOUT_MS),
            ("idle_in_transaction_session_timeout", IDLE_TRANSACTION_TIMEOUT_MS),
        ])
        .options([("synchronous_commit", "on")])
        .disable_statement_logging();
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    let name = match options.get_socket() {
        Some(socket) => format!("database {database} at {}", socket.display()),
        None => format!(
            "database {database} at {}:{}",
            options.get_host(),
            options.get_port()
        ),
    };
    Ok(Address { options, name })
}

fn is_on_this_machine(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_matches(['[', ']']);
    options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Address {
        parse(&url.into()).map_err(|error| error.to_string()).unwrap()
    }

    #[test]
    fn the_name_says_where_and_not_who() {
        let address = parsed("postgres://ann:canary-secret@db.example:6432/bridge?sslmode=require");
        assert_eq!(address.name, "database bridge at db.example:6432");
        assert_eq!(address.options.get_username(), "ann");
    }

    #[test]
    fn what_leaves_the_machine_is_encrypted_unless_the_url_says_otherwise() {
        let check = |url: &str, mode: PgSslMode| {
            let found = parsed(url).options.get_ssl_mode();
            assert_eq!(
                std::mem::discriminant(&found),
                std::mem::discriminant(&mode),
                "{url}"
            );
        };
        check("postgres://a@db.example/b", PgSslMode::VerifyFull);
        check("postgres://a@db.example/b?sslmode=disable", PgSslMode::Disable);
        check("postgres://a@10.0.0.7/b", PgSslMode::VerifyFull);
        check("postgres://a@127.0.0.1/b", PgSslMode::Prefer);
        check("postgres://a@[::1]/b", PgSslMode::Prefer);
        check("postgres:///b?host=/run/postgresql&user=a", PgSslMode::Prefer);
    }

    #[test]
    fn a_url_that_cannot_be_used_is_refused_without_its_text() {
        for url in [
            "canary-secret",
            "mysql://a:canary-secret@b/c",
            "postgres://a:canary-secret@b:port/c",
            "postgres://a:canary-secret@b/c?sslmode=perhaps",
        ] {
            let error = parse(&url.into()).err().unwrap().to_string();
            assert!(
                error.starts_with("DATABASE_URL") && !error.contains("canary"),
                "{error}"
            );
        }
    }
}
