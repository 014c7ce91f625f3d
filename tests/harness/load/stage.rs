//! What a load test starts from: nodes as they are run in earnest, and behind them the
//! upstream for rates, reached by every name.

use anyhow::Result;
use bridge_proto::admin::v1::Provider;

use super::client::{Client, Protocol};
use super::upstream::Upstream;
use crate::admin::{self, Admin};
use crate::bridge::Bridge;
use crate::vitals::Vitals;

/// The longest silence that a load test scripts is shorter.
const PROVIDER_TIMEOUT_S: u32 = 60;

pub struct LoadStage {
    pub bridge: Bridge,
    pub upstream: Upstream,
    pub admin: Admin,
    pub key: String,
}

impl LoadStage {
    /// So many nodes, with these variables beyond the harness's own.
    pub async fn start(nodes: usize, variables: &[(&'static str, &str)]) -> Result<Self> {
        let mut bridge = Bridge::start(0).await?;
        let mut environment = vec![("LOG_LEVEL", "info".to_owned())];
        environment.extend(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
        for _ in 0..nodes {
            bridge.add_node_with(environment.clone()).await?;
        }
        let admin = bridge.admin().await?;
        let upstream = Upstream::start().await?;
        let provider = Provider {
            timeout: PROVIDER_TIMEOUT_S,
            ..admin::provider("load", &upstream.base_url(), "whole@0")
        };
        admin.create_provider(provider).await?;
        admin.create_rule("*", admin::upstream("load", "*")).await?;
        let key = bridge.accepted_key(&admin).await?;
        Ok(Self {
            bridge,
            upstream,
            admin,
            key,
        })
    }

    /// A client of one node.
    pub fn client(&mut self, node: usize, protocol: Protocol) -> Result<Client> {
        let base_url = self.bridge.node(node)?.base_url();
        Ok(Client::new(&base_url, &self.key, protocol))
    }

    pub fn vitals(&mut self, node: usize) -> Result<Vitals> {
        Vitals::of(self.bridge.node(node)?.process()?.pid())
    }
}
