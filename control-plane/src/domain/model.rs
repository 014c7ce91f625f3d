//! Rules: where the name of a model goes.

use std::fmt;

use super::{FieldViolation, Invalid, Violations, name::ProviderName};

pub use super::name::{ModelName, ModelPattern};

/// Most rules of an installation.
pub const RULES_MAX: usize = 1_000;
/// Room that is left between neighbours, so that a rule can be moved without others.
pub const POSITION_STEP: u32 = 1 << 16;
pub const POSITION_MAX: u32 = i32::MAX as u32;
/// Longest id of a rule, in bytes.
const RULE_ID_BYTES_MAX: usize = 64;
/// The name that was asked for, as an upstream's model.
const SAME_NAME: &str = "*";

/// How capable a model should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    Small,
    Middle,
    Big,
}

impl Tier {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Middle => "middle",
            Self::Big => "big",
        }
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "small" => Ok(Self::Small),
            "middle" => Ok(Self::Middle),
            "big" => Ok(Self::Big),
            _ => Err(Invalid::new("must be small, middle or big")),
        }
    }
}

/// The model that a rule asks an upstream for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamModel {
    /// The name that was asked for; `*` in text.
    Same,
    Named(ModelName),
}

impl UpstreamModel {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.trim() == SAME_NAME {
            Ok(Self::Same)
        } else {
            ModelName::parse(text).map(Self::Named)
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Same => SAME_NAME,
            Self::Named(name) => name.as_str(),
        }
    }
}

/// Where a name that matches goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Tier(Tier),
    Upstream {
        provider: ProviderName,
        model: UpstreamModel,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(String);

impl RuleId {
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let is_plain = text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if text.is_empty() || text.len() > RULE_ID_BYTES_MAX || !is_plain {
            return Err(Invalid::new(format!(
                "must be 1 to {RULE_ID_BYTES_MAX} of [0-9A-Za-z_-]"
            )));
        }
        Ok(Self(text.to_owned()))
    }

    /// The id of a rule that was read from a file, by its place there.
    #[must_use]
    pub fn imported(place: u32) -> Self {
        Self(format!("import-{place}"))
    }

    /// A new id out of random bytes.
    #[must_use]
    pub fn mint(random: [u8; 8]) -> Self {
        Self(format!("{:016x}", u64::from_be_bytes(random)))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Rules are tried by position; the first that matches wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelRule {
    pub id: RuleId,
    pub position: u32,
    pub pattern: ModelPattern,
    pub target: Target,
}

impl ModelRule {
    /// The provider that it leads to, if it names one.
    #[must_use]
    pub fn provider(&self) -> Option<&ProviderName> {
        match &self.target {
            Target::Upstream { provider, model: _ } => Some(provider),
            Target::Tier(_) => None,
        }
    }

    #[must_use]
    pub fn to_draft(&self) -> Draft {
        let (tier, provider, model) = match &self.target {
            Target::Tier(tier) => (Some(tier.as_str().to_owned()), None, None),
            Target::Upstream { provider, model } => {
                (None, Some(provider.to_string()), Some(model.as_str().to_owned()))
            }
        };
        Draft {
            pattern: self.pattern.as_str().to_owned(),
            tier,
            provider,
            model,
        }
    }
}

/// The positions of rules with room between them, from the first on.
pub fn positions() -> impl Iterator<Item = u32> {
    (1..).map(|place: u32| place.saturating_mul(POSITION_STEP))
}

/// Puts a rule at a place of the list, from 0, and answers all that it has to move:
/// nearly always the rule alone, and none if it is there already. `rules` are the
/// others, in their order.
#[must_use]
pub fn place(rules: Vec<ModelRule>, rule: ModelRule, index: usize) -> Vec<ModelRule> {
    let index = index.min(rules.len());
    let before = index
        .checked_sub(1)
        .and_then(|last| rules.get(last))
        .map_or(0, |rule| rule.position);
    let after = rules.get(index).map(|rule| rule.position);
    if before < rule.position && after.is_none_or(|after| rule.position < after) {
        return Vec::new();
    }
    if let Some(position) = position_between(before, after) {
        return vec![ModelRule { position, ..rule }];
    }
    let mut all = rules;
    all.insert(index, rule);
    let moved = all.into_iter().zip(positions());
    moved
        .filter(|(rule, position)| rule.position != *position)
        .map(|(rule, position)| ModelRule { position, ..rule })
        .collect()
}

/// `None`: there is no room.
fn position_between(before: u32, after: Option<u32>) -> Option<u32> {
    match after {
        None => before
            .checked_add(POSITION_STEP)
            .filter(|position| *position <= POSITION_MAX),
        Some(after) => {
            let middle = before + after.saturating_sub(before) / 2;
            (middle > before).then_some(middle)
        }
    }
}

/// A rule as it is written down: either a tier, or a provider and a model.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    pub pattern: String,
    pub tier: Option<String>,
    pub provider: Option<String>,
    pub model: Option<String>,
}

impl Draft {
    pub fn check(&self) -> Result<(ModelPattern, Target), Vec<FieldViolation>> {
        let Self {
            pattern,
            tier,
            provider,
            model,
        } = self;
        let mut violations = Violations::default();
        let pattern = violations.check("match", ModelPattern::parse(pattern));
        let target = match (tier, provider, model) {
            (Some(tier), None, None) => violations.check("tier", Tier::parse(tier)).map(Target::Tier),
            (None, Some(provider), Some(model)) => {
                let provider = violations.check("provider", ProviderName::parse(provider));
                let model = violations.check("model", UpstreamModel::parse(model));
                provider
                    .zip(model)
                    .map(|(provider, model)| Target::Upstream { provider, model })
            }
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (None, _, None) | (None, None, Some(_)) => {
                violations.add("tier", "give either `tier`, or `provider` and `model`");
                None
            }
        };
        violations.finish(pattern.zip(target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(id: u32, position: u32) -> ModelRule {
        ModelRule {
            id: RuleId::imported(id),
            position,
            pattern: ModelPattern::parse("x").unwrap(),
            target: Target::Tier(Tier::Big),
        }
    }

    /// The order of rules after one of them was put somewhere, and how many it moved.
    fn placed(rules: &[(u32, u32)], id: u32, index: usize) -> (Vec<u32>, usize) {
        let (this, others): (Vec<_>, Vec<_>) = rules.iter().partition(|(other, _)| *other == id);
        let others: Vec<_> = others.iter().map(|(id, position)| rule(*id, *position)).collect();
        let moved = place(others.clone(), rule(id, this[0].1), index);
        let now = |rule: &ModelRule| moved.iter().find(|moved| moved.id == rule.id).cloned();
        let mut all: Vec<_> = others
            .iter()
            .map(|rule| now(rule).unwrap_or(rule.clone()))
            .collect();
        let this = rule(id, this[0].1);
        all.push(now(&this).unwrap_or(this));
        all.sort_by_key(|rule| rule.position);
        assert!(
            all.windows(2).all(|pair| pair[0].position < pair[1].position),
            "{all:?}"
        );
        let ids = rules.iter().map(|(id, _)| *id);
        let order = all
            .iter()
            .map(|rule| ids.clone().find(|id| RuleId::imported(*id) == rule.id));
        (order.map(Option::unwrap).collect(), moved.len())
    }

    #[test]
    fn a_rule_is_put_where_it_should_be_and_moves_few() {
        let roomy = [(1, 100), (2, 200), (3, 300)];
        assert_eq!(placed(&roomy, 3, 0), (vec![3, 1, 2], 1));
        assert_eq!(placed(&roomy, 1, 1), (vec![2, 1, 3], 1));
        assert_eq!(placed(&roomy, 1, 9), (vec![2, 3, 1], 1));
        assert_eq!(placed(&roomy, 2, 1), (vec![1, 2, 3], 0));
        let imported: Vec<_> = (1..=3).zip(positions()).collect();
        assert_eq!(placed(&imported, 3, 1), (vec![1, 3, 2], 1));
        let new = [(1, 1), (2, 2), (3, 0)];
        assert_eq!(placed(&new, 3, 2), (vec![1, 2, 3], 1));
        assert_eq!(placed(&new, 3, 1), (vec![1, 3, 2], 3), "there is no room");
        let at_the_end = [(1, 1), (2, POSITION_MAX)];
        assert_eq!(placed(&at_the_end, 1, 1), (vec![2, 1], 2));
        assert_eq!(placed(&[(1, 0)], 1, 0), (vec![1], 1));
    }

    #[test]
    fn a_rule_has_one_kind_of_target() {
        let rule = |tier: Option<&str>, provider: Option<&str>, model: Option<&str>| Draft {
            pattern: "claude-*".into(),
            tier: tier.map(Into::into),
            provider: provider.map(Into::into),
            model: model.map(Into::into),
        };
        assert!(rule(Some("big"), None, None).check().is_ok());
        assert!(rule(None, Some("qwen"), Some("*")).check().is_ok());
        assert!(rule(None, Some("qwen"), None).check().is_err());
        assert!(rule(None, None, None).check().is_err());
        assert!(rule(Some("big"), Some("qwen"), Some("m")).check().is_err());
        assert!(rule(Some("huge"), None, None).check().is_err());
    }
}
