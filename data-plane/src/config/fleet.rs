//! By what the control plane is known, and by what this node.

use std::path::{Path, PathBuf};

use url::Url;

use super::{Enrolment, TokenSource, Trust};

const IDENTITY_FILE: &str = "./data/node-identity";

pub(super) fn trust(
    authority: Option<PathBuf>,
    fingerprint: Option<String>,
    urls: Option<&[Url]>,
) -> Result<Trust, String> {
    let fingerprint = fingerprint.filter(|text| !text.trim().is_empty());
    match (authority, fingerprint) {
        (Some(_), Some(_)) => Err(
            "CONTROL_PLANE_CA_FILE and AUTHORITY_FINGERPRINT: two ways to know the control plane; give one of them"
                .to_owned(),
        ),
        (Some(path), None) => Ok(Trust::Authority(path)),
        (None, Some(text)) => fingerprint_of(text.trim()).map(Trust::Fingerprint),
        (None, None) if urls.is_some_and(has_https) => Err(
            "CONTROL_PLANE_CA_FILE: an https control plane needs its authority's certificate, or \
             AUTHORITY_FINGERPRINT if its certificate is of the fleet's own authority"
                .to_owned(),
        ),
        (None, None) => Ok(Trust::Nobody),
    }
}

/// An empty variable is like an absent one.
pub(super) fn join_token(given: Option<String>, file: Option<String>) -> Option<TokenSource> {
    match given.as_deref().map(str::trim) {
        None | Some("") => {
            let file = file.filter(|path| !path.is_empty());
            file.map(|path| TokenSource::File(path.into()))
        }
        Some(token) => Some(TokenSource::Given(token.to_owned().into())),
    }
}

/// A node that has a certificate, or is to get one, shows nothing else.
pub(super) fn enrolment(
    identity: Option<PathBuf>,
    join_token: Option<TokenSource>,
    urls: Option<&[Url]>,
) -> Result<Option<Enrolment>, String> {
    let is_named = identity.is_some();
    let identity = identity.unwrap_or_else(|| Path::new(IDENTITY_FILE).to_owned());
    let is_there = identity.exists();
    if join_token.is_none() && !is_there {
        return match is_named {
            true => Err(format!(
                "IDENTITY_FILE: {} is not there yet; give JOIN_TOKEN or JOIN_TOKEN_FILE too",
                identity.display()
            )),
            false => Ok(None),
        };
    }
    if urls.is_some_and(|urls| urls.iter().any(|url| url.scheme() != "https")) {
        return Err(format!(
            "JOIN_TOKEN: a node with a certificate ({}) needs https in CONTROL_PLANE_URL",
            identity.display()
        ));
    }
    Ok(Some(Enrolment { identity, join_token }))
}

fn has_https(urls: &[Url]) -> bool {
    urls.iter().any(|url| url.scheme() == "https")
}

fn fingerprint_of(text: &str) -> Result<[u8; 32], String> {
    let digits: String = text.chars().filter(|char| *char != ':').collect();
    let mut bytes = [0; 32];
    let is_whole = digits.len() == 2 * bytes.len() && digits.is_ascii();
    let pairs = (0..digits.len()).step_by(2);
    let parsed: Option<Vec<u8>> = pairs
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect();
    match parsed {
        Some(parsed) if is_whole => {
            bytes.copy_from_slice(&parsed);
            Ok(bytes)
        }
        Some(_) | None => Err("AUTHORITY_FINGERPRINT: must be 64 hex digits".to_owned()),
    }
}
