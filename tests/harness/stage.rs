//! What most scenarios need: a bridge, one scripted provider behind it, an admin and a key.

use anyhow::Result;
use bridge_proto::admin::v1::{Provider, TierModels};

use crate::admin::{self, Admin};
use crate::anthropic::Client;
use crate::bridge::Bridge;
use crate::faultd::Faultd;

/// The only model of the provider `scripted`, in every tier.
pub const MODEL: &str = "m";

pub struct Stage {
    pub bridge: Bridge,
    pub upstream: Faultd,
    pub admin: Admin,
    pub provider: Provider,
    pub key: String,
}

impl Stage {
    pub async fn start() -> Result<Self> {
        Self::with_nodes(1).await
    }

    pub async fn with_nodes(nodes: usize) -> Result<Self> {
        Self::behind(Bridge::start(nodes).await?).await
    }

    /// A provider for a bridge that is there.
    pub async fn behind(bridge: Bridge) -> Result<Self> {
        let admin = bridge.admin().await?;
        Self::furnish(bridge, admin, |provider| provider).await
    }

    async fn furnish(
        bridge: Bridge,
        admin: Admin,
        change: impl FnOnce(Provider) -> Provider,
    ) -> Result<Self> {
        let upstream = Faultd::start().await?;
        let provider = change(admin::provider("scripted", &upstream.base_url(), MODEL));
        let provider = admin.create_provider(provider).await?;
        let key = bridge.accepted_key(&admin).await?;
        Ok(Self {
            bridge,
            upstream,
            admin,
            provider,
            key,
        })
    }

    /// One provider whose failures are neither retried nor remembered: each request stands alone.
    pub async fn without_memory() -> Result<Self> {
        Self::without_memory_of(|provider| provider).await
    }

    /// The same, with a provider that is changed before it is there.
    pub async fn without_memory_of(change: impl FnOnce(Provider) -> Provider) -> Result<Self> {
        let bridge = Bridge::start(1).await?;
        let admin = bridge.admin().await?;
        admin.set_breaker_enabled(false).await?;
        let change = |provider| {
            change(Provider {
                max_retries: Some(0),
                ..provider
            })
        };
        Self::furnish(bridge, admin, change).await
    }

    /// A client of the first node.
    pub fn client(&self) -> Result<Client> {
        self.bridge.client(0, &self.key)
    }

    /// Waits until every node holds all changes made so far.
    pub async fn settle(&self) -> Result<()> {
        self.bridge.accepted_key(&self.admin).await?;
        Ok(())
    }

    /// Replaces the tier lists of the provider: small models first, the others keep `MODEL`.
    pub async fn offer(&mut self, small: &[&str]) -> Result<()> {
        let provider = Provider {
            models: Some(TierModels {
                small: small.iter().map(|name| (*name).to_owned()).collect(),
                ..self.provider.models.clone().unwrap_or_default()
            }),
            ..self.provider.clone()
        };
        self.provider = self.admin.update_provider(provider, "models").await?;
        self.settle().await
    }
}
