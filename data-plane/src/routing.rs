//! Orders the candidates for one request.
//!
//! Pure on purpose: the caller passes the snapshot and the random source, so a test
//! can replay any order, and Explain can give the same reasons as traffic. Breakers
//! are asked later, right before an attempt.

mod abilities;
mod display_name;
mod name;
mod reach;

use std::sync::Arc;

use bridge_translate::{dialect::Dialect, request::Target};
use rand::{Rng, seq::SliceRandom};

use crate::snapshot::{
    ApiFormat, ApiKey, Fallback, ModelRule, ModelTraits, Provider, RuleTarget, Snapshot, Tier, TierModels,
    TokenLimits,
};

pub(crate) use abilities::{Abilities, Efforts};
pub(crate) use display_name::display_name;
pub(crate) use name::{Name, line, matches};
pub(crate) use reach::{Reach, reach, reachable};

/// One model at one provider.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) provider: Arc<Provider>,
    pub(crate) model: Arc<str>,
}

impl Candidate {
    /// Whether it speaks the client's own API.
    pub(crate) fn is_native(&self) -> bool {
        self.provider.format == ApiFormat::Anthropic
    }

    /// What translation has to know of the candidate.
    pub(crate) fn target<'a>(&'a self, snapshot: &Snapshot) -> Target<'a> {
        let traits = &self.provider.traits;
        let TokenLimits { min, max } = snapshot.settings.tokens;
        let max = max.min(traits.max_tokens_limit.unwrap_or(u32::MAX));
        Target {
            provider: &self.provider.name,
            model: &self.model,
            dialect: self.dialect(),
            token_limits: bridge_translate::request::TokenLimits {
                min: min.min(max),
                max,
            },
            max_output_tokens: self.known().and_then(|known| known.max_output_tokens),
        }
    }

    /// What the model can take, else what the provider can.
    pub(crate) fn dialect(&self) -> &Dialect {
        let of_model = || self.provider.traits.dialects.of_model(&self.model);
        self.known().map_or_else(of_model, |known| &known.dialect)
    }

    /// Tokens of prompt and answer together, if an admin said it.
    pub(crate) fn context_window(&self) -> Option<u32> {
        self.known()?.context_window
    }

    /// The longest answer, if an admin said it of the model or of its provider.
    pub(crate) fn max_output_tokens(&self) -> Option<u32> {
        let of_model = self.known().and_then(|known| known.max_output_tokens);
        let of_provider = self.provider.traits.max_tokens_limit;
        of_model.into_iter().chain(of_provider).min()
    }

    /// Whether a shorter answer is asked for where the wanted one does not fit.
    pub(crate) fn shrinks_output(&self) -> bool {
        self.known()
            .and_then(|known| known.shrinks)
            .unwrap_or(self.provider.traits.second_try.shrinks)
    }

    fn known(&self) -> Option<&ModelTraits> {
        self.provider.traits.by_model.get(&*self.model)
    }
}

/// Candidates in the order in which they are tried, and who was passed over.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) skipped: Vec<Skip>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Skip {
    pub(crate) provider: Arc<str>,
    pub(crate) reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Reason {
    #[error("the key may not use it")]
    NotAllowed,
    #[error("its API format is not known to this data plane")]
    UnknownFormat,
    #[error("it has no model of the tier")]
    NoModelOfTier,
    #[error("a rule names it, but it does not exist or is disabled")]
    Missing,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Clients look for `model:`.
    #[error("model: {0}")]
    Unmapped(String),
    #[error("this API key may not use the model {0}")]
    NotAllowed(String),
    #[error("model: {model}: no provider can serve it{}", list(.skipped))]
    NoCandidate { model: String, skipped: Vec<Skip> },
}

fn list(skipped: &[Skip]) -> String {
    skipped
        .iter()
        .map(|skip| format!("; {}: {}", skip.provider, skip.reason))
        .collect()
}

/// What a name stands for, before providers are looked at.
enum Destination<'a> {
    Tier(Tier),
    /// One provider, by a rule.
    Upstream {
        provider: &'a Arc<str>,
        model: Arc<str>,
    },
    /// Providers that list the name, each with its own spelling.
    Listed(Vec<(&'a Arc<Provider>, &'a Arc<str>)>),
}

/// Plans a request of `key` for the model named `asked`.
pub(crate) fn plan(
    snapshot: &Snapshot,
    key: &ApiKey,
    asked: &str,
    random: &mut impl Rng,
) -> Result<Plan, Error> {
    let name = Name::new(asked);
    if !may_use(key, &name) {
        return Err(Error::NotAllowed(asked.to_owned()));
    }
    let mut plan = Plan {
        candidates: Vec::new(),
        skipped: Vec::new(),
    };
    match destination(snapshot, &name).ok_or_else(|| Error::Unmapped(asked.to_owned()))? {
        Destination::Tier(tier) => {
            for provider in order(snapshot, random) {
                plan.add(key, provider, provider.models.of(tier));
            }
        }
        Destination::Upstream { provider, model } => {
            // A rule is a decision: nobody else takes what its provider cannot.
            match snapshot.providers.iter().find(|known| known.name == *provider) {
                Some(known) => plan.add(key, known, std::slice::from_ref(&model)),
                None => plan.skipped.push(Skip {
                    provider: Arc::clone(provider),
                    reason: Reason::Missing,
                }),
            }
        }
        Destination::Listed(listed) => {
            for provider in order(snapshot, random) {
                if let Some((_, model)) = listed.iter().find(|(lister, _)| Arc::ptr_eq(lister, provider)) {
                    plan.add(key, provider, std::slice::from_ref(*model));
                }
            }
        }
    }
    if plan.candidates.is_empty() {
        return Err(Error::NoCandidate {
            model: asked.to_owned(),
            skipped: plan.skipped,
        });
    }
    Ok(plan)
}

/// Whether the key's own list of models covers the name.
pub(crate) fn may_use(key: &ApiKey, name: &Name) -> bool {
    key.allowed_models.is_empty() || key.allowed_models.iter().any(|pattern| matches(pattern, name))
}

/// What decides where a name leads, for who wants to know why.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Lead<'a> {
    /// The id of the rule that matched.
    pub(crate) rule: Option<&'a str>,
    /// Where it leads to a whole tier.
    pub(crate) tier: Option<Tier>,
}

pub(crate) fn lead<'a>(snapshot: &'a Snapshot, asked: &str) -> Lead<'a> {
    let name = Name::new(asked);
    let tier = match destination(snapshot, &name) {
        Some(Destination::Tier(tier)) => Some(tier),
        Some(Destination::Upstream { .. } | Destination::Listed(_)) | None => None,
    };
    Lead {
        rule: matching(snapshot, &name).map(|(rule, _)| &*rule.id),
        tier,
    }
}

/// The first rule that matches, and what of the name it keeps.
fn matching<'a, 'n>(snapshot: &'a Snapshot, name: &'n Name) -> Option<(&'a ModelRule, &'n str)> {
    snapshot
        .rules
        .iter()
        .find_map(|rule| Some((rule, name::matched(&rule.pattern, name)?)))
}

/// Rules come first, then names that providers list, then the words for tiers.
fn destination<'a>(snapshot: &'a Snapshot, name: &Name) -> Option<Destination<'a>> {
    if let Some((rule, matched)) = matching(snapshot, name) {
        return match &rule.target {
            RuleTarget::Tier(tier) => Some(Destination::Tier(*tier)),
            RuleTarget::Upstream { provider, model } => Some(Destination::Upstream {
                provider,
                model: model.clone().unwrap_or_else(|| matched.into()),
            }),
            RuleTarget::Unknown => None,
        };
    }
    listed(snapshot, name).or_else(|| {
        name.tier()
            .or(snapshot.settings.default_tier)
            .map(Destination::Tier)
    })
}

/// The closest form of the name that any provider lists.
fn listed<'a>(snapshot: &'a Snapshot, name: &Name) -> Option<Destination<'a>> {
    name.forms().find_map(|form| {
        let listed: Vec<_> = snapshot
            .providers
            .iter()
            .filter_map(|provider| Some((provider, find(&provider.models, form)?)))
            .collect();
        (!listed.is_empty()).then_some(Destination::Listed(listed))
    })
}

fn find<'a>(models: &'a TierModels, form: &str) -> Option<&'a Arc<str>> {
    models
        .all()
        .find(|model| model.eq_ignore_ascii_case(form))
        .or_else(|| {
            models
                .all()
                .find(|model| name::undated(model).eq_ignore_ascii_case(form))
        })
}

/// Equal priorities take turns by chance.
fn order<'a>(snapshot: &'a Snapshot, random: &mut impl Rng) -> Vec<&'a Arc<Provider>> {
    let mut providers: Vec<_> = snapshot.providers.iter().collect();
    match snapshot.settings.fallback {
        Fallback::Random => providers.shuffle(random),
        Fallback::Priority => {
            for equals in providers.chunk_by_mut(|one, other| one.priority == other.priority) {
                equals.shuffle(random);
            }
        }
    }
    providers
}

impl Reason {
    /// For programs.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NotAllowed => "not_allowed",
            Self::UnknownFormat => "unknown_format",
            Self::NoModelOfTier => "no_model_of_tier",
            Self::Missing => "missing",
        }
    }
}

impl Plan {
    fn add(&mut self, key: &ApiKey, provider: &Arc<Provider>, models: &[Arc<str>]) {
        if let Err(reason) = check(key, provider, models) {
            self.skipped.push(Skip {
                provider: Arc::clone(&provider.name),
                reason,
            });
            return;
        }
        for (position, model) in models.iter().enumerate() {
            if !models[..position].contains(model) {
                self.candidates.push(Candidate {
                    provider: Arc::clone(provider),
                    model: Arc::clone(model),
                });
            }
        }
    }
}

fn check(key: &ApiKey, provider: &Provider, models: &[Arc<str>]) -> Result<(), Reason> {
    let is_allowed =
        key.allowed_providers.is_empty() || key.allowed_providers.iter().any(|name| **name == *provider.name);
    if !is_allowed {
        return Err(Reason::NotAllowed);
    }
    match provider.format {
        ApiFormat::OpenAi | ApiFormat::Anthropic if models.is_empty() => Err(Reason::NoModelOfTier),
        ApiFormat::OpenAi | ApiFormat::Anthropic => Ok(()),
        ApiFormat::Unknown => Err(Reason::UnknownFormat),
    }
}

#[cfg(test)]
mod tests;
