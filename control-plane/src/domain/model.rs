//! Rules: where the name of a model goes.

use std::fmt;

use super::{FieldViolation, Invalid, Violations, name::ProviderName};

pub use super::name::{ModelName, ModelPattern};

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
    pub fn imported(position: u32) -> Self {
        Self(format!("import-{position}"))
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
