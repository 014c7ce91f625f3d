//! The configuration as the data plane uses it: one immutable value that is decoded
//! beside the live one, validated and swapped in whole.
//!
//! These types know no wire format. Whatever reads a snapshot (authentication,
//! routing, failover) reads it from here, and one request reads exactly one.

pub(crate) mod cache;
pub(crate) mod decode;
mod dialect;
pub(crate) mod identity;
pub(crate) mod limits;
pub(crate) mod live;
mod resources;
mod shards;
pub(crate) mod staleness;
mod token;
mod url_template;
pub(crate) mod watch;

pub(crate) use dialect::TRANSPORT_KNOBS;
pub(crate) use url_template::UrlTemplate;

use std::{
    collections::HashMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bridge_translate::dialect::{Dialect, Dialects};
use http::HeaderMap;
use url::Url;

use self::limits::{KeyLimits, Price};

use self::{resources::Resources, shards::Shards};

/// A larger one is taken neither from a stream nor from a disk.
const SNAPSHOT_BYTES_MAX: usize = 256 << 20;

/// Where in the history of one installation a configuration stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) cluster: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
}

/// XOR of one SHA-256 per resource, so the order of resources does not matter.
pub(crate) type StateHash = [u8; 32];

#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) version: Version,
    pub(crate) state_hash: StateHash,
    pub(crate) keys: Shards<KeyId, Arc<ApiKey>>,
    /// By priority, then by name.
    pub(crate) providers: Vec<Arc<Provider>>,
    /// By position.
    pub(crate) rules: Vec<ModelRule>,
    pub(crate) overrides: Vec<BreakerOverride>,
    pub(crate) settings: Settings,
    /// All of it, as it came.
    pub(crate) resources: Resources,
}

/// The public part of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyId([u8; KeyId::CHARS]);

impl KeyId {
    pub(crate) const CHARS: usize = 12;
    /// No key's: it is none of their characters.
    pub(crate) const NOBODY: Self = Self([b'-'; Self::CHARS]);

    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let id: [u8; Self::CHARS] = text.try_into().ok()?;
        id.iter().all(u8::is_ascii_alphanumeric).then_some(Self(id))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(f, "{}", char::from(*byte)))
    }
}

/// What a client's key may do. A key that is not in the snapshot does not exist.
#[derive(Debug)]
pub(crate) struct ApiKey {
    pub(crate) id: KeyId,
    /// `None` if this build does not know the algorithm: such a key opens nothing.
    pub(crate) hash: Option<KeyHash>,
    pub(crate) expires_at: Option<SystemTime>,
    /// Empty: all.
    pub(crate) allowed_models: Vec<String>,
    /// Empty: all.
    pub(crate) allowed_providers: Vec<String>,
    pub(crate) loss_policy: Option<LossPolicy>,
    /// `None`: everything is granted.
    pub(crate) limits: Option<Box<KeyLimits>>,
}

impl ApiKey {
    /// A key that nothing is kept from and that opens nothing, for requests of nobody.
    pub(crate) fn of_nobody() -> Self {
        Self {
            id: KeyId::NOBODY,
            hash: None,
            expires_at: None,
            allowed_models: Vec::new(),
            allowed_providers: Vec::new(),
            loss_policy: None,
            limits: None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyHash(pub(crate) [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hash>")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LossPolicy {
    Report,
    Silent,
    Strict,
}

/// An upstream that an admin configured.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: Arc<str>,
    /// Of its record: a refused credential is tried again once this changes.
    pub(crate) revision: u64,
    pub(crate) priority: i32,
    pub(crate) format: ApiFormat,
    pub(crate) endpoint: Endpoint,
    pub(crate) max_retries: u32,
    pub(crate) models: TierModels,
    pub(crate) traits: Traits,
}

/// Where a provider is called and how long it may take.
pub(crate) struct Endpoint {
    /// The full URL of the API's one method; with a template, that of no model.
    pub(crate) url: Url,
    /// For providers that have the model in the path.
    pub(crate) template: Option<UrlTemplate>,
    /// Everything that goes into each request's head, a configured credential included.
    pub(crate) headers: HeaderMap,
    pub(crate) credential: Credential,
    pub(crate) pace: Pace,
    /// What must never be shown, in the clear, for the redactor.
    pub(crate) secrets: Vec<secrecy::SecretString>,
}

impl Endpoint {
    /// Where requests for a model go.
    pub(crate) fn url_of(&self, model: &str) -> Url {
        let filled = self.template.as_ref().map(|template| template.fill(model));
        filled.unwrap_or_else(|| self.url.clone())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}

/// Whose credential a provider is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential {
    Configured,
    /// What the caller brought beside its key for us.
    Callers,
}

/// How long a provider may be silent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// To the first byte and between bytes.
    pub(crate) idle: Duration,
    /// Between the last word and the end of the stream.
    pub(crate) finish_grace: Duration,
    /// How long a streaming client's head is held back for the first event.
    pub(crate) hold_head: Duration,
}

/// What a provider's models can and cannot take.
#[derive(Debug)]
pub(crate) struct Traits {
    pub(crate) dialects: Dialects,
    pub(crate) max_tokens_limit: Option<u32>,
    /// Tell clients 503 instead of 529 when the provider says that it is overloaded.
    pub(crate) overload_is_503: bool,
    pub(crate) second_try: SecondTry,
    pub(crate) by_model: HashMap<String, ModelTraits>,
}

/// When the same upstream is asked once more with a changed request.
#[derive(Debug)]
pub(crate) struct SecondTry {
    /// Without the field that it refuses.
    pub(crate) adapts: bool,
    /// With a shorter answer, if the prompt fits and the wanted answer does not.
    pub(crate) shrinks: bool,
    /// Unchanged, after errors that are called this.
    pub(crate) codes: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct ModelTraits {
    pub(crate) dialect: Dialect,
    pub(crate) context_window: Option<u32>,
    pub(crate) max_output_tokens: Option<u32>,
    /// `None`: as for the provider.
    pub(crate) shrinks: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ApiFormat {
    OpenAi,
    Anthropic,
    /// Of a newer control plane. Such a provider gets no requests.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    Small,
    Middle,
    Big,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Small => "small",
            Self::Middle => "middle",
            Self::Big => "big",
        })
    }
}

/// Models by tier, the preferred one first.
#[derive(Debug, Default)]
pub(crate) struct TierModels {
    pub(crate) small: Vec<Arc<str>>,
    pub(crate) middle: Vec<Arc<str>>,
    pub(crate) big: Vec<Arc<str>>,
}

impl TierModels {
    pub(crate) fn of(&self, tier: Tier) -> &[Arc<str>] {
        match tier {
            Tier::Small => &self.small,
            Tier::Middle => &self.middle,
            Tier::Big => &self.big,
        }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<str>> {
        self.big.iter().chain(&self.middle).chain(&self.small)
    }
}

/// Where a model name goes; the first rule that matches wins.
#[derive(Debug, Clone)]
pub(crate) struct ModelRule {
    pub(crate) id: Box<str>,
    pub(crate) position: u32,
    pub(crate) pattern: String,
    pub(crate) target: RuleTarget,
}

#[derive(Debug, Clone)]
pub(crate) enum RuleTarget {
    Tier(Tier),
    /// `model` is `None` where the rule keeps the name that was asked for.
    Upstream {
        provider: Arc<str>,
        model: Option<Arc<str>>,
    },
    /// A kind of target that this build does not know: the name is refused.
    Unknown,
}

#[derive(Debug, Clone)]
pub(crate) struct BreakerOverride {
    pub(crate) provider: String,
    /// `None`: all models of the provider.
    pub(crate) model: Option<String>,
    pub(crate) held: Held,
    pub(crate) expires_at: Option<SystemTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Held {
    Open,
    Closed,
}

impl BreakerOverride {
    /// Whether it is about this model of its provider.
    pub(crate) fn covers(&self, model: &str) -> bool {
        self.model.as_deref().is_none_or(|covered| covered == model)
    }

    pub(crate) fn is_over(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|expires_at| expires_at <= now)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) fallback: Fallback,
    pub(crate) breaker: BreakerSettings,
    pub(crate) tokens: TokenLimits,
    pub(crate) attempts: AttemptLimits,
    pub(crate) loss_policy: LossPolicy,
    pub(crate) allow_query_api_key: bool,
    /// `None`: a configuration of any age serves.
    pub(crate) stale_limit: Option<Duration>,
    pub(crate) default_tier: Option<Tier>,
    /// The first that fits counts.
    pub(crate) prices: Arc<[Price]>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fallback {
    Priority,
    Random,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct BreakerSettings {
    pub(crate) enabled: bool,
    pub(crate) failure_threshold: u32,
    pub(crate) recovery_timeout: Duration,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenLimits {
    pub(crate) min: u32,
    pub(crate) max: u32,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct AttemptLimits {
    pub(crate) max_attempts: u32,
    /// From the request's arrival to the first content of its answer.
    pub(crate) deadline: Duration,
}
