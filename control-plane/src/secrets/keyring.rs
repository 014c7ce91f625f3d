//! Seals and opens secrets.
//!
//! Each record has a key of its own, wrapped by the master key, so that another
//! master key means wrapping anew, not encrypting anew. What a ciphertext belongs to
//! (the record, the field, the origin that the secret may be sent to) is part of
//! what is authenticated: moved anywhere else it does not open.

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::MasterKey;
use crate::domain::provider::{
    BaseUrl, Credentials, HeaderName, PlainSecrets, Provider, ProviderName, SealedField, SealedSecrets,
};

const NONCE_BYTES: usize = 24;
/// Fields of a provider; a custom header has its name after the prefix.
const API_KEY_FIELD: &str = "api_key";
const HEADER_FIELD_PREFIX: &str = "header/";
/// The field that stands for the key of a record.
const RECORD_KEY_FIELD: &str = "record_key";
/// The version of what is authenticated.
const AAD_VERSION: &str = "bridge-seal-v1";

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    #[error("{record} was sealed with master key {found}, this one is {expected}")]
    OtherMasterKey {
        record: String,
        found: String,
        expected: String,
    },
    #[error("the secrets of {record} do not open: they were changed or moved")]
    Refused { record: String },
    #[error("a secret of {record} is too long to be sealed")]
    TooLong { record: String },
}

/// What a ciphertext belongs to.
struct Place<'a> {
    record: &'a str,
    /// Where the secret may be sent to; empty for our own.
    origin: &'a str,
}

/// Holds the master key.
#[derive(Clone)]
pub struct Keyring {
    master: MasterKey,
    id: String,
}

impl Keyring {
    #[must_use]
    pub fn new(master: MasterKey) -> Self {
        let id = master.id();
        Self { master, id }
    }

    /// Seals the secrets of a provider for the origin of its URL.
    pub fn seal_provider(
        &self,
        name: &ProviderName,
        url: &BaseUrl,
        secrets: &PlainSecrets,
    ) -> Result<Credentials, SealError> {
        let PlainSecrets {
            api_key,
            custom_headers,
        } = secrets;
        let api_key_field = api_key.iter().map(|key| (API_KEY_FIELD.to_owned(), key));
        let header_fields = custom_headers
            .iter()
            .map(|(name, value)| (format!("{HEADER_FIELD_PREFIX}{name}"), value));
        let fields: Vec<(String, &SecretString)> = api_key_field.chain(header_fields).collect();
        let record = record_of(name);
        let place = Place {
            record: &record,
            origin: url.origin(),
        };
        Ok(Credentials {
            sealed: if secrets.is_empty() {
                None
            } else {
                Some(self.seal_record(&place, &fields)?)
            },
            has_api_key: api_key.is_some(),
            api_key_hint: secrets.api_key_hint(),
            custom_header_names: custom_headers.iter().map(|(name, _)| name.clone()).collect(),
        })
    }

    /// Opens the secrets of a provider, if they are its own and for this origin.
    pub fn open_provider(&self, provider: &Provider) -> Result<PlainSecrets, SealError> {
        let Some(sealed) = &provider.credentials.sealed else {
            return Ok(PlainSecrets::default());
        };
        let record = record_of(&provider.spec.name);
        let place = Place {
            record: &record,
            origin: provider.spec.endpoint.base_url.origin(),
        };
        let cipher = self.unwrap_key(&place, sealed)?;
        let mut secrets = PlainSecrets::default();
        for SealedField { field, sealed } in &sealed.fields {
            let value = open_text(&cipher, &place, field, sealed)?;
            match field.strip_prefix(HEADER_FIELD_PREFIX) {
                Some(name) => {
                    let name = HeaderName::parse(name).map_err(|_| refused(&place))?;
                    secrets.custom_headers.push((name, value));
                }
                None => secrets.api_key = Some(value),
            }
        }
        Ok(secrets)
    }

    /// Seals a secret of the control plane itself.
    pub fn seal_own(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        seal(
            &cipher(self.master.as_bytes()),
            &Place {
                record: name,
                origin: "",
            },
            name,
            plain,
        )
    }

    pub fn open_own(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        open(
            &cipher(self.master.as_bytes()),
            &Place {
                record: name,
                origin: "",
            },
            name,
            sealed,
        )
    }

    fn seal_record(
        &self,
        place: &Place<'_>,
        fields: &[(String, &SecretString)],
    ) -> Result<SealedSecrets, SealError> {
        let key = Zeroizing::new(rand::random::<[u8; 32]>());
        let wrapped_key = seal(
            &cipher(self.master.as_bytes()),
            place,
            RECORD_KEY_FIELD,
            key.as_slice(),
        )?;
        let cipher = cipher(&key);
        let fields = fields
            .iter()
            .map(|(field, secret)| {
                let sealed = seal(&cipher, place, field, secret.expose_secret().as_bytes())?;
                Ok(SealedField {
                    field: field.clone(),
                    sealed,
                })
            })
            .collect::<Result<_, SealError>>()?;
        Ok(SealedSecrets {
            master_key_id: self.id.clone(),
            wrapped_key,
            fields,
        })
    }

    /// The same secrets with their key wrapped by another master key.
    pub fn rewrap(&self, provider: &Provider, next: &Self) -> Result<Credentials, SealError> {
        let mut credentials = provider.credentials.clone();
        if let Some(sealed) = &mut credentials.sealed {
            let record = record_of(&provider.spec.name);
            let place = Place {
                record: &record,
                origin: provider.spec.endpoint.base_url.origin(),
            };
            let key = self.record_key(&place, sealed)?;
            sealed.wrapped_key = seal(&cipher(next.master.as_bytes()), &place, RECORD_KEY_FIELD, &key)?;
            sealed.master_key_id.clone_from(&next.id);
        }
        Ok(credentials)
    }

    fn unwrap_key(&self, place: &Place<'_>, sealed: &SealedSecrets) -> Result<XChaCha20Poly1305, SealError> {
        let key = self.record_key(place, sealed)?;
        let key = <&[u8; 32]>::try_from(key.as_slice()).map_err(|_| refused(place))?;
        Ok(cipher(key))
    }

    fn record_key(&self, place: &Place<'_>, sealed: &SealedSecrets) -> Result<Zeroizing<Vec<u8>>, SealError> {
        if sealed.master_key_id != self.id {
            let found = sealed.master_key_id.clone();
            return Err(SealError::OtherMasterKey {
                record: place.record.to_owned(),
                found,
                expected: self.id.clone(),
            });
        }
        open(
            &cipher(self.master.as_bytes()),
            place,
            RECORD_KEY_FIELD,
            &sealed.wrapped_key,
        )
    }
}

fn record_of(name: &ProviderName) -> String {
    format!("provider/{name}")
}

fn cipher(key: &[u8; 32]) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.into())
}

/// Parts are separated by a byte that none of them can hold.
fn associated_data(place: &Place<'_>, field: &str) -> Vec<u8> {
    [AAD_VERSION, place.record, field, place.origin]
        .join("\0")
        .into_bytes()
}

/// A random nonce, then the ciphertext.
fn seal(
    cipher: &XChaCha20Poly1305,
    place: &Place<'_>,
    field: &str,
    plain: &[u8],
) -> Result<Vec<u8>, SealError> {
    let nonce: [u8; NONCE_BYTES] = rand::random();
    let aad = associated_data(place, field);
    let sealed = cipher.encrypt(
        &XNonce::from(nonce),
        Payload {
            msg: plain,
            aad: &aad,
        },
    );
    let sealed = sealed.map_err(|_| SealError::TooLong {
        record: place.record.to_owned(),
    })?;
    Ok([nonce.as_slice(), sealed.as_slice()].concat())
}

fn open(
    cipher: &XChaCha20Poly1305,
    place: &Place<'_>,
    field: &str,
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (nonce, text) = sealed
        .split_first_chunk::<NONCE_BYTES>()
        .ok_or_else(|| refused(place))?;
    let aad = associated_data(place, field);
    let plain = cipher.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: &aad });
    plain.map(Zeroizing::new).map_err(|_| refused(place))
}

fn open_text(
    cipher: &XChaCha20Poly1305,
    place: &Place<'_>,
    field: &str,
    sealed: &[u8],
) -> Result<SecretString, SealError> {
    let plain = open(cipher, place, field, sealed)?;
    std::str::from_utf8(&plain)
        .map(SecretString::from)
        .map_err(|_| refused(place))
}

fn refused(place: &Place<'_>) -> SealError {
    SealError::Refused {
        record: place.record.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        domain::{
            Times,
            provider::{Draft, SecretsDraft},
        },
        secrets::MasterKeySource,
    };

    fn keyring() -> Keyring {
        let text = rand::random::<[u8; 32]>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>();
        Keyring::new(MasterKey::load(&MasterKeySource::Given(text.into()), false).unwrap())
    }

    fn provider(name: &str, url: &str, credentials: Credentials) -> Provider {
        Provider {
            spec: Draft::plain(name, url).check().unwrap(),
            credentials,
            times: Times::new(SystemTime::UNIX_EPOCH),
        }
    }

    fn sealed(keyring: &Keyring) -> Provider {
        let headers = vec![("x-team".to_owned(), "blue".into())];
        let secrets = SecretsDraft {
            api_key: "sk-0123456789abcdef".into(),
            custom_headers: headers,
        }
        .check()
        .unwrap();
        let bare = provider("a", "https://a.example/v1", Credentials::default());
        let credentials = keyring
            .seal_provider(&bare.spec.name, &bare.spec.endpoint.base_url, &secrets)
            .unwrap();
        Provider { credentials, ..bare }
    }

    #[test]
    fn what_is_sealed_opens_in_its_place() {
        let keyring = keyring();
        let provider = sealed(&keyring);
        assert_eq!(provider.credentials.api_key_hint, "cdef");
        let secrets = keyring.open_provider(&provider).unwrap();
        assert_eq!(secrets.api_key.unwrap().expose_secret(), "sk-0123456789abcdef");
        assert_eq!(secrets.custom_headers[0].1.expose_secret(), "blue");
        let own = keyring.seal_own("signing_key", b"k").unwrap();
        assert_eq!(keyring.open_own("signing_key", &own).unwrap().as_slice(), b"k");
        assert!(keyring.open_own("key_check", &own).is_err());
    }

    #[test]
    fn a_ciphertext_opens_nowhere_else() {
        let keyring = keyring();
        let original = sealed(&keyring);
        let credentials = original.credentials;
        let check = |provider: Provider| assert!(keyring.open_provider(&provider).is_err());
        check(provider("b", "https://a.example/v1", credentials.clone()));
        check(provider("a", "https://evil.example/v1", credentials.clone()));
        check(provider("a", "http://a.example:443/v1", credentials.clone()));
        let mut swapped = credentials.clone();
        let fields = &mut swapped.sealed.as_mut().unwrap().fields;
        (fields[0].field, fields[1].field) = (fields[1].field.clone(), fields[0].field.clone());
        check(provider("a", "https://a.example/v1", swapped));
        assert!(
            keyring
                .open_provider(&provider("a", "https://a.example/other", credentials))
                .is_ok()
        );
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let keyring = keyring();
        let original = sealed(&keyring);
        for place in 0..original.credentials.sealed.as_ref().unwrap().wrapped_key.len() {
            let mut damaged = original.clone();
            damaged.credentials.sealed.as_mut().unwrap().wrapped_key[place] ^= 1;
            assert!(keyring.open_provider(&damaged).is_err(), "byte {place}");
        }
    }

    #[test]
    fn what_is_wrapped_anew_opens_with_the_new_key_alone() {
        let (old, new) = (keyring(), keyring());
        let before = sealed(&old);
        let mut after = before.clone();
        after.credentials = old.rewrap(&before, &new).unwrap();
        let secrets = new.open_provider(&after).unwrap();
        assert_eq!(secrets.api_key.unwrap().expose_secret(), "sk-0123456789abcdef");
        assert!(old.open_provider(&after).is_err() && new.rewrap(&before, &old).is_err());
        let fields = |provider: &Provider| provider.credentials.sealed.clone().unwrap().fields;
        assert!(fields(&before) == fields(&after), "the secrets are not touched");
        assert!(before.credentials.is_same_secret(&after.credentials));
        let again = sealed(&old);
        assert!(
            !before.credentials.is_same_secret(&again.credentials),
            "they were given anew"
        );
    }

    #[test]
    fn another_master_key_is_named() {
        let provider = sealed(&keyring());
        assert!(matches!(
            keyring().open_provider(&provider),
            Err(SealError::OtherMasterKey { .. })
        ));
    }
}
