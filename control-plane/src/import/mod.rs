//! Reads `provider.json`, the file that existing installations are configured with.
//!
//! It is accepted as it is. What cannot be meant is a violation, all of them at
//! once; what is not understood, or not served yet, is a warning that names it.

mod api_keys;
mod dialect;
mod limits;
mod object;
mod rules;
mod secrets;
mod settings;
mod variables;

use std::{collections::BTreeSet, time::SystemTime};

use serde_json::{Map, Value};

use crate::{
    domain::{
        FieldViolation, Times, Violations,
        model::{self, ModelRule, RuleId, Target},
        provider::{self, ApiFormat, PlainSecrets, Provider, ProviderName},
    },
    secrets::{Keyring, SealError},
    store::{Change, Expect},
};
use object::Object;
use variables::Variables;

pub use api_keys::ImportedKey;
pub use rules::ImportedRule;
pub use secrets::{Kept, MASK, Mention, without_secrets};
pub use settings::ImportedSettings;
pub use variables::Lookup;

/// What is wrong with the file as a whole is reported under this.
const FILE: &str = "provider.json";
/// Most providers of one file.
const PROVIDERS_MAX: usize = 256;

/// A provider that was read, its secrets still in the clear.
#[derive(Debug)]
pub struct ImportedProvider {
    pub spec: provider::Spec,
    pub secrets: PlainSecrets,
    pub kept: Kept,
}

/// Which lists are in the file at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lists {
    pub providers: bool,
    pub rules: bool,
    pub api_keys: bool,
}

#[derive(Debug)]
pub struct Imported {
    pub providers: Vec<ImportedProvider>,
    pub settings: ImportedSettings,
    pub rules: Vec<ImportedRule>,
    pub api_keys: Vec<ImportedKey>,
    pub lists: Lists,
    /// Sentences for the log.
    pub warnings: Vec<String>,
}

/// Reads the text of a file that begins an installation. `lookup` resolves `${VAR}` in
/// any string.
pub fn provider_json(text: &str, lookup: Lookup<'_>) -> Result<Imported, Vec<FieldViolation>> {
    let mut imported = read(text, Variables::new(lookup), true)?;
    for ImportedProvider { spec, kept, .. } in &mut imported.providers {
        if kept.is_masked() && spec.enabled {
            spec.enabled = false;
            let name = &spec.name;
            imported.warnings.push(format!(
                "provider {name} is disabled: {MASK} stands for secrets that the file does not hold"
            ));
        }
    }
    if !imported.api_keys.is_empty() {
        let warning = "api_keys are not imported: the file does not hold the keys themselves";
        imported.warnings.push(warning.to_owned());
    }
    Ok(imported)
}

/// Reads the text of a file that changes an installation. Variables are not resolved:
/// whoever sends the file must not learn what the environment of this process is. Where
/// rules lead is not checked.
pub fn configuration_file(text: &str) -> Result<Imported, Vec<FieldViolation>> {
    read(text, Variables::refused(), false)
}

/// The same of the operator's own, who sees the environment anyway: variables are resolved.
pub fn operators_file(text: &str, lookup: Lookup<'_>) -> Result<Imported, Vec<FieldViolation>> {
    read(text, Variables::new(lookup), false)
}

/// `is_alone`: rules lead to providers of the file and nowhere else.
fn read(text: &str, variables: Variables<'_>, is_alone: bool) -> Result<Imported, Vec<FieldViolation>> {
    let mut reader = Reader {
        variables,
        is_alone,
        violations: Violations::default(),
        warnings: Vec::new(),
    };
    let value = match serde_json::from_str::<Value>(without_mark(text)) {
        Ok(Value::Object(fields)) => fields,
        Ok(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            reader.violations.add(FILE, "must be a JSON object");
            return Err(reader.violations.into_vec());
        }
        Err(error) => {
            let place = format!("is not JSON: line {}, column {}", error.line(), error.column());
            reader.violations.add(FILE, place);
            return Err(reader.violations.into_vec());
        }
    };
    let imported = reader.file(value);
    let Reader {
        variables: _,
        is_alone: _,
        violations,
        warnings,
    } = reader;
    violations.finish(Some(Imported { warnings, ..imported }))
}

/// The text without the mark with which some editors begin a file.
fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

struct Reader<'a> {
    variables: Variables<'a>,
    is_alone: bool,
    violations: Violations,
    warnings: Vec<String>,
}

impl Reader<'_> {
    /// Everything but the warnings.
    fn file(&mut self, fields: Map<String, Value>) -> Imported {
        let mut file = Object::new(String::new(), fields);
        let lists = Lists {
            providers: file.has("providers"),
            rules: file.has("model_rules"),
            api_keys: file.has("api_keys"),
        };
        let providers = file.list("providers", &mut self.violations);
        let written = providers.len();
        let providers = self.providers(providers);
        self.variables.enter("the file", true);
        let settings = self.settings(&mut file);
        let names: BTreeSet<&ProviderName> = providers.iter().map(|provider| &provider.spec.name).collect();
        let rules = file.list("model_rules", &mut self.violations);
        let rules = rules::read(self, rules);
        let keys = file.list("api_keys", &mut self.violations);
        let api_keys = api_keys::read(self, keys);
        self.variables
            .report(FILE, &mut self.violations, &mut self.warnings);
        // A provider that was refused is a mistake of its own, not one of its rules.
        if self.is_alone && providers.len() == written {
            self.check_providers_of(&rules, &names);
        }
        let rules = rules.into_iter().map(|(_, rule)| rule).collect();
        self.warn_unknown(file);
        Imported {
            providers,
            settings,
            rules,
            api_keys,
            lists,
            warnings: Vec::new(),
        }
    }

    fn providers(&mut self, values: Vec<Value>) -> Vec<ImportedProvider> {
        if values.len() > PROVIDERS_MAX {
            self.violations
                .add("providers", format!("must be at most {PROVIDERS_MAX}"));
            return Vec::new();
        }
        let mut providers: Vec<ImportedProvider> = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            let path = format!("providers[{index}]");
            let Some(object) = Object::of(path.clone(), value, &mut self.violations) else {
                continue;
            };
            let Some(provider) = self.provider(object) else {
                continue;
            };
            if providers
                .iter()
                .any(|other| other.spec.name == provider.spec.name)
            {
                self.violations.add(
                    format!("{path}.name"),
                    format!("{} is there twice", provider.spec.name),
                );
            }
            providers.push(provider);
        }
        providers
    }

    fn provider(&mut self, mut object: Object) -> Option<ImportedProvider> {
        let path = object.path().to_owned();
        let enabled = object.boolean("enabled", &mut self.violations).unwrap_or(true);
        let name = self.provider_name(&mut object);
        self.variables.enter(&format!("provider {name}"), enabled);
        let api_format = self
            .text(&mut object, "api_format")
            .unwrap_or_else(|| "openai".to_owned());
        let api_format = self
            .violations
            .check(format!("{path}.api_format"), ApiFormat::parse(&api_format));
        let draft = provider::Draft {
            enabled,
            priority: object.integer("priority", &mut self.violations).unwrap_or(0),
            // Without a format the rest is still checked.
            api_format: api_format.unwrap_or(ApiFormat::Openai),
            base_url: self.text(&mut object, "base_url").unwrap_or_default(),
            dialect: self.text(&mut object, "dialect").unwrap_or_default(),
            dialect_overrides: self.dialect_overrides(&mut object),
            models: self.models(&mut object),
            model_options: self.model_options(&mut object),
            timeout_s: object.integer("timeout", &mut self.violations).unwrap_or(0),
            max_retries: object.integer("max_retries", &mut self.violations),
            max_tokens_limit: object.integer("max_tokens_limit", &mut self.violations),
            name,
        };
        let (secrets, kept) = secrets::read(&mut object, &mut self.variables, &mut self.violations);
        self.warn_unknown(object);
        self.variables
            .report(&path, &mut self.violations, &mut self.warnings);
        let spec = draft
            .check()
            .map_err(|violations| self.violations.nest(&path, violations))
            .ok();
        let secrets = secrets
            .check()
            .map_err(|violations| self.violations.nest(&path, violations))
            .ok();
        let (_, (spec, secrets)) = api_format.zip(spec.zip(secrets))?;
        Some(ImportedProvider { spec, secrets, kept })
    }

    /// Names are written more freely in existing files.
    fn provider_name(&mut self, object: &mut Object) -> String {
        let written = self.text(object, "name").unwrap_or_default();
        let name = canonical(&written);
        if name != written {
            self.warnings
                .push(format!("provider {written:?} is called {name} from now on"));
        }
        name
    }

    fn models(&mut self, object: &mut Object) -> provider::ModelsDraft {
        let Some(value) = object.take("models") else {
            return provider::ModelsDraft::default();
        };
        let path = format!("{}.models", object.path());
        let Some(mut models) = Object::of(path, value, &mut self.violations) else {
            return provider::ModelsDraft::default();
        };
        let draft = provider::ModelsDraft {
            big: self.texts(&mut models, "big"),
            middle: self.texts(&mut models, "middle"),
            small: self.texts(&mut models, "small"),
        };
        self.warn_unknown(models);
        draft
    }

    fn dialect_overrides(&mut self, object: &mut Object) -> provider::OverridesDraft {
        let mut unknown = Vec::new();
        let draft = dialect::overrides(object, &mut self.variables, &mut self.violations, &mut unknown);
        self.warn(unknown);
        draft
    }

    fn model_options(&mut self, object: &mut Object) -> Vec<provider::ModelOptionsDraft> {
        let mut unknown = Vec::new();
        let drafts = dialect::model_options(object, &mut self.variables, &mut self.violations, &mut unknown);
        self.warn(unknown);
        drafts
    }

    fn settings(&mut self, file: &mut Object) -> ImportedSettings {
        let mut unknown = Vec::new();
        let settings = ImportedSettings::read(file, &mut self.variables, &mut self.violations, &mut unknown);
        self.warn(unknown);
        settings
    }

    fn check_providers_of(&mut self, rules: &[(String, ImportedRule)], names: &BTreeSet<&ProviderName>) {
        for (path, rule) in rules {
            match &rule.target {
                Target::Upstream { provider, model: _ } if !names.contains(provider) => {
                    let reason = format!("the file has no provider {provider}");
                    self.violations.add(format!("{path}.provider"), reason);
                }
                Target::Upstream { .. } | Target::Tier(_) => {}
            }
        }
    }

    /// A text with its variables resolved.
    fn text(&mut self, object: &mut Object, name: &str) -> Option<String> {
        let text = object.text(name, &mut self.violations)?;
        Some(self.variables.resolve(&text))
    }

    fn texts(&mut self, object: &mut Object, name: &str) -> Vec<String> {
        let texts = object.texts(name, &mut self.violations);
        texts
            .into_iter()
            .map(|text| self.variables.resolve(&text))
            .collect()
    }

    fn warn_unknown(&mut self, object: Object) {
        self.warn(object.into_unknown());
    }

    fn warn(&mut self, unknown: Vec<String>) {
        let warnings = unknown
            .into_iter()
            .map(|field| format!("{field} is not known and is ignored"));
        self.warnings.extend(warnings);
    }
}

/// How a provider's name is written from now on.
fn canonical(written: &str) -> String {
    written.trim().to_lowercase().replace(' ', "-")
}

impl Imported {
    /// Whether it names nothing that a configuration has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Lists {
            providers,
            rules,
            api_keys,
        } = self.lists;
        !providers && !rules && !api_keys && self.settings == ImportedSettings::default()
    }

    /// Providers and rules of a new installation as changes of the store, secrets sealed.
    pub fn to_changes(&self, keyring: &Keyring, now: SystemTime) -> Result<Vec<Change>, SealError> {
        let mut changes = Vec::with_capacity(self.providers.len() + self.rules.len());
        for ImportedProvider {
            spec,
            secrets,
            kept: _,
        } in &self.providers
        {
            let credentials = keyring.seal_provider(&spec.name, &spec.endpoint.base_url, secrets)?;
            let provider = Provider {
                spec: spec.clone(),
                credentials,
                times: Times::new(now),
            };
            changes.push(Change::PutProvider(provider, Expect::Absent));
        }
        for ((place, position), rule) in (1..).zip(model::positions()).zip(&self.rules) {
            let ImportedRule { id, pattern, target } = rule.clone();
            let rule = ModelRule {
                id: id.unwrap_or_else(|| RuleId::imported(place)),
                position,
                pattern,
                target,
            };
            changes.push(Change::PutModelRule(rule, Expect::Absent));
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
