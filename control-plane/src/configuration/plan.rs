//! What a file would change: the edits that make the configuration what it says.
//!
//! A list that is not in the file leaves its things alone. Keys can be changed by their
//! ids and not be made, since no file holds them.

mod providers;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::{Edit, Places};
use crate::domain::{
    FieldViolation, Violations,
    api_key::{DisabledBy, Spec as KeySpec},
};
use crate::import::{Imported, ImportedKey, ImportedSettings};
use crate::secrets::{Keyring, SealError};
use crate::store::{Configuration, Kind, Thing};

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the file cannot be applied")]
    Invalid(Vec<FieldViolation>),
    #[error(transparent)]
    Seal(#[from] SealError),
}

#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) edits: Vec<Edit>,
    pub(crate) places: Places,
    pub(crate) warnings: Vec<String>,
}

/// What a plan is made of.
struct Planner<'a> {
    configuration: &'a Configuration,
    keyring: &'a Keyring,
    prune: bool,
    now: SystemTime,
    violations: Violations,
    warnings: Vec<String>,
    edits: Vec<Edit>,
}

/// `prune`: things that the file does not name are deleted.
pub(crate) fn plan(
    imported: Imported,
    prune: bool,
    configuration: &Configuration,
    keyring: &Keyring,
    now: SystemTime,
) -> Result<Plan, Error> {
    let Imported {
        providers,
        settings,
        rules,
        api_keys,
        lists,
        warnings,
    } = imported;
    let mut planner = Planner {
        configuration,
        keyring,
        prune,
        now,
        violations: Violations::default(),
        warnings,
        edits: Vec::new(),
    };
    if lists.providers {
        providers::plan(&mut planner, providers)?;
    }
    let places = rules::plan(&mut planner, lists.rules.then_some(rules));
    planner.settings(settings);
    if lists.api_keys {
        planner.api_keys(api_keys);
    }
    let Planner {
        violations,
        warnings,
        edits,
        ..
    } = planner;
    violations.finish(Some(())).map_err(Error::Invalid)?;
    Ok(Plan {
        edits,
        places,
        warnings,
    })
}

impl Planner<'_> {
    fn edit(&mut self, kind: Kind, id: &str, before: Option<Thing>, after: Option<Thing>) {
        self.edits.push(Edit {
            kind,
            id: id.to_owned(),
            before,
            after,
            new_secrets: Vec::new(),
        });
    }

    fn settings(&mut self, settings: ImportedSettings) {
        let Some(before) = &self.configuration.settings else {
            return;
        };
        let before = before.value.clone();
        match settings.on(&before) {
            Ok(after) if after != before => {
                let (before, after) = (Thing::Settings(before), Thing::Settings(after));
                self.edit(Kind::Settings, "", Some(before), Some(after));
            }
            Ok(_) => {}
            Err(violations) => {
                for FieldViolation { field, description } in violations {
                    self.violations.add(field, description);
                }
            }
        }
    }

    fn api_keys(&mut self, keys: Vec<ImportedKey>) {
        let configuration = self.configuration;
        let there = || configuration.api_keys.iter().map(|stored| &stored.value);
        if self.prune {
            let named: BTreeSet<_> = keys.iter().map(|key| &key.id).collect();
            for gone in there().filter(|key| !named.contains(&key.id)) {
                let before = Some(Thing::ApiKey(gone.clone()));
                self.edit(Kind::ApiKey, gone.id.as_str(), before, None);
            }
        }
        let by_id: BTreeMap<_, _> = there().map(|key| (&key.id, key)).collect();
        for ImportedKey {
            path,
            id,
            owner,
            spec,
        } in keys
        {
            let Some(before) = by_id.get(&id) else {
                self.warnings.push(format!(
                    "{path}: there is no key {id}, and no file can make one: create it"
                ));
                continue;
            };
            if owner.is_some_and(|owner| owner != before.spec.owner) {
                self.violations
                    .add(format!("{path}.owner"), "cannot be changed: make a new key");
            }
            let spec = KeySpec {
                owner: before.spec.owner,
                ..spec
            };
            if spec != before.spec {
                let after = (*before).clone().with_spec(spec, DisabledBy::Admin, self.now);
                let before = Some(Thing::ApiKey((*before).clone()));
                self.edit(Kind::ApiKey, id.as_str(), before, Some(Thing::ApiKey(after)));
            }
        }
    }
}
