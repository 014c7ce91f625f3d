//! What a client may count on, whichever candidate of a plan answers.

use bridge_translate::dialect::{Dialect, Effort, Pdf, Reasoning, StructuredOutput};

use crate::snapshot::ApiFormat;

/// One flag for each ability that Anthropic's API tells of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abilities {
    pub(crate) images: bool,
    pub(crate) pdfs: bool,
    pub(crate) answer_schemas: bool,
    pub(crate) thinking: bool,
    /// Efforts by their rank on the scale that clients know.
    pub(crate) efforts: Efforts,
    /// Tools that run at the provider, citations, edits of the context.
    pub(crate) native: bool,
}

/// Which words for an effort make a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Efforts {
    pub(crate) low: bool,
    pub(crate) medium: bool,
    pub(crate) high: bool,
    pub(crate) xhigh: bool,
    pub(crate) max: bool,
}

impl Abilities {
    pub(crate) fn of(format: ApiFormat, dialect: &Dialect) -> Self {
        match format {
            // Nothing is translated, so nothing is known to be missing.
            ApiFormat::Anthropic => Self {
                images: true,
                pdfs: true,
                answer_schemas: true,
                thinking: true,
                efforts: Efforts::from_fn(|_| true),
                native: true,
            },
            ApiFormat::OpenAi | ApiFormat::Unknown => Self {
                images: dialect.vision,
                pdfs: dialect.pdf != Pdf::Note,
                answer_schemas: dialect.structured_output != StructuredOutput::Off,
                thinking: dialect.reasoning != Reasoning::None,
                efforts: Efforts::from_fn(|effort| {
                    dialect.reasoning != Reasoning::None
                        && (dialect.efforts.is_empty() || dialect.efforts.contains(&effort))
                }),
                native: false,
            },
        }
    }

    /// What both can.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            images: self.images && other.images,
            pdfs: self.pdfs && other.pdfs,
            answer_schemas: self.answer_schemas && other.answer_schemas,
            thinking: self.thinking && other.thinking,
            efforts: self.efforts.and(other.efforts),
            native: self.native && other.native,
        }
    }
}

impl Efforts {
    fn from_fn(can: impl Fn(Effort) -> bool) -> Self {
        Self {
            low: can(Effort::Low),
            medium: can(Effort::Medium),
            high: can(Effort::High),
            xhigh: can(Effort::Xhigh),
            max: can(Effort::Max),
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            low: self.low && other.low,
            medium: self.medium && other.medium,
            high: self.high && other.high,
            xhigh: self.xhigh && other.xhigh,
            max: self.max && other.max,
        }
    }

    pub(crate) fn any(self) -> bool {
        let Self {
            low,
            medium,
            high,
            xhigh,
            max,
        } = self;
        low || medium || high || xhigh || max
    }
}
