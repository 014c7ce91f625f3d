//! The names that clients can ask for, and where each leads.
//!
//! Rules come first, then names that providers list, then the words of tiers: as the
//! data planes do it, but for chance, breakers and what single keys may use.

use std::collections::HashSet;

use super::{
    model::{ModelName, ModelRule, RuleId, Target, Tier, UpstreamModel},
    model_name::{FAMILIES, is_dated_form, is_named, matched},
    provider::{ModelOptions, ProviderName, Spec},
};

/// Why a name leads where it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source<'a> {
    Rule(&'a RuleId),
    Listed,
    Tier(Tier),
}

/// A model at a provider.
#[derive(Debug, Clone, Copy)]
pub struct Destination<'a> {
    provider: &'a Spec,
    pub model: &'a str,
}

impl<'a> Destination<'a> {
    #[must_use]
    pub fn provider(&self) -> &'a ProviderName {
        &self.provider.name
    }

    fn context_window(&self) -> Option<u32> {
        self.options()?.context_window
    }

    /// Of the model, or of all that its provider has.
    fn max_output_tokens(&self) -> Option<u32> {
        let of_model = self.options().and_then(|options| options.max_output_tokens);
        let of_provider = self.provider.limits.max_tokens_limit;
        of_model.into_iter().chain(of_provider).min()
    }

    fn options(&self) -> Option<&'a ModelOptions> {
        let mut options = self.provider.models.options.iter();
        options.find(|options| options.model.as_str() == self.model)
    }
}

/// A name that clients may ask for.
#[derive(Debug, Clone)]
pub struct Reachable<'a> {
    pub name: &'a str,
    pub source: Source<'a>,
    /// In the order of priorities. Empty: it leads nowhere now.
    pub destinations: Vec<Destination<'a>>,
}

impl Reachable<'_> {
    /// The smallest of the destinations that have a known one, in tokens.
    #[must_use]
    pub fn context_window(&self) -> Option<u32> {
        let windows = self.destinations.iter().filter_map(Destination::context_window);
        windows.min()
    }

    /// The smallest of the destinations that have a known one, in tokens.
    #[must_use]
    pub fn max_output_tokens(&self) -> Option<u32> {
        let limits = self
            .destinations
            .iter()
            .filter_map(Destination::max_output_tokens);
        limits.min()
    }
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
    pub fn lead(&self, name: &'a str) -> Option<Reachable<'a>> {
        let (source, destinations) = self
            .by_rule(name)
            .or_else(|| self.by_list(name))
            .or_else(|| self.by_family(name))?;
        Some(Reachable {
            name,
            source,
            destinations,
        })
    }

    fn by_rule(&self, name: &'a str) -> Option<(Source<'a>, Vec<Destination<'a>>)> {
        let first = self
            .rules
            .iter()
            .find_map(|rule| Some((rule, matched(rule.pattern.as_str(), name)?)));
        let (rule, matched) = first?;
        let destinations = match &rule.target {
            Target::Tier(tier) => self.of_tier(*tier),
            Target::Upstream { provider, model } => {
                let model = match model {
                    UpstreamModel::Same => matched,
                    UpstreamModel::Named(model) => model.as_str(),
                };
                let named = self.providers.iter().filter(|known| known.name == *provider);
                named.map(|provider| Destination { provider, model }).collect()
            }
        };
        Some((Source::Rule(&rule.id), destinations))
    }

    /// The name itself goes before its dated forms.
    fn by_list(&self, name: &str) -> Option<(Source<'a>, Vec<Destination<'a>>)> {
        let listed = |provider: &&'a Spec| {
            let models = &provider.models.by_tier;
            let exact = models.all().find(|model| is_named(model.as_str(), name));
            let model = exact.or_else(|| models.all().find(|model| is_dated_form(model.as_str(), name)))?;
            let model = model.as_str();
            Some(Destination { provider, model })
        };
        let listed: Vec<_> = self.providers.iter().filter_map(listed).collect();
        (!listed.is_empty()).then_some((Source::Listed, listed))
    }

    fn by_family(&self, name: &str) -> Option<(Source<'a>, Vec<Destination<'a>>)> {
        let name = name.to_ascii_lowercase();
        let (_, tier) = FAMILIES.iter().find(|(family, _)| name.contains(family))?;
        Some((Source::Tier(*tier), self.of_tier(*tier)))
    }

    fn of_tier(&self, tier: Tier) -> Vec<Destination<'a>> {
        let mut destinations = Vec::new();
        for provider in &self.providers {
            let models = provider.models.by_tier.of(tier);
            for (position, model) in models.iter().enumerate() {
                if !models[..position].contains(model) {
                    let model = model.as_str();
                    destinations.push(Destination { provider, model });
                }
            }
        }
        destinations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        model,
        provider::{Draft, ModelOptionsDraft, ModelsDraft},
    };

    fn provider(name: &str, priority: i32, big: &[(&str, Option<u32>)]) -> Spec {
        let draft = Draft {
            enabled: priority > 0,
            priority,
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
            ..Draft::plain(name, "http://a.example")
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
            let to: Vec<_> = to.map(|to| format!("{}/{}", to.provider(), to.model)).collect();
            let window = reachable
                .context_window()
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
        let to = |name: &'static str| reach.lead(name).map(|to| to.destinations[0].model);
        assert_eq!(to("m"), Some("M"));
        assert_eq!(to("m-20250101"), Some("m-20250101"));
        assert_eq!(to("unheard-of"), None);
    }

    #[test]
    fn a_star_asks_for_the_name_without_what_the_rule_does_not_know() {
        let providers = [provider("a", 1, &[("openai/GPT-9", None), ("gpt-9[1m]", None)])];
        let rules = [rule("r", "gpt-*", None, Some(("a", "*")))];
        let reach = Reach::new(&rules, &providers);
        for name in reach.names().into_iter().take(2) {
            let model = reach.lead(name).unwrap().destinations[0].model;
            assert_eq!(model.to_lowercase(), "gpt-9", "{name}");
        }
    }

    #[test]
    fn the_limit_of_a_provider_holds_for_its_models() {
        let mut limited = provider("a", 1, &[("m", None)]);
        limited.limits.max_tokens_limit = Some(512);
        let providers = [limited, provider("b", 2, &[("m", None)])];
        let reach = Reach::new(&[], &providers);
        assert_eq!(reach.lead("m").unwrap().max_output_tokens(), Some(512));
    }
}
