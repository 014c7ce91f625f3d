//! Knobs that do not change a body: how a provider is called, and what of that goes with a
//! preset unless an admin says it.

use std::time::Duration;

use crate::snapshot::ApiFormat;

/// Their names.
pub(crate) const KNOBS: [&str; 8] = [
    "adaptive",
    "auth",
    "auto_shrink",
    "finish_grace_ms",
    "hold_head_ms",
    "overloaded_as",
    "retry_codes",
    "url_template",
];
/// Servers that may evaluate a long prompt for minutes without sending a byte.
const LOCAL_SERVERS: [&str; 5] = ["vllm", "sglang", "llama-cpp", "ollama", "lm-studio"];
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
const TIMEOUT_LOCAL: Duration = Duration::from_secs(600);
/// Errors that pass if the same request is sent again, by what the provider calls them.
const RETRY_CODES: &[(&str, &[&str])] = &[("groq", &["tool_use_failed"])];
/// Presets whose providers want the key in a header of their own.
const AUTHS: &[(&str, Auth)] = &[("azure-openai", Auth::ApiKey)];
/// Longest time without a head that clients bear with.
pub(super) const HOLD_HEAD_MAX: Duration = Duration::from_secs(240);

/// Each `None` where no admin says anything.
#[derive(Default)]
pub(in crate::snapshot) struct Transport {
    pub(in crate::snapshot) auth: Option<Auth>,
    pub(in crate::snapshot) finish_grace: Option<Duration>,
    pub(in crate::snapshot) overload_is_503: Option<bool>,
    pub(in crate::snapshot) hold_head: Option<Duration>,
    pub(in crate::snapshot) url_template: Option<String>,
    pub(in crate::snapshot) adaptive: Option<bool>,
    pub(in crate::snapshot) auto_shrink: Option<bool>,
    pub(in crate::snapshot) retry_codes: Option<Vec<String>>,
}

/// The header that carries the provider's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::snapshot) enum Auth {
    Bearer,
    XApiKey,
    ApiKey,
    /// None of ours: the caller's own.
    Client,
}

impl Auth {
    pub(super) fn read(word: &str) -> Result<Self, String> {
        match word {
            "bearer" => Ok(Self::Bearer),
            "x-api-key" => Ok(Self::XApiKey),
            "api-key" => Ok(Self::ApiKey),
            "client" => Ok(Self::Client),
            _ => Err(format!("auth {word:?} is not known")),
        }
    }
}

/// Whether `overloaded_as` wants 503 told instead of 529.
pub(super) fn is_503(word: &str) -> Result<bool, String> {
    match word {
        "503" => Ok(true),
        "529" => Ok(false),
        _ => Err(format!("overloaded_as {word:?} is not known")),
    }
}

/// How long a provider may take to its first byte.
pub(in crate::snapshot) fn default_timeout(preset: &str) -> Duration {
    if LOCAL_SERVERS.contains(&preset) {
        TIMEOUT_LOCAL
    } else {
        TIMEOUT_DEFAULT
    }
}

pub(in crate::snapshot) fn default_retry_codes(preset: &str) -> Vec<String> {
    let found = RETRY_CODES.iter().find(|(known, _)| *known == preset);
    let codes = found.map_or(&[][..], |(_, codes)| codes);
    codes.iter().map(|code| (*code).to_owned()).collect()
}

/// Where the key goes.
pub(in crate::snapshot) fn default_auth(preset: &str, format: ApiFormat) -> Auth {
    let found = AUTHS.iter().find(|(known, _)| *known == preset);
    match (found, format) {
        (Some((_, auth)), _) => *auth,
        (None, ApiFormat::OpenAi | ApiFormat::Unknown) => Auth::Bearer,
        (None, ApiFormat::Anthropic) => Auth::XApiKey,
    }
}
