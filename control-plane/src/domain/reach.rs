//! The names that clients can ask for, and where each leads.
//!
//! Rules come first, then names that providers list, then the words of tiers: as the
//! data planes do it, but for chance, breakers and what single keys may use.

use std::collections::HashSet;

use super::{
    model::{ModelName, ModelRule, RuleId, Target, Tier, UpstreamModel},
    model_name::{FAMILIES, is_covered, is_dated_form},
    provider::{ModelOptions, ProviderName, Spec, TierModels},
};

/// Why a name leads where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Rule(RuleId),
    Listed,
    Tier(Tier),
}

/// A model at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    pub provider: ProviderName,
    pub model: String,
}

/// A name that clients may ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reachable {
    pub name: String,
    pub source: Source,
    /// In the order of priorities. Empty: it leads nowhere now.
    pub destinations: Vec<Destination>,
    /// The smallest of those destinations that have a known one.
    pub context_window: Option<u32>,
    pub max_output_tokens: Option<u32>,
}

/// What names are resolved against.
pub struct Reach<'a> {
    /// In their order.
    rules: &'a [ModelRule],
    /// The enabled ones, in the order of priorities.
    providers: Vec<&'a Spec>,
}

impl<'a> Reach<'a> {
    /// `rules` are in their order; disabled providers count for nothing.
    #[must_use]
    pub fn new(rules: &'a [ModelRule], providers: &'a [Spec]) -> Self {
        let mut enabled: Vec<_> = providers.iter().filter(|provider| provider.enabled).collect();
        enabled.sort_by(|a, b| (a.priority, &a.name).cmp(&(b.priority, &b.name)));
        Self {
            rules,
            providers: enabled,
        }
    }

    /// Every name once: of rules without a `*`, of providers, and of families.
    #[must_use]
    pub fn names(&self) -> Vec<&'a str> {
        let of_rules = self.rules.iter().map(|rule| rule.pattern.as_str());
        let listed = self
            .providers
            .iter()
            .flat_map(|provider| provider.models.by_tier.all());
        let names = of_rules
            .filter(|pattern| !pattern.contains('*'))
            .chain(listed.map(ModelName::as_str))
            .chain(FAMILIES.iter().map(|(family, _)| *family));
        let mut seen = HashSet::new();
        names
            .filter(|name| seen.insert(name.to_ascii_lowercase()))
            .collect()
    }

    /// Where a name leads; `None` if nothing maps it.
    #[must_use]
    pub fn lead(&self, name: &str) -> Option<Reachable> {
        let mut rules = self.rules.iter();
        if let Some(rule) = rules.find(|rule| is_covered(rule.pattern.as_str(), name)) {
            let destinations = match &rule.target {
                Target::Tier(tier) => of_tier(&self.providers, *tier),
                Target::Upstream { provider, model } => of_upstream(&self.providers, provider, model, name),
            };
            return Some(self.reachable(name, Source::Rule(rule.id.clone()), destinations));
        }
        let listed = of_list(&self.providers, name);
        if !listed.is_empty() {
            return Some(self.reachable(name, Source::Listed, listed));
        }
        let (_, tier) = FAMILIES.iter().find(|(family, _)| *family == name)?;
        Some(self.reachable(name, Source::Tier(*tier), of_tier(&self.providers, *tier)))
    }

    fn reachable(&self, name: &str, source: Source, destinations: Vec<Destination>) -> Reachable {
        let known: Vec<_> = destinations.iter().filter_map(|to| self.options(to)).collect();
        Reachable {
            name: name.to_owned(),
            source,
            context_window: known.iter().filter_map(|options| options.context_window).min(),
            max_output_tokens: known.iter().filter_map(|options| options.max_output_tokens).min(),
            destinations,
        }
    }

    fn options(&self, destination: &Destination) -> Option<&ModelOptions> {
        let provider = self
            .providers
            .iter()
            .find(|provider| provider.name == destination.provider)?;
        let mut options = provider.models.options.iter();
        options.find(|options| options.model.as_str() == destination.model)
    }
}

fn of_tier(providers: &[&Spec], tier: Tier) -> Vec<Destination> {
    let mut destinations: Vec<Destination> = Vec::new();
    for provider in providers {
        let TierModels { big, middle, small } = &provider.models.by_tier;
        let models = match tier {
            Tier::Big => big,
            Tier::Middle => middle,
            Tier::Small => small,
        };
        for model in models {
            let destination = destination(provider, model.as_str());
            if !destinations.contains(&destination) {
                destinations.push(destination);
            }
        }
    }
    destinations
}

fn of_upstream(
    providers: &[&Spec],
    target: &ProviderName,
    model: &UpstreamModel,
    name: &str,
) -> Vec<Destination> {
    let model = match model {
        UpstreamModel::Same => name,
        UpstreamModel::Named(model) => model.as_str(),
    };
    let provider = providers.iter().find(|provider| provider.name == *target);
    provider
        .map(|provider| destination(provider, model))
        .into_iter()
        .collect()
}

/// The name itself goes before its dated forms.
fn of_list(providers: &[&Spec], name: &str) -> Vec<Destination> {
    let lists = |provider: &&Spec| {
        let models = &provider.models.by_tier;
        let exact = models
            .all()
            .find(|model| model.as_str().eq_ignore_ascii_case(name));
        let model = exact.or_else(|| models.all().find(|model| is_dated_form(model.as_str(), name)))?;
        Some(destination(provider, model.as_str()))
    };
    providers.iter().filter_map(lists).collect()
}

fn destination(provider: &Spec, model: &str) -> Destination {
    Destination {
        provider: provider.name.clone(),
        model: model.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        model,
        provider::{ApiFormat, Draft, ModelOptionsDraft, ModelsDraft},
    };

    fn provider(name: &str, priority: i32, big: &[(&str, Option<u32>)]) -> Spec {
        let draft = Draft {
            name: name.into(),
            enabled: priority > 0,
            priority,
            api_format: ApiFormat::Openai,
            base_url: "http://a.example".into(),
            dialect: String::new(),
            dialect_overrides: Default::default(),
            models: ModelsDraft {
                big: big.iter().map(|(model, _)| (*model).to_owned()).collect(),
                ..ModelsDraft::default()
            },
            model_options: big
                .iter()
                .map(|(model, window)| ModelOptionsDraft {
                    model: (*model).to_owned(),
                    context_window: *window,
                    ..Default::default()
                })
                .collect(),
            timeout_s: 0,
            max_retries: None,
            max_tokens_limit: None,
        };
        draft.check().unwrap()
    }

    fn rule(id: &str, pattern: &str, tier: Option<&str>, upstream: Option<(&str, &str)>) -> ModelRule {
        let draft = model::Draft {
            pattern: pattern.into(),
            tier: tier.map(Into::into),
            provider: upstream.map(|(provider, _)| provider.into()),
            model: upstream.map(|(_, model)| model.into()),
        };
        let (pattern, target) = draft.check().unwrap();
        ModelRule {
            id: RuleId::parse(id).unwrap(),
            position: 1,
            pattern,
            target,
        }
    }

    /// `name source provider/model … (context window)`, a line each.
    fn lines(rules: &[ModelRule], providers: &[Spec]) -> Vec<String> {
        let line = |reachable: Reachable| {
            let source = match reachable.source {
                Source::Rule(id) => format!("rule {id}"),
                Source::Listed => "listed".to_owned(),
                Source::Tier(tier) => tier.as_str().to_owned(),
            };
            let to = reachable.destinations.iter();
            let to: Vec<_> = to.map(|to| format!("{}/{}", to.provider, to.model)).collect();
            let window = reachable
                .context_window
                .map_or(String::new(), |window| format!(" ({window})"));
            format!("{} {source}: {}{window}", reachable.name, to.join(" "))
        };
        let reach = Reach::new(rules, providers);
        let names = reach.names().into_iter();
        names.map(|name| line(reach.lead(name).unwrap())).collect()
    }

    #[test]
    fn every_name_says_where_it_leads() {
        let providers = [
            provider("second", 2, &[("max", Some(1_000)), ("plus", None)]),
            provider("first", 1, &[("max", Some(2_000)), ("mini-20250101", None)]),
            provider("off", 0, &[("hidden", None)]),
        ];
        let rules = [
            rule("r1", "my-alias", None, Some(("second", "*"))),
            rule("r2", "gone", None, Some(("off", "hidden"))),
            rule("r3", "plu*", Some("small"), None),
            rule("r4", "sonnet", Some("big"), None),
        ];
        let expected = [
            "my-alias rule r1: second/my-alias",
            "gone rule r2: ",
            "sonnet rule r4: first/max first/mini-20250101 second/max second/plus (1000)",
            "max listed: first/max second/max (1000)",
            "mini-20250101 listed: first/mini-20250101",
            "plus rule r3: ",
            "haiku small: ",
            "opus big: first/max first/mini-20250101 second/max second/plus (1000)",
            "fable big: first/max first/mini-20250101 second/max second/plus (1000)",
            "mythos big: first/max first/mini-20250101 second/max second/plus (1000)",
        ];
        assert_eq!(lines(&rules, &providers), expected);
    }

    #[test]
    fn a_name_goes_before_its_dated_form() {
        let providers = [provider("a", 1, &[("m-20250101", None), ("M", None)])];
        let reach = Reach::new(&[], &providers);
        let to = |name: &str| reach.lead(name).map(|to| to.destinations[0].model.clone());
        assert_eq!(to("m").as_deref(), Some("M"));
        assert_eq!(to("m-20250101").as_deref(), Some("m-20250101"));
        assert_eq!(to("unheard-of"), None);
    }
}
