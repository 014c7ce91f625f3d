//! What one translation keeps on its way.

use crate::dialect::{Dialect, Effort, Param};
use crate::loss::LossList;
use crate::openai::schema::Budget;

use super::call_ids::CallIds;
use super::luggage::Extras;
use super::names::Names;
use super::target::Target;

/// What the client wants of thinking, before the upstream's words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Leave the upstream to its default.
    Default,
    Off,
    On {
        effort: Option<Effort>,
        budget: Option<u64>,
    },
}

/// State of one translation.
pub(crate) struct Context<'r> {
    pub(crate) target: &'r Target<'r>,
    pub(crate) losses: LossList,
    pub(crate) names: Names<'r>,
    pub(crate) call_ids: CallIds<'r>,
    pub(crate) thinking: Wish,
    /// What went with earlier calls.
    pub(crate) extras: Extras,
    /// What is left for rewriting schemas.
    pub(crate) schema_budget: Budget,
    /// The upstream is asked to search the web.
    pub(crate) searches: bool,
    /// The start of the answer that the upstream is asked to continue.
    pub(crate) prefill: Option<String>,
}

impl<'r> Context<'r> {
    pub(crate) fn new(target: &'r Target<'r>, thinking: Wish) -> Self {
        Context {
            target,
            losses: LossList::default(),
            names: Names::default(),
            call_ids: CallIds::new(target.dialect.tool_id_format),
            thinking,
            extras: Extras::default(),
            schema_budget: Budget::default(),
            searches: false,
            prefill: None,
        }
    }

    pub(crate) fn dialect(&self) -> &'r Dialect {
        self.target.dialect
    }

    /// Whether the upstream refuses a parameter of this request.
    pub(crate) fn drops(&self, param: Param) -> bool {
        let dialect = self.dialect();
        dialect.drop_params.contains(&param)
            || (dialect.drop_params_thinking.contains(&param) && self.is_thinking())
    }

    pub(crate) fn is_thinking(&self) -> bool {
        match self.thinking {
            Wish::On { .. } => true,
            Wish::Default => self.dialect().always_thinks,
            Wish::Off => false,
        }
    }
}
