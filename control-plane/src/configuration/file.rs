//! The whole configuration as one file: `provider.json` with what is ours beside. It
//! holds no secrets, and says so where they are.

use serde_json::{Map, Value};

use super::view;
use crate::store::{Configuration, Thing};

pub(crate) fn export(configuration: &Configuration) -> String {
    let Configuration {
        version: _,
        providers,
        api_keys,
        model_rules,
        settings,
        // They are about a moment.
        breaker_overrides: _,
    } = configuration;
    let mut file = settings
        .as_ref()
        .map_or_else(Map::new, |settings| view::settings(&settings.value));
    let providers = providers
        .iter()
        .map(|stored| Thing::Provider(stored.value.clone()));
    let rules = model_rules
        .iter()
        .map(|stored| Thing::ModelRule(stored.value.clone()));
    let keys = api_keys.iter().map(|stored| Thing::ApiKey(stored.value.clone()));
    file.insert("providers".to_owned(), list(providers));
    file.insert("model_rules".to_owned(), list(rules));
    file.insert("api_keys".to_owned(), list(keys));
    format!("{:#}\n", Value::Object(file))
}

fn list(things: impl Iterator<Item = Thing>) -> Value {
    things.map(|thing| view::thing(&thing, None)).collect()
}
