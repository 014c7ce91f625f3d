//! What makes things what they were at a revision.
//!
//! Nothing that was taken away comes back by itself: keys that were deleted, disabled or
//! given an earlier end stay so, and secrets are those of today. A provider that would
//! have to do without secrets it had comes back disabled. All of it is said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use super::Edit;
use crate::domain::{
    api_key::{ApiKey, DisabledBy, Spec as KeySpec},
    model::{ModelRule, RULES_MAX, RuleId},
    provider::{Credentials, Provider, ProviderName, Spec},
};
use crate::store::{Between, Changed, Configuration, Thing, target};

/// Sentences that are answered.
const NOTES_MAX: usize = 100;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Error {
    #[error("{0} was not changed since that revision, or does not exist")]
    UnknownTarget(String),
    #[error("there would be more than {RULES_MAX} model rules")]
    TooManyRules,
}

#[derive(Debug)]
pub(crate) struct Rollback {
    pub(crate) edits: Vec<Edit>,
    pub(crate) notes: Vec<String>,
}

#[derive(Default)]
struct Notes {
    said: Vec<String>,
    made_since: usize,
}

/// `between`: from the revision to what is there, which is `configuration`. `targets`:
/// only these; none: all.
pub(crate) fn plan(
    between: Between,
    configuration: &Configuration,
    targets: &[String],
    now: SystemTime,
) -> Result<Rollback, Error> {
    let known: BTreeSet<String> = between
        .changed
        .iter()
        .map(|changed| target(changed.kind, &changed.id))
        .collect();
    if let Some(unknown) = targets.iter().find(|target| !known.contains(*target)) {
        return Err(Error::UnknownTarget(unknown.clone()));
    }
    let mut notes = Notes::default();
    let mut edits = Vec::new();
    for changed in between.changed {
        if targets.is_empty() || targets.contains(&target(changed.kind, &changed.id)) {
            edits.extend(edit(changed, now, &mut notes));
        }
    }
    keep_what_rules_need(&mut edits, configuration, &mut notes)?;
    Ok(Rollback {
        edits,
        notes: notes.finish(),
    })
}

fn edit(changed: Changed, at: SystemTime, notes: &mut Notes) -> Option<Edit> {
    let Changed {
        kind,
        id,
        states: [was, now],
    } = changed;
    let after = match (was, &now) {
        (Some(Thing::Provider(was)), Some(Thing::Provider(now))) => {
            Some(Thing::Provider(provider(was, Some(now), at, notes)?))
        }
        (Some(Thing::Provider(was)), _) => Some(Thing::Provider(provider(was, None, at, notes)?)),
        (Some(Thing::ModelRule(was)), Some(Thing::ModelRule(now))) if was == *now => return None,
        (Some(was @ Thing::ModelRule(_)), _) => Some(was),
        (Some(Thing::Settings(was)), Some(Thing::Settings(now))) if was == *now => return None,
        (Some(was @ Thing::Settings(_)), _) => Some(was),
        (Some(Thing::ApiKey(was)), Some(Thing::ApiKey(now))) => {
            Some(Thing::ApiKey(api_key(was, now, at, notes)?))
        }
        (Some(Thing::ApiKey(was)), _) => {
            notes.say(format!("api_key/{} was deleted since and stays so", was.id));
            return None;
        }
        (None, Some(Thing::ApiKey(_))) => {
            notes.made_since += 1;
            return None;
        }
        // There are settings at any time.
        (None, None | Some(Thing::Settings(_))) => return None,
        (None, Some(Thing::Provider(_) | Thing::ModelRule(_))) => None,
    };
    Some(Edit {
        kind,
        id,
        before: now,
        after,
        new_secrets: Vec::new(),
    })
}

/// `None`: it is as it was.
fn provider(was: Provider, now: Option<&Provider>, at: SystemTime, notes: &mut Notes) -> Option<Provider> {
    let name = was.spec.name.clone();
    let origin = |provider: &Provider| provider.spec.endpoint.base_url.origin().to_owned();
    let at_home = now.filter(|now| origin(now) == origin(&was));
    let credentials = at_home.map_or_else(Credentials::default, |now| now.credentials.clone());
    let had = &was.credentials;
    let lacks_header = had
        .custom_header_names
        .iter()
        .any(|name| !credentials.custom_header_names.contains(name));
    let is_lacking = lacks_header || (had.has_api_key && !credentials.has_api_key);
    // One that does without them today may go on.
    let is_serving = at_home.is_some_and(|now| now.spec.enabled);
    let enabled = was.spec.enabled && (is_serving || !is_lacking);
    let spec = Spec { enabled, ..was.spec };
    if is_lacking && was.spec.enabled && !enabled {
        notes.say(format!(
            "provider/{name} is disabled: its secrets are not turned back; enter them and enable it"
        ));
    } else if had.has_api_key != credentials.has_api_key
        || had.custom_header_names != credentials.custom_header_names
    {
        notes.say(format!(
            "provider/{name} has the secrets of today: they are not turned back"
        ));
    }
    let times = now.map_or(was.times, |now| now.times).touched(at);
    (now.map(|now| &now.spec) != Some(&spec)).then_some(Provider {
        spec,
        credentials,
        times,
    })
}

/// `None`: it is as it was.
fn api_key(was: ApiKey, now: &ApiKey, at: SystemTime, notes: &mut Notes) -> Option<ApiKey> {
    let id = &now.id;
    let mut spec = KeySpec {
        owner: now.spec.owner,
        ..was.spec
    };
    if spec.enabled && !now.spec.enabled {
        spec.enabled = false;
        notes.say(format!("api_key/{id} was disabled since and stays so"));
    }
    if let Some(end) = now.spec.expires_at
        && spec.expires_at.is_none_or(|was| end < was)
    {
        spec.expires_at = Some(end);
        notes.say(format!(
            "api_key/{id} was given an earlier end since and keeps it"
        ));
    }
    (now.spec != spec).then(|| now.clone().with_spec(spec, DisabledBy::Admin, at))
}

/// Takes out of the edits what would leave rules that lead nowhere.
fn keep_what_rules_need(
    edits: &mut Vec<Edit>,
    configuration: &Configuration,
    notes: &mut Notes,
) -> Result<(), Error> {
    let providers = providers_after(edits, configuration);
    edits.retain(|edit| {
        let Some(Thing::ModelRule(rule)) = &edit.after else {
            return true;
        };
        let is_led = rule.provider().is_none_or(|name| providers.contains(name));
        if !is_led {
            notes.say(format!(
                "{} stays as it is: the provider that it led to is not there",
                edit.target()
            ));
        }
        is_led
    });
    let rules = rules_after(edits, configuration);
    if rules.len() > RULES_MAX {
        return Err(Error::TooManyRules);
    }
    let needed: BTreeSet<&ProviderName> = rules.values().filter_map(|rule| rule.provider()).collect();
    edits.retain(|edit| {
        let is_needed = match (&edit.before, &edit.after) {
            (Some(Thing::Provider(provider)), None) => needed.contains(&provider.spec.name),
            (_, _) => false,
        };
        if is_needed {
            notes.say(format!("{} stays: model rules lead to it", edit.target()));
        }
        !is_needed
    });
    Ok(())
}

fn providers_after(edits: &[Edit], configuration: &Configuration) -> BTreeSet<ProviderName> {
    let there = configuration.providers.iter();
    let mut names: BTreeSet<_> = there.map(|stored| stored.value.spec.name.clone()).collect();
    for edit in edits {
        match (&edit.before, &edit.after) {
            (_, Some(Thing::Provider(provider))) => {
                names.insert(provider.spec.name.clone());
            }
            (Some(Thing::Provider(provider)), None) => {
                names.remove(&provider.spec.name);
            }
            (_, _) => {}
        }
    }
    names
}

fn rules_after(edits: &[Edit], configuration: &Configuration) -> BTreeMap<RuleId, ModelRule> {
    let there = configuration.model_rules.iter();
    let mut rules: BTreeMap<_, _> = there
        .map(|stored| (stored.value.id.clone(), stored.value.clone()))
        .collect();
    for edit in edits {
        match (&edit.before, &edit.after) {
            (_, Some(Thing::ModelRule(rule))) => {
                rules.insert(rule.id.clone(), rule.clone());
            }
            (Some(Thing::ModelRule(rule)), None) => {
                rules.remove(&rule.id);
            }
            (_, _) => {}
        }
    }
    rules
}

impl Notes {
    fn say(&mut self, sentence: String) {
        self.said.push(sentence);
    }

    fn finish(self) -> Vec<String> {
        let Self { mut said, made_since } = self;
        if made_since > 0 {
            said.push(format!("{made_since} API keys were made since and stay"));
        }
        let more = said.len().saturating_sub(NOTES_MAX);
        said.truncate(NOTES_MAX);
        if more > 0 {
            said.push(format!("and {more} more"));
        }
        said
    }
}
