//! Checks of providers, with a data plane that answers as it is told, and what traffic says.

use std::time::SystemTime;

use bridge_proto::admin::v1::health_service_client::HealthServiceClient;
use bridge_proto::admin::v1::provider_service_client::ProviderServiceClient;
use bridge_proto::admin::v1::{self as admin, HealthState};
use bridge_proto::fleet::v1 as fleet;
use bridge_proto::fleet::v1::watch_request::Message as Up;
use bridge_proto::fleet::v1::watch_response::Message as Down;
use tokio::time::timeout;
use tonic::{Code, Streaming};

use super::requests::{code, provider};
use super::watch::node::Node;
use super::{Bridge, DEADLINE, SignedIn};

type Client = HealthServiceClient<SignedIn>;

async fn add_provider(admin: &SignedIn, provider: admin::Provider) -> u64 {
    let request = admin::CreateProviderRequest {
        provider: Some(provider),
        ..Default::default()
    };
    let mut providers = ProviderServiceClient::new(admin.clone());
    let created = providers.create_provider(request).await.unwrap().into_inner();
    created.provider.unwrap().revision
}

/// In two tiers, with one model in both.
fn two_tiers(name: &str) -> admin::Provider {
    let texts = |models: &[&str]| models.iter().map(|it| (*it).to_owned()).collect();
    admin::Provider {
        models: Some(admin::TierModels {
            big: texts(&["good", "bad"]),
            middle: vec![],
            small: texts(&["good"]),
        }),
        ..provider(name)
    }
}

/// A node that holds what there is.
async fn node(bridge: &Bridge, revision: u64) -> Node {
    let mut node = Node::named(bridge, "node-1").await;
    let snapshot = node.snapshot_since(revision).await;
    node.ack(&snapshot.version);
    node
}

async fn probe(node: &mut Node) -> fleet::Probe {
    let Down::Probe(probe) = node.next_news().await else {
        panic!("no probe")
    };
    probe
}

fn answer(node: &Node, probe: fleet::Probe, failure: Option<(&str, &str)>) {
    let (error_class, message) = failure.unwrap_or_default();
    node.send(Up::ProbeResult(fleet::ProbeResult {
        probe_id: probe.probe_id,
        ok: failure.is_none(),
        http_status: if failure.is_some() { 500 } else { 200 },
        error_class: error_class.to_owned(),
        message: message.to_owned(),
        ..Default::default()
    }));
}

async fn check(client: &mut Client) -> Streaming<admin::CheckHealthResponse> {
    let request = admin::CheckHealthRequest::default();
    client.check_health(request).await.unwrap().into_inner()
}

async fn next(results: &mut Streaming<admin::CheckHealthResponse>) -> Option<admin::CheckHealthResponse> {
    let next = timeout(DEADLINE, results.message()).await;
    next.expect("no result comes").unwrap()
}

async fn list(client: &mut Client) -> admin::ListHealthResponse {
    client
        .list_health(admin::ListHealthRequest {})
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn results_come_as_they_arrive_and_the_last_ones_stay() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let revision = add_provider(&admin, two_tiers("one")).await;
    let mut node = node(&bridge, revision).await;
    let mut client = HealthServiceClient::new(admin);
    let before = list(&mut client).await;
    assert_eq!(before.state(), HealthState::Unchecked);
    assert_eq!(before.providers[0].tiers.len(), 2);

    let mut results = check(&mut client).await;
    let probes = [probe(&mut node).await, probe(&mut node).await];
    let (bad, good): (Vec<_>, Vec<_>) = probes.into_iter().partition(|probe| probe.model == "bad");
    answer(&node, bad[0].clone(), Some(("server_error", "out of order")));
    let first = next(&mut results).await.unwrap();
    assert_eq!(
        (first.done, first.total),
        (1, 2),
        "a model of two tiers is one call"
    );
    let model = first.model.unwrap();
    assert_eq!((model.model.as_str(), model.http_status), ("bad", 500));
    assert_eq!(
        (model.message.as_str(), model.node_id.as_str()),
        ("out of order", "node-1")
    );
    assert_eq!(first.health.unwrap().state(), HealthState::Unhealthy);

    answer(&node, good[0].clone(), None);
    let second = next(&mut results).await.unwrap();
    assert_eq!((second.done, second.total), (2, 2));
    assert_eq!(next(&mut results).await, None);

    let after = list(&mut client).await;
    assert_eq!(after.state(), HealthState::Partial);
    assert_eq!(
        after.providers[0],
        second.health.unwrap(),
        "what was told is kept"
    );
    let tiers: Vec<_> = after.providers[0].tiers.iter().map(|it| it.state()).collect();
    assert_eq!(tiers, [HealthState::Partial, HealthState::Healthy]);
    let get = |provider: &str| admin::GetHealthRequest {
        provider: provider.to_owned(),
    };
    let got = client.get_health(get("one")).await.unwrap().into_inner();
    assert_eq!(got.health.as_ref(), Some(&after.providers[0]));
    assert_eq!(code(client.get_health(get("other")).await), Code::NotFound);
}

#[tokio::test]
async fn what_no_data_plane_could_check_is_told_and_not_kept() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let revision = add_provider(&admin, provider("one")).await;
    let mut client = HealthServiceClient::new(admin);
    let alone = client.check_health(admin::CheckHealthRequest::default()).await;
    assert_eq!(code(alone), Code::FailedPrecondition);

    let mut node = node(&bridge, revision).await;
    let mut results = check(&mut client).await;
    let asked = probe(&mut node).await;
    answer(&node, asked, Some(("refused", "busy")));
    let told = next(&mut results).await.unwrap();
    let model = told.model.unwrap();
    assert_eq!(model.state(), HealthState::Unchecked);
    assert_eq!(
        (model.error_class.as_str(), model.message.as_str()),
        ("not_checked", "data plane node-1: busy")
    );
    assert_eq!(list(&mut client).await.state(), HealthState::Unchecked);
}

#[tokio::test]
async fn whoever_asks_is_told_what_is_wrong() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let disabled = admin::Provider {
        enabled: false,
        ..provider("off")
    };
    add_provider(&admin, disabled).await;
    let mut client = HealthServiceClient::new(admin);
    for (names, expected) in [
        (vec!["no name".to_owned()], Code::InvalidArgument),
        (vec!["off".to_owned(); 51], Code::InvalidArgument),
        (vec!["other".to_owned()], Code::NotFound),
        (vec!["off".to_owned()], Code::FailedPrecondition),
    ] {
        let request = admin::CheckHealthRequest {
            providers: names,
            timeout: None,
        };
        assert_eq!(code(client.check_health(request).await), expected);
    }
    let listed = list(&mut client).await;
    assert!(!listed.providers[0].enabled, "it is listed");
}

#[tokio::test]
async fn what_a_test_has_shown_is_kept_like_a_check() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let revision = add_provider(&admin, two_tiers("one")).await;
    let mut node = node(&bridge, revision).await;
    let mut providers = ProviderServiceClient::new(admin.clone());
    let test = admin::TestProviderRequest {
        name: "one".to_owned(),
        model: "bad".to_owned(),
        timeout: None,
    };
    let testing = async {
        let tested = providers.test_provider(test).await;
        tested.unwrap().into_inner()
    };
    let answering = async {
        let asked = probe(&mut node).await;
        answer(&node, asked, Some(("server_error", "out of order")));
    };
    let (tested, ()) = tokio::join!(testing, answering);
    assert!(!tested.ok);
    let told = list(&mut HealthServiceClient::new(admin)).await;
    assert_eq!(told.state(), HealthState::Unhealthy);
    let bad = &told.providers[0].tiers[0].models[1];
    assert_eq!(
        (bad.model.as_str(), bad.message.as_str()),
        ("bad", "out of order")
    );
}

#[tokio::test]
async fn what_traffic_says_stands_beside_the_checks() {
    let bridge = Bridge::start().await;
    let admin = bridge.admin().await;
    let revision = add_provider(&admin, two_tiers("one")).await;
    let node = node(&bridge, revision).await;
    node.send(Up::Status(fleet::NodeStatus {
        breakers: vec![fleet::BreakerStatus {
            provider: "one".to_owned(),
            model: "bad".to_owned(),
            state: fleet::BreakerState::Open.into(),
            ..Default::default()
        }],
        ..Default::default()
    }));
    let minute = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
        / 60
        * 60;
    let report = fleet::ReportRequest {
        node_id: "node-1".to_owned(),
        boot_id: "boot-1".to_owned(),
        sequence: 1,
        rollups: vec![fleet::UsageRollup {
            minute: Some(prost_types::Timestamp {
                seconds: minute.try_into().unwrap(),
                nanos: 0,
            }),
            provider: "one".to_owned(),
            upstream_model: "bad".to_owned(),
            // Another provider has answered them.
            requests: 0,
            failed_calls: 3,
            answered_calls: 1,
            ..Default::default()
        }],
        ..Default::default()
    };
    super::usage::report(&bridge, report).await.unwrap();
    let mut client = HealthServiceClient::new(admin);
    let passive = timeout(DEADLINE, async {
        loop {
            let told = list(&mut client).await;
            let passive = told.providers[0].passive.unwrap();
            // The status comes by another way than the report.
            if passive.open_nodes > 0 {
                break passive;
            }
        }
    });
    let passive = passive.await.expect("the status never arrives");
    assert_eq!((passive.requests, passive.failures), (4, 3));
    assert_eq!((passive.open_nodes, passive.quarantined_nodes), (1, 0));
    let seconds = |at: Option<prost_types::Timestamp>| at.map(|at| at.seconds.unsigned_abs());
    assert_eq!(seconds(passive.last_success_at), Some(minute));
    assert_eq!(seconds(passive.last_failure_at), Some(minute));
    assert_eq!(
        list(&mut client).await.state(),
        HealthState::Unchecked,
        "nobody was called"
    );
}
