//! Who is asking: finds the key in a request and holds it against the snapshot.
//!
//! A key is `sk-bridge-<id12>-<secret43><crc6>`. The id is public and finds the
//! record, the secret is 256 random bits, and the checksum refuses typing errors
//! before anything is looked up. A wrong secret costs what an unknown id costs.

use std::time::SystemTime;

use http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::snapshot::{ApiKey, KeyHash, KeyId, Snapshot};

const PREFIX: &str = "sk-bridge-";
const SECRET_CHARS: usize = 43;
const CHECKSUM_CHARS: usize = 6;
const KEY_CHARS: usize = PREFIX.len() + KeyId::CHARS + 1 + SECRET_CHARS + CHECKSUM_CHARS;
const HASH_DOMAIN: &[u8] = b"bridge-key-v1";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const API_KEY_HEADER: &str = "x-api-key";
const BEARER: &str = "bearer ";
const QUERY_NAME: &str = "api_key";
/// Stands in for the hash of an id that does not exist.
const DUMMY: KeyHash = KeyHash([0; 32]);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("no API key was given; send it as x-api-key or as authorization: Bearer")]
    Missing,
    /// One text for every reason, so that guessing learns nothing.
    #[error("invalid API key")]
    Invalid,
}

/// Who asks, and whether the key stood where it should not.
#[derive(Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) key: &'a ApiKey,
    pub(crate) is_by_query: bool,
}

/// Finds the caller. Of two headers either valid one counts; `x-api-key` names the
/// caller. The query counts only without a header, and only if the settings allow it.
pub(crate) fn authenticate<'a>(
    snapshot: &'a Snapshot,
    headers: &HeaderMap,
    query: Option<&str>,
    now: SystemTime,
) -> Result<Caller<'a>, Error> {
    let from_header = headers.get(API_KEY_HEADER).map(|value| value.as_bytes());
    let from_bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| bearer(value.as_bytes()));
    if from_header.is_none() && from_bearer.is_none() {
        let from_query = query
            .filter(|_| snapshot.settings.allow_query_api_key)
            .and_then(query_key);
        let key = verify(snapshot, from_query.ok_or(Error::Missing)?.as_bytes(), now)?;
        return Ok(Caller {
            key,
            is_by_query: true,
        });
    }
    [from_header, from_bearer]
        .into_iter()
        .flatten()
        .map(|key| verify(snapshot, key.trim_ascii(), now))
        .reduce(Result::or)
        .unwrap_or(Err(Error::Missing))
        .map(|key| Caller {
            key,
            is_by_query: false,
        })
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER.as_bytes()).then_some(key)
}

/// A key has no character that a query would have to escape.
fn query_key(query: &str) -> Option<&str> {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(name, value)| (name == QUERY_NAME).then_some(value))
}

/// Whether a value is, or holds, what might be a key of ours: such a value goes to nobody.
pub(crate) fn holds_our_key(value: &[u8]) -> bool {
    let mut windows = value.windows(PREFIX.len());
    windows.any(|window| window.eq_ignore_ascii_case(PREFIX.as_bytes()))
}

/// Whether a pair of a query is a key, however it is escaped.
pub(crate) fn is_key_in_query(pair: &str) -> bool {
    let mut decoded = url::form_urlencoded::parse(pair.as_bytes());
    decoded.any(|(name, value)| {
        name.eq_ignore_ascii_case(QUERY_NAME)
            || holds_our_key(name.as_bytes())
            || holds_our_key(value.as_bytes())
    })
}

fn verify<'a>(snapshot: &'a Snapshot, presented: &[u8], now: SystemTime) -> Result<&'a ApiKey, Error> {
    let (id, secret) = parse(presented).ok_or(Error::Invalid)?;
    let key = snapshot.keys.get(&id).map(AsRef::as_ref);
    let expected = key.and_then(|key| key.hash);
    let is_same = hash(&id, secret).0.ct_eq(&expected.unwrap_or(DUMMY).0);
    key.filter(|_| expected.is_some() && bool::from(is_same))
        .filter(|key| key.expires_at.is_none_or(|expires_at| now < expires_at))
        .ok_or(Error::Invalid)
}

fn parse(presented: &[u8]) -> Option<(KeyId, &[u8])> {
    if presented.len() != KEY_CHARS {
        return None;
    }
    let (body, checksum) = presented.split_at(KEY_CHARS - CHECKSUM_CHARS);
    let parts = body.strip_prefix(PREFIX.as_bytes())?;
    if checksum != checksum_of(body) {
        return None;
    }
    let (id, secret) = parts.split_at_checked(KeyId::CHARS)?;
    let secret = secret
        .strip_prefix(b"-")
        .filter(|secret| secret.iter().all(u8::is_ascii_alphanumeric))?;
    Some((KeyId::parse(id)?, secret))
}

/// CRC-32 in base 62, most significant first, padded to its full width.
fn checksum_of(body: &[u8]) -> [u8; CHECKSUM_CHARS] {
    let mut rest = crc32fast::hash(body) as usize;
    let mut digits = [b'0'; CHECKSUM_CHARS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[rest % ALPHABET.len()];
        rest /= ALPHABET.len();
    }
    digits
}

fn hash(id: &KeyId, secret: &[u8]) -> KeyHash {
    let mut hasher = Sha256::new();
    hasher.update(HASH_DOMAIN);
    hasher.update(id.as_bytes());
    hasher.update(secret);
    KeyHash(hasher.finalize().into())
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;
    use crate::snapshot::decode::tests::snapshot;

    pub(crate) const ID: &str = "abcDEF012345";
    const SECRET: &str = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

    /// The whole key and the hash that a snapshot carries for it.
    pub(crate) fn key(id: &str) -> (String, KeyHash) {
        let body = format!("{PREFIX}{id}-{SECRET}");
        let checksum = String::from_utf8(checksum_of(body.as_bytes()).to_vec()).unwrap();
        let hash = hash(&KeyId::parse(id.as_bytes()).unwrap(), SECRET.as_bytes());
        (body + &checksum, hash)
    }

    fn ask(headers: &[(&'static str, String)], query: Option<&str>) -> Result<KeyId, Error> {
        ask_at(
            headers,
            query,
            SystemTime::UNIX_EPOCH + Duration::from_secs(1_000),
        )
    }

    fn ask_at(
        headers: &[(&'static str, String)],
        query: Option<&str>,
        now: SystemTime,
    ) -> Result<KeyId, Error> {
        let headers = headers
            .iter()
            .map(|(name, value)| {
                (
                    http::HeaderName::from_static(name),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        authenticate(&snapshot(), &headers, query, now).map(|caller| caller.key.id)
    }

    #[test]
    fn a_key_counts_in_either_header() {
        let (key, _) = key(ID);
        let id = KeyId::parse(ID.as_bytes()).unwrap();
        assert_eq!(ask(&[("x-api-key", key.clone())], None), Ok(id));
        assert_eq!(ask(&[("authorization", format!("Bearer {key}"))], None), Ok(id));
        assert_eq!(ask(&[("authorization", format!("bearer {key}"))], None), Ok(id));
        assert_eq!(
            ask(
                &[("x-api-key", key.clone()), ("authorization", "Bearer x".into())],
                None
            ),
            Ok(id)
        );
        assert_eq!(
            ask(
                &[
                    ("x-api-key", "x".into()),
                    ("authorization", format!("Bearer {key}"))
                ],
                None
            ),
            Ok(id)
        );
    }

    #[test]
    fn the_api_key_header_names_the_caller() {
        let (first, second) = (key(ID).0, key("zzzzzzzzzzzz").0);
        let named = ask(
            &[
                ("authorization", format!("Bearer {second}")),
                ("x-api-key", first),
            ],
            None,
        );
        assert_eq!(named, Ok(KeyId::parse(ID.as_bytes()).unwrap()));
    }

    #[test]
    fn the_query_counts_only_without_a_header() {
        let (key, _) = key(ID);
        let query = format!("beta=true&api_key={key}");
        assert!(ask(&[], Some(&query)).is_ok());
        assert_eq!(
            ask(&[("x-api-key", "wrong".into())], Some(&query)),
            Err(Error::Invalid)
        );
        assert_eq!(ask(&[], Some("beta=true")), Err(Error::Missing));
        assert_eq!(ask(&[], None), Err(Error::Missing));
    }

    #[test]
    fn the_query_does_not_count_where_the_settings_forbid_it() {
        let mut snapshot = snapshot();
        snapshot.settings.allow_query_api_key = false;
        let query = format!("api_key={}", key(ID).0);
        let answer = authenticate(&snapshot, &HeaderMap::new(), Some(&query), SystemTime::UNIX_EPOCH);
        assert_eq!(answer.map(|caller| caller.key.id), Err(Error::Missing));
    }

    #[test]
    fn every_changed_character_is_refused() {
        let (key, _) = key(ID);
        for position in 0..key.len() {
            let mut wrong = key.clone().into_bytes();
            wrong[position] = if wrong[position] == b'x' { b'y' } else { b'x' };
            let wrong = String::from_utf8(wrong).unwrap();
            assert_eq!(
                ask(&[("x-api-key", wrong)], None),
                Err(Error::Invalid),
                "position {position}"
            );
        }
    }

    #[test]
    fn unknown_ids_wrong_secrets_and_unknown_algorithms_are_refused_alike() {
        for id in ["unknown00000", "algorithm000"] {
            assert_eq!(
                ask(&[("x-api-key", key(id).0)], None),
                Err(Error::Invalid),
                "{id}"
            );
        }
        let body = format!("{PREFIX}{ID}-{}", SECRET.replace('G', "H"));
        let wrong = format!(
            "{body}{}",
            String::from_utf8(checksum_of(body.as_bytes()).to_vec()).unwrap()
        );
        assert_eq!(ask(&[("x-api-key", wrong)], None), Err(Error::Invalid));
    }

    #[test]
    fn a_key_ends_at_its_instant() {
        let expires = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000);
        let headers = [("x-api-key", key("expires00000").0)];
        assert!(ask_at(&headers, None, expires - Duration::from_secs(1)).is_ok());
        assert_eq!(ask_at(&headers, None, expires), Err(Error::Invalid));
    }

    #[test]
    fn the_checksum_is_padded_base62_of_crc32() {
        assert_eq!(&checksum_of(b""), b"000000");
        // CRC-32 of "123456789" is 0xCBF43926 = 3 421 780 262.
        let digits = checksum_of(b"123456789");
        let value = digits.iter().fold(0, |sum, digit| {
            sum * 62 + ALPHABET.iter().position(|c| c == digit).unwrap() as u64
        });
        assert_eq!(value, 0xCBF4_3926);
    }
}
