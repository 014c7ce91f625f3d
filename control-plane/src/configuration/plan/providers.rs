//! Providers of a file, and what becomes of their secrets.

use std::collections::{BTreeMap, BTreeSet};

use secrecy::ExposeSecret;

use super::{Error, Planner};
use crate::configuration::Edit;
use crate::domain::{
    Times,
    provider::{Credentials, HeaderName, PlainSecrets, Provider, ProviderName, Spec},
};
use crate::import::{ImportedProvider, Kept, MASK, Mention};
use crate::store::{Kind, Thing};

pub(super) fn plan(planner: &mut Planner<'_>, providers: Vec<ImportedProvider>) -> Result<(), Error> {
    let configuration = planner.configuration;
    let there = configuration.providers.iter().map(|stored| &stored.value);
    let by_name: BTreeMap<&ProviderName, &Provider> =
        there.map(|provider| (&provider.spec.name, provider)).collect();
    if planner.prune {
        let named: BTreeSet<&ProviderName> = providers.iter().map(|provider| &provider.spec.name).collect();
        for (name, gone) in by_name.iter().filter(|(name, _)| !named.contains(**name)) {
            let before = Some(Thing::Provider((*gone).clone()));
            planner.edit(Kind::Provider, name.as_str(), before, None);
        }
    }
    for (index, provider) in providers.into_iter().enumerate() {
        let before = by_name.get(&provider.spec.name).copied();
        let edit = one(planner, &format!("providers[{index}]"), provider, before)?;
        planner.edits.extend(edit);
    }
    Ok(())
}

/// `None`: nothing changes.
fn one(
    planner: &mut Planner<'_>,
    path: &str,
    provider: ImportedProvider,
    before: Option<&Provider>,
) -> Result<Option<Edit>, Error> {
    let ImportedProvider {
        mut spec,
        secrets,
        kept,
    } = provider;
    let held = before.map_or_else(Credentials::default, |before| before.credentials.clone());
    let missing = missing(&kept, &held);
    if !missing.is_empty() {
        let name = &spec.name;
        let missing = missing.join(", ");
        planner.warnings.push(format!(
            "{path}: provider {name} stays disabled: {MASK} stands for {missing}, which it does not have"
        ));
        spec.enabled = false;
    }
    let new_secrets = new_secrets(&secrets);
    let Some(credentials) = credentials(planner, path, &spec, secrets, &kept, before)? else {
        return Ok(None);
    };
    let is_same = before.is_some_and(|before| before.spec == spec && before.credentials == credentials);
    if is_same {
        return Ok(None);
    }
    let times = before.map_or_else(
        || Times::new(planner.now),
        |before| before.times.touched(planner.now),
    );
    let id = spec.name.to_string();
    let after = Provider {
        spec,
        credentials,
        times,
    };
    Ok(Some(Edit {
        kind: Kind::Provider,
        id,
        before: before.map(|before| Thing::Provider(before.clone())),
        after: Some(Thing::Provider(after)),
        new_secrets,
    }))
}

/// Secrets that are `***` in the file and that nobody has.
fn missing(kept: &Kept, held: &Credentials) -> Vec<String> {
    let api_key = (kept.api_key == Mention::Masked && !held.has_api_key).then(|| "its API key".to_owned());
    let headers = kept
        .masked_headers
        .iter()
        .filter(|name| !held.custom_header_names.contains(name));
    api_key
        .into_iter()
        .chain(headers.map(|name| format!("the header {name}")))
        .collect()
}

fn new_secrets(given: &PlainSecrets) -> Vec<String> {
    let api_key = given.api_key.is_some().then(|| "api_key".to_owned());
    let headers = given.custom_headers.iter();
    let headers = headers.map(|(name, _)| format!("custom_headers.{name}"));
    api_key.into_iter().chain(headers).collect()
}

/// `None`: they have to be entered again, which was noted.
fn credentials(
    planner: &mut Planner<'_>,
    path: &str,
    spec: &Spec,
    given: PlainSecrets,
    kept: &Kept,
    before: Option<&Provider>,
) -> Result<Option<Credentials>, Error> {
    let held = before.map(|before| &before.credentials);
    let keeps_header = |name: &HeaderName| !kept.has_headers || kept.masked_headers.contains(name);
    let keeps_key = kept.api_key != Mention::Given;
    let keeps = |held: &Credentials| {
        (keeps_key && held.has_api_key) || held.custom_header_names.iter().any(keeps_header)
    };
    let loses = |held: &Credentials| {
        (!keeps_key && held.has_api_key) || !held.custom_header_names.iter().all(keeps_header)
    };
    let (Some(before), Some(held)) = (before, held.filter(|held| keeps(held))) else {
        return seal(planner, spec, &given);
    };
    let origins = [
        before.spec.endpoint.base_url.origin(),
        spec.endpoint.base_url.origin(),
    ];
    if origins[0] != origins[1] {
        let [from, to] = origins;
        let reason = format!(
            "moves from {from} to {to}: put the secrets into the file, those that are kept were given for {from}"
        );
        planner.violations.add(format!("{path}.base_url"), reason);
        return Ok(None);
    }
    if given.is_empty() && !loses(held) {
        return Ok(Some(held.clone()));
    }
    let mut merged = planner.keyring.open_provider(before)?;
    if !keeps_key {
        merged.api_key = given.api_key;
    }
    let is_given = |name: &HeaderName| given.custom_headers.iter().any(|(other, _)| other == name);
    merged
        .custom_headers
        .retain(|(name, _)| keeps_header(name) && !is_given(name));
    merged.custom_headers.extend(given.custom_headers);
    let draft = crate::domain::provider::SecretsDraft {
        api_key: merged.api_key.unwrap_or_default(),
        custom_headers: merged
            .custom_headers
            .into_iter()
            .map(|(name, value)| (name.as_str().to_owned(), value.expose_secret().into()))
            .collect(),
    };
    match draft.check() {
        Ok(secrets) => seal(planner, spec, &secrets),
        Err(violations) => {
            planner.violations.nest(path, violations);
            Ok(None)
        }
    }
}

fn seal(planner: &Planner<'_>, spec: &Spec, secrets: &PlainSecrets) -> Result<Option<Credentials>, Error> {
    let sealed = planner
        .keyring
        .seal_provider(&spec.name, &spec.endpoint.base_url, secrets)?;
    Ok(Some(sealed))
}
