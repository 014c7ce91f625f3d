//! Where an upstream is, which API it speaks and what it can take.

use super::{Invalid, Violations, base_url::BaseUrl, dialect::Dialect};

/// The protocol that an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApiFormat {
    Openai,
    Anthropic,
}

impl ApiFormat {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Anthropic => "anthropic",
        }
    }

    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text {
            "openai" => Ok(Self::Openai),
            "anthropic" => Ok(Self::Anthropic),
            _ => Err(Invalid::new("must be openai or anthropic")),
        }
    }
}

/// Where an upstream is and what it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub api_format: ApiFormat,
    pub base_url: BaseUrl,
    /// `None`: nobody chose one, see [`Endpoint::dialect`].
    pub chosen_dialect: Option<Dialect>,
}

impl Endpoint {
    /// The chosen dialect, or the one that is guessed from format and URL.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        let guess = || match self.api_format {
            // A provider's own dialect says what its other API takes.
            ApiFormat::Anthropic => Dialect::Anthropic,
            ApiFormat::Openai => Dialect::guess(&self.base_url),
        };
        self.chosen_dialect.unwrap_or_else(guess)
    }

    #[must_use]
    pub fn is_dialect_guessed(&self) -> bool {
        self.chosen_dialect.is_none()
    }
}

pub(super) fn check(
    violations: &mut Violations,
    api_format: ApiFormat,
    base_url: &str,
    dialect: &str,
) -> Option<Endpoint> {
    let base_url = violations.check("base_url", BaseUrl::parse(base_url));
    let dialect = if dialect.is_empty() {
        None
    } else {
        violations.check("dialect", Dialect::parse(dialect))
    };
    if dialect == Some(Dialect::Anthropic) && api_format == ApiFormat::Openai {
        violations.add("dialect", "anthropic is for providers with api_format anthropic");
    }
    base_url.map(|base_url| Endpoint {
        api_format,
        base_url,
        chosen_dialect: dialect,
    })
}
