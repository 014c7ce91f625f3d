//! The models of a provider: by tier, and what is known of single ones.

use super::{Violations, model::Tier, model_options::ModelOptions, name::ModelName, overrides};

/// Most models of one tier.
pub(super) const TIER_MODELS_MAX: usize = 16;

/// Models as somebody writes them, by tier.
#[derive(Debug, Clone, Default)]
pub struct ModelsDraft {
    pub big: Vec<String>,
    pub middle: Vec<String>,
    pub small: Vec<String>,
}

impl ModelsDraft {
    pub(super) fn check(&self, violations: &mut Violations) -> TierModels {
        let Self { big, middle, small } = self;
        for (field, tier) in [
            ("models.big", big),
            ("models.middle", middle),
            ("models.small", small),
        ] {
            if tier.len() > TIER_MODELS_MAX {
                violations.add(field, format!("must have at most {TIER_MODELS_MAX} models"));
            }
        }
        if big.is_empty() && middle.is_empty() && small.is_empty() {
            violations.add("models", "must name at least one model");
        }
        TierModels {
            big: violations.check_all("models.big", big, |text| ModelName::parse(text)),
            middle: violations.check_all("models.middle", middle, |text| ModelName::parse(text)),
            small: violations.check_all("models.small", small, |text| ModelName::parse(text)),
        }
    }
}

/// Models by tier, the preferred one first; at least one in all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TierModels {
    pub big: Vec<ModelName>,
    pub middle: Vec<ModelName>,
    pub small: Vec<ModelName>,
}

impl TierModels {
    /// The first model of the best tier that has one.
    #[must_use]
    pub fn first(&self) -> Option<&ModelName> {
        self.all().next()
    }

    /// The models of one tier.
    #[must_use]
    pub fn of(&self, tier: Tier) -> &[ModelName] {
        match tier {
            Tier::Big => &self.big,
            Tier::Middle => &self.middle,
            Tier::Small => &self.small,
        }
    }

    /// From the best tier down.
    pub fn all(&self) -> impl Iterator<Item = &ModelName> {
        self.big.iter().chain(&self.middle).chain(&self.small)
    }

    #[must_use]
    pub fn to_draft(&self) -> ModelsDraft {
        let Self { big, middle, small } = self;
        let texts = |tier: &[ModelName]| tier.iter().map(|model| model.as_str().to_owned()).collect();
        ModelsDraft {
            big: texts(big),
            middle: texts(middle),
            small: texts(small),
        }
    }

    fn weight(&self) -> usize {
        self.all().map(|model| overrides::weight(model.as_str())).sum()
    }
}

/// The models of a provider, and what is known of single ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Models {
    pub by_tier: TierModels,
    /// Each model once.
    pub options: Vec<ModelOptions>,
}

impl Models {
    /// About how much room they take when written down, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.by_tier.weight() + self.options.iter().map(ModelOptions::weight).sum::<usize>()
    }
}
