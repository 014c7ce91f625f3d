//! What happens if translation cannot carry a part of a request.

use super::Invalid;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LossPolicy {
    /// The answer names what was lost.
    Report,
    Silent,
    /// The request is refused instead.
    Strict,
}

impl LossPolicy {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Report => "report",
            Self::Silent => "silent",
            Self::Strict => "strict",
        }
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "report" => Ok(Self::Report),
            "silent" => Ok(Self::Silent),
            "strict" => Ok(Self::Strict),
            _ => Err(Invalid::new("must be report, silent or strict")),
        }
    }
}
