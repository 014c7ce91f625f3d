//! Breakers that an admin holds, from both sides.

use bridge_proto::admin::v1 as admin;
use bridge_proto::admin::v1::fleet_service_client::FleetServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::fleet::v1 as fleet;
use tonic::Code;
use tonic_types::StatusExt;

use super::Bridge;
use super::watch::node::Node;

async fn bridge_with_provider() -> Bridge {
    let bridge = Bridge::start().await;
    let mut providers = ProviderServiceClient::new(bridge.admin().await);
    let provider = admin::Provider {
        name: "qwen".to_owned(),
        enabled: true,
        base_url: "http://127.0.0.1:9".to_owned(),
        models: Some(admin::TierModels {
            big: vec!["m".to_owned()],
            ..Default::default()
        }),
        ..Default::default()
    };
    let create = admin::CreateProviderRequest {
        provider: Some(provider),
        ..Default::default()
    };
    providers.create_provider(create).await.unwrap();
    bridge
}

fn hold(provider: &str, state: fleet::BreakerState) -> admin::SetBreakerOverrideRequest {
    admin::SetBreakerOverrideRequest {
        provider: provider.to_owned(),
        state: state.into(),
        reason: "maintenance".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_held_breaker_reaches_the_nodes_and_is_replaced_by_the_next() {
    let bridge = bridge_with_provider().await;
    let mut service = FleetServiceClient::new(bridge.admin().await);
    let set = |state| service_set(&bridge, state);
    let first = set(fleet::BreakerState::Open).await;
    assert_eq!(
        (first.created_by.as_str(), first.reason.as_str()),
        (super::EMAIL, "maintenance")
    );
    let second = set(fleet::BreakerState::Closed).await;
    let list = service
        .list_breaker_overrides(admin::ListBreakerOverridesRequest {})
        .await;
    assert_eq!(
        list.unwrap().into_inner().overrides,
        std::slice::from_ref(&second)
    );
    let mut node = Node::named(&bridge, "a").await;
    let held = node.snapshot_since(second.revision).await;
    let told: Vec<_> = held
        .resources
        .iter()
        .filter_map(|resource| match resource.kind.as_ref()? {
            fleet::resource::Kind::BreakerOverride(held) => Some((held.id.as_str(), held.state())),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(second.id.as_str(), fleet::BreakerState::Closed)]);
    let delete = admin::DeleteBreakerOverrideRequest {
        id: second.id.clone(),
    };
    service.delete_breaker_override(delete.clone()).await.unwrap();
    let again = service.delete_breaker_override(delete).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
}

async fn service_set(bridge: &Bridge, state: fleet::BreakerState) -> admin::BreakerOverride {
    let mut service = FleetServiceClient::new(bridge.admin().await);
    let set = service.set_breaker_override(hold("qwen", state)).await;
    set.unwrap().into_inner().r#override.unwrap()
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let bridge = bridge_with_provider().await;
    let mut service = FleetServiceClient::new(bridge.admin().await);
    let half = service
        .set_breaker_override(hold("qwen", fleet::BreakerState::HalfOpen))
        .await;
    assert_eq!(half.unwrap_err().code(), Code::InvalidArgument);
    let backwards = admin::SetBreakerOverrideRequest {
        lifetime: Some(prost_types::Duration {
            seconds: -1,
            nanos: 0,
        }),
        ..hold("Qwen", fleet::BreakerState::Unspecified)
    };
    let status = service.set_breaker_override(backwards).await.unwrap_err();
    let details = status.get_error_details();
    let violations = details.bad_request().unwrap().field_violations.iter();
    let fields: Vec<_> = violations.map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["provider", "state", "lifetime"]);
    let unknown = service
        .set_breaker_override(hold("nobody", fleet::BreakerState::Open))
        .await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
}
