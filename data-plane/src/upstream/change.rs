//! What to change in a request that an upstream refused, before the same upstream is asked
//! once more.
//!
//! Pure: reads a refusal by the candidate's knobs. What holds for later requests too is
//! remembered elsewhere, once the changed request was answered.

use std::{borrow::Cow, fmt};

use bridge_translate::{
    dialect::Dialect,
    error::{FaultKind, Remedy, UpstreamFault},
};

use crate::routing::Candidate;

/// Changes for one request to one candidate; each costs a call.
const CHANGES_MAX: usize = 3;

/// One difference from what the dialect says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing: such a failure often passes.
    Again,
    /// Holds for every later request as well.
    Remedy(Remedy),
    /// The prompt fits, the wanted answer beside it does not.
    OutputAtMost(u32),
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again => write!(f, "unchanged"),
            Self::Remedy(Remedy::Without(field)) => write!(f, "without {field:?}"),
            Self::Remedy(Remedy::OutputAtMost(tokens)) | Self::OutputAtMost(tokens) => {
                write!(f, "with at most {tokens} tokens of output")
            }
        }
    }
}

/// The way around a refusal, if the candidate's knobs allow one.
pub(crate) fn find(candidate: &Candidate, fault: &UpstreamFault) -> Option<Change> {
    let knobs = &candidate.provider.traits.second_try;
    if knobs.codes.iter().any(|code| fault.has_code(code)) {
        return Some(Change::Again);
    }
    if let FaultKind::ContextOverflow(overflow) = fault.kind {
        let window = candidate.context_window().map(u64::from);
        return overflow
            .output_that_fits(window)
            .filter(|_| candidate.shrinks_output())
            .map(Change::OutputAtMost);
    }
    fault.remedy.filter(|_| knobs.adapts).map(Change::Remedy)
}

/// All differences from the dialect for one candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    remedies: Vec<Remedy>,
    output_max: Option<u32>,
    is_repeated: bool,
    made: usize,
}

impl Changes {
    /// What earlier requests have taught.
    pub(crate) fn known(remedies: Vec<Remedy>) -> Self {
        Self {
            remedies,
            ..Self::default()
        }
    }

    /// Makes one more. `false` if it was made before, or if there were too many.
    pub(crate) fn make(&mut self, change: Change) -> bool {
        if self.made == CHANGES_MAX {
            return false;
        }
        let is_new = match change {
            Change::Again => !std::mem::replace(&mut self.is_repeated, true),
            Change::Remedy(remedy) => {
                let is_new = !self.remedies.contains(&remedy);
                if is_new {
                    self.remedies.push(remedy);
                }
                is_new
            }
            Change::OutputAtMost(tokens) => {
                let is_new = self.output_max.is_none_or(|known| tokens < known);
                if is_new {
                    self.output_max = Some(tokens);
                }
                is_new
            }
        };
        self.made += usize::from(is_new);
        is_new
    }

    pub(crate) fn remedies(&self) -> &[Remedy] {
        &self.remedies
    }

    /// Whether this request has taught anything.
    pub(crate) fn is_changed(&self) -> bool {
        self.made > 0
    }

    /// The dialect with all changes made.
    pub(crate) fn apply<'d>(&self, dialect: &'d Dialect) -> Cow<'d, Dialect> {
        let mut changed = Cow::Borrowed(dialect);
        for remedy in &self.remedies {
            if let Remedy::Without(field) = remedy
                && let Some(without) = changed.without(*field)
            {
                changed = Cow::Owned(without);
            }
        }
        changed
    }

    /// The longest answer that fits.
    pub(crate) fn output_max(&self) -> Option<u32> {
        let of_remedies = self.remedies.iter().filter_map(|remedy| match remedy {
            Remedy::OutputAtMost(tokens) => Some(*tokens),
            Remedy::Without(_) => None,
        });
        of_remedies.chain(self.output_max).min()
    }
}

#[cfg(test)]
mod tests {
    use bridge_translate::{dialect::Field, error::Overflow};

    use super::*;
    use crate::snapshot::decode::tests::{provider, provider_of};

    const WITHOUT_USAGE: Change = Change::Remedy(Remedy::Without(Field::StreamOptions));

    fn candidate(preset: &str) -> Candidate {
        Candidate {
            provider: provider_of(preset).into(),
            model: "m".into(),
        }
    }

    fn fault(kind: FaultKind) -> UpstreamFault {
        UpstreamFault {
            kind,
            message: String::new(),
            codes: "tool_use_failed".to_owned(),
            retry_after: None,
            remedy: Some(Remedy::Without(Field::StreamOptions)),
        }
    }

    #[test]
    fn knobs_decide_which_way_is_tried() {
        let refused = fault(FaultKind::BadRequest);
        assert_eq!(find(&candidate("generic"), &refused), Some(WITHOUT_USAGE));
        assert_eq!(find(&candidate("groq"), &refused), Some(Change::Again));
        let mut rigid = provider("p", 1, &["m"], &[]);
        rigid.traits.second_try.adapts = false;
        let rigid = Candidate {
            provider: rigid.into(),
            model: "m".into(),
        };
        assert_eq!(find(&rigid, &refused), None);
    }

    #[test]
    fn h06_only_an_output_that_is_worth_it_is_asked_for_again() {
        let overflow = |prompt_tokens| {
            fault(FaultKind::ContextOverflow(Overflow {
                prompt_tokens,
                limit: Some(40_000),
                completion_tokens: Some(32_000),
            }))
        };
        let candidate = candidate("generic");
        assert_eq!(
            find(&candidate, &overflow(12_526)),
            Some(Change::OutputAtMost(27_218))
        );
        assert_eq!(find(&candidate, &overflow(39_000)), None);
        assert_eq!(find(&candidate, &overflow(41_000)), None);
    }

    #[test]
    fn nothing_is_tried_twice_and_not_for_ever() {
        let mut changes = Changes::default();
        assert!(!changes.is_changed());
        assert!(changes.make(WITHOUT_USAGE));
        assert!(!changes.make(WITHOUT_USAGE));
        assert!(changes.make(Change::OutputAtMost(5000)));
        assert!(!changes.make(Change::OutputAtMost(6000)));
        assert!(changes.make(Change::Again));
        assert!(!changes.make(Change::OutputAtMost(1)), "three are enough");
        assert_eq!(changes.output_max(), Some(5000));
        assert!(!changes.apply(&Dialect::default()).stream_usage);
        assert!(!Changes::known(changes.remedies().to_vec()).is_changed());
    }

    #[test]
    fn a_field_may_be_swapped_back() {
        let mut changes = Changes::default();
        for field in [Field::MaxTokens, Field::MaxCompletionTokens] {
            assert!(changes.make(Change::Remedy(Remedy::Without(field))));
        }
        assert_eq!(*changes.apply(&Dialect::default()), Dialect::default());
    }
}
