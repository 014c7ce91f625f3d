//! Nodes that read nothing.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use tonic::transport::Endpoint;

use super::super::{Bridge, NODE_TOKEN};
use super::{Node, create_key};

/// Makes a snapshot that does not fit into the window of a node that reads nothing.
async fn fill(bridge: &Bridge) -> u64 {
    const PROVIDERS: usize = 30;
    let mut providers = ProviderServiceClient::new(bridge.admin().await);
    let models: Vec<_> = (0..16).map(|n| format!("{n:0>120}")).collect();
    let mut revision = 0;
    for n in 0..PROVIDERS {
        let provider = admin::Provider {
            name: format!("provider-{n}"),
            enabled: true,
            base_url: "https://upstream.example/v1".to_owned(),
            models: Some(admin::TierModels {
                big: models.clone(),
                middle: models.clone(),
                small: models.clone(),
            }),
            ..Default::default()
        };
        let create = admin::CreateProviderRequest {
            provider: Some(provider),
            ..Default::default()
        };
        revision = providers
            .create_provider(create)
            .await
            .unwrap()
            .into_inner()
            .provider
            .unwrap()
            .revision;
    }
    revision
}

#[tokio::test]
async fn nodes_that_read_nothing_hold_up_nobody() {
    const STUCK: usize = 6;
    const WINDOW_BYTES: u32 = 64 * 1024;
    let bridge = Bridge::start().await;
    let filled = fill(&bridge).await;
    let mut stuck = Vec::new();
    for n in 0..STUCK {
        let endpoint = Endpoint::from_shared(format!("http://{}", bridge.fleet)).unwrap();
        let endpoint = endpoint
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        let node = Node::open_on(endpoint.connect().await.unwrap(), NODE_TOKEN)
            .await
            .unwrap();
        node.send(Up::Subscribe(fleet::Subscribe {
            node_id: format!("stuck-{n}"),
            schema_max: 1,
            ..Default::default()
        }));
        stuck.push(node);
    }
    let mut lively = Node::named(&bridge, "lively").await;
    let held = lively.snapshot_since(filled).await;
    lively.ack(&held.version);
    let key = create_key(&bridge, "ci").await;
    assert_eq!(
        lively.snapshot_since(key.revision).await.key_ids(),
        [key.id.as_str()]
    );

    // Once it reads, a stuck node finishes what was begun and then gets the newest.
    let mut late = stuck.pop().unwrap();
    let begun = late.snapshot().await;
    assert!(begun.version.revision < key.revision);
    late.ack(&begun.version);
    assert_eq!(late.snapshot().await.version.revision, key.revision);
}
