//! A thing before and after a change: how it is shown, and how it is done.

use std::collections::BTreeMap;
use std::fmt;

use super::{
    compare::{self, FieldChange},
    view,
};
use crate::domain::{model::RuleId, settings::Settings};
use crate::import::MASK;
use crate::store::{Change, Changed, Expect, Kind, Thing, target};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    Delete,
}

/// A thing, before and after.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    pub(crate) kind: Kind,
    pub(crate) id: String,
    pub(crate) before: Option<Thing>,
    pub(crate) after: Option<Thing>,
    /// Secrets that are given anew, by path: nobody says whether they differ.
    pub(crate) new_secrets: Vec<String>,
}

/// What people see of an edit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) action: Action,
    pub(crate) target: String,
    pub(crate) fields: Vec<FieldChange>,
}

/// In one line, without values.
impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = match self.action {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => return write!(f, "delete {}", self.target),
        };
        let fields: Vec<&str> = self.fields.iter().map(|field| field.path.as_str()).collect();
        write!(f, "{action} {}: {}", self.target, fields.join(" "))
    }
}

/// Places of rules in their list, from 1, before and after.
pub(crate) type Places = [BTreeMap<RuleId, u32>; 2];

pub(crate) fn places(rules: [Vec<RuleId>; 2]) -> Places {
    rules.map(|rules| rules.into_iter().zip(1..).collect())
}

impl From<Changed> for Edit {
    fn from(changed: Changed) -> Self {
        let Changed {
            kind,
            id,
            states: [before, after],
        } = changed;
        Self {
            kind,
            id,
            before,
            after,
            new_secrets: Vec::new(),
        }
    }
}

impl Edit {
    pub(crate) fn target(&self) -> String {
        target(self.kind, &self.id)
    }

    /// `None`: nothing of it can be seen.
    pub(crate) fn shown(&self, places: &Places) -> Option<Shown> {
        let [before, after] = self.views(places);
        let mut fields = compare::fields(before.as_ref(), after.as_ref());
        for path in &self.new_secrets {
            if !fields.iter().any(|field| field.path == *path) {
                let secret = Some(MASK.into());
                fields.push(FieldChange {
                    path: path.clone(),
                    before: secret.clone(),
                    after: secret,
                });
            }
        }
        let action = match (before.is_some(), after.is_some()) {
            (false, true) => Action::Create,
            (true, false) => Action::Delete,
            (true, true) if !fields.is_empty() => Action::Update,
            (true, true) | (false, false) => return None,
        };
        Some(Shown {
            action,
            target: self.target(),
            fields,
        })
    }

    fn views(&self, places: &Places) -> [Option<serde_json::Value>; 2] {
        // A rule that was not moved has another place if others came or went.
        let is_moved = match (&self.before, &self.after) {
            (Some(Thing::ModelRule(before)), Some(Thing::ModelRule(after))) => {
                before.position != after.position
            }
            (None, _) | (_, None) => true,
            (Some(_), Some(_)) => false,
        };
        let [before, after] = places;
        [(&self.before, before), (&self.after, after)].map(|(thing, places)| {
            let place = |rule: &Thing| match rule {
                Thing::ModelRule(rule) if is_moved => places.get(&rule.id).copied(),
                Thing::ModelRule(_) | Thing::Provider(_) | Thing::ApiKey(_) | Thing::Settings(_) => None,
            };
            thing.as_ref().map(|thing| view::thing(thing, place(thing)))
        })
    }
}

/// What does these edits, all together or not at all, on top of this revision. Nothing
/// leads to a provider that is not there on the way.
pub(crate) fn changes(edits: Vec<Edit>, based_on: u64) -> Vec<Change> {
    let mut ordered: Vec<(u8, Change)> = edits.into_iter().filter_map(change).collect();
    ordered.sort_by_key(|(step, _)| *step);
    let changes = ordered.into_iter().map(|(_, change)| change);
    [Change::BasedOn(based_on)].into_iter().chain(changes).collect()
}

/// The change and when its turn is.
fn change(edit: Edit) -> Option<(u8, Change)> {
    match (edit.before, edit.after) {
        (_, Some(Thing::Provider(provider))) => Some((0, Change::PutProvider(provider, Expect::Any))),
        (_, Some(Thing::ModelRule(rule))) => Some((1, Change::PutModelRule(rule, Expect::Any))),
        (Some(Thing::ModelRule(rule)), None) => Some((1, Change::DeleteModelRule(rule.id, Expect::Any))),
        (Some(Thing::Provider(provider)), None) => {
            Some((2, Change::DeleteProvider(provider.spec.name, Expect::Any)))
        }
        (_, Some(Thing::Settings(settings))) => Some((3, Change::PutSettings(settings, Expect::Any))),
        (_, Some(Thing::ApiKey(key))) => Some((3, Change::PutApiKey(key, Expect::Present))),
        (Some(Thing::ApiKey(key)), None) => Some((3, Change::DeleteApiKey(key.id, Expect::Any))),
        // Settings are always there.
        (Some(Thing::Settings(_)) | None, None) => None,
    }
}

/// Whether the edits change settings that only an admin may change.
pub(crate) fn touches_security(edits: &[Edit]) -> bool {
    let settings = |thing: &Option<Thing>| -> Option<Settings> {
        match thing {
            Some(Thing::Settings(settings)) => Some(settings.clone()),
            Some(Thing::Provider(_) | Thing::ApiKey(_) | Thing::ModelRule(_)) | None => None,
        }
    };
    edits.iter().any(|edit| {
        let (before, after) = (settings(&edit.before), settings(&edit.after));
        before
            .zip(after)
            .is_some_and(|(before, after)| before.differs_in_security(&after))
    })
}
